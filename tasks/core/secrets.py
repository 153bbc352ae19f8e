"""Secrets as a type: they print as a name and a fingerprint, never as themselves."""

from __future__ import annotations

import hashlib
import hmac
import secrets as _random
from typing import Final

from tasks.core.likely_secrets import passwords_in

_KEY: Final = _random.token_bytes(32)
_known: set[str] = set()
_SHORTEST_REDACTED: Final = 6


class Secret:
    """A value that must not be seen.

    + name: what it is called, for people (`SCALINGO_API_TOKEN`)
    + value: the value itself, given out by `reveal` alone
    + redacted: whether `redact` takes it out of every text from now on; False for what merely need not be
      shown, as an application's variable that reads as an ordinary word (`tasks.core.likely_secrets`)

    Its text is the name and a short fingerprint, keyed anew in each process: two secrets of one run
    show whether they are the same, and nothing more.
    """

    __slots__ = ("_value", "name")

    def __init__(self, name: str, value: str, *, redacted: bool = True) -> None:
        self.name = name
        self._value = value
        if redacted:
            remember(value)

    def reveal(self) -> str:
        """The value itself: for a request's header, a connection, a child's standard input."""
        return self._value

    @property
    def fingerprint(self) -> str:
        """Six hexadecimal digits that are the same for the same value within one process."""
        return hmac.new(_KEY, self._value.encode(), hashlib.sha256).hexdigest()[:6]

    def __str__(self) -> str:
        return f"{self.name} (secret {self.fingerprint})"

    def __repr__(self) -> str:
        return f"Secret({self.name!r}, {self.fingerprint})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("a secret is not written to a file")


def remember(value: str) -> None:
    """Have `redact` replace this value from now on, wherever a text of others brings it back.

    The password in an address is replaced without the address too. What is shorter than six characters is
    not: it would be found within other words.
    """
    _known.update(one for one in (value, *passwords_in(value)) if len(one) >= _SHORTEST_REDACTED)


def redact(text: str) -> str:
    """The text without any secret that this process has met: the last line of defence, not the first."""
    for value in sorted(_known, key=len, reverse=True):
        text = text.replace(value, "[secret]")
    return text
