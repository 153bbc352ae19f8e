"""A GitHub of the sandbox on a port of its own, in a thread of the test."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
from aiohttp import web

from sandbox.demo import repository as demo
from sandbox.github import HUB, application
from sandbox.github.api import Hub
from sandbox.github.application import repository_path
from sandbox.state import SandboxState


@dataclass
class Client:
    """Requests to the API as the owner of the sandbox's token (or as nobody)."""

    state: SandboxState
    hub: Hub
    token: str | None = None
    session: requests.Session = field(default_factory=requests.Session)

    @property
    def address(self) -> str:
        return self.state.url("github")

    @property
    def repository(self) -> Path:
        return repository_path(self.state)

    def get(self, path: str, **headers: str) -> requests.Response:
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        url = path if path.startswith("http") else f"{self.address}/api/v3/repos/sandbox/demo{path}"
        return self.session.get(url, headers=headers, timeout=10)

    def control(
        self, method: str, path: str, content: Any = None, secret: str | None = None
    ) -> requests.Response:
        headers = {"X-Sandbox-Secret": self.state.control_secret if secret is None else secret}
        url = f"{self.address}/_sandbox/{path}"
        return requests.request(method, url, json=content, headers=headers, timeout=10)


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    state = SandboxState.load_or_create(tmp_path_factory.mktemp("sandbox") / "state")
    built = application(state)
    loop = asyncio.new_event_loop()
    runner = web.AppRunner(built)

    async def start() -> None:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", state.port("github")).start()

    loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield Client(state, built[HUB])
    asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture
def github(served: Client) -> Iterator[Client]:
    """With the token, nothing counted yet, all checks green."""
    served.hub.rate.used.clear()
    served.hub.rate.resets.clear()
    yield Client(served.state, served.hub, served.state.github_token)
    served.hub.checks.reset()
    served.hub.rate.limits = {"anonymous": 60, "token": 5000}
    demo.build(served.hub.repository.path)


@pytest.fixture
def anonymous(github: Client) -> Client:
    return Client(github.state, github.hub)
