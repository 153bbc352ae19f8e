"""What every answer of the REST API has: error bodies, rate limit, versions, ETags, pages."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Item = TypeVar("Item")

DOCUMENTATION: Final = "https://docs.github.com/rest"
VERSIONS: Final = ("2022-11-28", "2026-03-10")
HOUR: Final = 3600
MOST_ON_A_PAGE: Final = 100


class ApiError(Exception):
    """An answer that is not 2xx, with GitHub's body for it."""

    def __init__(self, status: int, message: str, **fields: Any) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"message": message, "documentation_url": DOCUMENTATION, "status": str(status)} | fields


def not_found() -> ApiError:
    """Also for what exists but may not be seen."""
    return ApiError(404, "Not Found")


def no_commit(ref: str) -> ApiError:
    """The answer for a commit that the repository doesn't have."""
    return ApiError(422, f"No commit found for SHA: {ref}")


@dataclass
class RateLimit:
    """The primary limit: requests an hour for each caller. A scenario may lower `limits`."""

    limits: dict[str, int] = field(default_factory=lambda: {"anonymous": 60, "token": 5000})
    used: dict[str, int] = field(default_factory=dict)
    resets: dict[str, int] = field(default_factory=dict)

    def take(self, caller: str) -> bool:
        """Count one request; False when there is none left."""
        self._roll(caller)
        if self.used[caller] >= self.limits[caller]:
            return False
        self.used[caller] += 1
        return True

    def give_back(self, caller: str) -> None:
        """A request that turned out to be free."""
        self.used[caller] -= 1

    def headers(self, caller: str) -> dict[str, str]:
        """The x-ratelimit headers."""
        return {f"x-ratelimit-{name}": str(value) for name, value in self.state(caller).items()}

    def state(self, caller: str) -> dict[str, Any]:
        """As /rate_limit shows it; `reset` in seconds since 1970."""
        self._roll(caller)
        limit, used = self.limits[caller], self.used[caller]
        return {
            "limit": limit,
            "remaining": max(limit - used, 0),
            "used": used,
            "reset": self.resets[caller],
            "resource": "core",
        }

    def _roll(self, caller: str) -> None:
        now = int(time.time())
        if self.resets.get(caller, 0) <= now:
            self.resets[caller], self.used[caller] = now + HOUR, 0


def guarded(handler: Handler, token: str, rate: RateLimit, free: bool = False) -> Handler:
    """The handler behind what every call checks: who asks, how often, in which version, with which ETag."""

    async def answer(request: web.Request) -> web.StreamResponse:
        caller = "anonymous"
        try:
            caller = _caller(request, token)
            if not free and not rate.take(caller):
                who = "user" if caller == "token" else request.remote
                raise ApiError(403, f"API rate limit exceeded for {who}.")
            _check_headers(request)
            response = await handler(request)
            if _is_known(request, response):
                response = web.Response(status=304, headers={"ETag": response.headers["ETag"]})
                if caller == "token":
                    rate.give_back(caller)
        except ApiError as error:
            response = web.json_response(error.body, status=error.status)
        response.headers.update(rate.headers(caller))
        version = request.headers.get("X-GitHub-Api-Version", VERSIONS[0])
        response.headers["x-github-api-version-selected"] = version
        return response

    return answer


def page(request: web.Request, items: Sequence[Item]) -> tuple[list[Item], dict[str, str]]:
    """The part of a list that `per_page` and `page` ask for, and the Link header that leads on."""
    size = min(_number(request, "per_page", 30), MOST_ON_A_PAGE)
    number = _number(request, "page", 1)
    last = max(1, -(-len(items) // size))
    links = []
    if number > 1:
        links += [("prev", min(number - 1, last)), ("first", 1)]
    if number < last:
        links += [("next", number + 1), ("last", last)]
    header = ", ".join(
        f'<{request.url.update_query(per_page=size, page=target)}>; rel="{name}"' for name, target in links
    )
    return list(items[(number - 1) * size : number * size]), {"Link": header} if header else {}


def reply(body: Any, headers: dict[str, str] | None = None) -> web.Response:
    """A JSON answer with an ETag of its content."""
    text = json.dumps(body, ensure_ascii=False)
    tag = hashlib.sha256(text.encode()).hexdigest()
    return web.json_response(text=text, headers={"ETag": f'W/"{tag}"'} | (headers or {}))


def _caller(request: web.Request, token: str) -> str:
    given = request.headers.get("Authorization", "")
    if not given:
        return "anonymous"
    scheme, _, value = given.partition(" ")
    if scheme.lower() in ("bearer", "token") and value.strip() == token:
        return "token"
    raise ApiError(401, "Bad credentials")


def _check_headers(request: web.Request) -> None:
    if not request.headers.get("User-Agent"):
        raise ApiError(403, "Request forbidden by administrative rules. Please add a User-Agent header.")
    version = request.headers.get("X-GitHub-Api-Version", VERSIONS[0])
    if version not in VERSIONS:
        raise ApiError(400, f'"{version}" is not a supported version of the API.')


def _is_known(request: web.Request, answer: web.StreamResponse) -> bool:
    tag = answer.headers.get("ETag")
    return tag is not None and tag in request.headers.get("If-None-Match", "")


def _number(request: web.Request, name: str, default: int) -> int:
    text = request.query.get(name, "")
    return max(int(text), 1) if text.isdecimal() else default
