"""What every route works with, and the few answers that all of them share."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from aiohttp import web

from sandbox.api.failures import Failures
from sandbox.api.tokens import Tokens
from sandbox.api.writes import Writes
from sandbox.database.databases import Databases
from sandbox.platform.errors import BadRequest
from sandbox.platform.model import App, User
from sandbox.platform.platform import Platform
from sandbox.platform.store import Store
from sandbox.state import SandboxState


@dataclass
class Context:
    """The sandbox's parts as its routes see them."""

    state: SandboxState
    store: Store
    platform: Platform
    databases: Databases
    tokens: Tokens
    failures: Failures
    writes: Writes

    @property
    def base(self) -> str:
        """Address of the platform's APIs, without a path."""
        return self.state.url("platform")


CONTEXT: Final = web.AppKey("CONTEXT", Context)
USER: Final = "sandbox user"
"""Key of the signed-in user in a request."""
ADDON: Final = "sandbox addon"
"""Key of the add-on id that a database API request's token is for."""


def context(request: web.Request) -> Context:
    """The sandbox that this request came to."""
    return request.config_dict[CONTEXT]


def user(request: web.Request) -> User:
    """Who is signed in."""
    signed_in: User = request[USER]
    return signed_in


def app_of(request: web.Request) -> App:
    """The app that the path names, by id or name. Raises NotFound("app")."""
    return context(request).platform.app(request.match_info["app"])


def reply(
    content: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """A JSON answer."""
    return web.json_response(content, status=status, headers=headers)


def no_content(status: int = 204, headers: Mapping[str, str] | None = None) -> web.Response:
    """An answer without a body."""
    return web.Response(status=status, headers=headers)


async def body(request: web.Request, *keys: str) -> dict[str, Any]:
    """The request's JSON object, or the object under `keys` in it; {} for an empty body.

    Raises BadRequest where it is something else.
    """
    text = await request.text()
    try:
        content: Any = json.loads(text) if text.strip() else {}
    except ValueError:
        raise BadRequest("invalid JSON") from None
    for key in keys:
        content = content.get(key) if isinstance(content, dict) else None
        if content is None:
            raise BadRequest(f"{key} is required")
    if not isinstance(content, dict):
        raise BadRequest("a JSON object is expected")
    return content


def time(moment: datetime | None) -> str | None:
    """RFC 3339 with milliseconds, as the platform writes it."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z") if moment else None


def page(request: web.Request, items: list[dict[str, Any]], name: str, per_page: int = 20) -> web.Response:
    """One page of `items` under `name`, with the documented `meta.pagination`."""
    number = _positive(request.query.get("page"), 1)
    size = _positive(request.query.get("per_page"), per_page)
    pages = max(1, -(-len(items) // size))
    meta = {
        "current_page": number,
        "prev_page": number - 1 if number > 1 else None,
        "next_page": number + 1 if number < pages else None,
        "total_pages": pages,
        "total_count": len(items),
        "per_page": size,
    }
    return reply({name: items[(number - 1) * size : number * size], "meta": {"pagination": meta}})


def _positive(text: str | None, default: int) -> int:
    return int(text) if text and text.isdigit() and int(text) > 0 else default
