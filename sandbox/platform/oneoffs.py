"""One-off containers: a command in the running release's environment, attached to a terminal or detached."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import os
import secrets
import signal
import struct
import termios
from collections.abc import Awaitable, Callable, Mapping
from fcntl import ioctl
from pathlib import Path

from sandbox.platform import runtime
from sandbox.platform.builds import Emit
from sandbox.platform.errors import BadRequest, Invalid
from sandbox.platform.model import App, Container, Operation, Release, User, new_object_id, now
from sandbox.platform.processes import Child
from sandbox.platform.services import Services

MOST_AT_ONCE = 10
"""Documented limit for each app."""
ATTACH_SECONDS = 300.0
"""How long an attached one-off waits for somebody to attach; the platform's own limit is not documented."""
TIMED_OUT_CODE = 128
"""Exit code reported for a postdeploy command that ran longer than it may (documented as status -128)."""


class OneOff:
    """One container of a command. An attached one starts when somebody attaches."""

    def __init__(
        self, services: Services, app: App, release: Release, container: Container, env: Mapping[str, str]
    ) -> None:
        self.container = container
        self.app = app
        self.user_id: str | None = None
        self.idle = False
        """Whether it was ended because nobody said anything for too long."""
        self.ended = asyncio.Event()
        self.terminal: int | None = None
        """The master's end of its pty, once it is started in one."""
        self._child: Child | None = None
        self._services = services
        self._release = release
        self._env = dict(env)

    @property
    def started(self) -> bool:
        return self._child is not None

    async def start_attached(self) -> int:
        """Start it in a new pty; returns the master's file descriptor, which the caller closes."""
        master, slave = os.openpty()
        try:
            os.set_blocking(master, False)
            await self._start(terminal=slave)
        except BaseException:
            os.close(master)
            raise
        finally:
            os.close(slave)
        self.terminal = master
        return master

    async def run(self, heard: Emit) -> int:
        """Start it without a terminal and pass its output on to its end; returns the exit code."""
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

        async def copy(output: asyncio.StreamReader) -> None:
            while part := await output.read(1 << 16):
                heard(decoder.decode(part))

        return await self._run(copy)

    async def run_to_log(self) -> None:
        """Start it without a terminal; its output goes to the app's log."""
        logbook = self._services.logbook(self.app)
        await self._run(lambda output: logbook.copy(self.container.label, output))

    async def _run(self, copy: Callable[[asyncio.StreamReader], Awaitable[None]]) -> int:
        child = await self._start(terminal=None)
        try:
            await copy(child.output)
            return await child.wait()
        finally:
            # Without effect where it has ended; else whoever waits for it has given up.
            await asyncio.shield(child.stop(grace=0))
            await self.finish()

    async def finish(self) -> int:
        """Wait for the process to end and record it; returns the exit code."""
        code = await self._child.wait() if self._child is not None else 0
        if not self.ended.is_set():
            self.container.exit_code = code
            self.container.state, self.container.deleted_at = "stopped", now()
            self._services.save()
            self._services.logbook(self.app).manager(
                f"container [{self.container.label}] ({self.container.id}) has stopped"
            )
            self.ended.set()
        return code

    async def stop(self, grace: float) -> None:
        """SIGTERM, then SIGKILL after `grace` seconds."""
        if self._child is not None:
            await self._child.stop(grace)
        await self.finish()

    async def hang_up(self) -> None:
        """The attached terminal is gone: SIGHUP, as a terminal does, then the rest of a stop."""
        if self._child is not None and self._child.running:
            self._child.signal(signal.SIGHUP)
            await self.stop(grace=2)

    def resize(self, width: int, height: int) -> None:
        """Tell the terminal's size; ignored where it has ended."""
        if self.terminal is not None and not self.ended.is_set():
            with contextlib.suppress(OSError):
                ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    async def _start(self, terminal: int | None) -> Child:
        container = self.container
        environment = runtime.container_environment(
            self.app,
            self._release,
            self._services.variables(self.app),
            label=container.label,
            size=container.size,
        )
        self._child = await self._services.guard.spawn(
            runtime.command_line(container.command),
            env=environment | self._env,
            cwd=Path(self._release.folder),
            terminal=terminal,
        )
        container.pid, container.process_started = self._child.pid, self._child.process_started
        container.state = "running"
        self._services.save()
        return self._child


