"""What tests of all rooms share: a sandbox of their own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from sandbox import environment, lifecycle
from sandbox.control import Control
from sandbox.state import SandboxState

ROOT = Path(__file__).parent.parent
PLATFORM_VARIABLES = ("SCALINGO_", "GITHUB_", "GH_", "MATTERMOST_", "SANDBOX_")


def pytest_configure() -> None:
    """Commands under test hear signals as at a terminal, also where `nohup` or `&` has these ignored."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


class Api(requests.Session):
    """A plain client of one of the sandbox's HTTP servers: paths instead of addresses."""

    def __init__(self, base: str, token: str | None = None) -> None:
        super().__init__()
        self.base = base
        # Not the user's proxies or .netrc.
        self.trust_env = False
        if token:
            self.headers["Authorization"] = f"Bearer {token}"

    def request(self, method: str, url: str, *arguments: Any, **options: Any) -> requests.Response:  # type: ignore[override]
        options.setdefault("timeout", 30)
        return super().request(method, url if "://" in url else self.base + url, *arguments, **options)


@dataclass
class Sandbox:
    """A running sandbox as tests use it."""

    folder: Path
    state: SandboxState
    control: Control

    @property
    def variables(self) -> dict[str, str]:
        """The variables of `python -m sandbox env`."""
        return environment.variables(self.folder)

    @property
    def env(self) -> dict[str, str]:
        """A whole environment for a child: this process's, without its own platforms, with the sandbox's."""
        own = {name: value for name, value in os.environ.items() if not name.startswith(PLATFORM_VARIABLES)}
        return own | self.variables

    def client(self, token: str | None = None) -> Api:
        """A signed-in client of /v1; `token` instead of a fresh one."""
        return Api(self.state.url("platform"), token or self.exchange())

    def anonymous(self) -> Api:
        """A client that is not signed in."""
        return Api(self.state.url("platform"))

    def exchange(self) -> str:
        """A fresh token of the account."""
        answer = self.anonymous().post("/v1/tokens/exchange", json={}, auth=("", self.state.token))
        return str(answer.json()["token"])

    def addon(self, app: str) -> dict[str, Any]:
        """The app's database add-on."""
        found: dict[str, Any] = self.client().get(f"/v1/apps/{app}/addons").json()["addons"][0]
        return found

    def database_client(self, app: str) -> Api:
        """A client of /api with the token of the app's database; `addon_id` names it."""
        addon = self.addon(app)
        answer = self.client().post(f"/v1/apps/{app}/addons/{addon['id']}/token", json={})
        client = Api(self.state.url("platform"), answer.json()["addon"]["token"])
        client.addon_id = addon["id"]  # type: ignore[attr-defined]
        return client

    def command(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """`python -m sandbox …` with this sandbox's folder."""
        return subprocess.run(
            [sys.executable, "-m", "sandbox", *arguments, "--state", str(self.folder)],
            cwd=ROOT, text=True, capture_output=True, timeout=120, **options,
        )  # fmt: skip


def start(folder: Path, binaries: Path | None = None) -> Sandbox:
    """Start a sandbox in `folder`, or take the one that runs there."""
    state = lifecycle.up(folder, binaries, say=lambda _text: None)
    return Sandbox(folder, state, Control(state))


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox for the whole session, started at first use: leave it as it was found."""
    folder = tmp_path_factory.mktemp("sandbox")
    try:
        yield start(folder)
    finally:
        lifecycle.down(folder)


@pytest.fixture
def fresh_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox for one test, which may break it."""
    folder = tmp_path_factory.mktemp("fresh")
    try:
        yield start(folder)
    finally:
        lifecycle.down(folder)
        shutil.rmtree(folder, ignore_errors=True)
