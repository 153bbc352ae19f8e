"""The data blocks of a custom-format archive: rows of one table each, or large objects.

A block is a type byte (1 rows, 3 large objects), the entry's number, and chunks: an integer length and that
many bytes; length 0 ends it. The chunks of a compressed archive make one stream (`decompress`). Large
objects are one such chunk list each, preceded by its number; 0 ends them.
(src/bin/pg_dump/pg_backup_custom.c)
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from tasks.postgres.archive.decompress import Undecodable, decompressor
from tasks.postgres.archive.header import Compression
from tasks.postgres.archive.source import Source

ROWS: Final = 1
LARGE_OBJECTS: Final = 3
END_OF_ROWS: Final = b"\\.\n\n\n"

_BATCH: Final = 128 << 10
_LONGEST_UNCOMPRESSED_CHUNK: Final = 1 << 30
_LONGEST_CHUNK: Final = 64 << 20
_FOUR_BYTE_NUMBER: Final = struct.Struct("<BI")


def block_start(source: Source) -> tuple[int, int]:
    """The type and the entry's number at a block's beginning."""
    at = source.position
    kind = source.byte()
    if kind not in (ROWS, LARGE_OBJECTS):
        raise source.damage(f"no data block begins here (type {kind})", at=at)
    return kind, source.integer()


def toc_follows(source: Source) -> bool:
    """Whether a table of contents begins here and no block: its count's sign byte is no block's type."""
    return not source.at_end() and source.buffer[source.cursor] == 0


def contents(source: Source, compression: Compression) -> Iterator[bytes]:
    """The block's bytes as they were written, in pieces of at most a few MiB; read to the block's end.

    Errors: DamagedArchive for a chunk that is cut, a stream that does not inflate or has a wrong checksum.
    """
    if compression == "none":
        yield from _chunks(source, compression)
    else:
        yield from _decompressed(source, compression)


def _chunks(source: Source, compression: Compression) -> Iterator[bytes]:
    """The chunks' bytes, joined to batches: pg_dump writes 4 KiB a chunk, or one row."""
    width = 1 + source.int_bytes
    longest = _LONGEST_UNCOMPRESSED_CHUNK if compression == "none" else _LONGEST_CHUNK
    parts: list[bytes] = []
    waiting = 0
    while True:
        if len(source.buffer) - source.cursor < width:
            source.refill(width)
        if width == _FOUR_BYTE_NUMBER.size:
            sign, length = _FOUR_BYTE_NUMBER.unpack_from(source.buffer, source.cursor)
        else:
            sign = source.buffer[source.cursor]
            length = int.from_bytes(source.buffer[source.cursor + 1 : source.cursor + width], "little")
        if sign or length > longest:
            raise source.damage(f"a chunk has the length {'-' if sign else ''}{length}")
        source.cursor += width
        if not length:
            break
        start = source.cursor
        end = start + length
        if end <= len(source.buffer):
            parts.append(source.buffer[start:end])
            source.cursor = end
        else:
            parts.append(source.take(length))
        waiting += length
        if waiting >= _BATCH:
            yield b"".join(parts)
            parts.clear()
            waiting = 0
    if parts:
        yield b"".join(parts)


def _decompressed(source: Source, compression: Compression) -> Iterator[bytes]:
    stream = decompressor(compression)
    empty = True
    try:
        for batch in _chunks(source, compression):
            empty = False
            yield from stream.feed(batch)
        if not empty:
            yield from stream.finish()
    except Undecodable as problem:
        raise source.damage(str(problem)) from None


def rows(source: Source, compression: Compression) -> Iterator[bytes]:
    r"""The COPY text of a block without the `\.` that ends it.

    Errors: DamagedArchive, also where that end is missing.
    """
    held = last = b""
    for piece in contents(source, compression):
        if held:
            piece = held + piece
        if len(piece) > len(END_OF_ROWS):
            last = piece[-len(END_OF_ROWS) - 1 : -len(END_OF_ROWS)]
            yield piece[: -len(END_OF_ROWS)]
            piece = piece[-len(END_OF_ROWS) :]
        held = piece
    if not ends_well(last + held):
        raise source.damage("the rows lack their end mark")


def ends_well(tail: bytes) -> bool:
    """Whether a block's last bytes (the end mark's and one more, if there are) are a row's end and it."""
    return tail in (END_OF_ROWS, b"\n" + END_OF_ROWS)


def skip(source: Source, kind: int, compression: Compression) -> None:
    """Pass over the rest of a block whose type and number were read."""
    if kind == ROWS:
        for _ in _chunks(source, compression):
            pass
        return
    while source.integer():
        for _ in _chunks(source, compression):
            pass
