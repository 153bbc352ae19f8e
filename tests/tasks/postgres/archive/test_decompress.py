"""The streams that an archive's rows may be compressed with: whole, cut, followed by more, and bombs."""

from __future__ import annotations

import zlib

import lz4.frame
import pytest
from backports import zstd

from tasks.postgres.archive.decompress import Undecodable, decompressor

ROWS = b"".join(b"%d\tplace number %d\n" % (number, number) for number in range(200_000))
COMPRESS = {
    "gzip": zlib.compress,
    "lz4": lz4.frame.compress,
    "zstd": zstd.compress,
}
KINDS = pytest.mark.parametrize("kind", COMPRESS)


def fed(kind: str, content: bytes, size: int = 50_000) -> list[bytes]:
    stream = decompressor(kind)
    pieces = [
        piece
        for start in range(0, len(content), size)
        for piece in stream.feed(content[start : start + size])
    ]
    return [*pieces, *stream.finish()]


@KINDS
@pytest.mark.parametrize("size", [1000, 50_000, 1 << 30])
def test_whole_whatever_the_chunks(kind: str, size: int) -> None:
    assert b"".join(fed(kind, COMPRESS[kind](ROWS), size)) == ROWS


@KINDS
@pytest.mark.parametrize("missing", [1, 5, 10_000])
def test_end_that_is_missing(kind: str, missing: int) -> None:
    with pytest.raises(Undecodable, match="end too early"):
        fed(kind, COMPRESS[kind](ROWS)[:-missing])


@KINDS
@pytest.mark.parametrize("more", [b"x", b"more than one byte"])
@pytest.mark.parametrize("size", [50_000, 1 << 30])
def test_bytes_after_the_end(kind: str, more: bytes, size: int) -> None:
    with pytest.raises(Undecodable, match="bytes follow the end"):
        fed(kind, COMPRESS[kind](ROWS) + more, size)


@KINDS
def test_what_is_no_such_stream(kind: str) -> None:
    with pytest.raises(Undecodable, match="can't be decompressed"):
        fed(kind, b"rows as they are, not compressed at all\n" * 100)


@KINDS
def test_bomb_comes_in_small_pieces(kind: str) -> None:
    """300 MB of zeroes in little: no piece takes more memory than any other archive's."""
    packed = COMPRESS[kind](bytes(300 << 20))
    stream = decompressor(kind)
    largest = total = 0
    for start in range(0, len(packed), 1 << 20):
        for piece in stream.feed(packed[start : start + (1 << 20)]):
            largest, total = max(largest, len(piece)), total + len(piece)
    for piece in stream.finish():
        largest, total = max(largest, len(piece)), total + len(piece)
    assert total == 300 << 20
    assert largest <= 2 << 20
