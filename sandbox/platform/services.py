"""What the parts of the platform share: the state, the guard of its processes, each app's log and front."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sandbox.platform import runtime
from sandbox.platform.logbook import Logbook
from sandbox.platform.model import App
from sandbox.platform.processes import Guard
from sandbox.platform.router import Router
from sandbox.platform.store import Store
from sandbox.ports import free_port


@dataclass
class Hooks:
    """What the platform asks of the other parts. Each has a default that knows nothing."""

    resolve: Callable[[str, int], tuple[str, int] | None] = lambda _hostname, _port: None
    """Where a database's (host name, port) really listens; None: not a database of ours."""
    variables_for_containers: Callable[[App], dict[str, str]] = lambda _app: {}
    """Variables that containers get instead of the API's (database URLs with a host that they can reach)."""
    check_attach: Callable[[str], str | None] = lambda _password: None
    """The user id behind the password (a JWT) of an attach request; None refuses it."""
    violation: Callable[[str], None] = lambda _sentence: None
    """Told of each write that was refused while writes are forbidden."""


@dataclass
class Services:
    """Handed to each part of the platform instead of globals."""

    store: Store
    folder: Path
    hooks: Hooks
    guard: Guard = field(default_factory=Guard)
    logbooks: dict[str, Logbook] = field(default_factory=dict)
    routers: dict[str, Router] = field(default_factory=dict)

    def save(self) -> None:
        self.store.save()

    def app_folder(self, app: App) -> Path:
        """Private folder of the app's releases, build cache and deployment logs."""
        return self.folder / "apps" / app.id

    def repository(self, app: App) -> Path:
        """The app's bare repository."""
        return self.folder / "git" / f"{app.name}.git"

    def logbook(self, app: App) -> Logbook:
        return self.logbooks.setdefault(app.id, Logbook())

    def variables(self, app: App) -> dict[str, str]:
        """The app's variables as its containers get them."""
        return runtime.app_variables(app, self.hooks.variables_for_containers(app))

    def container_port(self) -> int:
        """A free port for a web container, never one that a part of the sandbox comes back to."""
        state = self.store.state
        return free_port(set(state.ports.values()) | {app.router_port for app in state.apps.values()})
