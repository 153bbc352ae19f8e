"""Where an archive of our own goes: a place to write it to, that keeps it once it was read to its end."""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
from pathlib import Path
from typing import Protocol, Self

from tasks.core.errors import OpsError, Refused
from tasks.postgres.archive.manifest import Manifest


class Destination(Protocol):
    """A kind of place. What is kept is found again by what `keep` gives, as `backup=` takes it."""

    @property
    def title(self) -> str:
        """How a person is told of it."""

    def free_bytes(self) -> int | None:
        """The room there; None where it has no end that is known."""

    def begin(self, prefix: str, name: str) -> Path:
        """An empty private file on this machine to write to, for what will have this name.

        + prefix: of the names of all that this environment's runs keep; what a dead one left goes
        """

    def keep(self, name: str, part: Path, manifest: Manifest) -> str:
        """Keep what was written, with its manifest, under its name."""

    def abandon(self, part: Path) -> None:
        """Remove what was written; never raises."""


class Folder:
    """A folder of this machine, or one that is mounted on it.

    + path: it is there; what is put into it is readable by its owner alone
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def named(cls, text: str) -> Self:
        """The folder that was asked for. Raises `Refused` where it is none that can be written to."""
        path = Path(text).expanduser().absolute()
        problem, next_step = "", ""
        if not path.is_dir():
            problem, next_step = "there is no such folder", f"make it first: mkdir -m 700 {path}"
        elif not os.access(path, os.W_OK | os.X_OK):
            problem, next_step = "you may not write there", "give a folder of yours"
        if problem:
            raise Refused(f"to={text}", problem, state="nothing was changed", next_step=next_step)
        return cls(path)

    @property
    def title(self) -> str:
        """Its path."""
        return str(self.path)

    def free_bytes(self) -> int:
        """As the file system says."""
        return shutil.disk_usage(self.path).free

    def begin(self, prefix: str, name: str) -> Path:
        """A hidden file in the folder itself, so that keeping it is one renaming. Raises `OpsError`."""
        part = self.path / f".{name}.part"
        try:
            for left in self.path.glob(f".{glob.escape(prefix)}*.part"):
                left.unlink(missing_ok=True)
            os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        except OSError as error:
            raise OpsError(f"Writing to {self.path}", error.strerror or str(error)) from None
        return part

    def keep(self, name: str, part: Path, manifest: Manifest) -> str:
        """The manifest first: an archive that is there under its name has one. Raises `OpsError`."""
        path = self.path / name
        manifest.write(path)
        try:
            part.replace(path)
        except OSError as error:
            raise OpsError(f"Keeping {path}", error.strerror or str(error)) from None
        return f"file:{path}"

    def abandon(self, part: Path) -> None:
        """Remove it if it is still there."""
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
