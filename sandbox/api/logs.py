"""Logs of an app and of its database: an address first, then the lines, as text or live over a websocket."""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import web

from sandbox.api import views
from sandbox.api.context import app_of, context, reply, time
from sandbox.api.sockets import PING_SECONDS, tell
from sandbox.platform.errors import BadRequest
from sandbox.platform.model import now

routes = web.RouteTableDef()
ADDRESS_SECONDS: Final = 3600
DEFAULT_LINES: Final = 20


@routes.get("/v1/apps/{app}/logs")
async def address(request: web.Request) -> web.Response:
    """Where the log is read, with a token in the query and no header."""
    here, app = context(request), app_of(request)
    path = here.tokens.sign_address(f"/logs/{app.id}", ADDRESS_SECONDS)
    return reply({"logs_url": here.base + path, "app": views.app(here, app)})


@routes.get("/logs/{app}")
async def read(request: web.Request) -> web.StreamResponse:
    """The last `n` lines that fit `filter`; 204 where there are none; live ones with `stream=true`."""
    here, app = context(request), app_of(request)
    if not here.tokens.opens(request.path, request.query.get("token", "")):
        return reply({"error": "unauthorized"}, 401)
    source = request.query.get("filter", "")
    if request.query.get("stream") == "true":
        return await _follow(request, source)
    count = request.query.get("n", "")
    lines = here.platform.logs(app, int(count) if count.isdigit() else DEFAULT_LINES, source)
    if not lines:
        return web.Response(status=204)
    return web.Response(text="".join(f"{line.render()}\n" for line in lines))


@routes.get("/v1/apps/{app}/logs_archives")
async def archives(request: web.Request) -> web.Response:
    """The sandbox keeps no archives of logs."""
    app_of(request)
    return reply({"archives": [], "next_cursor": "", "has_more": False})


@routes.get("/api/databases/{addon}/logs")
async def database_address(request: web.Request) -> web.Response:
    """The server's log is one for all databases of the sandbox, so that it is not given out."""
    raise BadRequest("the sandbox gives out no database logs: see server.log in its folder")


async def _follow(request: web.Request, source: str) -> web.StreamResponse:
    here, app = context(request), app_of(request)
    socket = web.WebSocketResponse()
    if not socket.can_prepare(request):
        raise BadRequest("a websocket is expected")
    await socket.prepare(request)

    async def send_lines() -> None:
        async for line in here.platform.follow_logs(app, source):
            text = f"{line.render()}\n"
            # Documentation and official client call the first key by different names.
            await socket.send_json({"event": "log", "name": "log", "log": text, "timestamp": time(line.at)})

    async def send_pings() -> None:
        while True:
            await asyncio.sleep(PING_SECONDS)
            await socket.send_json({"event": "ping", "name": "ping", "log": "", "timestamp": time(now())})

    await tell(socket, send_lines(), send_pings())
    return socket
