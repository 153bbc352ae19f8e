"""The containers of one app, all of one release, as its formation wants them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Mapping

from sandbox.platform.instance import BootFailure, Instance
from sandbox.platform.model import App, Release
from sandbox.platform.services import Services

_SETTLE_SECONDS = 0.2
"""How long processes without a port must stay alive to count as booted."""
_RESUME_SECONDS = 10.0


class Fleet:
    """Boots, routes to, scales, restarts and stops one release's containers."""

    def __init__(self, services: Services, app: App, release: Release) -> None:
        self.app = app
        self.release = release
        self.instances: list[Instance] = []
        self._services = services
        self._routed = False

    async def boot(self) -> None:
        """Start what the formation wants. Raises BootFailure, and then nothing of it runs."""
        wanted = [
            (process_type, index, formation.size)
            for process_type, formation in self.app.formation.items()
            if process_type in self.release.procfile
            for index in range(1, formation.amount + 1)
        ]
        self.instances = [self._instance(*want) for want in wanted]
        try:
            await self._up(self.instances)
        except BaseException:
            await asyncio.shield(self.stop(grace=1))
            raise

    async def resume(self) -> None:
        """Start what the formation wants, as its app's only fleet: containers that fail are tried again.

        Returns when they are up, or one has failed, or after some seconds: a start mustn't hang on them.
        """
        for process_type, formation in self.app.formation.items():
            if process_type in self.release.procfile:
                for index in range(1, formation.amount + 1):
                    self.instances.append(self._instance(process_type, index, formation.size))
        self.take_over()
        for instance in self.instances:
            instance.start()
        with contextlib.suppress(BootFailure, TimeoutError):
            async with asyncio.timeout(_RESUME_SECONDS):
                await asyncio.gather(*(instance.ready() for instance in self.instances))

    def take_over(self) -> None:
        """From now on this fleet gets the requests, and its containers come back when they crash."""
        self._routed = True
        for instance in self.instances:
            instance.comes_back = True
        self._changed()

    def retire(self) -> None:
        """The router belongs to another fleet from now on."""
        self._routed = False

    async def scale(self, changes: Mapping[str, tuple[int, str]]) -> None:
        """Bring types to (amount, size). Raises BootFailure; what fails is tried again all the same."""
        fresh: list[Instance] = []
        surplus: list[Instance] = []
        for process_type, (amount, size) in changes.items():
            present = {
                instance.container.type_index: instance
                for instance in self.instances
                if instance.container.type == process_type
            }
            for index in range(1, amount + 1):
                if index not in present or present[index].container.size != size:
                    fresh.append(self._instance(process_type, index, size))
            surplus += [
                instance
                for index, instance in present.items()
                if index > amount or instance.container.size != size
            ]
        failure: BootFailure | None = None
        for instance in fresh:
            instance.comes_back = True
        try:
            await self._up(fresh)
        except BootFailure as error:
            failure = error
        await self._replace(surplus, fresh)
        if failure is not None:
            raise failure

    async def restart(self, old: Iterable[Instance]) -> None:
        """Start a new container for each old one, then stop those. Raises BootFailure; the old stay then."""
        old = list(old)
        fresh = [
            self._instance(one.container.type, one.container.type_index, one.container.size) for one in old
        ]
        try:
            await self._up(fresh)
        except BaseException:
            await asyncio.gather(*(instance.stop(1) for instance in fresh))
            raise
        for instance in fresh:
            instance.comes_back = True
        await self._replace(old, fresh)

    async def stop(self, grace: float) -> None:
        """Let requests under way end, then end all containers."""
        await asyncio.gather(*(self._drain_and_stop(instance, grace) for instance in list(self.instances)))

    def status(self) -> str:
        """The app's status as its containers have it: running, booting, crashed or stopped."""
        states = [instance.container.state for instance in self.instances]
        if not states:
            return "stopped"
        return next((state for state in ("crashed", "booting") if state in states), "running")

    async def _up(self, instances: list[Instance]) -> None:
        """Start them and wait until each is up, and none of the others has crashed by then."""
        for instance in instances:
            instance.start()
        await asyncio.gather(*(instance.ready() for instance in instances))
        if any(instance.container.type != "web" for instance in instances):
            await asyncio.sleep(_SETTLE_SECONDS)
        for instance in instances:
            if instance.container.state != "running":
                raise BootFailure(
                    "crashed-error",
                    f"{instance.container.label} exited with code {instance.container.exit_code}",
                )

    async def _replace(self, old: list[Instance], fresh: list[Instance]) -> None:
        self.instances = [instance for instance in self.instances if instance not in old] + fresh
        self._changed()
        grace = self.app.scenario.stop_timeout
        await asyncio.gather(*(self._drain_and_stop(instance, grace) for instance in old))

    async def _drain_and_stop(self, instance: Instance, grace: float) -> None:
        router = self._services.routers.get(self.app.id)
        if router is not None and instance.container.port is not None and instance.serves:
            await router.drained(instance.container.port)
        await instance.stop(grace)

    def _instance(self, process_type: str, index: int, size: str) -> Instance:
        return Instance(self._services, self.app, self.release, process_type, index, size, self._changed)

    def _changed(self) -> None:
        if not self._routed:
            return
        ports = [
            instance.container.port
            for instance in self.instances
            if instance.serves and instance.container.port is not None
        ]
        web = self.app.formation.get("web")
        router = self._services.routers.get(self.app.id)
        if router is not None:
            router.switch(ports, expects_containers=web is not None and web.amount > 0)
        if self.app.status not in ("scaling", "restarting"):
            self.app.status = self.status()


class Fleets:
    """Which fleet serves each app, and the lock that boots, scales and restarts of one app share."""

    def __init__(self) -> None:
        self.current: dict[str, Fleet] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    def lock(self, app: App) -> asyncio.Lock:
        return self._locks.setdefault(app.id, asyncio.Lock())
