"""Deployments: list, log, stream, and from an uploaded archive."""

from __future__ import annotations

import asyncio
import contextlib
import time as clock
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web

from sandbox.api import views
from sandbox.api.context import Context, app_of, body, context, no_content, page, reply, user
from sandbox.api.sockets import PING_SECONDS, tell
from sandbox.platform.errors import Invalid
from sandbox.platform.model import App, StreamEvent, new_object_id

routes = web.RouteTableDef()
SOURCE_SECONDS: Final = 600
"""How long an upload's addresses are valid."""
LARGEST_SOURCE: Final = 300 * 1024 * 1024


@routes.get("/v1/apps/{app}/deployments")
async def list_deployments(request: web.Request) -> web.Response:
    """Newest first."""
    here = context(request)
    found = here.platform.deployments(app_of(request))
    return page(request, [views.deployment(here, deployment) for deployment in found], "deployments")


@routes.get("/v1/apps/{app}/deployments/{deployment}")
async def show_deployment(request: web.Request) -> web.Response:
    """One deployment."""
    here = context(request)
    found = here.platform.deployment(app_of(request), request.match_info["deployment"])
    return reply({"deployment": views.deployment(here, found)})


@routes.get("/v1/apps/{app}/deployments/{deployment}/output")
async def output(request: web.Request) -> web.Response:
    """Its log, as text with colour escapes."""
    here = context(request)
    found = here.platform.deployment(app_of(request), request.match_info["deployment"])
    return web.Response(text=here.platform.output(found))


@routes.post("/v1/apps/{app}/deployments")
async def deploy(request: web.Request) -> web.Response:
    """Deploy an archive: 201 (the documentation says 200, which the official client refuses)."""
    here, app, wanted = context(request), app_of(request), await body(request, "deployment")
    source = str(wanted.get("source_url") or "")
    if not source:
        raise Invalid({"source_url": ["can't be blank"]})
    if urlsplit(source).scheme not in ("http", "https"):
        raise Invalid({"source_url": ["is invalid"]})
    git_ref = wanted.get("git_ref")
    found = await here.platform.deploy_archive(
        app, _local(here, source), str(git_ref) if git_ref else None, user(request)
    )
    return reply({"deployment": views.deployment(here, found)}, 201)


@routes.delete("/v1/apps/{app}/caches/deployment")
async def delete_cache(request: web.Request) -> web.Response:
    """The sandbox's builds keep nothing between deployments."""
    app_of(request)
    return no_content()


@routes.post("/v1/sources")
async def create_source(request: web.Request) -> web.Response:
    """Addresses to upload an archive to, and to deploy it from."""
    here = context(request)
    _forget_old(_folder(here))
    address = here.base + here.tokens.sign_address(f"/sources/{new_object_id()}.tar.gz", SOURCE_SECONDS)
    return reply({"source": {"upload_url": address, "download_url": address}}, 201)


@routes.put("/sources/{source}")
async def upload(request: web.Request) -> web.Response:
    """Take an archive: exactly 200."""
    here = context(request)
    if not here.tokens.opens(request.path, request.query.get("token", "")):
        return web.Response(status=403, text="AccessDenied")
    path = _folder(here) / request.match_info["source"]
    partial = path.with_suffix(".part")
    written = 0
    with partial.open("wb") as file:
        async for chunk in request.content.iter_chunked(1 << 16):
            written += len(chunk)
            if written > LARGEST_SOURCE:
                partial.unlink()
                return web.Response(status=413, text="EntityTooLarge")
            file.write(chunk)
    partial.replace(path)
    return web.Response(status=200)


@routes.get("/sources/{source}")
async def download_source(request: web.Request) -> web.StreamResponse:
    """Give it back."""
    here = context(request)
    path = _folder(here) / request.match_info["source"]
    if not here.tokens.opens(request.path, request.query.get("token", "")) or not path.exists():
        return web.Response(status=403, text="AccessDenied")
    return web.FileResponse(path)


@routes.get("/apps/{app}/deployments/stream")
async def stream(request: web.Request) -> web.StreamResponse:
    """Websocket: the first frame signs in, then what happened so far, then what happens."""
    here, app = context(request), app_of(request)
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    if not await _signed_in(here, socket):
        await socket.close(code=aiohttp.WSCloseCode.POLICY_VIOLATION, message=b"unauthorized")
        return socket
    await tell(socket, _send_events(here, app, socket), _send_pings(socket))
    return socket


async def _signed_in(here: Context, socket: web.WebSocketResponse) -> bool:
    try:
        frame = await socket.receive_json(timeout=10)
        token = frame["data"]["token"] if frame["type"] == "auth" else ""
    except (TimeoutError, TypeError, ValueError, KeyError):
        return False
    claims = here.tokens.read(token)
    return claims is not None and claims.get("uuid") in here.store.state.users


async def _send_events(here: Context, app: App, socket: web.WebSocketResponse) -> None:
    async for event in here.platform.subscribe(app):
        await socket.send_json(_frame(here, app, event))


def _frame(here: Context, app: App, event: StreamEvent) -> dict[str, Any]:
    if event.type == "new":
        deployment = views.deployment(here, here.platform.deployment(app, event.deployment_id))
        return {"type": "new", "id": event.deployment_id, "data": {"deployment": deployment}}
    key = "content" if event.type == "log" else "status"
    return {"type": event.type, "id": event.deployment_id, "data": {key: event.text}}


async def _send_pings(socket: web.WebSocketResponse) -> None:
    while True:
        await asyncio.sleep(PING_SECONDS)
        await socket.send_json({"type": "ping", "data": {"ts": int(clock.time())}})


def _folder(here: Context) -> Path:
    folder = here.state.folder / "sources"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _local(here: Context, source: str) -> str:
    """The path of an archive that was uploaded here; any other address as it is."""
    parts = urlsplit(source)
    if f"{parts.scheme}://{parts.netloc}" != here.base or not parts.path.startswith("/sources/"):
        return source
    path = _folder(here) / Path(parts.path).name
    token = parts.query.removeprefix("token=")
    if not here.tokens.opens(parts.path, token) or not path.exists():
        raise Invalid({"source_url": ["is not reachable"]})
    return str(path)


def _forget_old(folder: Path) -> None:
    for path in folder.iterdir():
        with contextlib.suppress(OSError):
            if clock.time() - path.stat().st_mtime > 6 * SOURCE_SECONDS:
                path.unlink()
