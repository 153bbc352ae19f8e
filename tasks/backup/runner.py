"""One backup of one application: show its plan, hold its gates, make it, record it."""

from __future__ import annotations

import shlex
import time
from contextlib import ExitStack
from dataclasses import asdict, replace
from typing import Any

from tasks.backup import making, notices, outlook
from tasks.backup.destination import Destination, Folder
from tasks.backup.making import Made
from tasks.backup.outlook import Planned
from tasks.core.errors import Locked, OpsError, Refused
from tasks.core.interrupts import Interrupts
from tasks.core.journal import who
from tasks.core.parts import Parts
from tasks.core.plan import render
from tasks.core.screen import Screen, show_plan
from tasks.postgres import leftovers
from tasks.postgres.connection import connect
from tasks.postgres.lock import EnvironmentLock
from tasks.rollback import confirmation
from tasks.rollback.application import Application
from tasks.rollback.inputs import Inputs
from tasks.rollback.intent import new_run


class BackupRunner:
    """Plans and makes one backup. Made once per run of pyinfra.

    Raises `Refused` where the folder that was asked for is none.
    """

    def __init__(self, app: Application, inputs: Inputs, screen: Screen) -> None:
        self._app = app
        self._inputs = inputs
        self._screen = screen
        self._run = new_run()
        self._parts = Parts(screen)
        self._destination: Destination | None = Folder.named(inputs.to) if inputs.to else None

    def plan(self) -> Planned:
        """Read and plan; changes nothing. Raises as `outlook.read`."""
        found = outlook.read(self._app, self._inputs, self._run, self._destination)
        return Planned(found, outlook.plan(found))

    def show(self, planned: Planned, *, full: bool) -> None:
        """The plan on screen."""
        show_plan(self._screen, render(planned.plan, full=full))

    def refuse_where_gates_do(self, planned: Planned) -> None:
        """Raise `Refused` naming each gate that does not hold."""
        if not (refusals := planned.plan.refusals):
            return
        names = ", ".join(gate.name for gate in refusals)
        self._record(planned, "refused", error=names)
        kind = Locked if planned.outlook.lock_holder else Refused
        raise kind(
            planned.plan.title,
            planned.outlook.lock_holder or f"refused by {names}",
            state="nothing was changed",
            next_step="see the lines marked REFUSED",
        )

    def confirm(self) -> None:
        """Have the protected environment's name typed. Raises `Refused` where it was not."""
        confirmation.require(self._app.declared, self._inputs.confirm)

    def execute(self, planned: Planned) -> None:
        """Make it. Raises an `OpsError`, recorded and told, where that fails."""
        began = time.monotonic()
        try:
            made, planned = self._make()
        except OpsError as error:
            begun = bool(self._parts.ended)
            if begun or not isinstance(error, Refused | Locked):
                self._record(planned, "failed", error=str(error))
                self._tell(notices.failed(*self._whose(), str(error)))
            raise
        seconds = time.monotonic() - began
        self._record(planned, "succeeded", made)
        self._tell(notices.made(*self._whose(), self._inputs.reason, made.in_french, made.size, seconds))
        self._screen.good(f"Backed up in {seconds:.0f} s: {made.title}")
        restore = f"pyinfra inventories/{self._app.declared.environment}.py deploys/restore.py"
        self._screen.line(f"To restore it: {restore} --data backup={shlex.quote(made.wanted)}")

    def _make(self) -> tuple[Made, Planned]:
        with ExitStack() as stack:
            interrupts = stack.enter_context(Interrupts(self._announce_stop))
            database = stack.enter_context(self._app.database())
            stack.enter_context(EnvironmentLock.take(database, self._run, who=who()))
            with connect(database, self._run, "leftovers") as connection:
                leftovers.end(connection, self._run)
            found = replace(self.plan().outlook, lock_holder=None)  # that is us
            planned = Planned(found, outlook.plan(found))
            self.refuse_where_gates_do(planned)
            if self._destination is None:
                return making.by_the_platform(self._app, self._parts, self._screen, interrupts.stop), planned
            made = making.of_our_own(
                self._app, found, self._destination, database, self._parts, self._screen, interrupts.stop
            )
            return made, planned

    def _announce_stop(self, signal: str) -> None:
        self._screen.warn(f"{signal}: stopping at the next safe point; what it is will be said.")

    def _whose(self) -> tuple[str, str, str]:
        return self._app.name, self._app.declared.environment, who()

    def _tell(self, text: str) -> None:
        """Tell the channel; what goes wrong there is a warning and stops nothing."""
        channel = self._app.channel
        problem = channel.post(text) if channel else "MATTERMOST_WEBHOOK_URL is not set"
        if problem:
            self._screen.warn(f"The team's channel was not told: {problem}")

    def _record(self, planned: Planned, result: str, made: Made | None = None, error: str = "") -> None:
        found: dict[str, Any] = {} if made is None else asdict(made)
        try:
            self._app.journal.append(
                run=self._run,
                app=self._app.name,
                deploy="backup",
                result=result,
                moved=False,
                reason=self._inputs.reason,
                made=found.get("wanted"),
                bytes=found.get("size"),
                rows=found.get("rows"),
                sha256=found.get("sha256"),
                release=planned.outlook.platform.running,
                plan=planned.plan.digest,
                gates=[asdict(gate) for gate in planned.plan.gates],
                steps=[asdict(part) for part in self._parts.ended],
                error=error or None,
            )
        except OpsError as problem:
            self._screen.warn(str(problem))
