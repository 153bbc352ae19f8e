"""The bytes of a custom-format archive as the fields they hold: integers, strings, offsets.

The layout is that of PostgreSQL's own `pg_dump` (src/bin/pg_dump/pg_backup_archiver.c): an integer is a
sign byte and the header's number of little-endian bytes; a string is an integer length (-1: none) and its
bytes; an offset is a state byte and the header's number of little-endian bytes.
"""

from __future__ import annotations

from typing import Final, Protocol

from tasks.postgres.archive.problems import DamagedArchive

READ_AHEAD: Final = 1 << 20
LONGEST_STRING: Final = 256 << 20


class Stream(Protocol):
    """What a source reads from: at most about `count` bytes at a time, b"" at the end."""

    def read(self, count: int = -1, /) -> bytes: ...


class Source:
    """A forward reader over an archive that knows at which byte it is, and what it was reading.

    + stream: the archive's bytes, read once from front to back
    + name: what the archive is called in an error's sentence
    + position: the byte of the archive at which `stream` stands
    + size: the archive's length in bytes, where it is known; a length field beyond it is damage

    `buffer` and `cursor` are open to the loop over data blocks, which is the only hot one.
    """

    __slots__ = ("_base", "_stream", "buffer", "cursor", "int_bytes", "name", "offset_bytes", "size", "what")

    def __init__(self, stream: Stream, name: str, *, position: int = 0, size: int | None = None) -> None:
        self._stream = stream
        self._base = position
        self.name = name
        self.size = size
        self.buffer = b""
        self.cursor = 0
        self.what = "the header"
        self.int_bytes = 4
        self.offset_bytes = 8

    @property
    def position(self) -> int:
        """The byte of the archive that is read next."""
        return self._base + self.cursor

    def damage(self, reply: str, *, at: int | None = None) -> DamagedArchive:
        """The error for something that can't be, in the part being read now."""
        where = self.position if at is None else at
        return DamagedArchive(f"{self.what} of {self.name} at byte {where}", reply)

    def refill(self, wanted: int) -> None:
        """Have at least `wanted` bytes at the cursor, or say that the file ends here.

        Errors: DamagedArchive.
        """
        pieces = [self.buffer[self.cursor :]]
        have = len(pieces[0])
        self._base += self.cursor
        self.cursor = 0
        while have < wanted:
            piece = self._stream.read(max(READ_AHEAD, min(wanted - have, READ_AHEAD * 16)))
            if not piece:
                self.buffer = b"".join(pieces)
                raise self.damage(f"the file ends at byte {self._base + have}", at=self._base)
            pieces.append(piece)
            have += len(piece)
        self.buffer = b"".join(pieces)

    def at_end(self) -> bool:
        """Whether the archive has no further byte."""
        if self.cursor < len(self.buffer):
            return False
        piece = self._stream.read(READ_AHEAD)
        self._base += self.cursor
        self.cursor = 0
        self.buffer = piece
        return not piece

    def take(self, count: int) -> bytes:
        """The next `count` bytes. Errors: DamagedArchive where the file ends before."""
        if self.size is not None and count > self.size - self.position:
            raise self.damage(f"{count} more bytes are announced, and the file ends at byte {self.size}")
        if len(self.buffer) - self.cursor < count:
            self.refill(count)
        start = self.cursor
        self.cursor = start + count
        return self.buffer[start : start + count]

    def byte(self) -> int:
        """The next byte as a number."""
        return self.take(1)[0]

    def integer(self) -> int:
        """The next integer: sign byte, then magnitude."""
        field = self.take(1 + self.int_bytes)
        if field[0] > 1:
            raise self.damage(f"a number has the sign {field[0]}, which is neither 0 nor 1")
        magnitude = int.from_bytes(field[1:], "little")
        return -magnitude if field[0] else magnitude

    def string(self) -> bytes | None:
        """The next string, not decoded; None where the archive has none."""
        length = self.integer()
        if length < 0:
            if length != -1:
                raise self.damage(f"a text has the length {length}")
            return None
        if length > LONGEST_STRING:
            raise self.damage(f"a text has the length {length}, more than {LONGEST_STRING} bytes")
        return self.take(length)

    def offset(self) -> tuple[int, int]:
        """The next file offset: its state byte and the offset."""
        field = self.take(1 + self.offset_bytes)
        return field[0], int.from_bytes(field[1:], "little")
