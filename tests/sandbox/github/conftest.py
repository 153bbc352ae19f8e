"""A GitHub of the sandbox on a port of its own, in a thread of the test."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests

from sandbox.demo import repository as demo
from sandbox.github import HUB, application
from sandbox.github.api import Hub
from sandbox.github.application import repository_path
from sandbox.state import SandboxState
from tests.sandbox.parts import ask_control, serving


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
        return ask_control(self.state, "github", method, path, content, secret)


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    state = SandboxState.load_or_create(tmp_path_factory.mktemp("sandbox") / "state")
    built = application(state)
    with serving(built, state.port("github")):
        yield Client(state, built[HUB])


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
