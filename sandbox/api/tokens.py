"""JSON web tokens of the platform, and signed addresses: what opens its APIs for an hour."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from typing import Any, Final

LIFETIME: Final = 3600
"""Seconds that a token lives."""


class Tokens:
    """Makes and checks tokens with the sandbox's own key (HS512)."""

    def __init__(self, key: str) -> None:
        self._key = key.encode()
        self.lifetime = LIFETIME
        self._expired_before = 0.0
        self._issued = 0

    def issue(self, **claims: str) -> str:
        """A token for an account (`uuid`) or an add-on (`addon_uuid`)."""
        self._issued += 1
        now = time.time()
        content = {
            "iss": "Scalingo",
            "iat": int(now),
            "exp": int(now) + self.lifetime,
            **claims,
            "rnd": secrets.token_hex(8),
            "issued_at": now,
        }
        head = _encode(json.dumps({"typ": "JWT", "alg": "HS512"}).encode())
        signed = f"{head}.{_encode(json.dumps(content).encode())}"
        return f"{signed}.{self._sign(signed)}"

    def read(self, token: str) -> dict[str, Any] | None:
        """The claims of a token that is ours and has not expired; None for any other."""
        signed, _, signature = token.rpartition(".")
        if not hmac.compare_digest(self._sign(signed).encode(), signature.encode()):
            return None
        claims: dict[str, Any] = json.loads(_decode(signed.split(".")[1]))
        if claims["exp"] <= time.time() or claims["issued_at"] <= self._expired_before:
            return None
        return claims

    def expire_all(self) -> None:
        """All tokens given out so far stop working, as if their hour were over."""
        self._expired_before = time.time()

    def sign_address(self, path: str, seconds: int) -> str:
        """`path` with a `token` that opens it for so many seconds, to whoever has it."""
        until = int(time.time()) + seconds
        return f"{path}?token={until}-{self._sign(f'{path} {until}')[:43]}"

    def opens(self, path: str, token: str) -> bool:
        """Whether `token`, from `sign_address`, still opens `path`."""
        until, _, signature = token.partition("-")
        if not until.isdigit() or int(until) < time.time():
            return False
        return hmac.compare_digest(self._sign(f"{path} {until}")[:43].encode(), signature.encode())

    def _sign(self, text: str) -> str:
        return _encode(hmac.new(self._key, text.encode(), hashlib.sha512).digest())


def _encode(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
