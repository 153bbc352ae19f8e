"""Numbers of things as people say them."""

from __future__ import annotations


def number_of(number: int, thing: str, things: str = "") -> str:
    """`1 row`, `0 rows`, `1,234 rows`; `1 row goes`, `2 rows go`.

    + thing: what one of it is called
    + things: what any other number is called, where it is more than an s that differs
    """
    return f"{number:,} {thing if number == 1 else things or thing + 's'}"
