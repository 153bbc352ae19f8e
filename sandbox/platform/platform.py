"""The platform's engine as one object: what the HTTP API, the control API and the SSH server call."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sandbox.platform.model import (
    App,
    Container,
    Deployment,
    Formation,
    LogLine,
    Operation,
    StreamEvent,
    User,
    Variable,
)
from sandbox.platform.store import Store


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


class Platform:
    """Apps, deployments, containers, one-offs, router and SSH server. One event loop, no threads.

    `await start()` before anything else; `await stop()` leaves no process. All methods that take `app` want the
    App object (`app("name")`, `app("ap-…")`). Refusals are `sandbox.platform.errors.PlatformError`s.
    """

    def __init__(
        self, store: Store, folder: Path, hooks: Hooks | None = None, region: str = "sandbox"
    ) -> None:
        """`folder`: private folder of the platform (git/, apps/, logs/, host key). Nothing is started."""

    async def start(self) -> None:
        """Listen, end leftovers of a killed predecessor, mark its deployments aborted, boot all releases."""

    async def stop(self) -> None:
        """Stop listening, abort deployments, end all processes (SIGTERM, a moment, SIGKILL)."""

    # Addresses

    ssh_port: int
    attach_port: int
    host_key: str
    """The SSH server's public key, `ssh-ed25519 AAAA…`."""
    host_key_fingerprint: str
    """`SHA256:…` of it, as ssh-keygen -lf prints."""

    def git_url(self, app: App) -> str:
        """`ssh://git@127.0.0.1:PORT/NAME.git`."""
        raise NotImplementedError

    def url(self, app: App) -> str:
        """`http://127.0.0.1:ROUTERPORT`, the app's public address."""
        raise NotImplementedError

    def attach_url(self, operation: Operation) -> str | None:
        """`http://127.0.0.1:ATTACHPORT/SECRET` of a start-one-off operation that is done; None for a detached one."""
        raise NotImplementedError

    # Users and apps

    def add_user(self, username: str, email: str, fullname: str, public_keys: list[str]) -> User:
        """A new account with a token of its own."""
        raise NotImplementedError

    def apps(self) -> list[App]:
        """All apps by name."""
        raise NotImplementedError

    def app(self, name_or_id: str) -> App:
        """Raises NotFound("app")."""
        raise NotImplementedError

    async def create_app(self, name: str, owner: User, stack_id: str | None = None) -> App:
        """A new app with its empty repository and router. Raises Invalid({"name": …})."""
        raise NotImplementedError

    async def rename_app(self, app: App, new_name: str) -> None:
        """Raises Invalid({"new_name": …})."""

    async def delete_app(self, app: App) -> None:
        """Ends its processes and removes its repository, releases, deployments and log (not its add-ons)."""

    # Variables

    def variables(self, app: App, aliases: bool = True) -> list[Variable]:
        """By name; with `aliases` false, `$OTHER` is replaced by OTHER's value (once)."""
        raise NotImplementedError

    def set_variables(self, app: App, values: Mapping[str, str]) -> list[Variable]:
        """Add or change; others stay, nothing restarts. Raises Invalid({"name"|"value": …}) and then sets none."""
        raise NotImplementedError

    def unset_variable(self, app: App, variable_id: str) -> None:
        """Raises NotFound("variable")."""

    # Containers

    def containers(self, app: App) -> list[Container]:
        """Those that exist now, one-offs included (`ps`)."""
        raise NotImplementedError

    def container(self, app: App, container_id: str) -> Container:
        """By id or label, ended ones too. Raises NotFound("container")."""
        raise NotImplementedError

    async def scale(self, app: App, changes: Mapping[str, Formation]) -> Operation | None:
        """Set amounts (size "" keeps it). None when the app was never deployed; else the operation, running.

        Raises Invalid({"container-TYPE-amount": …}), Conflict while another scale, restart or deployment runs.
        """
        raise NotImplementedError

    async def restart(self, app: App, scope: list[str]) -> Operation:
        """Restart types (`web`) or containers (`web-1`); [] means all. Raises Invalid({"scope": …}), Conflict."""
        raise NotImplementedError

    async def run_one_off(
        self, app: App, command: str, env: Mapping[str, str], size: str, detached: bool, user: User
    ) -> tuple[Container, Operation]:
        """A one-off of the running release. Attached ones start when somebody attaches.

        Raises Invalid (never deployed, blank command), BadRequest beyond 10 one-offs.
        """
        raise NotImplementedError

    async def stop_container(self, container: Container) -> None:
        """SIGTERM, then SIGKILL after the app's stop timeout. One-offs only: Invalid else."""

    async def signal_container(self, container: Container, signal: str) -> None:
        """SIGUSR1 or SIGUSR2. Raises Invalid."""

    async def crash_container(self, container: Container) -> None:
        """SIGKILL, as a test of what the platform does with a crash."""

    def operation(self, app: App, operation_id: str) -> Operation:
        """Raises NotFound("operation")."""
        raise NotImplementedError

    # Deployments

    async def deploy_archive(self, app: App, source: str, git_ref: str | None, pusher: User) -> Deployment:
        """Deploy a .tar.gz with one root folder, from a path or http URL; returns when queued.

        Doesn't move the git branch. Raises Conflict while another deployment of the app runs, Invalid for a label
        that starts with `-`.
        """
        raise NotImplementedError

    async def wait_for_deployment(self, deployment: Deployment) -> Deployment:
        """Until it is in a final state."""
        raise NotImplementedError

    def deployments(self, app: App) -> list[Deployment]:
        """Newest first."""
        raise NotImplementedError

    def deployment(self, app: App, deployment_id: str) -> Deployment:
        """Raises NotFound("deployment")."""
        raise NotImplementedError

    def output(self, deployment: Deployment) -> str:
        """Its log so far, with colour escapes."""
        raise NotImplementedError

    def subscribe(self, app: App) -> AsyncIterator[StreamEvent]:
        """Stream events: first those of the newest deployment again from its `new`, then live ones, without end."""
        raise NotImplementedError

    # Logs

    def logs(self, app: App, lines: int = 100, source: str = "") -> list[LogLine]:
        """The last lines; `source` is a regular expression for the container's name or type."""
        raise NotImplementedError

    def follow_logs(self, app: App, source: str = "") -> AsyncIterator[LogLine]:
        """Live lines, without end."""
        raise NotImplementedError

    # Switches for tests, the control API and benchmarks

    forbid_writes: bool = False
    """While true pushes and one-offs are refused and told to `Hooks.violation`."""

    def slow_tunnels(self, round_trip_milliseconds: float) -> None:
        """Add a delay to each tunnel's traffic: half of it each way. 0 ends it."""

    def cut_tunnels(self, after_bytes: int = 0) -> None:
        """Cut each open tunnel once it has carried so many more bytes (0: now), and one that opens next if none is."""

    def part_states(self) -> dict[str, str]:
        """What runs, by part: `ssh`, `attach`, `router NAME`, `web-1 of NAME`: a state or a reason."""
        raise NotImplementedError
