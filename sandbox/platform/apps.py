"""Apps made, renamed, resumed and deleted: their records, repositories, folders and routers."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Mapping

from sandbox.platform import repositories
from sandbox.platform.deployments import Deployments
from sandbox.platform.errors import Conflict, Invalid, NotFound
from sandbox.platform.fleet import Fleet, Fleets
from sandbox.platform.model import App, Formation, State, User, new_id, now
from sandbox.platform.router import Router
from sandbox.platform.services import Services


class Apps:
    """All apps of the platform."""

    def __init__(self, services: Services, fleets: Fleets, deployments: Deployments, region: str) -> None:
        self._services = services
        self._state = services.store.state
        self._fleets = fleets
        self._deployments = deployments
        self._region = region

    def all(self) -> list[App]:
        """By name."""
        return sorted(self._state.apps.values(), key=lambda app: app.name)

    def find(self, name_or_id: str) -> App:
        """Raises NotFound("app")."""
        for app in self._state.apps.values():
            if name_or_id in (app.id, app.name):
                return app
        raise NotFound("app")

    async def resume(self) -> None:
        """Front each app with its router, then boot all releases."""
        for app in self.all():
            await self._prepare(app)
        self._services.save()
        await asyncio.gather(*(self._boot(app) for app in self.all()))

    async def create(
        self, name: str, owner: User, stack_id: str | None, formation: Mapping[str, Formation] | None
    ) -> App:
        """A new app with its empty repository and router. Raises Invalid({"name": …})."""
        _check_name(self._state, name)
        app = App(new_id("ap"), name, self._region, created_at=now(), updated_at=now(), owner_id=owner.id)
        if stack_id is not None:
            app.stack_id, app.stack = stack_id, stack_id.removeprefix("st-")
        app.formation = dict(formation or {})
        app.router_port = self._services.store.port(f"router {app.id}")
        self._state.apps[app.id] = app
        await self._prepare(app)
        self._services.save()
        return app

    async def rename(self, app: App, new_name: str) -> None:
        """Raises Invalid({"new_name": …}), Conflict while a deployment runs."""
        _check_name(self._state, new_name, "new_name")
        self._refuse_while_deploying(app)
        old = self._services.repository(app)
        app.name, app.updated_at = new_name, now()
        old.rename(self._services.repository(app))
        self._services.save()

    async def delete(self, app: App) -> None:
        """End its processes and remove its repository, releases and deployments (not its add-ons).

        Raises Conflict while a deployment runs.
        """
        self._refuse_while_deploying(app)
        async with self._fleets.lock(app):
            fleet = self._fleets.current.pop(app.id, None)
            if fleet is not None:
                await fleet.stop(grace=2)
        await self._services.routers.pop(app.id).stop()
        for folder in (self._services.repository(app), self._services.app_folder(app)):
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        state = self._state
        del state.apps[app.id], state.ports[f"router {app.id}"]
        for records in (state.deployments, state.operations, state.containers):
            for key in [key for key, record in records.items() if record.app_id == app.id]:
                del records[key]
        self._services.save()

    async def _prepare(self, app: App) -> None:
        """The app's repository, folder and router."""
        repositories.prepare(self._services.repository(app))
        self._services.app_folder(app).mkdir(parents=True, exist_ok=True, mode=0o700)
        router = Router(app, app.router_port, self._services.logbook(app))
        router.switch([], expects_containers=False)
        await router.start()
        self._services.routers[app.id] = router

    async def _boot(self, app: App) -> None:
        if app.release is None:
            app.status = "new"
            return
        fleet = self._fleets.current[app.id] = Fleet(self._services, app, app.release)
        app.status = "booting"
        await fleet.resume()

    def _refuse_while_deploying(self, app: App) -> None:
        if app.id in self._deployments.running:
            raise Conflict("A deployment of this application is in progress, try again when it has ended.")


def _check_name(state: State, name: str, field: str = "name") -> None:
    """Raises Invalid for a name that isn't allowed or is taken."""
    problems = []
    if not 6 <= len(name) <= 48:
        problems.append("must be between 6 and 48 characters")
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
        problems.append("should only contain lowercase letters, digits and single hyphens in between")
    if any(app.name == name for app in state.apps.values()):
        problems.append("is already taken")
    if problems:
        raise Invalid({field: problems})
