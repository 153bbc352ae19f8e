"""A deployment from queued to its final state, and who is told of it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from sandbox.platform.broadcast import Broadcast, Subscription
from sandbox.platform.builds import Build, BuildFailure, Emit
from sandbox.platform.errors import Conflict
from sandbox.platform.fleet import Fleet, Fleets
from sandbox.platform.instance import BootFailure
from sandbox.platform.model import (
    DEPLOYMENT_MOVING,
    App,
    Deployment,
    Formation,
    Release,
    Scenario,
    StreamEvent,
    User,
    new_id,
    now,
)
from sandbox.platform.oneoffs import run_postdeploy
from sandbox.platform.services import Services
from sandbox.platform.sources import Source

KEPT_RELEASES = 5
_BOLD, _RED, _GREEN, _PLAIN = "\033[1m", "\033[1;31m", "\033[1;32m", "\033[0m"
_BY_SCENARIO = "(the sandbox's scenario asks for it)"
_log = logging.getLogger(__name__)


class HookFailure(Exception):
    """The postdeploy command failed: `hook-error`."""


class Aborted(Exception):
    """The pusher's connection is gone: `aborted`."""


class Run:
    """One deployment under way."""

    def __init__(self, deployment: Deployment, heard: Emit | None, cut: Callable[[], None] | None) -> None:
        self.deployment = deployment
        self.heard = heard
        self.cut = cut
        """Cuts the pusher's connection, for the scenario `aborted`."""
        self.task: asyncio.Task[None] | None = None
        """Carries it out and records how it ended; never cancelled."""
        self.work: asyncio.Task[None] | None = None
        """The part of it that an abort cancels."""
        self.cancelled = False

    def abort(self) -> None:
        """The pusher is gone. As documented this ends a deployment only until it is starting.

        From then on it goes on to its end without the pusher, whose branch doesn't move any more.
        """
        if self.deployment.status in ("queued", "building", "pushing"):
            self.cancel()

    def cancel(self) -> None:
        """End it as `aborted`, whatever state it is in."""
        self.cancelled = True
        if self.work is not None:
            self.work.cancel()

    async def finished(self) -> Deployment:
        """Until it is in a final state."""
        if self.task is not None:
            await asyncio.wait([self.task])
        return self.deployment


