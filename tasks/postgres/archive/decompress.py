"""What compresses the rows of an archive: zlib's stream, one LZ4 frame or one Zstandard frame a block.

Each block is a stream of its own, so that blocks are read side by side. zlib's carries an Adler-32 of the
rows, the frames of pg_dump carry no checksum: what was damaged in them is found by the frame's own structure,
by the number of rows that the load gives, and by the checksum of the backup file around the archive.
(src/bin/pg_dump/compress_gzip.c, compress_lz4.c, compress_zstd.c)
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterator
from typing import Any, Final, Protocol

import lz4.frame

from tasks.postgres.archive.header import Compression

if sys.version_info >= (3, 14):
    from compression.zstd import DecompressionParameter, ZstdDecompressor, ZstdError
else:
    from backports.zstd import DecompressionParameter, ZstdDecompressor, ZstdError

_LARGEST_PIECE: Final = 2 << 20
_LARGEST_WINDOW: Final = 27
"""Power of two of the bytes that a Zstandard frame may ask us to remember; pg_dump's highest level does."""


class Undecodable(Exception):
    """The stream is not what it says; its text is the clause after the rows' name."""


class Decompressor(Protocol):
    """One block's stream, fed from front to back."""

    def feed(self, batch: bytes) -> Iterator[bytes]:
        """The pieces, of a few MiB at most, that further bytes give. Errors: Undecodable."""

    def finish(self) -> Iterator[bytes]:
        """What is left once all bytes are fed. Errors: Undecodable where the stream ends too early."""


def decompressor(compression: Compression) -> Decompressor:
    """A fresh one for a block."""
    match compression:
        case "lz4":
            return _Frame(lz4.frame.LZ4FrameDecompressor(), (RuntimeError, EOFError))
        case "zstd":
            options = {int(DecompressionParameter.window_log_max): _LARGEST_WINDOW}
            return _Frame(ZstdDecompressor(options=options), (ZstdError, EOFError))
        case _:
            return _Zlib()


class _Zlib:
    def __init__(self) -> None:
        self._inflater = zlib.decompressobj()

    def feed(self, batch: bytes) -> Iterator[bytes]:
        rest = batch
        while rest:
            if self._inflater.eof:
                raise Undecodable("bytes follow the end of the compressed rows")
            if piece := self._inflate(rest):
                yield piece
            rest = self._inflater.unconsumed_tail or self._inflater.unused_data

    def finish(self) -> Iterator[bytes]:
        while not self._inflater.eof:
            if piece := self._inflate(b""):
                yield piece
            elif not self._inflater.eof:
                raise Undecodable("the compressed rows end too early")

    def _inflate(self, data: bytes) -> bytes:
        try:
            return self._inflater.decompress(data, _LARGEST_PIECE)
        except zlib.error as error:
            if "incorrect data check" in str(error):
                raise Undecodable("the rows do not match their checksum") from None
            raise Undecodable("the compressed rows can't be decompressed") from None


class _Frame:
    """One frame, through the interface that the standard library's own decompressors have."""

    def __init__(self, frame: Any, errors: tuple[type[Exception], ...]) -> None:
        self._frame = frame
        self._errors = errors

    def feed(self, batch: bytes) -> Iterator[bytes]:
        if self._frame.eof:
            raise Undecodable("bytes follow the end of the compressed rows")
        data = batch
        while data or not (self._frame.needs_input or self._frame.eof):
            try:
                piece = self._frame.decompress(data, max_length=_LARGEST_PIECE)
            except self._errors:
                raise Undecodable("the compressed rows can't be decompressed") from None
            data = b""
            if piece:
                yield piece
        if self._frame.unused_data:
            raise Undecodable("bytes follow the end of the compressed rows")

    def finish(self) -> Iterator[bytes]:
        if not self._frame.eof:
            raise Undecodable("the compressed rows end too early")
        return iter(())
