"""The application: the webhook, the page, the list of messages, and `/_sandbox` for scenarios."""

from __future__ import annotations

import dataclasses
import hmac
from collections.abc import Sequence
from typing import Any, Final

from aiohttp import web
from aiohttp.typedefs import Middleware

from sandbox.mattermost.hooks import CHANNEL, Team
from sandbox.mattermost.page import render
from sandbox.mattermost.posts import Posts
from sandbox.state import SandboxState

TEAM: Final = web.AppKey("team", Team)
CONTROL_HEADER: Final = "X-Sandbox-Secret"


def application(state: SandboxState, middlewares: Sequence[Middleware] = ()) -> web.Application:
    """The server of the team's channel; the running team is `application[TEAM]`.

    `POST /hooks/ID` receives, `GET /` shows, `GET /messages.json` lists; with the control secret
    `PUT /_sandbox/settings` changes the server's settings, `DELETE /_sandbox/messages` forgets the messages.
    `middlewares` go around everything (failure injection).
    """
    team = Team(state.mattermost_hook, Posts(state.folder / "mattermost" / "posts.jsonl"))

    async def page(_request: web.Request) -> web.Response:
        return web.Response(text=render(team.posts.all, CHANNEL), content_type="text/html")

    async def messages(_request: web.Request) -> web.Response:
        return web.json_response([dataclasses.asdict(post) for post in team.posts.all])

    async def settings(request: web.Request) -> web.Response:
        _check(request, state.control_secret)
        given: dict[str, Any] = await request.json()
        try:
            team.settings = dataclasses.replace(team.settings, **given)
        except TypeError as error:
            raise web.HTTPUnprocessableEntity(text=f"{error}\n") from None
        return web.json_response(dataclasses.asdict(team.settings))

    async def forget(request: web.Request) -> web.Response:
        _check(request, state.control_secret)
        team.posts.clear()
        return web.Response(status=204)

    served = web.Application(middlewares=list(middlewares))
    served[TEAM] = team
    served.add_routes(
        [
            web.post("/hooks/{hook}", team.receive),
            web.get("/", page),
            web.get("/messages.json", messages),
            web.put("/_sandbox/settings", settings),
            web.delete("/_sandbox/messages", forget),
        ]
    )
    return served


def _check(request: web.Request, secret: str) -> None:
    """Raises HTTPForbidden without the control secret."""
    if not hmac.compare_digest(request.headers.get(CONTROL_HEADER, ""), secret):
        raise web.HTTPForbidden(text=f"The header {CONTROL_HEADER} must hold the sandbox's control secret.\n")
