"""The platform's engine as one object: what the HTTP API, the control API and the SSH server call."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
import signal as signals
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from sandbox.platform import containers, variables
from sandbox.platform.apps import Apps
from sandbox.platform.attach import AttachServer
from sandbox.platform.deployments import Deployments
from sandbox.platform.errors import Forbidden, Invalid, NotFound
from sandbox.platform.fleet import Fleets
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
    new_id,
    now,
)
from sandbox.platform.oneoffs import OneOffs
from sandbox.platform.operations import Operations
from sandbox.platform.services import Hooks, Services
from sandbox.platform.sources import Archive
from sandbox.platform.ssh import SshServer
from sandbox.platform.store import Store

__all__ = ["Hooks", "Platform"]


class Platform:
    """Apps, deployments, containers, one-offs, router and SSH server, in one event loop.

    `await start()` before anything else; `await stop()` leaves no process. Methods that take an app want the
    App object (`app("name")`, `app("ap-…")`). Refusals are `sandbox.platform.errors.PlatformError`s.
    """

    def __init__(
        self, store: Store, folder: Path, hooks: Hooks | None = None, region: str = "sandbox"
    ) -> None:
        """`folder`: private folder of the platform (git/, apps/, host key). Nothing is started."""
        self.forbid_writes = False
        """While true pushes, deployments and one-offs are refused and told to `Hooks.violation`."""
        self.ssh_port = store.port("ssh")
        self.attach_port = store.port("attach")
        self._state = store.state
        self._services = Services(store, folder, hooks or Hooks())
        self._fleets = Fleets()
        self._deployments = Deployments(self._services, self._fleets, self.url)
        self._apps = Apps(self._services, self._fleets, self._deployments, region)
        self._operations = Operations(self._services, self._fleets)
        self._one_offs = OneOffs(self._services)
        self._attach = AttachServer(
            self._one_offs, lambda password: self._services.hooks.check_attach(password), self.attach_port
        )
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._ssh = SshServer(
            self._services, self._deployments, self.app, lambda: self.forbid_writes, self.ssh_port
        )

    async def start(self) -> None:
        """Listen, end what a killed predecessor left, mark its work as failed, boot all releases."""
        self._services.guard.start()
        containers.end_leftovers(self._state)
        self._operations.abort_leftovers()
        self._deployments.abort_leftovers()
        await self._apps.resume()
        await self._attach.start()
        await self._ssh.start()

    async def stop(self) -> None:
        """Stop listening, abort deployments, end all processes."""
        await self._deployments.stop()
        await self._ssh.stop()
        await self._operations.stop()
        await self._one_offs.stop()
        await self._attach.stop()
        await asyncio.gather(*(router.stop() for router in self._services.routers.values()))
        await asyncio.gather(*(fleet.stop(grace=2) for fleet in self._fleets.current.values()))
        self._services.guard.stop()
        self._services.save()

    # Addresses

    @property
    def host_key(self) -> str:
        """The SSH server's public key, `ssh-ed25519 AAAA…`."""
        return self._ssh.public_key

    @property
    def host_key_fingerprint(self) -> str:
        """`SHA256:…` of it, as `ssh-keygen -l` prints."""
        return self._ssh.fingerprint

    def git_url(self, app: App) -> str:
        """`ssh://git@127.0.0.1:PORT/NAME.git`."""
        return f"ssh://git@127.0.0.1:{self.ssh_port}/{app.name}.git"

    def url(self, app: App) -> str:
        """`http://127.0.0.1:ROUTERPORT`, the app's public address."""
        return f"http://127.0.0.1:{app.router_port}"

    def attach_url(self, operation: Operation) -> str | None:
        """`http://127.0.0.1:PORT/SECRET` of a start-one-off operation; None for a detached one."""
        if operation.attach_secret is None:
            return None
        return f"http://127.0.0.1:{self.attach_port}/{operation.attach_secret}"

    # Users and apps

    def add_user(self, username: str, email: str, fullname: str, public_keys: list[str]) -> User:
        """A new account with a token of its own."""
        token = f"tk-us-{secrets.token_urlsafe(36)}"
        user = User(new_id("us"), username, email, fullname, token, list(public_keys))
        self._state.users[user.id] = user
        self._services.save()
        return user

    def apps(self) -> list[App]:
        """All apps by name."""
        return self._apps.all()

    def app(self, name_or_id: str) -> App:
        """Raises NotFound("app")."""
        return self._apps.find(name_or_id)

    async def create_app(
        self,
        name: str,
        owner: User,
        stack_id: str | None = None,
        formation: Mapping[str, Formation] | None = None,
    ) -> App:
        """A new app with its empty repository and router. Raises Invalid({"name": …}).

        `formation` declares what its first deployment starts; without it that is one web container.
        """
        return await self._apps.create(name, owner, stack_id, formation)

    async def rename_app(self, app: App, new_name: str) -> None:
        """Raises Invalid({"new_name": …}), Conflict while a deployment runs."""
        await self._apps.rename(app, new_name)

    async def delete_app(self, app: App) -> None:
        """End its processes and remove its repository, releases and deployments (not its add-ons).

        Raises Conflict while a deployment runs.
        """
        await self._apps.delete(app)

    # Variables

    def variables(self, app: App, aliases: bool = True) -> list[Variable]:
        """By name; with `aliases` false, `$OTHER` is replaced by OTHER's value (once)."""
        return variables.listed(app, aliases)

    def set_variables(self, app: App, values: Mapping[str, str]) -> list[Variable]:
        """Add or change; others stay, nothing restarts. Raises Invalid, and then sets none."""
        changed = variables.put(app, values)
        self._services.save()
        return changed

    def unset_variable(self, app: App, variable_id: str) -> None:
        """Raises NotFound("variable")."""
        variables.unset(app, variable_id)
        self._services.save()

    # Containers

    def containers(self, app: App) -> list[Container]:
        """Those that exist now, one-offs included (`ps`)."""
        return containers.existing(self._state, app)

    def container(self, app: App, container_id: str) -> Container:
        """By id or label (the newest), ended ones too. Raises NotFound("container")."""
        return containers.find(self._state, app, container_id)

    async def scale(self, app: App, changes: Mapping[str, Formation]) -> Operation | None:
        """Set amounts (size "" keeps it). None when the app was never deployed; else the operation, begun.

        Raises Invalid({"container-TYPE-amount": …}), Conflict while it is scaled, restarted or started.
        """
        self._refuse_if_forbidden(f"scale of {app.name}")
        return self._operations.scale(app, changes)

    async def restart(self, app: App, scope: list[str]) -> Operation:
        """Restart types (`web`) or containers (`web-1`), [] means all. Raises Invalid, Conflict."""
        self._refuse_if_forbidden(f"restart of {app.name}")
        return self._operations.restart(app, scope)

    async def run_one_off(
        self, app: App, command: str, env: Mapping[str, str], size: str, detached: bool, user: User
    ) -> tuple[Container, Operation]:
        """A one-off of the running release. Attached ones start when somebody attaches.

        Raises Invalid (never deployed, blank command), BadRequest beyond 10 one-offs.
        """
        self._refuse_if_forbidden(f"one-off on {app.name}")
        return self._one_offs.create(app, command, env, size, detached, user)

    async def stop_container(self, container: Container) -> None:
        """SIGTERM, then SIGKILL after the app's stop timeout. One-offs only: raises Invalid else."""
        one_off = self._one_offs.by_container(container)
        if one_off is None:
            raise Invalid({"container": ["is not a running one-off"]})
        await one_off.stop(one_off.app.scenario.stop_timeout)

    async def signal_container(self, container: Container, signal: str) -> None:
        """SIGUSR1 or SIGUSR2. Raises Invalid."""
        if signal not in ("SIGUSR1", "SIGUSR2"):
            raise Invalid({"signal": ["must be SIGUSR1 or SIGUSR2"]})
        containers.send_signal(container, signals.Signals[signal])

    async def crash_container(self, container: Container) -> None:
        """SIGKILL, as a test of what the platform does with a crash."""
        containers.send_signal(container, signals.SIGKILL)

    def operation(self, app: App, operation_id: str) -> Operation:
        """Raises NotFound("operation")."""
        return self._operations.find(app, operation_id)

    # Deployments

    async def deploy_archive(self, app: App, source: str, git_ref: str | None, pusher: User) -> Deployment:
        """Deploy a .tar.gz with one root folder, from a path or http URL; returns at once, queued.

        Doesn't move the git branch. Raises Conflict while another deployment of the app runs, Invalid for a
        label that starts with `-`.
        """
        self._refuse_if_forbidden(f"deployment of {app.name}")
        label = git_ref or f"archive-{now():%Y%m%d%H%M%S}"
        if label.startswith("-"):
            raise Invalid({"git_ref": ["must not start with a hyphen"]})
        return self._deployments.begin(app, Archive(source, label), pusher).deployment

    async def wait_for_deployment(self, deployment: Deployment) -> Deployment:
        """Until it is in a final state."""
        run = self._deployments.running.get(deployment.app_id)
        if run is not None and run.deployment.id == deployment.id:
            await run.finished()
        return deployment

    def deployments(self, app: App) -> list[Deployment]:
        """Newest first."""
        mine = [one for one in self._state.deployments.values() if one.app_id == app.id]
        return sorted(mine, key=lambda one: one.created_at, reverse=True)

    def deployment(self, app: App, deployment_id: str) -> Deployment:
        """Raises NotFound("deployment")."""
        deployment = self._state.deployments.get(deployment_id)
        if deployment is None or deployment.app_id != app.id:
            raise NotFound("deployment")
        return deployment

    def output(self, deployment: Deployment) -> str:
        """Its log so far, with colour escapes."""
        with contextlib.suppress(FileNotFoundError):
            return Path(deployment.output).read_text(encoding="utf-8")
        return ""

    def subscribe(self, app: App) -> AsyncIterator[StreamEvent]:
        """Stream events: those of the newest deployment again from its `new`, then live ones, without end."""
        return self._deployments.subscribe(app)

    async def clear_cache(self, app: App) -> None:
        """Remove what the buildpacks keep between builds."""
        cache = self._services.app_folder(app) / "cache"
        await asyncio.to_thread(shutil.rmtree, cache, ignore_errors=True)

    # Logs

    def logs(self, app: App, lines: int = 100, source: str = "") -> list[LogLine]:
        """The last lines; `source` is a regular expression for the container's name or type."""
        return self._services.logbook(app).last(lines, source)

    def follow_logs(self, app: App, source: str = "") -> AsyncIterator[LogLine]:
        """Live lines, without end."""
        return self._services.logbook(app).follow(source)

    # Switches for tests, the control API and benchmarks

    def slow_tunnels(self, round_trip_milliseconds: float) -> None:
        """Add a delay to the tunnels' traffic: half of it each way. 0 ends it."""
        self._ssh.tunnels.one_way_seconds = round_trip_milliseconds / 2000

    def cut_tunnels(self, after_bytes: int = 0) -> None:
        """Once the tunnels have carried so many more bytes (0: now), cut the connections that hold one."""
        self._ssh.tunnels.cut_after(after_bytes)

    def part_states(self) -> dict[str, str]:
        """What runs, by part: `ssh`, `router NAME`, `web-1 of NAME`: listening, running, crashed, …"""
        states = {
            "guardian": "running" if self._services.guard.running else "crashed",
            "ssh": "listening" if self._ssh.listening else "down",
            "attach": "listening" if self._attach.listening else "down",
        }
        for app in self.apps():
            router = self._services.routers.get(app.id)
            states[f"router {app.name}"] = "listening" if router and router.listening else "down"
            for container in self.containers(app):
                states[f"{container.label} of {app.name}"] = container.state
        return states

    def _refuse_if_forbidden(self, what: str) -> None:
        if self.forbid_writes:
            self._services.hooks.violation(what)
            raise Forbidden(f"Writes are forbidden at present (a switch of the sandbox): {what}")
