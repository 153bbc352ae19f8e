"""Incoming webhooks, as developers.mattermost.com documents them: what they take, what they answer."""

from __future__ import annotations

import json
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import web

from sandbox.mattermost.posts import Posts, identifier, split

RATE: Final = 10  # requests a second where the limit is on
BURST: Final = 100
CHANNEL: Final = "tour-de-controle"
BOT: Final = "webhook"


class Refusal(Exception):
    """An answer that is not 200: status, Mattermost's error id, a sentence."""

    def __init__(self, status: int, error: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.body = {
            "id": error,
            "message": message,
            "detailed_error": "",
            "request_id": identifier(),
            "status_code": status,
        }


@dataclass
class Settings:
    """The server's configuration, which a scenario changes."""

    enabled: bool = True
    allow_overrides: bool = False
    """Whether `username`, `icon_url` and `icon_emoji` are honoured; ignored without a word otherwise."""
    channel_locked: bool = False
    rate_limited: bool = False
    channels: list[str] = field(default_factory=lambda: [CHANNEL, "town-square"])
    users: list[str] = field(default_factory=lambda: ["operator"])


class Team:
    """One team with one incoming webhook, which posts to CHANNEL unless told otherwise."""

    def __init__(self, hook: str, posts: Posts) -> None:
        """`hook`: the webhook's id, the only secret of its address."""
        self.hook = hook
        self.posts = posts
        self.settings = Settings()
        self._recent: deque[float] = deque(maxlen=BURST)

    async def receive(self, request: web.Request) -> web.Response:
        """POST /hooks/{id}: text `ok`, or a documented refusal."""
        if self.settings.rate_limited and self._over_limit():
            headers = {
                "X-Ratelimit-Limit": str(BURST),
                "X-Ratelimit-Remaining": "0",
                "X-Ratelimit-Reset": "1",
            }
            return web.Response(status=429, text="limit exceeded", headers=headers)
        try:
            self._post(request.match_info["hook"], await _payload(request))
        except Refusal as refusal:
            return web.json_response(refusal.body, status=refusal.status)
        return web.Response(text="ok")

    def _post(self, hook: str, payload: dict[str, Any]) -> None:
        if not self.settings.enabled:
            raise Refusal(
                501, "web.incoming_webhook.disabled.app_error", "Incoming webhooks have been disabled."
            )
        if hook != self.hook:
            raise Refusal(400, "web.incoming_webhook.invalid.app_error", "Invalid webhook.")
        text, attachments = payload.get("text") or "", payload.get("attachments") or []
        if not isinstance(text, str) or not isinstance(attachments, list):
            raise _unreadable()
        if not text and not attachments:
            raise Refusal(400, "web.incoming_webhook.text.app_error", "No text specified.")
        kind = payload.get("type") or ""
        if kind and not kind.startswith("custom_"):
            raise Refusal(400, "model.post.is_valid.type.app_error", "Invalid type.")
        channel = self._channel(payload.get("channel") or "")
        username = payload.get("username") if self.settings.allow_overrides else None
        *first, last = split(text)
        for part in first:
            self.posts.add(channel, username or BOT, part)
        self.posts.add(
            channel,
            username or BOT,
            last,
            attachments=attachments,
            priority=payload.get("priority"),
            props=payload.get("props") or {},
        )

    def _channel(self, given: str) -> str:
        if not given:
            return CHANNEL
        if self.settings.channel_locked and given.lstrip("#") != CHANNEL:
            raise Refusal(
                403, "web.incoming_webhook.channel_locked.app_error", "This webhook is locked to its channel."
            )
        if given.startswith("@"):
            if given[1:] not in self.settings.users:
                raise Refusal(
                    400, "web.incoming_webhook.user.app_error", f"Couldn't find the user: {given[1:]}."
                )
            return given
        if given.lstrip("#") not in self.settings.channels:
            raise Refusal(404, "web.incoming_webhook.channel.app_error", "Couldn't find the channel.")
        return given.lstrip("#")

    def _over_limit(self) -> bool:
        """A burst at once is fine; after it, no more than RATE a second."""
        now = time.monotonic()
        full = len(self._recent) == BURST
        if full and now - self._recent[0] < BURST / RATE:
            return True
        self._recent.append(now)
        return False


async def _payload(request: web.Request) -> dict[str, Any]:
    """The JSON object, sent as the body, as the form field `payload`, or as a multipart form's fields."""
    kind = request.content_type if request.headers.get("Content-Type") else "application/json"
    try:
        if kind == "application/json":
            content: Any = json.loads(await request.text(), strict=False)
        elif kind == "application/x-www-form-urlencoded":
            content = json.loads(str((await request.post())["payload"]), strict=False)
        elif kind == "multipart/form-data":
            form = await request.post()
            content = json.loads(str(form["payload"])) if "payload" in form else dict(form)
        else:
            raise Refusal(400, "api.webhook.incoming.error", f"Could not decode the payload of type {kind}.")
    except (KeyError, ValueError):
        raise _unreadable() from None
    if not isinstance(content, dict):
        raise _unreadable()
    return content


def _unreadable() -> Refusal:
    return Refusal(400, "model.incoming_hook.parse_data.app_error", "Unable to parse incoming data.")
