"""Where a deployment's source tree comes from: a commit of the app's repository, or an archive."""

from __future__ import annotations

import asyncio
import shutil
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import aiohttp

from sandbox.platform.builds import BuildFailure
from sandbox.platform.processes import Guard
from sandbox.platform.repositories import git_environment

LARGEST_ARCHIVE = 300 * 1024 * 1024
_CAUTIOUS: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
"""Documented limit of the uncompressed source archive, in bytes."""


class Source(Protocol):
    """What a deployment builds."""

    kind: str
    """The deployment's type: git or archive."""
    ref: str
    """Its git_ref."""

    async def fetch(self, guard: Guard, folder: Path, scratch: Path) -> None:
        """Put the tree into `folder`, which doesn't exist yet. Raises BuildFailure."""


@dataclass
class Commit:
    """A commit, perhaps still in the quarantine of a push that is being decided."""

    repository: Path
    ref: str
    quarantine: Mapping[str, str] = field(default_factory=dict)
    """git's variables for the quarantine, as its hook sees them."""
    kind: str = "git"

    async def fetch(self, guard: Guard, folder: Path, scratch: Path) -> None:
        folder.mkdir(parents=True, mode=0o700)
        environment = git_environment() | {
            **self.quarantine,
            "GIT_DIR": str(self.repository),
            "GIT_WORK_TREE": str(folder),
            "GIT_INDEX_FILE": str(scratch / "index"),
        }
        for arguments in (["read-tree", f"{self.ref}^{{commit}}"], ["checkout-index", "--all"]):
            child = await guard.spawn(["git", *arguments], env=environment, cwd=folder)
            code, said = await child.result()
            if code != 0:
                raise BuildFailure(f"Fail to fetch the source code: {said.strip()}")


@dataclass
class Archive:
    """A compressed tar with one folder at its root, at a path or an http address."""

    location: str
    ref: str
    kind: str = "archive"

    async def fetch(self, guard: Guard, folder: Path, scratch: Path) -> None:
        path = Path(self.location)
        if self.location.startswith(("http://", "https://")):
            path = scratch / "source"
            await _download(self.location, path)
        unpacking = asyncio.create_task(asyncio.to_thread(_unpack, path, folder, scratch / "unpacked"))
        try:
            await asyncio.shield(unpacking)
        finally:
            # A thread can't be cancelled, and mustn't write into folders that are being removed.
            await asyncio.wait([unpacking])


async def _download(address: str, path: Path) -> None:
    try:
        async with aiohttp.ClientSession() as client, client.get(address) as reply:
            if reply.status != 200:
                raise BuildFailure(f"Fail to download the source archive: status {reply.status}")
            with path.open("wb") as file:
                async for part in reply.content.iter_chunked(1 << 16):
                    file.write(part)
    except (aiohttp.ClientError, TimeoutError) as error:
        raise BuildFailure(f"Fail to download the source archive: {type(error).__name__}") from None


def _check_stays_inside(member: tarfile.TarInfo, folder: Path) -> None:
    """What tarfile's data filter checks, for a Python before 3.11.4, which has none."""
    place = (folder / member.name).resolve()
    inside = place.is_relative_to(folder.resolve())
    if member.issym() or member.islnk():
        start = place.parent if member.issym() else folder
        inside = inside and (start / member.linkname).resolve().is_relative_to(folder.resolve())
    if not inside or not (member.isreg() or member.isdir() or member.issym() or member.islnk()):
        raise BuildFailure(f"The source archive can't be extracted: {member.name} would leave its folder.")


def _unpack(archive: Path, folder: Path, unpacked: Path) -> None:
    unpacked.mkdir(mode=0o700)
    try:
        with tarfile.open(archive) as tar:
            size = 0
            for member in tar:
                size += member.size
                if size > LARGEST_ARCHIVE:
                    raise BuildFailure("The source archive is larger than 300 MB uncompressed.")
                _check_stays_inside(member, unpacked)
                tar.extract(member, unpacked, **_CAUTIOUS)
    except (tarfile.TarError, OSError, EOFError) as error:
        raise BuildFailure(f"The source archive can't be extracted: {error}") from None
    entries = list(unpacked.iterdir())
    if len(entries) != 1 or not entries[0].is_dir():
        raise BuildFailure("The source archive must hold exactly one folder at its root.")
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    shutil.move(entries[0], folder)
    folder.chmod(0o700)
