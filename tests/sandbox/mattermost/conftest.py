"""A Mattermost of the sandbox on a port of its own, in a thread of the test."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests

from sandbox.mattermost import TEAM, application
from sandbox.mattermost.hooks import Settings, Team
from sandbox.state import SandboxState
from tests.sandbox.parts import ask_control, serving


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
        return ask_control(self.state, "mattermost", method, path, content, secret)


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    state = SandboxState.load_or_create(tmp_path_factory.mktemp("sandbox") / "state")
    built = application(state)
    with serving(built, state.port("mattermost")):
        yield Server(state, built[TEAM])


@pytest.fixture
def mattermost(served: Server) -> Server:
    """As it is at first: no message, default settings."""
    served.team.posts.clear()
    served.team.settings = Settings()
    return served
