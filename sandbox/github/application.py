"""The application that serves the API beside git, the pages and the scenarios."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Middleware

from sandbox.demo import repository as demo
from sandbox.github import control, pages, smart_http
from sandbox.github.api import Hub
from sandbox.state import SandboxState

HUB: Final = web.AppKey("hub", Hub)


def repository_path(state: SandboxState) -> Path:
    """The bare repository that this GitHub publishes."""
    return state.folder / demo.PUBLISHED


def application(state: SandboxState, middlewares: Sequence[Middleware] = ()) -> web.Application:
    """The whole of it on one port, after building the repository.

    The API is at `/` (as api.github.com) and at `/api/v3` (as an Enterprise Server), the repository at
    `/sandbox/demo.git`, pages of the releases at `/sandbox/demo`, scenarios at `/_sandbox`.
    `middlewares` go around everything (failure injection). The running hub is `application[HUB]`.
    """
    path = repository_path(state)
    demo.build(path)
    hub = Hub(path, state.url("github"), state.github_token)
    served = web.Application(middlewares=list(middlewares))
    served[HUB] = hub
    served.add_routes(control.routes(hub, state.control_secret))
    served.add_routes(hub.routes("/api/v3"))
    served.add_routes(hub.routes(""))
    served.add_routes(smart_http.routes(path.parent.parent))
    served.add_routes(pages.routes(hub))
    return served
