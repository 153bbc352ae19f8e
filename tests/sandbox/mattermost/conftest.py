"""A Mattermost of the sandbox on a port of its own, in a thread of the test."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests
from aiohttp import web

from sandbox.mattermost import TEAM, application
from sandbox.mattermost.hooks import Settings, Team
from sandbox.state import SandboxState


@dataclass
class Server:
    """The server's addresses, and the team behind them."""

    state: SandboxState
    team: Team

    def post(self, content: Any = None, hook: str | None = None, **options: Any) -> requests.Response:
        url = f"{self.state.url('mattermost')}/hooks/{hook or self.state.mattermost_hook}"
        if content is not None:
            options["json"] = content
        return requests.post(url, timeout=10, **options)

    def messages(self) -> list[dict[str, Any]]:
        return requests.get(f"{self.state.url('mattermost')}/messages.json", timeout=10).json()

    def page(self) -> str:
        return requests.get(self.state.url("mattermost"), timeout=10).text

    def control(
        self, method: str, path: str, content: Any = None, secret: str | None = None
    ) -> requests.Response:
        headers = {"X-Sandbox-Secret": self.state.control_secret if secret is None else secret}
        url = f"{self.state.url('mattermost')}/_sandbox/{path}"
        return requests.request(method, url, json=content, headers=headers, timeout=10)


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    state = SandboxState.load_or_create(tmp_path_factory.mktemp("sandbox") / "state")
    built = application(state)
    loop = asyncio.new_event_loop()
    runner = web.AppRunner(built)

    async def start() -> None:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", state.port("mattermost")).start()

    loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield Server(state, built[TEAM])
    asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture
def mattermost(served: Server) -> Server:
    """As it is at first: no message, default settings."""
    served.team.posts.clear()
    served.team.settings = Settings()
    return served
