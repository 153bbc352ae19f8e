"""How this package says that an archive can't be used: one sentence, what is damaged, and where."""

from __future__ import annotations

from typing import Final

from tasks.core.errors import Refused

_LONGEST_SENTENCE: Final = 400
_FETCH_AGAIN: Final = (
    "fetch the backup again and compare its size and checksum; if it is the same, take another backup"
)


class DamagedArchive(Refused):
    """The file is an archive of pg_dump, and a part of it is missing or was changed."""

    def __init__(self, what: str, reply: str, *, next_step: str = _FETCH_AGAIN) -> None:
        super().__init__(printable(f"Reading {what}"), printable(reply), next_step=next_step)


class UnsupportedArchive(Refused):
    """The file is whole as far as it was read, and it is of a kind that this project does not restore."""

    def __init__(self, attempted: str, reply: str, *, next_step: str) -> None:
        super().__init__(printable(attempted), printable(reply), next_step=next_step)


def printable(text: str) -> str:
    """The text in one line of reasonable length: a name from a damaged file may hold anything."""
    shown = "".join(character if character.isprintable() else "?" for character in text)
    return shown if len(shown) <= _LONGEST_SENTENCE else shown[:_LONGEST_SENTENCE] + "..."
