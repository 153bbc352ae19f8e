"""One run of one deploy on one application: show its plan, hold its gates, do it, record it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from typing import Final

from tasks.core.errors import AwaitingSignOff, Locked, OpsError, Refused, Stale
from tasks.core.interrupts import Interrupts
from tasks.core.journal import who
from tasks.core.plan import Gate, gate_line, render
from tasks.core.screen import Screen, show_plan
from tasks.core.wording import number_of
from tasks.postgres import leftovers
from tasks.postgres.connection import Target as Database
from tasks.postgres.connection import connect
from tasks.postgres.lock import EnvironmentLock
from tasks.rollback import confirmation, notices, resolve
from tasks.rollback.application import Application
from tasks.rollback.backups import Backups, OpenBackup
from tasks.rollback.cells import Action
from tasks.rollback.choices import BackupOption
from tasks.rollback.code import CodeSide
from tasks.rollback.data import DataSide
from tasks.rollback.dropping import Dropping
from tasks.rollback.inputs import Inputs
from tasks.rollback.intent import Deploy, new_run
from tasks.rollback.losses import Losses
from tasks.rollback.planner import Planned, Planner
from tasks.rollback.resolve import Done
from tasks.rollback.signoff import SignOff
from tasks.rollback.situation import Situation
from tasks.rollback.standstill import Standstill
from tasks.rollback.transaction import DROP_AND_RESTORE, StepTaken, Transaction
from tasks.rollback.verification import Verification
from tasks.rollback.work import Work

_VERBS: Final = {
    Deploy.ROLLBACK: "Retour arrière",
    Deploy.RESTORE: "Restauration des données",
    Deploy.UNDO: "Annulation",
}


class Runner:
    """Plans and executes for one application. Made once per run of pyinfra."""

    def __init__(self, app: Application, deploy: Deploy, inputs: Inputs, screen: Screen) -> None:
        self._app = app
        self._inputs = inputs
        self._screen = screen
        self._backups = Backups(app, screen)
        self._planner = Planner(app, deploy, inputs, self._backups)
        self._fetched: dict[str, float] | None = None

    def plan(self) -> Planned | Done:
        """Read, resolve (asking at a terminal) and plan. Changes nothing. Raises as `Planner.plan`."""
        for fault in self._app.journal.broken_links():
            self._screen.warn(f"The journal was changed by hand: {fault}")
        return self._planner.plan()

    def show(self, planned: Planned, *, full: bool) -> None:
        """The plan on screen."""
        show_plan(self._screen, render(planned.plan, full=full))

    def _show_what_is_known_now(self, planned: Planned, fresh: Planned) -> None:
        """The gates whose answer is another than in the plan that was shown."""
        shown = {gate.name: gate.holds for gate in planned.plan.gates}
        known = (gate for gate in fresh.plan.gates if gate.holds is not shown.get(gate.name))
        show_plan(self._screen, map(gate_line, known))

    def refuse_where_gates_do(self, planned: Planned) -> None:
        """Raise `Refused` naming each gate that does not hold."""
        refusals = planned.plan.refusals
        if refusals:
            self._record(planned, [], "refused", error=_gate_names(refusals))
            if planned.situation.lock_holder:
                raise Locked(
                    planned.plan.title,
                    planned.situation.lock_holder,
                    state=planned.situation.unchanged,
                    next_step="wait for that run to end, or talk to them, then run the same command again",
                )
            raise Refused(
                planned.plan.title,
                f"refused by {_gate_names(refusals)}",
                state=planned.situation.unchanged,
                next_step="see the lines marked REFUSED",
            )

    def confirm(self) -> None:
        """Have the protected environment's name typed. Raises `Refused` where it was not."""
        confirmation.require(self._app.declared, self._inputs.confirm)

    def execute(self, planned: Planned) -> None:
        """Bring it about. Raises an `OpsError` that says in which state things are."""
        intent = planned.situation.intent
        session = new_run()
        with ExitStack() as stack:
            interrupts = stack.enter_context(Interrupts(self._announce_stop))
            database = stack.enter_context(self._app.database())
            lock = stack.enter_context(EnvironmentLock.take(database, session, who=who()))
            self._end_leftovers(database, session)
            backup = self._fetch(intent.backup, interrupts.stop) if intent.backup else None
            fresh = self._planner.plan_again(planned, database, backup)
            self._check_still_true(planned, fresh)
            self._show_what_is_known_now(planned, fresh)
            self.refuse_where_gates_do(fresh)
            work = Work(self._app, fresh.situation, database, lock, self._backups, backup, self._screen)
            self._transact(fresh, work, interrupts.stop)

    def _fetch(self, backup: BackupOption, stop: Callable[[], bool]) -> OpenBackup:
        """The backup, read to its end; what that took is kept, for the next plan."""
        if known := self._backups.cached(backup):
            return known
        began = time.monotonic()
        opened = self._backups.fetch(backup, stop)
        self._fetched = {"bytes": opened.fetched.size, "seconds": round(time.monotonic() - began, 2)}
        return opened

    def _announce_stop(self, signal: str) -> None:
        self._screen.warn(f"{signal}: stopping at the next safe point; what it is will be said.")

    def _end_leftovers(self, database: Database, session: str) -> None:
        with connect(database, session, "leftovers") as connection:
            for left in leftovers.end(connection, session):
                self._screen.warn(
                    f"Ended a session that run {left.run} had left on the server ({left.purpose})."
                )

    def _check_still_true(self, planned: Planned, fresh: Planned) -> None:
        if moved := planned.situation.overtaken_by(fresh.situation):
            raise Stale(
                planned.plan.title,
                moved,
                state=fresh.situation.unchanged,
                next_step="run the same command again and read the new plan",
            )

    def _transact(self, planned: Planned, work: Work, stop: Callable[[], bool]) -> None:
        situation, intent, losses = planned.situation, work.intent, Losses(work)
        code = CodeSide(
            self._app,
            intent.target,
            self._screen,
            planned_branch=situation.push.old_remote if situation.push else None,
            planned_running=situation.platform.running,
            postdeploy=situation.postdeploy,
        )
        subject = self._subject(situation)
        transaction = Transaction(
            intent,
            code,
            DataSide(work),
            Dropping(work),
            Standstill(self._app, intent.run, self._screen),
            Verification(self._app, work, self._screen),
            self._screen,
            sign_off=SignOff(self._app, situation, losses, self._screen, self._tell, subject).require,
            check_lock=work.lock.held,
            stop=stop,
        )
        began = time.monotonic()
        self._tell(notices.started(subject))
        try:
            transaction.run()
        except OpsError as error:
            error.state = error.state or transaction.described()
            waiting = isinstance(error, AwaitingSignOff)
            self._record(
                planned,
                transaction.steps,
                "staged" if waiting else "failed",
                losses.token,
                str(error),
                transaction.moved,
            )
            if not waiting:
                self._tell(notices.failed(subject, str(error), _in_french(transaction)))
            raise
        seconds, failing, undo = time.monotonic() - began, transaction.failing, self._undo_line(work)
        self._record(planned, transaction.steps, "succeeded", losses.token, "; ".join(failing))
        self._tell(notices.succeeded(subject, seconds, notices.counted(losses.counts()), undo, failing))
        self._say_done(transaction, seconds, undo)

    def _say_done(self, transaction: Transaction, seconds: float, undo: str) -> None:
        if failing := len(transaction.failing):
            checks = number_of(failing, "check fails", "checks fail")
            self._screen.warn(f"Done in {seconds:.0f} s: {transaction.described()}; {checks}.")
        else:
            self._screen.good(f"Done in {seconds:.0f} s, and verified: {transaction.described()}.")
        self._screen.line(f"To take it back: {undo}")

    def _undo_line(self, work: Work) -> str:
        if work.intent.strategy == "drop" and (drop := work.marks().dropping):
            return resolve.undo_of_drop(self._app, drop)
        return f"pyinfra inventories/{self._app.declared.environment}.py deploys/undo.py"

    def _subject(self, situation: Situation) -> notices.Subject:
        intent = situation.intent
        running = situation.platform.running
        return notices.Subject(
            verb=_VERBS[intent.deploy],
            app=self._app.name,
            environment=self._app.declared.environment,
            who=who(),
            reason=self._inputs.reason,
            code=f"`{(running or '?')[:8]}` → `{intent.target.title}`" if intent.target else "",
            data=f"celles en service → {notices.origin(intent)}" if intent.moves_data else "",
            skipped=tuple(sorted(self._inputs.skips.items())),
        )

    def _tell(self, text: str) -> None:
        """Tell the channel; what goes wrong there is a warning and stops nothing."""
        channel = self._app.channel
        problem = channel.post(text) if channel else "MATTERMOST_WEBHOOK_URL is not set"
        if problem:
            self._screen.warn(f"The team's channel was not told: {problem}")

    def _record(
        self,
        planned: Planned,
        steps: list[StepTaken],
        result: str,
        loss_token: str | None = None,
        error: str = "",
        moved: bool = False,
    ) -> None:
        intent = planned.situation.intent
        try:
            self._app.journal.append(
                run=intent.run,
                app=self._app.name,
                deploy=intent.deploy.value,
                result=result,
                moved=result == "succeeded" or (result == "failed" and moved),
                reason=self._inputs.reason,
                commit=intent.target.commit if intent.target else None,
                commit_before=planned.situation.platform.running if intent.target else None,
                tag=intent.target.tag if intent.target else None,
                backup=intent.backup.id if intent.backup else None,
                data=intent.data_title if intent.moves_data else None,
                plan=planned.plan.digest,
                gates=[asdict(gate) for gate in planned.plan.gates],
                steps=[asdict(step) for step in steps],
                fetched=self._fetched,
                **_restored(planned.situation, steps),
                loss_token=loss_token,
                error=error or None,
            )
        except OpsError as problem:
            self._screen.warn(str(problem))


def _restored(situation: Situation, steps: list[StepTaken]) -> dict[str, dict[str, float]]:
    """Bytes and seconds of a backup that was restored, from which later plans estimate."""
    parts = {Action.STAGE.value: "restored", DROP_AND_RESTORE: "dropped"}
    fetched = situation.fetched
    return {
        parts[step.title]: {"bytes": fetched.size, "seconds": step.seconds}
        for step in steps
        if fetched is not None and step.title in parts and step.result == "done"
    }


def _gate_names(gates: tuple[Gate, ...]) -> str:
    return ", ".join(gate.name for gate in gates)


def _in_french(transaction: Transaction) -> str:
    """The state that things are in now; for the channel, so it never fails."""
    try:
        return notices.state(*transaction.state(), transaction.intent)
    except OpsError:
        return "inconnu : la plateforme ou la base de données ne répond pas"
