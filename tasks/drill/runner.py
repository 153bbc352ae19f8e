"""One drill of one application: show its plan, hold its gates, carry it out, record it."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import asdict, replace
from typing import Any

from tasks.core.errors import Locked, OpsError, Refused
from tasks.core.interrupts import Interrupts
from tasks.core.journal import who
from tasks.core.parts import Parts
from tasks.core.plan import render
from tasks.core.prompts import at_terminal
from tasks.core.screen import Screen, amount_text, show_plan
from tasks.core.wording import number_of
from tasks.drill import notices, outlook
from tasks.drill.copying import FETCH, RESTORE, Copying, Outcome
from tasks.drill.outlook import Planned
from tasks.drill.place import Place
from tasks.postgres import leftovers
from tasks.postgres.connection import connect
from tasks.postgres.lock import EnvironmentLock
from tasks.rollback import confirmation, invocation
from tasks.rollback.application import Application
from tasks.rollback.backups import Backups
from tasks.rollback.inputs import Inputs
from tasks.rollback.intent import new_run


def _a_failure(error: Refused) -> OpsError:
    """A restore refuses a damaged archive, and well; to a drill it is what it was looking for."""
    return OpsError(
        error.attempted,
        error.reply,
        state=error.state or "nothing live was touched; no copy is left",
        next_step=error.next_step,
    )


class DrillRunner:
    """Plans and carries out one drill. Made once per run of pyinfra.

    Raises `NotConfigured` where no place for it is declared.
    """

    def __init__(self, app: Application, inputs: Inputs, screen: Screen) -> None:
        self._app = app
        self._inputs = inputs
        self._screen = screen
        self._run = new_run()
        self._place = Place.of(app)
        self._backups = Backups(app, screen)
        self._parts = Parts(screen)
        self._subject = notices.Subject(app.name, app.declared.environment, who(), inputs.reason)

    def plan(self) -> Planned:
        """Read and plan; changes nothing. Raises as `outlook.read`.

        A drill that nobody watches and that can't even be planned is told of: else it would be missed.
        """
        try:
            return self._read()
        except OpsError as error:
            self._tell_where_nobody_watches(str(error))
            raise

    def _read(self) -> Planned:
        found = outlook.read(self._app, self._place, self._inputs, self._run, self._backups)
        self._subject = replace(self._subject, backup=found.backup.name)
        return Planned(found, outlook.plan(found))

    def show(self, planned: Planned, *, full: bool) -> None:
        """The plan on screen."""
        show_plan(self._screen, render(planned.plan, full=full))

    def refuse_where_gates_do(self, planned: Planned) -> None:
        """Raise `Refused` naming each gate that does not hold."""
        if not (refusals := planned.plan.refusals):
            return
        lines = "; ".join(f"{gate.name}: {gate.sentence}" for gate in refusals)
        self._record(planned, "refused", Outcome(), error=lines)
        self._tell_where_nobody_watches(lines)
        kind = Locked if planned.outlook.lock_holder else Refused
        raise kind(
            planned.plan.title,
            planned.outlook.lock_holder or f"refused by {', '.join(gate.name for gate in refusals)}",
            state="nothing was restored",
            next_step="see the lines marked REFUSED",
        )

    def confirm(self) -> None:
        """Have the environment's name typed where its own protected database is what is restored beside."""
        if self._place.beside_its_own_live_data or self._inputs.confirm is not None:
            confirmation.require(self._app.declared, self._inputs.confirm)

    def execute(self, planned: Planned) -> None:
        """Carry it out. Raises an `OpsError`, recorded and told, where the backup is not what it must be."""
        outcome = Outcome()
        began = time.monotonic()
        try:
            with ExitStack() as stack:
                interrupts = stack.enter_context(Interrupts(self._announce_stop))
                database = stack.enter_context(self._place.database())
                lock = stack.enter_context(EnvironmentLock.take(database, self._run, who=who()))
                with connect(database, self._run, "leftovers") as connection:
                    leftovers.end(connection, self._run)
                copying = Copying(
                    self._app,
                    self._place,
                    planned.outlook,
                    database,
                    lock,
                    self._backups,
                    self._parts,
                    self._screen,
                    interrupts.stop,
                )
                outcome = copying.outcome
                copying.carry_out()
            self._judge(outcome)
        except OpsError as error:
            self._record(planned, "failed", outcome, error=str(error))
            self._tell(notices.failed(self._subject, str(error), [one.name for one in outcome.failing]))
            if isinstance(error, Refused):
                raise _a_failure(error) from None
            raise
        self._record(planned, "succeeded", outcome)
        self._say_done(outcome, time.monotonic() - began)

    def _judge(self, outcome: Outcome) -> None:
        left = f"{outcome.left} is still there" if outcome.left else "the copy was removed"
        if outcome.failing:
            raise OpsError(
                f"Drilling {self._subject.backup}",
                "\n" + "\n".join(f"  {one.line}" for one in outcome.failing),
                state=f"nothing live was touched; {left}",
                next_step="find out whether the backup or what is declared of it is wrong, then drill again",
            )
        if outcome.left:
            raise OpsError(
                f"Removing the copy of {self._subject.backup}",
                "it could not be dropped",
                state=f"{left}; all checks hold",
                next_step="run the same command again: it drops it first",
            )

    def _say_done(self, outcome: Outcome, seconds: float) -> None:
        restoring, size = self._parts.seconds(RESTORE), self._size(outcome)
        parts = ", ".join(f"{part} {took:.1f} s" for part, took in outcome.stage_seconds.items())
        checks = len(outcome.checked)
        self._screen.good(
            f"Drilled in {seconds:.0f} s: {number_of(outcome.rows, 'row')} restored and proved in "
            f"{restoring:.1f} s ({parts}), {number_of(checks, 'check holds', 'checks hold')}, copy removed."
        )
        self._screen.line(
            f"{amount_text(size, 'bytes')} archived, {amount_text(outcome.stored_bytes, 'bytes')} on the "
            "server; later plans say how long a restore takes from this."
        )
        self._tell(notices.succeeded(self._subject, outcome.rows, size, restoring, checks))

    def _size(self, outcome: Outcome) -> int:
        return outcome.opened.fetched.size if outcome.opened else 0

    def _announce_stop(self, signal: str) -> None:
        self._screen.warn(f"{signal}: stopping at the next safe point; the copy is removed.")

    def _tell_where_nobody_watches(self, error: str) -> None:
        if not at_terminal() and not invocation.is_dry():
            self._tell(notices.failed(self._subject, error))

    def _tell(self, text: str) -> None:
        """Tell the channel; what goes wrong there is a warning and stops nothing."""
        channel = self._app.channel
        problem = channel.post(text) if channel else "MATTERMOST_WEBHOOK_URL is not set"
        if problem:
            self._screen.warn(f"The team's channel was not told: {problem}")

    def _record(self, planned: Planned, result: str, outcome: Outcome, error: str = "") -> None:
        found = planned.outlook
        try:
            self._app.journal.append(
                run=self._run,
                app=self._app.name,
                deploy="drill",
                result=result,
                moved=False,
                reason=self._inputs.reason,
                backup=found.backup.id,
                place=found.place,
                release=found.release.commit if found.release else None,
                rows=outcome.rows,
                stored_bytes=outcome.stored_bytes,
                checks=[asdict(one) for one in outcome.checked],
                restoring=outcome.stage_seconds,
                gates=[asdict(gate) for gate in planned.plan.gates],
                steps=[asdict(part) for part in self._parts.ended],
                error=error or None,
                **self._measured(outcome),
            )
        except OpsError as problem:
            self._screen.warn(str(problem))

    def _measured(self, outcome: Outcome) -> dict[str, Any]:
        """Bytes and seconds of what came to its end: what estimates are made from."""
        size = self._size(outcome)
        wanted = {"fetched": FETCH} if outcome.fetched else {}
        if outcome.rows:
            wanted["restored"] = RESTORE
        return {
            name: {"bytes": size, "seconds": self._parts.seconds(title)} for name, title in wanted.items()
        }
