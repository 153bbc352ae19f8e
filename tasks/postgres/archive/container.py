"""Getting the one archive out of what is handed out: `.tar.gz`, `.tar`, the bare archive, or a folder.

A file from elsewhere is not trusted: its members' names are never used as paths, links and devices are
refused, and nothing is written that the disk has no room for. The archive can be examined while it is
unpacked, in one pass over the file.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final, Self, TypeVar

from tasks.core.errors import OpsError, Refused
from tasks.postgres.archive import folders
from tasks.postgres.archive.archive import Archive
from tasks.postgres.archive.background import Meter, Pieces, Progress, Stop, read_in_background
from tasks.postgres.archive.check import Contents, Findings, Fingerprint, examine, found
from tasks.postgres.archive.gzipped import decompressed
from tasks.postgres.archive.header import MAGIC, is_custom, read_header
from tasks.postgres.archive.problems import DamagedArchive, UnsupportedArchive, printable
from tasks.postgres.archive.recognition import TAR_BLOCK, Container, recognised
from tasks.postgres.archive.source import READ_AHEAD, Source

LARGEST: Final = 1 << 40
"""Bytes of an unpacked archive beyond which it is taken for a bomb, where the caller names no limit."""

UNPACKED_NAME: Final = "archive.dump"
_MOST_MEMBERS: Final = 10_000
_LARGEST_HEADER: Final = 1 << 20
_KEEP_FREE: Final = 64 << 20
_EXTENDED_HEADERS: Final = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
Result = TypeVar("Result")


def open_backup(path: Path, folder: Path, *, progress: Progress, stop: Stop, largest: int = LARGEST) -> Path:
    """The bare archive in a backup file or folder: `path` itself, or `archive.dump` made in `folder`.

    + folder: private to this user; made where it is missing
    + progress: called with the bytes of `path` read so far and its size
    + largest: bytes of the unpacked archive beyond which it is refused
    Errors: UnsupportedArchive and DamagedArchive saying what the file is, Refused for hostile members and a
    full disk, Interrupted. Nothing is left in the folder then.
    """
    unpacking = _Unpacking(path, folder, largest)

    def header_then_what_is_written(pieces: Pieces) -> None:
        read_header(Source(pieces, path.name))
        while unpacking.unpacked != path and pieces.read():
            pass

    unpacking.run(header_then_what_is_written, progress, stop)
    return unpacking.unpacked


def open_checked(
    path: Path, folder: Path, *, progress: Progress, stop: Stop, largest: int = LARGEST
) -> tuple[Archive, Contents]:
    """`open_backup` and `check` in one pass: the archive unpacked, and what it holds.

    Errors: those of both.
    """
    unpacking = _Unpacking(path, folder, largest)

    def examined(pieces: Pieces) -> Findings:
        pieces.wait()  # the size is known once there is a first piece
        return examine(pieces, path.name, unpacking.size)

    findings = unpacking.run(examined, progress, stop)
    return Archive(unpacking.unpacked, findings.head), found(findings, unpacking.fingerprint)


class _CautiousTarInfo(tarfile.TarInfo):
    """Refuses a member whose extended header would be read into memory whole and is huge."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        member = super().frombuf(buf, encoding, errors)
        if member.type in _EXTENDED_HEADERS and not 0 <= member.size <= _LARGEST_HEADER:
            raise tarfile.HeaderError("header too large")
        return member


