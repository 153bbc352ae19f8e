"""One run of one deploy on one application: plan it, show it, hold its gates, do it, record it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from tasks.core.concurrent import side_by_side
from tasks.core.errors import Locked, OpsError, Refused, Stale
from tasks.core.interrupts import Interrupts
from tasks.core.journal import who
from tasks.core.plan import Gate, Plan, render
from tasks.core.screen import Screen
from tasks.django import release
from tasks.django.migrations import compare
from tasks.git.plan import PushPlan, plan_push
from tasks.git.program import git_environment
from tasks.git.remote import remote_branch
from tasks.postgres import assess, drop, leftovers
from tasks.postgres.connection import Target as Database
from tasks.postgres.connection import connect
from tasks.postgres.live import LiveFacts
from tasks.postgres.lock import EnvironmentLock
from tasks.rollback import confirmation, notices, reading, resolve
from tasks.rollback.application import Application
from tasks.rollback.backups import Backups, OpenBackup
from tasks.rollback.code import CodeSide
from tasks.rollback.data import DataSide
from tasks.rollback.inputs import Inputs
from tasks.rollback.intent import Deploy, Intent, new_run
from tasks.rollback.planning import plan
from tasks.rollback.resolve import Done
from tasks.rollback.signoff import SignOff
from tasks.rollback.situation import Platform, Situation
from tasks.rollback.standstill import Standstill
from tasks.rollback.transaction import Transaction
from tasks.rollback.verification import Verification

_VERBS: Final = {
    Deploy.ROLLBACK: "Retour arrière",
    Deploy.RESTORE: "Restauration des données",
    Deploy.UNDO: "Annulation",
}


@dataclass(frozen=True)
class Planned:
    """A plan with the situation that it was made from."""

    situation: Situation
    plan: Plan


class Runner:
    """Plans and executes for one application. Made once per run of pyinfra."""

    def __init__(self, app: Application, deploy: Deploy, inputs: Inputs, screen: Screen) -> None:
        self._app = app
        self._deploy = deploy
        self._inputs = inputs
        self._screen = screen
        self._backups = Backups(app, screen)

    def plan(self) -> Planned | Done:
        """Read, resolve (asking at a terminal) and plan. Changes nothing.

        Raises an `OpsError` where something can't be read or is missing.
        """
        app = self._app
        moves_data = self._inputs.backup is None or self._inputs.backup.kind != "none"
        problem, platform, (live, holder) = side_by_side(
            lambda: reading.read_source(app),
            lambda: reading.read_platform(app, backups=moves_data),
            self._read_database,
        )
        intent = self._resolve(platform, live)
        if isinstance(intent, Done):
            return intent
        backup = self._backups.cached(intent.backup) if intent.backup else None
        situation = self._situation(intent, platform, live, holder, problem, backup)
        return Planned(situation, plan(app.name, situation))

    def show(self, planned: Planned, *, full: bool) -> None:
        """The plan on screen; colour repeats what the words say."""
        for line in render(planned.plan, full=full):
            text = line.strip()
            if text.startswith(("DESTROYS", "skipped")):
                self._screen.warn(line)
            elif text.startswith("REFUSED"):
                self._screen.bad(line)
            elif text.startswith("ok "):
                self._screen.good(line)
            else:
                self._screen.line(line)

    def refuse_where_gates_do(self, planned: Planned) -> None:
        """Raise `Refused` naming each gate that does not hold."""
        refusals = planned.plan.refusals
        if refusals:
            self._record(planned, [], "refused", error=_gate_names(refusals))
            if planned.situation.lock_holder:
                raise Locked(
                    planned.plan.title,
                    planned.situation.lock_holder,
                    state="nothing was changed by this run",
                    next_step="wait for that run to end, or talk to them, then run the same command again",
                )
            raise Refused(
                planned.plan.title,
                f"refused by {_gate_names(refusals)}",
                state="nothing was changed",
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
            backup = self._backups.fetch(intent.backup, interrupts.stop) if intent.backup else None
            fresh = self._read_again(planned, database, backup)
            self._check_still_true(planned, fresh)
            self.refuse_where_gates_do(fresh)
            self._transact(fresh, database, lock, backup, interrupts.stop)

    def _announce_stop(self, signal: str) -> None:
        self._screen.warn(f"{signal}: stopping at the next safe point; what it is will be said.")

    def _read_database(self) -> tuple[LiveFacts, str | None]:
        with self._app.database() as database:
            return reading.read_database(database)

    def _resolve(self, platform: Platform, live: LiveFacts) -> Intent | Done:
        match self._deploy:
            case Deploy.ROLLBACK:
                return resolve.rollback(self._app, self._inputs, platform, live.state)
            case Deploy.RESTORE:
                return resolve.restore(self._app, self._inputs, platform, live.state)
            case Deploy.UNDO:
                return resolve.undo(self._app, platform, live.state)

    def _situation(
        self,
        intent: Intent,
        platform: Platform,
        live: LiveFacts,
        holder: str | None,
        problem: str,
        backup: OpenBackup | None,
    ) -> Situation:
        app = self._app
        now = datetime.now(UTC)
        (github, github_problem), push = side_by_side(
            lambda: reading.read_github(app, intent), lambda: self._push_plan(intent, platform)
        )
        situation = Situation(
            now=now,
            declared=app.declared,
            inputs=self._inputs,
            intent=intent,
            platform=platform,
            live=live,
            lock_holder=holder,
            push=push,
            github_commit=github,
            source_problem=problem or github_problem,
            fetched=backup.fetched if backup else None,
            rehearsal=reading.find_rehearsal(app, intent, now),
        )
        return self._with_migrations(situation, backup)

    def _push_plan(self, intent: Intent, platform: Platform) -> PushPlan | None:
        if intent.target is None:
            return None
        app = self._app
        environment = git_environment(app.known_hosts, app.declared.ssh_identity)
        return plan_push(
            old_remote=remote_branch(app.remote, app.declared.branch, environment),
            running=platform.running,
            target=intent.target.commit,
            has=app.mirror.has,
            commits=app.mirror.commits,
        )

    def _with_migrations(self, situation: Situation, backup: OpenBackup | None) -> Situation:
        """Judge archive and live database by the release that is to run on them, and time the swap by it."""
        app, intent, live = self._app, situation.intent, situation.live
        commit = situation.target_commit or situation.platform.running
        if commit is None or live is None or not app.mirror.has(commit):
            return situation
        wanted = release.migrations(app.mirror, commit)
        running = situation.platform.running
        shipped = release.labels(
            wanted, release.migrations(app.mirror, running) if running and app.mirror.has(running) else {}
        )
        ever = release.migrations_ever(app.mirror, commit)

        def judged(rows: tuple[tuple[str, str], ...]) -> Any:
            return compare(rows, wanted, live.migrations, shipped, retired=ever)

        of_live = judged(live.migrations) if live.migrations is not None else None
        rows = situation.fetched.migrations if situation.fetched else None
        verdict = judged(rows) if rows is not None else (None if intent.moves_data else of_live)
        refusals: Sequence[assess.Refusal] = ()
        left_as_it_is: Sequence[str] = ()
        if backup is not None:
            refusals = assess.assess(
                backup.archive,
                backup.contents,
                live,
                empty=frozenset(app.declared.empty_tables),
                room_bytes=app.declared.room_bytes,
            )
            if intent.strategy == "drop":
                refusals = drop.obstacles(backup.archive, backup.contents, live)
            left_as_it_is = assess.notes(backup.archive, backup.contents, live)
        alike = of_live is not None and of_live.fit == "same" and (verdict is None or verdict.fit == "same")
        commands = release.postdeploy_commands(app.mirror, commit)
        timed = replace(
            intent,
            before_boot=intent.target is not None and not alike,
            catch_up=intent.target is None and verdict is not None and bool(verdict.missing),
        )
        return replace(
            situation,
            intent=timed,
            migrations=verdict,
            refusals=refusals,
            left_as_it_is=left_as_it_is,
            postdeploy=" && ".join(commands) or None,
        )

    def _end_leftovers(self, database: Database, session: str) -> None:
        with connect(database, session, "leftovers") as connection:
            for left in leftovers.end(connection, session):
                self._screen.warn(
                    f"Ended a session that run {left.run} had left on the server ({left.purpose})."
                )

    def _read_again(self, planned: Planned, database: Database, backup: OpenBackup | None) -> Planned:
        intent = planned.situation.intent
        platform, (live, _) = side_by_side(
            lambda: reading.read_platform(self._app, backups=intent.moves_data),
            lambda: reading.read_database(database),
        )
        situation = self._situation(intent, platform, live, None, planned.situation.source_problem, backup)
        return Planned(situation, plan(self._app.name, situation))

    def _check_still_true(self, planned: Planned, fresh: Planned) -> None:
        before, now = planned.situation, fresh.situation
        if before.platform.running != now.platform.running:
            raise Stale(
                planned.plan.title,
                f"the running release was {before.platform.running} and is {now.platform.running}",
                state="nothing was changed",
                next_step="run the same command again and read the new plan",
            )
        if before.push and now.push and before.push.old_remote != now.push.old_remote:
            raise Stale(
                planned.plan.title,
                f"the platform's branch was at {before.push.old_remote} and is at {now.push.old_remote}",
                state="nothing was changed",
                next_step="run the same command again and read the new plan",
            )

    def _transact(
        self,
        planned: Planned,
        database: Database,
        lock: EnvironmentLock,
        backup: OpenBackup | None,
        stop: Callable[[], bool],
    ) -> None:
        situation = planned.situation
        intent = situation.intent
        data = DataSide(self._app, situation, database, lock, self._backups, backup, self._screen)
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
            data,
            Standstill(self._app, intent.run, self._screen),
            Verification(self._app, data, self._screen),
            self._screen,
            sign_off=SignOff(self._app, situation, data, self._screen, self._tell, subject).require,
            check_lock=lock.held,
            stop=stop,
        )
        began = time.monotonic()
        self._tell(notices.started(subject))
        try:
            transaction.run()
        except OpsError as error:
            state = transaction.described()
            waiting = isinstance(error, Refused) and error.exit_code == Refused.exit_code
            self._record(planned, transaction.steps, "staged" if waiting else "failed", data, str(error))
            if not waiting:
                self._tell(notices.failed(subject, str(error), state))
            raise
        self._succeeded(planned, transaction, data, subject, time.monotonic() - began)

    def _succeeded(
        self,
        planned: Planned,
        transaction: Transaction,
        data: DataSide,
        subject: notices.Subject,
        seconds: float,
    ) -> None:
        failing = transaction.failing
        self._record(planned, transaction.steps, "succeeded", data, "; ".join(failing))
        undo = self._undo_line(data)
        self._tell(notices.succeeded(subject, seconds, data.lost_text(), undo, failing))
        if failing:
            self._screen.warn(
                f"Done in {seconds:.0f} s: {transaction.described()}; {len(failing)} checks fail."
            )
        else:
            self._screen.good(f"Done in {seconds:.0f} s, and verified: {transaction.described()}.")
        self._screen.line(f"To take it back: {undo}")

    def _undo_line(self, data: DataSide) -> str:
        if data.intent.strategy == "drop" and (drop := data.marks().dropping):
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
            data=f"celles en service → {intent.data_title}" if intent.moves_data else "",
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
        steps: list[Any],
        result: str,
        data: DataSide | None = None,
        error: str = "",
    ) -> None:
        intent = planned.situation.intent
        try:
            self._app.journal.append(
                run=intent.run,
                app=self._app.name,
                deploy=intent.deploy.value,
                result=result,
                moved=result == "succeeded",
                reason=self._inputs.reason,
                commit=intent.target.commit if intent.target else None,
                commit_before=planned.situation.platform.running if intent.target else None,
                tag=intent.target.tag if intent.target else None,
                backup=intent.backup.id if intent.backup else None,
                data=intent.data_title if intent.moves_data else None,
                plan=planned.plan.digest,
                gates=[asdict(gate) for gate in planned.plan.gates],
                steps=[asdict(step) for step in steps],
                loss_token=data.loss_token if data else None,
                error=error or None,
            )
        except OpsError as problem:
            self._screen.warn(str(problem))


def _gate_names(gates: tuple[Gate, ...]) -> str:
    return ", ".join(gate.name for gate in gates)
