"""Scenarios: what ran on a commit, where a tag points, how many requests are left."""

from __future__ import annotations

import hmac
from typing import Any

from aiohttp import web

from sandbox.demo import repository as demo
from sandbox.github.api import Hub
from sandbox.github.checks import CheckRun, Status

HEADER = "X-Sandbox-Secret"


def routes(hub: Hub, secret: str) -> list[web.RouteDef]:
    """PUT and DELETE `/_sandbox/checks`, PUT `/_sandbox/tags/NAME`, PUT `/_sandbox/rate_limit`."""

    async def body(request: web.Request) -> dict[str, Any]:
        if not hmac.compare_digest(request.headers.get(HEADER, ""), secret):
            raise web.HTTPForbidden(text=f"The header {HEADER} must hold the sandbox's control secret.\n")
        return dict(await request.json()) if request.can_read_body else {}

    async def set_checks(request: web.Request) -> web.Response:
        given = await body(request)
        sha = await _commit(hub, given["ref"])
        try:
            runs = tuple(CheckRun(**run) for run in given.get("runs", ()))
            statuses = tuple(Status(**status) for status in given.get("statuses", ()))
        except (TypeError, ValueError) as error:
            raise web.HTTPUnprocessableEntity(text=f"{error}\n") from None
        hub.checks.set(sha, runs, statuses)
        return web.json_response({"sha": sha})

    async def reset_checks(request: web.Request) -> web.Response:
        await body(request)
        hub.checks.reset()
        return web.Response(status=204)

    async def move_tag(request: web.Request) -> web.Response:
        sha = await _commit(hub, (await body(request))["ref"])
        demo.git(hub.repository.path, "update-ref", f"refs/tags/{request.match_info['name']}", sha)
        return web.json_response({"sha": sha})

    async def limit(request: web.Request) -> web.Response:
        hub.rate.limits |= {name: int(number) for name, number in (await body(request)).items()}
        return web.json_response(hub.rate.limits)

    return [
        web.put("/_sandbox/checks", set_checks),
        web.delete("/_sandbox/checks", reset_checks),
        web.put("/_sandbox/tags/{name:.+}", move_tag),
        web.put("/_sandbox/rate_limit", limit),
    ]


async def _commit(hub: Hub, ref: str) -> str:
    sha = await hub.repository.resolve(ref)
    if sha is None:
        raise web.HTTPUnprocessableEntity(text=f"There is no commit, tag or branch {ref}.\n")
    return sha