class OneOffs:
    """The one-offs of all apps that exist now."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._by_container: dict[str, OneOff] = {}
        self._by_secret: dict[str, OneOff] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def create(
        self, app: App, command: str, env: Mapping[str, str], size: str, detached: bool, user: User
    ) -> tuple[Container, Operation]:
        """A one-off of the running release; a detached one starts at once.

        Raises Invalid for a blank command, an unknown size or an app that was never deployed, BadRequest
        where there are too many.
        """
        if not command.strip():
            raise Invalid({"command": ["can't be blank"]})
        if size not in runtime.SIZES_MEGABYTES:
            raise Invalid({"size": ["is not a container size"]})
        if app.release is None:
            raise Invalid({"app": ["has not been deployed yet"]})
        alive = [one for one in self._by_container.values() if one.app is app and not one.ended.is_set()]
        if len(alive) >= MOST_AT_ONCE:
            raise BadRequest(f"no more than {MOST_AT_ONCE} one-off containers at once")
        container = new_one_off(self._services, app, app.release, command, size)
        one_off = OneOff(self._services, app, app.release, container, {"SCALINGO_USER_ID": user.id, **env})
        one_off.user_id = user.id
        operation = Operation(
            id=new_object_id(),
            app_id=app.id,
            type="start-one-off",
            created_at=now(),
            status="done",
            finished_at=now(),
            container_id=container.id,
            user_id=user.id,
        )
        self._by_container[container.id] = one_off
        if detached:
            self._background(one_off.run_to_log())
        else:
            operation.attach_secret = secrets.token_urlsafe(24)
            self._by_secret[operation.attach_secret] = one_off
            self._background(self._end_unattended(one_off))
        self._services.store.state.operations[operation.id] = operation
        self._services.save()
        return container, operation

    def by_secret(self, secret: str) -> OneOff | None:
        """The attached one-off with this path in its attach URL."""
        return self._by_secret.get(secret)

    def by_container(self, container: Container) -> OneOff | None:
        return self._by_container.get(container.id)

    async def stop(self) -> None:
        """End all of them."""
        alive = [one for one in self._by_container.values() if not one.ended.is_set()]
        await asyncio.gather(*(one.stop(grace=2) for one in alive))
        for task in list(self._tasks):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _end_unattended(self, one_off: OneOff) -> None:
        await asyncio.sleep(ATTACH_SECONDS)
        if not one_off.started:
            await one_off.finish()

    def _background(self, work: object) -> None:
        assert asyncio.iscoroutine(work)
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def new_one_off(
    services: Services, app: App, release: Release, command: str, size: str, kind: str = "one-off"
) -> Container:
    """The record of a new one-off container, numbered on from the app's last."""
    app.one_off_count += 1
    container = Container(
        id=new_object_id(),
        app_id=app.id,
        type=kind,
        type_index=app.one_off_count,
        label=f"{kind}-{app.one_off_count}",
        command=command,
        created_at=now(),
        size=size,
        deployment_id=release.deployment_id,
    )
    services.store.state.containers[container.id] = container
    return container


async def run_postdeploy(services: Services, app: App, release: Release, heard: Emit) -> int:
    """Run the release's postdeploy command in a one-off of that release; its exit code."""
    assert release.postdeploy is not None
    container = new_one_off(services, app, release, release.postdeploy, "M", kind="postdeploy")
    one_off = OneOff(services, app, release, container, {})
    try:
        async with asyncio.timeout(app.scenario.hook_timeout):
            return await one_off.run(heard)
    except TimeoutError:
        heard(f" !   The postdeploy hook ran longer than {app.scenario.hook_timeout:g} seconds\n")
        return TIMED_OUT_CODE
