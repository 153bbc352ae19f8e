"""Failures that a test asks for: documented errors, HTML, slow answers, cut connections, rate limits."""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import web
from aiohttp.typedefs import Middleware

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

CONTROL_PREFIX: Final = "/_sandbox"
CUT_AFTER: Final = "cut after bytes"
BYTES_PER_SECOND: Final = "bytes per second"
RATE_LIMIT_PER_MINUTE: Final = 60
_HTML: Final = """<!DOCTYPE html>
<html><head><title>502 Bad Gateway</title></head>
<body><center><h1>502 Bad Gateway</h1></center><hr><center>nginx</center></body></html>
"""
_SENTENCES: Final = {
    400: "bad request",
    401: "Invalid credentials",
    402: "payment required",
    403: "forbidden",
    404: "not found",
    409: "conflict",
    500: "Internal server error",
    502: "Bad gateway",
    503: "Service unavailable",
    504: "Gateway timeout",
}


@dataclass
class Failure:
    """One rule. Empty parts of the match fit everything.

    + answer: a status (with the documented body), `html`, `cut` or `slow`
    + times: how often it happens; None is until cleared
    + seconds: for `slow`, how long before anything is answered
    + after_bytes: for `cut`, how much of a download's body is sent first
    + bytes_per_second: for `slow`, the speed of a download's body
    + body, headers: instead of the documented ones, for a status
    + skip: how many requests that match go through first
    """

    answer: int | str
    service: str = ""
    method: str = ""
    path: str = ""
    times: int | None = 1
    skip: int = 0
    seconds: float = 0.0
    after_bytes: int = 0
    bytes_per_second: int = 0
    body: str | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def fits(self, service: str, request: web.Request) -> bool:
        """Whether this request is one that the rule is for."""
        return (
            (not self.service or self.service == service)
            and (not self.method or self.method.upper() == request.method)
            and (not self.path or re.search(self.path, request.path) is not None)
        )


@dataclass(frozen=True)
class Recorded:
    """One request that came in."""

    at: float
    service: str
    method: str
    path: str
    status: int
    """0 where the connection was cut instead of an answer."""


class Failures:
    """The rules in force, and the log of requests."""

    def __init__(self) -> None:
        self.rules: list[Failure] = []
        self.requests: deque[Recorded] = deque(maxlen=20_000)
        self.rate_limit: int | None = None
        """Requests a minute, token exchanges not counted; None is no limit."""
        self._recent: deque[float] = deque()

    def add(self, values: Mapping[str, Any]) -> Failure:
        """A rule from its JSON form: `{"match": {"service", "method", "path"}, "answer": …, "times": …}`."""
        rule = Failure(**{**values.get("match", {}), **{k: v for k, v in values.items() if k != "match"}})
        if isinstance(rule.answer, str) and rule.answer not in ("html", "cut", "slow"):
            raise ValueError(f"answer is a status, html, cut or slow, not {rule.answer!r}")
        self.rules.append(rule)
        return rule

    def middleware(self, service: str | None = None) -> Middleware:
        """What makes one server's requests recorded, and failing where a rule says so.

        + service: what its requests are called; by path for the platform's own port
        """

        @web.middleware
        async def record_and_fail(request: web.Request, handler: Handler) -> web.StreamResponse:
            if request.path.startswith(CONTROL_PREFIX):
                return await handler(request)
            name = service or service_of(request.path)
            status = 0
            try:
                answer = await self._answer(name, request, handler)
                status = answer.status
                return answer
            except web.HTTPException as error:
                status = error.status
                raise
            finally:
                self.requests.append(Recorded(time.time(), name, request.method, request.path, status))

        return record_and_fail

    async def _answer(self, service: str, request: web.Request, handler: Handler) -> web.StreamResponse:
        if service.startswith("scalingo") and self._over_limit(request):
            return web.Response(status=429, text="Retry later\n")
        rule = self._next_rule(service, request)
        if rule is None:
            return await handler(request)
        if rule.answer == "slow":
            await asyncio.sleep(rule.seconds)
            request[BYTES_PER_SECOND] = rule.bytes_per_second
            return await handler(request)
        if rule.answer == "cut":
            if rule.after_bytes:
                request[CUT_AFTER] = rule.after_bytes
                return await handler(request)
            raise cut(request)
        if rule.answer == "html":
            return web.Response(status=502, text=_HTML, content_type="text/html", headers=rule.headers)
        assert isinstance(rule.answer, int)
        if rule.body is not None:
            return web.Response(status=rule.answer, text=rule.body, headers=rule.headers)
        return documented(service, rule.answer, rule.headers)

    def _next_rule(self, service: str, request: web.Request) -> Failure | None:
        for rule in self.rules:
            if not rule.fits(service, request):
                continue
            if rule.skip:
                rule.skip -= 1
                continue
            if rule.times is not None:
                rule.times -= 1
                if rule.times <= 0:
                    self.rules.remove(rule)
            return rule
        return None

    def _over_limit(self, request: web.Request) -> bool:
        if self.rate_limit is None or request.path.endswith("/tokens/exchange"):
            return False
        now = time.monotonic()
        while self._recent and now - self._recent[0] > 60:
            self._recent.popleft()
        if len(self._recent) >= self.rate_limit:
            return True
        self._recent.append(now)
        return False


def service_of(path: str) -> str:
    """What a request is for: scalingo-auth, scalingo, scalingo-db or scalingo-files."""
    first, _, rest = path.lstrip("/").partition("/")
    if first == "api":
        return "scalingo-db"
    if first != "v1":
        return "scalingo-files"
    return "scalingo-auth" if rest.split("/")[0] in ("tokens", "users", "regions", "keys") else "scalingo"


def documented(service: str, status: int, headers: Mapping[str, str] | None = None) -> web.Response:
    """The documented body for a status, in the words of the service."""
    sentence = _SENTENCES.get(status, "error")
    if status == 429 and service.startswith("scalingo"):
        return web.Response(status=429, text="Retry later\n", headers=headers)
    content: dict[str, Any] = {"error": sentence}
    if service == "github":
        content = {"message": "API rate limit exceeded" if status in (403, 429) else sentence.capitalize()}
    elif service == "mattermost":
        content = {"id": "sandbox.injected", "message": sentence, "request_id": "", "status_code": status}
    elif status == 402:
        content = {"name": "payment", "error": sentence, "url": "http://127.0.0.1/billing"}
    elif status == 404:
        content = {"resource": "app", "error": sentence}
    elif status == 422:
        content = {"errors": {"base": ["is invalid"]}}
    return web.json_response(content, status=status, headers=headers)


def cut(request: web.Request) -> ConnectionResetError:
    """Close the client's connection without another byte; raise what this returns."""
    if request.transport is not None:
        request.transport.abort()
    return ConnectionResetError("cut by a failure rule")
