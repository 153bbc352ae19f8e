"""Posts of the team's channels, kept in a private file so that they outlive a restart."""

from __future__ import annotations

import dataclasses
import json
import os
import secrets
import string
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

LONGEST: Final = 16_383
"""Characters that a post holds (server 5.0 and newer)."""


@dataclass(frozen=True)
class Post:
    """One message, as the channel shows it. `create_at` in milliseconds since 1970."""

    id: str
    create_at: int
    channel: str
    username: str
    message: str
    attachments: list[dict[str, Any]] = field(default_factory=list)
    priority: dict[str, Any] | None = None
    props: dict[str, Any] = field(default_factory=dict)


class Posts:
    """All posts, oldest first; each is appended to `path` as one JSON line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        self.all: list[Post] = [Post(**json.loads(line)) for line in lines]

    def add(self, channel: str, username: str, message: str, **fields: Any) -> Post:
        """Store one message and return it."""
        post = Post(identifier(), int(time.time() * 1000), channel, username, message, **fields)
        self.all.append(post)
        self._append(json.dumps(dataclasses.asdict(post), ensure_ascii=False))
        return post

    def clear(self) -> None:
        """Forget them."""
        self.all.clear()
        self.path.unlink(missing_ok=True)

    def _append(self, line: str) -> None:
        handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(handle, "a", encoding="utf-8") as file:
            file.write(f"{line}\n")


def split(text: str) -> list[str]:
    """What a webhook's long text becomes: several posts of at most LONGEST characters."""
    return [text[at : at + LONGEST] for at in range(0, len(text), LONGEST)] or [""]


def identifier() -> str:
    """26 characters, as all of Mattermost's identifiers."""
    return "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(26))