class _Joined(io.RawIOBase):
    """Pieces as a file that tarfile can read."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, into: object) -> int:
        target = memoryview(into).cast("B")  # type: ignore[arg-type]
        if not self._rest:
            self._rest = memoryview(next(self._pieces, b""))
        count = min(len(target), len(self._rest))
        target[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


class _Unpacking:
    """One pass over a backup file."""

    def __init__(self, path: Path, folder: Path, largest: int) -> None:
        self.path = path
        self.folder = folder
        self.largest = largest
        self.size: int | None = None
        self.unpacked = path
        self.fingerprint = Fingerprint()
        self._unpacked_bytes = 0
        self._last_other = (b"", "")

    def run(self, consume: Callable[[Pieces], Result], progress: Progress, stop: Stop) -> Result:
        """Hand the bare archive's bytes to `consume` while they are written, and keep the file on success."""
        try:
            meter = Meter(self.path.name, _size_of(self.path))
        except OSError as error:
            raise OpsError(f"Opening {self.path}", error.strerror or "it can't be read") from None
        try:
            result = read_in_background(
                lambda: self._archive_bytes(meter), consume, meter, progress=progress, stop=stop
            )
            if self.unpacked != self.path:
                self._part.replace(self.folder / UNPACKED_NAME)
                self.unpacked = self.folder / UNPACKED_NAME
        except OSError as error:
            raise OpsError(f"Reading {self.path}", error.strerror or "it can't be read") from None
        finally:
            with contextlib.suppress(OSError):
                self._part.unlink(missing_ok=True)
            shutil.rmtree(self._members, ignore_errors=True)
        return result

    @property
    def _members(self) -> Path:
        """Where the files of a tar are, of which only all together are an archive."""
        return self.folder / "members.part"

    @property
    def _part(self) -> Path:
        return self.folder / f"{UNPACKED_NAME}.part"

    def _archive_bytes(self, meter: Meter) -> Iterator[bytes]:
        """The bare archive's bytes, and to the end of the file what comes after it."""
        if self.path.is_dir():
            yield from self._written(folders.as_custom(self.path, self.path.name, meter))
            return
        with self.path.open("rb") as file:
            beginning = file.read(TAR_BLOCK)
            file.seek(0)
            container = recognised(beginning, self.path.name)
            pieces = _plain(file, meter)
            if container is Container.BARE:
                self.size = meter.total
                for piece in pieces:
                    self.fingerprint.add(piece)
                    yield piece
                return
            if container is Container.GZIP:
                pieces = decompressed(file, self.path.name, meter)
                beginning, pieces = _peeked(pieces, TAR_BLOCK)
                container = recognised(beginning, f"{self.path.name}, decompressed")
            if container is Container.GZIP:
                raise UnsupportedArchive(
                    f"Reading {self.path.name}",
                    "not supported: a gzip file within a gzip file",
                    next_step="decompress it once",
                )
            if container is Container.BARE:
                yield from self._written(pieces)
            else:
                yield from self._from_tar(pieces)

    def _from_tar(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        joined: BinaryIO = io.BufferedReader(_Joined(pieces), READ_AHEAD)
        archive_name = ""
        others: list[str] = []
        try:
            with tarfile.open(
                fileobj=joined, mode="r|", bufsize=READ_AHEAD, tarinfo=_CautiousTarInfo, errorlevel=2
            ) as tar:
                for number, member in enumerate(tar, start=1):
                    _refuse_hostile(member, number, self.path.name)
                    if not member.isfile():
                        continue
                    content = tar.extractfile(member)
                    assert content is not None
                    beginning = content.read(TAR_BLOCK)
                    name = PurePosixPath(member.name).name
                    if folders.MEMBER.fullmatch(name) and not is_custom(beginning):
                        self._keep_member(name, member.size, _member_bytes(beginning, content, member, name))
                        continue
                    if not beginning.startswith(MAGIC):
                        others.append(name)
                        self._last_other = (beginning, member.name)
                        self._count(member.size)
                        continue
                    if archive_name:
                        raise Refused(
                            f"Unpacking {self.path.name}",
                            printable(f"it holds more than one archive: {archive_name} and {member.name}"),
                            next_step="unpack the one that is meant, and give that file",
                        )
                    archive_name = member.name
                    self.size = member.size
                    self._refuse_too_large(member.size)
                    yield from self._written(_member_bytes(beginning, content, member, self.path.name))
                _read_to_end(joined)
        except tarfile.TarError:
            raise DamagedArchive(self.path.name, "the tar file is cut or damaged") from None
        if self._members.exists() and not archive_name:
            archive_name = folders.CONTENTS
            self._unpacked_bytes = 0
            yield from self._written(folders.as_custom(self._members, self.path.name, Meter("", 0)))
        if not archive_name:
            self._refuse_without_archive(others)

    def _keep_member(self, name: str, size: int, pieces: Iterator[bytes]) -> None:
        """One file of an archive of many, until all are there: their order in the tar is anybody's."""
        self._refuse_too_large(size)
        self._members.mkdir(mode=0o700, exist_ok=True)
        path = self._members / name
        if path.exists():
            raise Refused(
                f"Unpacking {self.path.name}",
                f"it holds more than one {name}, and so more than one archive",
                next_step="unpack the one that is meant, and give that folder",
            )
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            for piece in pieces:
                self._count(len(piece))
                self._write(file, piece)

    def _refuse_without_archive(self, others: list[str]) -> None:
        if len(others) == 1:
            recognised(*self._last_other)
        listed = ", ".join(others[:5]) + (", ..." if len(others) > 5 else "")
        raise UnsupportedArchive(
            f"Unpacking {self.path.name}",
            f"no archive of pg_dump is in it, only {listed}" if others else "it holds no file",
            next_step="make the backup with pg_dump --format=custom, or fetch the platform's own",
        )

    def _written(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """The pieces, each once it is in the unpacked file, which only this user may read."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._part.unlink(missing_ok=True)
        self.unpacked = self._part
        descriptor = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            for piece in pieces:
                self._count(len(piece))
                self._write(file, piece)
                self.fingerprint.add(piece)
                yield piece

    def _write(self, file: io.FileIO, piece: bytes) -> None:
        view = memoryview(piece)
        try:
            while view:
                view = view[file.write(view) :]
        except OSError as error:
            raise OpsError(
                f"Unpacking {self.path.name} into {self.folder}",
                error.strerror or "it can't be written",
                next_step="make room there, or name another folder",
            ) from None

    def _count(self, count: int) -> None:
        self._unpacked_bytes += count
        if self._unpacked_bytes > self.largest:
            raise Refused(
                f"Unpacking {self.path.name}",
                f"it unpacks to more than {self.largest} bytes, the declared limit",
                next_step="look at what the file is; declare a larger limit if it is right",
            )

    def _refuse_too_large(self, size: int) -> None:
        self._count(size)
        self._unpacked_bytes -= size
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        free = shutil.disk_usage(self.folder).free
        if size + _KEEP_FREE > free:
            raise Refused(
                f"Unpacking {self.path.name}",
                f"the archive in it has {size} bytes, and {self.folder} has room for {free}",
                next_step="make room there, or unpack it elsewhere and give that file",
            )


def _plain(file: BinaryIO, meter: Meter) -> Iterator[bytes]:
    while piece := file.read(READ_AHEAD):
        meter.advance(len(piece))
        yield piece


def _peeked(pieces: Iterator[bytes], count: int) -> tuple[bytes, Iterator[bytes]]:
    """The first bytes of the pieces, and all pieces with them."""
    beginning = b""
    for piece in pieces:
        beginning += piece
        if len(beginning) >= count:
            break

    def again() -> Iterator[bytes]:
        yield beginning
        yield from pieces

    return beginning[:count], again()


def _member_bytes(beginning: bytes, content: object, member: tarfile.TarInfo, name: str) -> Iterator[bytes]:
    read = content.read  # type: ignore[attr-defined]
    done = len(beginning)
    yield beginning
    while piece := read(READ_AHEAD):
        done += len(piece)
        yield piece
    if done != member.size:
        raise DamagedArchive(
            name, f"the tar file is cut: {done} of {member.size} bytes of {member.name} are there"
        )


def _read_to_end(joined: BinaryIO) -> None:
    """What follows the tar's end mark: padding; reading it verifies the gzip's checksum."""
    while joined.read(READ_AHEAD):
        pass


def _size_of(path: Path) -> int:
    if path.is_dir() and not (path / folders.CONTENTS).exists():
        raise UnsupportedArchive(
            f"Reading {path.name}",
            f"it is a folder, and no archive of pg_dump: it has no {folders.CONTENTS}",
            next_step="give the backup's file, or the folder that pg_dump --format=directory made",
        )
    return folders.stamp(path)[0]


def _refuse_hostile(member: tarfile.TarInfo, number: int, name: str) -> None:
    problem = ""
    if number > _MOST_MEMBERS:
        problem = f"it has more than {_MOST_MEMBERS} members"
    elif member.name.startswith(("/", "\\")) or PurePosixPath(member.name).is_absolute():
        problem = f"a member has an absolute name ({member.name})"
    elif ".." in PurePosixPath(member.name.replace("\\", "/")).parts:
        problem = f"a member's name leads out of it ({member.name})"
    elif member.issym() or member.islnk():
        problem = f"a member is a link ({member.name})"
    elif not (member.isfile() or member.isdir()):
        problem = f"a member is neither a file nor a folder ({member.name})"
    elif member.issparse() or member.size < 0:
        problem = f"a member is not an ordinary file ({member.name})"
    if problem:
        raise Refused(
            f"Unpacking {name}",
            printable(f"{problem}; a backup of a platform has none such"),
            next_step="find out where the file comes from; give the bare archive if it is right",
        )
