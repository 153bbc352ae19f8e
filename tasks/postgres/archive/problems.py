"""How this package says that an archive can't be used: one sentence, what is damaged, and where."""

from __future__ import annotations

from tasks.core.errors import Refused

_FETCH_AGAIN = (
    "fetch the backup again and compare its size and checksum; if it is the same, take another backup"
)


class DamagedArchive(Refused):
    """The file is an archive of pg_dump, and a part of it is missing or was changed."""

    def __init__(self, what: str, reply: str, *, next_step: str = _FETCH_AGAIN) -> None:
        super().__init__(f"Reading {what}", reply, next_step=next_step)


class UnsupportedArchive(Refused):
    """The file is whole as far as it was read, and it is of a kind that this project does not restore."""
