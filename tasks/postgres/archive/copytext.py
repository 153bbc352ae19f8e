"""The values in COPY text: tab-separated columns, backslash escapes, `\\N` for NULL.

Format: https://www.postgresql.org/docs/current/sql-copy.html (Text Format).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from tasks.postgres.archive.toc import Entry
from tasks.postgres.lexer import tokens

_ESCAPE: Final = re.compile(rb"\\(x[0-9A-Fa-f]{1,2}|[0-7]{1,3}|.)", re.DOTALL)
_LETTERS: Final = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}


def columns(entry: Entry) -> tuple[str, ...]:
    """The column names of a TABLE DATA entry's COPY statement; () where it lists none."""
    names: list[str] = []
    inside = False
    for token in tokens(entry.copy_statement or ""):
        if token.text == "(":
            inside = True
        elif token.text == ")":
            break
        elif inside and token.name is not None:
            names.append(token.name)
    return tuple(names)


def rows(pieces: Iterable[bytes]) -> Iterator[tuple[bytes | None, ...]]:
    """The rows of COPY text, each a tuple of values; None for NULL. Pieces may end anywhere."""
    rest = b""
    for piece in pieces:
        lines = (rest + piece).split(b"\n")
        rest = lines.pop()
        for line in lines:
            yield tuple(_value(field) for field in line.split(b"\t"))
    if rest:
        yield tuple(_value(field) for field in rest.split(b"\t"))


def _value(field: bytes) -> bytes | None:
    if field == b"\\N":
        return None
    if b"\\" not in field:
        return field
    return _ESCAPE.sub(_unescaped, field)


def _unescaped(found: re.Match[bytes]) -> bytes:
    what = found.group(1)
    if what in _LETTERS:
        return _LETTERS[what]
    if what[:1] == b"x" and len(what) > 1:
        return bytes([int(what[1:], 16)])
    if what.isdigit() and what[0] < ord("8"):
        return bytes([int(what, 8) & 255])
    return what
