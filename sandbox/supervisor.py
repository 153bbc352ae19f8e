"""The one process that runs a sandbox: PostgreSQL, the platform, GitHub and Mattermost, on loopback ports."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Middleware

from sandbox import github, mattermost
from sandbox.api import server
from sandbox.api.context import Context
from sandbox.api.failures import Failures
from sandbox.api.tokens import Tokens
from sandbox.api.writes import Writes
from sandbox.client_files import write_client_files
from sandbox.database.databases import Databases
from sandbox.database.server import PostgresServer
from sandbox.platform.errors import BadRequest
from sandbox.platform.model import User
from sandbox.platform.platform import Hooks, Platform
from sandbox.platform.processes import start_time
from sandbox.platform.store import Store
from sandbox.state import SandboxState

APPS: Final = ("sandbox-demo", "sandbox-demo-preprod")
"""Made at the first start, each with a database."""
WATCH_SECONDS: Final = 1.0
RUNNING: Final = ("running", "listening")


class AlreadyRunning(Exception):
    """Another supervisor holds this folder."""


@dataclass
class HttpPart:
    """One HTTP server, which can be ended and started again."""

    name: str
    port: int
    make: Callable[[], web.Application]
    runner: web.AppRunner | None = None
    problem: str | None = "not started"

    async def start(self) -> None:
        """Listen. What prevents it is kept as `problem`."""
        runner = web.AppRunner(self.make(), access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", self.port).start()
        except OSError as error:
            await runner.cleanup()
            self.problem = f"can't listen on 127.0.0.1:{self.port}: {error.strerror}"
            raise
        self.runner, self.problem = runner, None

    async def stop(self, problem: str = "stopped") -> None:
        """Stop listening and cut what is open."""
        if self.runner:
            await self.runner.cleanup()
        self.runner, self.problem = None, problem


class Supervisor:
    """Starts the parts in order, watches them, and ends them in the reverse order."""

    def __init__(self, state: SandboxState) -> None:
        self.state = state
        self._stop = asyncio.Event()
        store = Store(state.store_path)
        binaries = Path(state.postgres_binaries) if state.postgres_binaries else None
        database_server = PostgresServer(
            state.folder / "postgres", state.port("postgres"), state.postgres_password, binaries
        )
        self.databases = Databases(store, database_server, state.folder)
        tokens = Tokens(state.signing_key)
        hooks = Hooks(
            resolve=self.databases.resolve,
            variables_for_containers=self.databases.variables_for_containers,
            check_attach=lambda password: (tokens.read(password) or {}).get("uuid"),
            violation=lambda sentence: self._writes.add("platform", sentence),
        )
        self.platform = Platform(store, state.folder / "platform", hooks)
        self._writes = Writes(database_server, self._forbid_platform_writes)
        self.context = Context(state, store, self.platform, self.databases, tokens, Failures(), self._writes)
        self._http = {
            "platform": HttpPart(
                "platform", state.port("platform"), lambda: server.application(self.context, self)
            ),
            "github": HttpPart(
                "github", state.port("github"), lambda: github.application(state, self._around("github"))
            ),
            "mattermost": HttpPart(
                "mattermost",
                state.port("mattermost"),
                lambda: mattermost.application(state, self._around("mattermost")),
            ),
        }

    async def run(self) -> None:
        """Until asked to stop. Ends all parts, also when one fails to start."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, self._stop.set)
        try:
            await self._start()
            await self._watch()
        finally:
            await self._end()

    async def _start(self) -> None:
        self._say("starting PostgreSQL")
        await self.databases.start()
        self._say("starting the platform")
        await self.platform.start()
        owner = self._owner()
        if not self.state.seeded:
            await self._seed(owner)
        self.state.token = owner.token
        self.state.ssh_port = self.platform.ssh_port
        self.state.host_key = self.platform.host_key
        self.state.host_key_fingerprint = self.platform.host_key_fingerprint
        self.state.pid, self.state.pid_started = os.getpid(), start_time(os.getpid())
        self.state.save()
        write_client_files(self.state, owner)
        for name in ("github", "mattermost", "platform"):
            await self._http[name].start()
        self._say("ready")

    async def _seed(self, owner: User) -> None:
        known = {app.name: app for app in self.platform.apps()}
        for name in APPS:
            app = known.get(name) or await self.platform.create_app(name, owner)
            if not self.databases.of(app):
                await self.databases.create(app)
        self.state.seeded = True
        self.state.save()

    def _owner(self) -> User:
        for user in self.context.store.state.users.values():
            return user
        return self.platform.add_user(
            "operator", "operator@sandbox.test", "Sandbox Operator", [self.state.public_key]
        )

    async def _watch(self) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), WATCH_SECONDS)

    async def _end(self) -> None:
        self._say("stopping")
        ends = [
            self._http["platform"].stop,
            self._http["github"].stop,
            self._http["mattermost"].stop,
            self.platform.stop,
            self.databases.stop,
        ]
        for end in ends:
            try:
                await end()
            except Exception as error:  # the others have to end all the same
                self._say(f"{getattr(end, '__qualname__', end)}: {type(error).__name__}: {error}")
        self.state.pid = self.state.pid_started = None
        self.state.save()
        self._say("stopped")

    # What the control API asks for

    def parts(self) -> dict[str, str]:
        """Each part and its state."""
        found = {"postgresql": self.databases.server.problem or "running"}
        if found["postgresql"] == "running" and self.databases.server.crashes:
            found["postgresql"] = f"running (crashed and started again {self.databases.server.crashes} times)"
        for name, part in self._http.items():
            found[f"{name} API" if name == "platform" else name] = part.problem or "listening"
        return found | self.platform.part_states()

    async def crash(self, part: str) -> None:
        """Kill PostgreSQL or a container, or stop a server from answering."""
        if part == "postgresql":
            self.databases.server.crash()
            return
        if part in ("github", "mattermost"):
            await self._http[part].stop("crashed; `python -m sandbox up` starts it again")
            return
        label, _, app_name = part.partition(" of ")
        for app in self.platform.apps():
            for container in self.platform.containers(app):
                if (container.label, app.name) == (label, app_name):
                    await self.platform.crash_container(container)
                    return
        raise BadRequest(f"there is no part {part!r} that can crash: {', '.join(self.parts())}")

    async def revive(self) -> None:
        """Start the servers again that don't answer."""
        for part in self._http.values():
            if part.runner is None:
                await part.start()

    def request_stop(self) -> None:
        """End the sandbox, soon."""
        self._stop.set()

    def _forbid_platform_writes(self, on: bool) -> None:
        self.platform.forbid_writes = on

    def _around(self, service: str) -> list[Middleware]:
        return [self.context.failures.middleware(service), self._writes.middleware(service)]

    def _say(self, text: str) -> None:
        print(text, flush=True)


def serve(folder: Path) -> int:
    """Run the sandbox in `folder` until told to stop; the exit code for the shell."""
    os.umask(0o077)
    state = SandboxState.load(folder)
    try:
        with _hold(folder):
            asyncio.run(_serve(state))
    except AlreadyRunning:
        print(f"Another supervisor holds {folder}.", file=sys.stderr)
        return 1
    except Exception as error:
        print(f"failed: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        return 1
    return 0


async def _serve(state: SandboxState) -> None:
    await Supervisor(state).run()


@contextlib.contextmanager
def _hold(folder: Path) -> Iterator[None]:
    """Raises AlreadyRunning while another process holds the folder; the kernel lets go when it dies."""
    with (folder / "supervisor.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunning from None
        yield
