"""pg_dump's directory and tar formats, written again as the one file that everything here works on.

Both are a `toc.dat`, a file of rows for each table (`3456.dat`, with a suffix for its compression), and for
large objects lists (`blobs.toc`, `blobs_3457.toc`) of the files that hold them. The table of contents is that
of the custom format but for its last field: a file's name in place of an offset.
(src/bin/pg_dump/pg_backup_directory.c, pg_backup_tar.c)
"""

from __future__ import annotations

import io
import os
import re
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tasks.core.errors import OpsError
from tasks.postgres.archive import blocks
from tasks.postgres.archive.background import Meter
from tasks.postgres.archive.header import CUSTOM, FORMAT_AT, Compression, read_header
from tasks.postgres.archive.problems import DamagedArchive, printable
from tasks.postgres.archive.source import READ_AHEAD, Source
from tasks.postgres.archive.toc import LARGEST_TOC, OFFSET_NO_DATA, OFFSET_NOT_SET, read_described

CONTENTS: Final = "toc.dat"
MEMBER: Final = re.compile(
    r"toc\.dat|\d{1,10}\.dat(\.gz|\.lz4|\.zst)?|blobs(_\d{1,10})?\.toc|blob_\d{1,10}\.dat(\.gz|\.lz4|\.zst)?"
)
"""The names of the files that such an archive is made of; no other is ever opened."""

_NAMED_IN_TOC: Final = re.compile(r"\d{1,10}\.dat|blobs(_\d{1,10})?\.toc")
_LARGE_OBJECT: Final = re.compile(r"(\d{1,10}) (blob_\d{1,10}\.dat)")
_SUFFIXES: Final[dict[Compression, str]] = {"none": "", "gzip": ".gz", "lz4": ".lz4", "zstd": ".zst"}
_GZIP: Final = 31
"""zlib's word for a stream with gzip's header and trailer."""


def stamp(path: Path) -> tuple[int, int]:
    """Bytes of a backup, and when it was last written in nanoseconds of the epoch; of a folder, its files'.

    Errors: OSError.
    """
    if not path.is_dir():
        found = path.stat()
        return found.st_size, found.st_mtime_ns
    files = [file.stat() for file in path.iterdir() if MEMBER.fullmatch(file.name)]
    return sum(file.st_size for file in files), max((file.st_mtime_ns for file in files), default=0)


def as_custom(folder: Path, name: str, meter: Meter) -> Iterator[bytes]:
    """The same archive in custom format, in pieces.

    + name: what the archive is called in an error's sentence
    + meter: told of the bytes that were read
    Errors: DamagedArchive naming what is cut, missing or not as it should be; those of `read_header`.
    """
    return _Folder(folder, name, meter).rewritten()


class _Folder:
    def __init__(self, folder: Path, name: str, meter: Meter) -> None:
        self._folder = folder
        self._name = name
        self._meter = meter
        self._int_bytes = 4
        self._compression: Compression = "none"

    def rewritten(self) -> Iterator[bytes]:
        toc, files = self._rewritten_toc()
        yield toc
        for dump_id, file in files:
            if file.endswith(".toc"):
                yield from self._large_objects(dump_id, file)
            else:
                yield bytes([blocks.ROWS]) + self._number(dump_id)
                yield from self._chunks(file)

    def _rewritten_toc(self) -> tuple[bytes, list[tuple[int, str]]]:
        """Header and table in custom format, and which file belongs to which entry."""
        content = b"".join(self._read(CONTENTS))
        if len(content) > LARGEST_TOC:
            raise DamagedArchive(f"{CONTENTS} of {self._name}", f"it is larger than {LARGEST_TOC} bytes")
        source = Source(io.BytesIO(content), f"{CONTENTS} of {self._name}", size=len(content))
        header = read_header(source, in_files=True)
        self._int_bytes, self._compression = source.int_bytes, header.compression
        source.what = "the table of contents"
        count = source.integer()
        out = bytearray(content[: source.position])
        out[FORMAT_AT] = CUSTOM
        files = []
        for number in range(1, count + 1):
            source.what = f"entry {number} of {count} of the table of contents"
            start = source.position
            entry = read_described(source, header.version)
            out += content[start : source.position]
            file = (source.string() or b"").decode("ascii", "replace")
            if file and not _NAMED_IN_TOC.fullmatch(file):
                raise source.damage(f"the file of an entry is called {printable(file)}", at=start)
            if file:
                files.append((entry.dump_id, file))
            out += bytes([OFFSET_NOT_SET if file else OFFSET_NO_DATA]) + bytes(source.offset_bytes)
        return bytes(out), files

    def _large_objects(self, dump_id: int, listing: str) -> Iterator[bytes]:
        yield bytes([blocks.LARGE_OBJECTS]) + self._number(dump_id)
        for line in b"".join(self._read(listing)).decode("ascii", "replace").splitlines():
            found = _LARGE_OBJECT.fullmatch(line)
            if found is None:
                raise DamagedArchive(f"{listing} of {self._name}", f"a line of it is {printable(line)!r}")
            yield self._number(int(found[1]))
            yield from self._chunks(found[2])
        yield self._number(0)

    def _chunks(self, file: str) -> Iterator[bytes]:
        """A file as chunks with their lengths. gzip's is made zlib's, which the custom format has."""
        name = file + _SUFFIXES[self._compression]
        if not (self._folder / name).exists() and (self._folder / file).exists():
            raise DamagedArchive(f"{file} of {self._name}", f"{CONTENTS} says that it is compressed")
        pieces = self._read(name)
        if self._compression == "gzip":
            pieces = self._deflated(name, pieces)
        for piece in pieces:
            yield self._number(len(piece)) + piece
        yield self._number(0)

    def _deflated(self, name: str, pieces: Iterator[bytes]) -> Iterator[bytes]:
        deflater = zlib.compressobj(1)
        inflater = zlib.decompressobj(_GZIP)
        try:
            for piece in pieces:
                rest = piece
                while rest:
                    if inflater.eof:
                        raise DamagedArchive(f"{name} of {self._name}", "bytes follow its end")
                    if packed := deflater.compress(inflater.decompress(rest, READ_AHEAD)):
                        yield packed
                    rest = inflater.unconsumed_tail or inflater.unused_data
        except zlib.error as error:
            what = (
                "its rows do not match their checksum" if "data check" in str(error) else "it is no gzip file"
            )
            raise DamagedArchive(f"{name} of {self._name}", what) from None
        if not inflater.eof:
            raise DamagedArchive(f"{name} of {self._name}", "it is cut")
        yield deflater.flush()

    def _read(self, name: str) -> Iterator[bytes]:
        """A file's bytes. Only a plain file of the folder itself: a link leads elsewhere."""
        try:
            descriptor = os.open(self._folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            with os.fdopen(descriptor, "rb", buffering=0) as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise DamagedArchive(f"{name} of {self._name}", "it is no plain file")
                while piece := file.read(READ_AHEAD):
                    self._meter.advance(len(piece))
                    yield piece
        except FileNotFoundError:
            raise DamagedArchive(f"{name} of {self._name}", "it is missing") from None
        except OSError as error:
            raise OpsError(f"Reading {name} of {self._name}", error.strerror or "it can't be read") from None

    def _number(self, value: int) -> bytes:
        return b"\0" + value.to_bytes(self._int_bytes, "little")
