"""Archives of every version, made from one of the newest."""

from __future__ import annotations

import struct
import zlib

import lz4.frame
import pytest
from backports import zstd


@pytest.fixture(scope="session")
def as_version():
    """Writes an archive of version 1.16 again: as an older one, with wider numbers, compressed otherwise."""
    return rewritten


# One frame a block, without checksums: what pg_dump writes (compress_lz4.c, compress_zstd.c).
COMPRESSED = {
    "lz4": lambda rows: lz4.frame.compress(rows, store_size=False),
    "zstd": zstd.compress,
}


def in_chunks(content: bytes, size: int = 4096) -> list[bytes]:
    return [content[start : start + size] for start in range(0, len(content), size)]


def rewritten(
    archive: bytes, version: tuple[int, int], int_bytes: int = 4, compression: str | None = None
) -> bytes:
    place = 0

    def take(count: int) -> bytes:
        nonlocal place
        place += count
        return archive[place - count : place]

    def number() -> int:
        sign, magnitude = struct.unpack("<BI", take(5))
        return -magnitude if sign else magnitude

    def text() -> bytes | None:
        length = number()
        return None if length < 0 else take(length)

    def write_number(value: int) -> bytes:
        return bytes([value < 0]) + abs(value).to_bytes(int_bytes, "little")

    def write_text(value: bytes | None) -> bytes:
        return write_number(-1) if value is None else write_number(len(value)) + value

    assert take(11) == b"PGDMP\x01\x10\x00\x04\x08\x01"
    out = bytearray(b"PGDMP" + bytes([*version, 0, int_bytes, 8, 1]))
    algorithm = take(1)
    if compression is not None:
        assert (algorithm, version) == (b"\x01", (1, 16))
        algorithm = bytes([{"lz4": 2, "zstd": 3}[compression]])
    out += algorithm if version >= (1, 15) else write_number(-1 if algorithm == b"\x01" else 0)
    for _ in range(7):
        out += write_number(number())
    for _ in range(3):
        out += write_text(text())
    count = number()
    out += write_number(count)
    for _ in range(count):
        out += write_number(number()) + write_number(number())
        for _ in range(4):
            out += write_text(text())
        out += write_number(number())
        for _ in range(5):
            out += write_text(text())
        access_method, relkind = text(), number()
        if version >= (1, 14):
            out += write_text(access_method)
        if version >= (1, 16):
            out += write_number(relkind)
        out += write_text(text()) + write_text(text())
        while (dependency := text()) is not None:
            out += write_text(dependency)
        out += write_text(None)
        # Offsets would be others now: written as not set, as pg_dump into a pipe does.
        out += bytes([1 if (state := take(1)[0]) == 2 else state]) + bytes(8)
        take(8)
    while place < len(archive):
        out += take(1) + write_number(number())
        chunks = []
        while length := number():
            chunks.append(take(length))
        if compression is not None:
            chunks = in_chunks(COMPRESSED[compression](zlib.decompress(b"".join(chunks))))
        for chunk in chunks:
            out += write_number(len(chunk)) + chunk
        out += write_number(0)
    return bytes(out)
