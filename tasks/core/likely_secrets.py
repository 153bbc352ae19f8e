"""Which variables of an application could be secrets, and so must not show on screen.

An application's variables are many, and most are no secrets: to hide the value of each wherever it turns up
would take ordinary words ("production", an account's name, the site's host) out of every sentence. So a
value is hidden where its name says that it is one (KEY, SECRET, TOKEN, PASSWORD, DSN, WEBHOOK ...), where
it holds an address with credentials, or where it looks made by chance. It is left alone only where all of
it reads as words and numbers: a word, a host name, a version, a module's path, an e-mail address, a plain
URL, a list of those. What is neither is in doubt, and is hidden.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote, urlsplit

# Anywhere in a name, and at the end of one of its words ("APIKEY", "COMPASS" too: in doubt it is hidden).
_ANYWHERE: Final = re.compile(
    r"SECRET|TOKEN|PASSW|CREDENTIAL|WEBHOOK|PRIVATE|SIGNATURE|SIGNING|ENCRYPT|MOTDEPASSE|JETON"
)
_WORD_ENDS: Final = re.compile(
    r"(?:KEYS?|PASS|PASSE|PASSPHRASE|PWD|AUTH|DSN|SALT|PEPPER|CERT|PEM|JWT|OTP|PIN|COOKIE|NONCE|SEED|MDP|CLE)"
    r"(?![A-Z])"
)

_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://(?:(?!,[A-Za-z][A-Za-z0-9+.-]*://)[^\s\"'<>])+")
_ALIAS: Final = re.compile(r"\$\w+|\$\{\w+\}")
_WORD: Final = re.compile(r"[^\W_]+")
_LETTERS_THEN_DIGITS: Final = re.compile(r"[^\W\d_]+\d{1,5}")
_DIGITS_THEN_LETTERS: Final = re.compile(r"\d{1,12}[^\W\d_]{0,3}")
_HUMPS: Final = re.compile(r"[A-ZÀ-Þ]+(?![a-zß-ÿ])|[A-ZÀ-Þ]?[a-zß-ÿ]+")
_UNSPEAKABLE: Final = re.compile(r"[bcdfghjklmnpqrstvwxz]{6}", re.IGNORECASE)
_SYMBOLS_OF_PASSWORDS: Final = frozenset("!$^~\\`§£€")
_SHORTEST_BY_CHANCE: Final = 6
_LONGEST_WORD: Final = 32


def could_be_secret(name: str, value: str) -> bool:
    """Whether the value of a variable of this name is to be hidden wherever it shows."""
    return says_secret(name) or holds_credentials(value) or looks_random(value)


def says_secret(name: str) -> bool:
    """Whether the name alone says that its value is a secret."""
    upper = name.upper()
    return bool(_ANYWHERE.search(upper) or _WORD_ENDS.search(upper))


def holds_credentials(value: str) -> bool:
    """Whether an address in it names who logs in there: `scheme://user:password@host`, `scheme://key@host`."""
    return any("@" in url.partition("://")[2].partition("/")[0] for url in _URL.findall(value))


def passwords_in(value: str) -> Iterator[str]:
    """The passwords of the addresses in it, as written and as meant (`%40` is `@`)."""
    for url in _URL.findall(value):
        try:
            password = urlsplit(url).password
        except ValueError:
            continue
        if password:
            yield password
            yield unquote(password)


def looks_random(value: str) -> bool:
    """Whether some part of it reads neither as a word nor as a number."""
    if _ALIAS.fullmatch(value):
        return False
    if not re.search(r"\s", value) and _SYMBOLS_OF_PASSWORDS & set(value):
        return len(value) >= _SHORTEST_BY_CHANCE
    return any(not _ordinary(piece) for piece in _WORD.findall(value))


def _ordinary(piece: str) -> bool:
    if len(piece) < _SHORTEST_BY_CHANCE or _DIGITS_THEN_LETTERS.fullmatch(piece):
        return True
    if _LETTERS_THEN_DIGITS.fullmatch(piece):
        piece = piece.rstrip("0123456789")
    if not piece.isalpha() or _UNSPEAKABLE.search(piece):
        return False
    humps = _HUMPS.findall(piece) or [piece]
    return max(map(len, humps)) <= _LONGEST_WORD and (len(humps) == 1 or len(piece) / len(humps) >= 3)
