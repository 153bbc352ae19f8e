"""A gzip file's contents in pieces, verified by its own checksum, never more at once than asked for."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import BinaryIO, Final

from tasks.postgres.archive.background import Meter
from tasks.postgres.archive.problems import DamagedArchive
from tasks.postgres.archive.recognition import GZIP_MAGIC

_READ: Final = 256 << 10
_LARGEST_PIECE: Final = 1 << 20
_GZIP_WINDOW: Final = 31


def decompressed(file: BinaryIO, name: str, meter: Meter) -> Iterator[bytes]:
    """The contents of all members of a gzip file, which may be followed by zero bytes.

    Errors: DamagedArchive with the byte of the compressed file near which it is damaged or cut.
    """
    inflater = zlib.decompressobj(_GZIP_WINDOW)
    within = False
    while batch := file.read(_READ):
        meter.advance(len(batch))
        rest = batch
        while rest:
            if not within:
                rest = rest.lstrip(b"\0")
                if not rest:
                    break
                if not GZIP_MAGIC.startswith(rest[:2]):
                    raise _damage(name, meter, "something else follows its compressed contents")
                inflater = zlib.decompressobj(_GZIP_WINDOW)
                within = True
            try:
                piece = inflater.decompress(rest, _LARGEST_PIECE)
            except zlib.error as error:
                raise _damage(name, meter, _sentence(error)) from None
            if inflater.eof:
                within = False
                rest = inflater.unused_data
            else:
                rest = inflater.unconsumed_tail
            if piece:
                yield piece
    while within:
        piece = inflater.decompress(b"", _LARGEST_PIECE)
        if not piece:
            raise DamagedArchive(
                name, f"it is cut: the file ends at byte {meter.done}, within its compressed contents"
            )
        yield piece
        within = not inflater.eof


def _damage(name: str, meter: Meter, what: str) -> DamagedArchive:
    return DamagedArchive(f"{name} near byte {meter.done}", what)


def _sentence(error: zlib.error) -> str:
    text = str(error)
    if "data check" in text or "length check" in text:
        return "its contents do not match their checksum"
    return "its contents can't be decompressed"
