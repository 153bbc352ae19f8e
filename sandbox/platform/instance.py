"""One container of an app: boots, is watched, comes back when it crashes, and is stopped."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from sandbox.platform import runtime
from sandbox.platform.model import App, Container, Release, new_object_id, now
from sandbox.platform.processes import Child
from sandbox.platform.services import Services

FIRST_RESTART_SECONDS = 0.5
LONGEST_RESTART_SECONDS = 30.0
STEADY_SECONDS = 60.0
"""A container that ran so long is restarted quickly again."""
_PROBE_SECONDS = 0.02


class BootFailure(Exception):
    """A container that didn't come up. `status` is the deployment's final state that says so."""

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Instance:
    """A container record with its process. Between `start()` and `stop()` a task of its own watches it."""

    def __init__(
        self,
        services: Services,
        app: App,
        release: Release,
        process_type: str,
        index: int,
        size: str,
        changed: Callable[[], None],
    ) -> None:
        self.app = app
        self.release = release
        self.container = Container(
            id=new_object_id(),
            app_id=app.id,
            type=process_type,
            type_index=index,
            label=f"{process_type}-{index}",
            command=release.procfile.get(process_type, ""),
            created_at=now(),
            size=size,
            deployment_id=release.deployment_id,
        )
        self.comes_back = False
        """Whether a crash is answered by a restart: not while it is still being tried out."""
        self.child: Child | None = None
        self._services = services
        self._changed = changed
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ready.add_done_callback(lambda ready: ready.cancelled() or ready.exception())
        self._life: asyncio.Task[None] | None = None
        self._stopping = False

    @property
    def serves(self) -> bool:
        """Whether it is a web container that accepts requests now."""
        return self.container.type == "web" and self.container.state == "running"

    def start(self) -> None:
        self._services.store.state.containers[self.container.id] = self.container
        self._life = asyncio.create_task(self._live(), name=f"{self.app.name} {self.container.label}")

    async def ready(self) -> None:
        """Until it has booted for the first time. Raises BootFailure."""
        await asyncio.shield(self._ready)

    async def stop(self, grace: float) -> None:
        """SIGTERM, then SIGKILL after `grace` seconds; nothing of it runs afterwards."""
        self._stopping = True
        if self.container.deleted_at is None:
            self._state("stopping")
        if self.child is not None:
            await self.child.stop(grace)
        if self._life is not None:
            self._life.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._life
        self._ready.cancel()
        self.container.deleted_at = now()
        self._state("stopped")

    async def _live(self) -> None:
        logbook = self._services.logbook(self.app)
        named = f"container [{self.container.label}] ({self.container.id})"
        pause = FIRST_RESTART_SECONDS
        clock = asyncio.get_running_loop().time
        while True:
            began = clock()
            failure = await self._run_once()
            if self._stopping:
                return
            self._state("crashed")
            logbook.manager(f"{named} has crashed: {failure.reason}")
            if not self._ready.done():
                self._ready.set_exception(failure)
            if not self.comes_back:
                return
            if clock() - began > STEADY_SECONDS:
                pause = FIRST_RESTART_SECONDS
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_RESTART_SECONDS)
            self.container.restarts += 1
            logbook.manager(f"{named} is restarted")

    async def _run_once(self) -> BootFailure:
        """Start the process and watch it to its end, which is always a failure unless it was stopped."""
        container, scenario = self.container, self.app.scenario
        container.port = self._services.container_port() if container.type == "web" else None
        container.exit_code = None
        try:
            child = self.child = await self._services.guard.spawn(
                runtime.command_line(container.command),
                env=runtime.container_environment(
                    self.app,
                    self.release,
                    self._services.variables(self.app),
                    label=container.label,
                    size=container.size,
                    port=container.port,
                ),
                cwd=self.release.folder,
            )
        except OSError as error:
            return BootFailure("crashed-error", f"could not be started: {error.strerror}")
        container.pid, container.process_started = child.pid, child.process_started
        self._state("booting")
        copying = asyncio.create_task(self._services.logbook(self.app).copy(container.label, child.output))
        ending = asyncio.create_task(child.wait())
        try:
            late = False
            if container.port is not None:
                late = not await self._accepts(container.port, ending, scenario.boot_timeout)
            if late and not ending.done():
                await child.stop(1)
                return BootFailure(
                    "timeout-error",
                    f"{container.label} did not listen on $PORT within {scenario.boot_timeout:g} seconds",
                )
            if not ending.done() and not self._stopping:
                self._state("running")
                if not self._ready.done():
                    self._ready.set_result(None)
            container.exit_code = await asyncio.shield(ending)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(copying, 1)
            return BootFailure("crashed-error", f"{container.label} exited with code {container.exit_code}")
        finally:
            copying.cancel()
            ending.cancel()

    async def _accepts(self, port: int, ending: asyncio.Task[int], seconds: float) -> bool:
        """Whether something accepts connections on the port before the process ends or the time is over."""
        deadline = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < deadline and not ending.done():
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return True
            await asyncio.wait([ending], timeout=_PROBE_SECONDS)
        return False

    def _state(self, state: str) -> None:
        self.container.state = state
        self._services.save()
        self._changed()