class Deployments:
    """Carries deployments out, one at a time for each app."""

    def __init__(self, services: Services, fleets: Fleets, url: Callable[[App], str]) -> None:
        self.running: dict[str, Run] = {}
        self._services = services
        self._fleets = fleets
        self._url = url
        self._broadcasts: dict[str, Broadcast[StreamEvent]] = {}
        self._newest: dict[str, list[StreamEvent]] = {}
        self._retiring: set[asyncio.Task[None]] = set()

    def begin(
        self,
        app: App,
        source: Source,
        pusher: User,
        heard: Emit | None = None,
        cut: Callable[[], None] | None = None,
    ) -> Run:
        """Start a deployment; `heard` gets its log as it grows. Raises Conflict while another one runs."""
        if app.id in self.running:
            raise Conflict(
                "Another deployment of this application is in progress, try again when it has ended."
            )
        deployment = Deployment(
            id=new_id(),
            app_id=app.id,
            created_at=now(),
            type=source.kind,
            git_ref=source.ref,
            pusher_id=pusher.id,
            previous_git_ref=app.release.commit if app.release else None,
            image=f"{app.name}:{source.ref}",
        )
        folder = self._services.app_folder(app) / "deployments"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        deployment.output = str(folder / f"{deployment.id}.log")
        Path(deployment.output).touch(mode=0o600)
        self._services.store.state.deployments[deployment.id] = deployment
        self._newest[app.id] = []
        self._publish(deployment, "new", "")
        self._status(deployment, "queued")
        run = self.running[app.id] = Run(deployment, heard, cut)
        run.task = asyncio.create_task(self._carry_out(app, source, pusher, run), name=f"deploy {app.name}")
        return run

    def subscribe(self, app: App) -> Subscription[StreamEvent]:
        """The newest deployment's events again, then live ones."""
        if app.id not in self._newest:
            self._newest[app.id] = self._events_of_last(app)
        broadcast = self._broadcasts.setdefault(app.id, Broadcast())
        return broadcast.subscribe(before=self._newest[app.id])

    def abort_leftovers(self) -> None:
        """Deployments that a killed predecessor was carrying out are `aborted`."""
        for deployment in self._services.store.state.deployments.values():
            if deployment.status in DEPLOYMENT_MOVING:
                deployment.status, deployment.finished_at = "aborted", now()
                deployment.error = "the sandbox was stopped during it"

    async def stop(self) -> None:
        """End all deployments (`aborted`) and wait for the old containers that are being replaced."""
        runs = list(self.running.values())
        for run in runs:
            run.cancel()
        for run in runs:
            await run.finished()
        for task in list(self._retiring):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _carry_out(self, app: App, source: Source, pusher: User, run: Run) -> None:
        deployment, emit = run.deployment, self._emitter(run)
        folder = self._services.app_folder(app) / "releases" / deployment.id
        scratch = Path(tempfile.mkdtemp(prefix="build-", dir=self._services.app_folder(app)))
        run.work = asyncio.create_task(self._deploy(app, source, pusher, run, folder, scratch, emit))
        if run.cancelled:
            run.work.cancel()
        error: str | None = None
        status = "success"
        try:
            await run.work
        except BuildFailure as failure:
            status, error = "build-error", str(failure)
        except BootFailure as failure:
            status, error = failure.status, failure.reason
        except HookFailure as failure:
            status, error = "hook-error", str(failure)
        except (Aborted, asyncio.CancelledError):
            status, error = "aborted", "the connection with the pusher is gone"
        except Exception as failure:
            _log.exception("deployment %s of %s", deployment.id, app.name)
            status = "crashed-error" if deployment.status == "starting" else "build-error"
            error = f"the sandbox itself failed: {failure}"
        await asyncio.to_thread(shutil.rmtree, scratch, ignore_errors=True)
        del self.running[app.id]
        if error is not None:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
            emit(f" {_RED}!   Error deploying the application{_PLAIN}\n {_RED}!   → {error}{_PLAIN}\n")
        else:
            emit(f" {_BOLD}<-- {self._url(app)} -->{_PLAIN}\n")
        deployment.error = error
        deployment.finished_at = now()
        deployment.duration = round((deployment.finished_at - deployment.created_at).total_seconds())
        self._status(deployment, status)
        logbook = self._services.logbook(app)
        logbook.manager(f"deployment {deployment.id} of {deployment.git_ref}: {status}")

    async def _deploy(
        self, app: App, source: Source, pusher: User, run: Run, folder: Path, scratch: Path, emit: Emit
    ) -> None:
        deployment, scenario = run.deployment, app.scenario
        fail = _take_failure(scenario)
        emit(f" {_BOLD}<-- Start deployment of {app.name} -->{_PLAIN}\n")
        await asyncio.sleep(scenario.queued)
        self._status(deployment, "building")
        emit("       Fetching source code\n")
        await source.fetch(self._services.guard, folder, scratch)
        emit("       Fetching deployment cache\n")
        release = await Build(
            self._services.guard,
            app,
            deployment.id,
            source.ref,
            folder,
            scratch,
            self._services.variables(app),
            emit,
        ).run(self._services.app_folder(app) / "cache")
        await asyncio.sleep(scenario.building)
        if fail == "build-error":
            raise BuildFailure(f"The build failed {_BY_SCENARIO}")
        if fail == "aborted":
            if run.cut is not None:
                run.cut()
            raise Aborted
        deployment.postdeploy_hook = release.postdeploy
        # This text comes before the state, and a pusher that swaps data acts on it.
        emit(f" {_BOLD}Build complete, shipping your container...{_PLAIN}\n")
        self._status(deployment, "pushing")
        deployment.image_size = await asyncio.to_thread(_size, folder)
        await asyncio.sleep(scenario.pushing)
        async with self._fleets.lock(app):
            emit(f" {_BOLD}Waiting for your application to boot...{_PLAIN}\n")
            self._status(deployment, "starting")
            await asyncio.sleep(scenario.starting)
            fleet = await self._start(app, release, fail, emit)
            self._switch(app, fleet, deployment, pusher)

    async def _start(self, app: App, release: Release, fail: str | None, emit: Emit) -> Fleet:
        """Boot the release beside the running one and run its postdeploy command, or leave nothing of it."""
        if fail == "crashed-error":
            raise BootFailure(fail, f"The application crashed at boot {_BY_SCENARIO}")
        if fail == "timeout-error":
            raise BootFailure(fail, f"The application did not listen on $PORT {_BY_SCENARIO}")
        for process_type in release.procfile:
            if process_type not in app.formation:
                first = process_type == "web" and app.release is None
                app.formation[process_type] = Formation(1 if first else 0)
        fleet = Fleet(self._services, app, release)
        await fleet.boot()
        try:
            if fail == "hook-error":
                raise HookFailure(f"The postdeploy hook failed {_BY_SCENARIO}")
            if release.postdeploy is not None:
                code = await run_postdeploy(self._services, app, release, emit)
                if code != 0:
                    raise HookFailure(
                        f"The postdeploy hook `{release.postdeploy}` failed with exit code {code}"
                    )
                emit(f" {_GREEN}Postdeploy hook succeeded, accepting deployment... {_PLAIN}\n")
        except BaseException:
            await asyncio.shield(fleet.stop(grace=1))
            raise
        return fleet

    def _switch(self, app: App, fleet: Fleet, deployment: Deployment, pusher: User) -> None:
        """Route to the booted fleet; the old one ends in the background once its requests are answered."""
        old = self._fleets.current.get(app.id)
        if old is not None:
            old.retire()
        self._fleets.current[app.id] = fleet
        app.release = fleet.release
        for process_type, command in fleet.release.procfile.items():
            app.formation[process_type].command = command
        app.last_deployed_at = app.updated_at = now()
        app.last_deployed_by = pusher.username
        app.last_deployment_id = deployment.id
        fleet.take_over()
        task = asyncio.create_task(self._retire(app, old), name=f"retire {app.name}")
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    async def _retire(self, app: App, old: Fleet | None) -> None:
        if old is not None:
            try:
                await old.stop(app.scenario.stop_timeout)
            except asyncio.CancelledError:
                await old.stop(grace=1)
                raise
        releases = sorted(
            (self._services.app_folder(app) / "releases").iterdir(), key=lambda path: path.stat().st_mtime
        )
        under_way = {run.deployment.id for run in self.running.values()}
        for folder in releases[:-KEPT_RELEASES]:
            if folder.name not in under_way and (app.release is None or str(folder) != app.release.folder):
                await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    def _emitter(self, run: Run) -> Emit:
        """Writes to the deployment's log, its stream and its pusher."""

        def emit(text: str) -> None:
            with Path(run.deployment.output).open("a", encoding="utf-8") as file:
                file.write(text)
            self._publish(run.deployment, "log", text)
            if run.heard is not None:
                run.heard(text)

        return emit

    def _status(self, deployment: Deployment, status: str) -> None:
        deployment.status = status
        self._services.save()
        self._publish(deployment, "status", status)

    def _publish(self, deployment: Deployment, kind: str, text: str) -> None:
        event = StreamEvent(kind, deployment.id, text)
        self._newest[deployment.app_id].append(event)
        if deployment.app_id in self._broadcasts:
            self._broadcasts[deployment.app_id].publish(event)

    def _events_of_last(self, app: App) -> list[StreamEvent]:
        """The events of the last deployment that an earlier run of the sandbox carried out, from its log."""
        mine = [one for one in self._services.store.state.deployments.values() if one.app_id == app.id]
        if not mine:
            return []
        last = max(mine, key=lambda one: one.created_at)
        text = Path(last.output).read_text(encoding="utf-8") if Path(last.output).exists() else ""
        return [
            StreamEvent("new", last.id),
            StreamEvent("log", last.id, text),
            StreamEvent("status", last.id, last.status),
        ]


def _take_failure(scenario: Scenario) -> str | None:
    """The failure that this deployment is to have; counts `fail_times` down."""
    fail = scenario.fail
    if fail is not None and scenario.fail_times is not None:
        scenario.fail_times -= 1
        if scenario.fail_times <= 0:
            scenario.fail, scenario.fail_times = None, None
    return fail


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*"))
