"""Scale and restart: what a client polls while it goes on in the background."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping

from sandbox.platform import runtime
from sandbox.platform.errors import Conflict, Invalid, NotFound
from sandbox.platform.fleet import Fleet, Fleets
from sandbox.platform.instance import BootFailure
from sandbox.platform.model import App, Formation, Operation, new_object_id, now
from sandbox.platform.services import Services

MOST_CONTAINERS = 10
"""Documented limit for each type."""
KEPT = 500
"""How many finished operations stay known."""


class Operations:
    """Carries out one scale or restart at a time for each app, never while a release boots."""

    def __init__(self, services: Services, fleets: Fleets) -> None:
        self._services = services
        self._fleets = fleets
        self._tasks: set[asyncio.Task[None]] = set()

    def scale(self, app: App, changes: Mapping[str, Formation]) -> Operation | None:
        """Set amounts and sizes. None when nothing runs yet. Raises Invalid, Conflict."""
        errors = {}
        for process_type, change in changes.items():
            if app.release is not None and process_type not in app.release.procfile:
                errors[f"container-{process_type}"] = ["is not a type of this application"]
            if not 0 <= change.amount <= MOST_CONTAINERS:
                errors[f"container-{process_type}-amount"] = [f"must be between 0 and {MOST_CONTAINERS}"]
            if change.size and change.size not in runtime.SIZES_MEGABYTES:
                errors[f"container-{process_type}-size"] = ["is not a container size"]
        if errors:
            raise Invalid(errors)
        fleet = self._fleets.current.get(app.id)
        if fleet is not None:
            self._refuse_if_busy(app)
        wanted = {}
        for process_type, change in changes.items():
            present = app.formation.setdefault(process_type, Formation(0))
            present.amount = change.amount
            present.size = change.size or present.size
            wanted[process_type] = (present.amount, present.size)
        self._services.save()
        if fleet is None:
            return None
        return self._begin(app, "scale", "scaling", lambda current: current.scale(wanted))

    def restart(self, app: App, scope: list[str]) -> Operation:
        """Restart types or single containers, all for an empty scope. Raises Invalid, Conflict."""
        fleet = self._fleets.current.get(app.id)
        if fleet is None:
            raise Invalid({"app": ["is not running"]})
        known = {name for one in fleet.instances for name in (one.container.type, one.container.label)}
        unknown = [name for name in scope if name not in known and name not in app.formation]
        if unknown:
            raise Invalid({"scope": [f"{name} doesn't exist" for name in unknown]})
        self._refuse_if_busy(app)

        async def restart(current: Fleet) -> None:
            await current.restart(
                one
                for one in current.instances
                if not scope or one.container.type in scope or one.container.label in scope
            )

        return self._begin(app, "restart", "restarting", restart)

    def find(self, app: App, operation_id: str) -> Operation:
        """Raises NotFound("operation")."""
        operation = self._services.store.state.operations.get(operation_id)
        if operation is None or operation.app_id != app.id:
            raise NotFound("operation")
        return operation

    def abort_leftovers(self) -> None:
        """Operations that a killed predecessor was carrying out have failed; the oldest are forgotten."""
        operations = self._services.store.state.operations
        for operation in operations.values():
            if operation.status in ("pending", "running"):
                operation.status, operation.error = "error", "the sandbox was stopped during it"
                operation.finished_at = now()
        for key in list(operations)[:-KEPT]:
            del operations[key]

    async def stop(self) -> None:
        """Give up what is under way."""
        for task in list(self._tasks):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def _refuse_if_busy(self, app: App) -> None:
        # Documented as not allowed; with which status isn't.
        if self._fleets.lock(app).locked() or app.status in ("scaling", "restarting"):
            raise Conflict(
                "The application is being scaled, restarted or started, try again when it is done."
            )

    def _begin(self, app: App, kind: str, status: str, work: Callable[[Fleet], Awaitable[None]]) -> Operation:
        operation = Operation(id=new_object_id(), app_id=app.id, type=kind, created_at=now())
        self._services.store.state.operations[operation.id] = operation
        app.status = status
        self._services.save()
        task = asyncio.create_task(self._carry_out(app, operation, work), name=f"{kind} {app.name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return operation

    async def _carry_out(
        self, app: App, operation: Operation, work: Callable[[Fleet], Awaitable[None]]
    ) -> None:
        async with self._fleets.lock(app):
            fleet = self._fleets.current[app.id]
            operation.status = "running"
            self._services.save()
            try:
                await work(fleet)
                operation.status = "done"
            except BootFailure as failure:
                operation.status, operation.error = "error", failure.reason
            except BaseException:
                operation.status, operation.error = "error", "interrupted"
                raise
            finally:
                operation.finished_at = now()
                app.status = fleet.status()
                self._services.save()
