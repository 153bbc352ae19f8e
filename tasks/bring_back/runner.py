"""One run on one application: show what would come back, hold the gates, do it, look again, record it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from tasks.bring_back import asking, notices
from tasks.bring_back.inputs import Inputs
from tasks.bring_back.keys import read_keys
from tasks.bring_back.planning import Situation, plan
from tasks.core import paths
from tasks.core.concurrent import side_by_side
from tasks.core.errors import Locked, OpsError, PersonNeeded, Refused
from tasks.core.interrupts import Interrupts
from tasks.core.journal import who
from tasks.core.plan import Plan, render
from tasks.core.screen import Screen
from tasks.core.wording import number_of
from tasks.postgres import generations as kept
from tasks.postgres import leftovers, lock, loss
from tasks.postgres.bring_back.chosen import Wanted
from tasks.postgres.bring_back.facts import read_facts
from tasks.postgres.bring_back.kept import Manifest
from tasks.postgres.bring_back.report import Report, read_report
from tasks.postgres.bring_back.take_back import read_take_back, take_back
from tasks.postgres.bring_back.taken import TakeBack
from tasks.postgres.bring_back.write import write
from tasks.postgres.connection import Connection, Target, connect
from tasks.postgres.lock import EnvironmentLock
from tasks.rollback import confirmation, reading
from tasks.rollback.application import Application
from tasks.rollback.intent import new_run
from tasks.rollback.verification import Verification

DEPLOY: Final = "bring_back"
_UNCHANGED: Final = "nothing was changed"


@dataclass(frozen=True)
class Nothing:
    """There is nothing to do, and why."""

    sentence: str


@dataclass(frozen=True)
class Planned:
    """A plan with what it was made from.

    + wanted: what was resolved; None for an undo
    """

    situation: Situation
    wanted: Wanted | None
    plan: Plan


class Runner:
    """Plans and executes for one application. Made once per run of pyinfra."""

    def __init__(self, app: Application, inputs: Inputs, screen: Screen) -> None:
        self._app = app
        self._inputs = inputs
        self._screen = screen

    def plan(self) -> Planned | Nothing:
        """Read, resolve (asking at a terminal) and plan. Changes nothing.

        Raises an `OpsError` where something can't be read, or was asked for and is not there.
        """
        self._app.client.require_credentials()
        platform, planned = side_by_side(
            lambda: reading.read_platform(self._app, backups=False), self._read_and_plan
        )
        if isinstance(planned, Nothing):
            return planned
        return self._planned(planned.situation, planned.wanted, moving=platform.moving)

    def _planned(self, situation: Situation, wanted: Wanted | None, **changes: Any) -> Planned:
        situation = Situation(**{**_fields(situation), **changes})
        return Planned(situation, wanted, plan(situation))

    def _read_and_plan(self) -> Planned | Nothing:
        with (
            self._app.database() as database,
            connect(database, new_run(), "read plan", read_only=True) as connection,
        ):
            if self._inputs.undo is not None:
                return self._plan_undo(connection, self._inputs.undo)
            return self._plan_rows(connection, database)

    def _plan_undo(self, connection: Connection, run: str) -> Planned | Nothing:
        manifest = Manifest.read(self._folder(run))
        if manifest is None:
            raise Refused(
                f"Taking back run {run}",
                f"{self._folder(run)} does not exist, which holds the keys of what a run has brought back",
                state=_UNCHANGED,
                next_step="give a run of this deploy: "
                + (", ".join(self._runs()) or "the journal knows of none"),
            )
        found = read_take_back(connection, manifest, self._folder(run), keep=self._inputs.conflicts == "keep")
        if found.nothing:
            return Nothing(f"Nothing of what run {run} has brought back is live.")
        situation = self._situation(connection, found, run)
        return self._planned(situation, None)

    def _plan_rows(self, connection: Connection, database: Target) -> Planned | Nothing:
        now = datetime.now(UTC)
        generations = kept.read(connection)
        chosen = asking.generation(generations, self._inputs.set_aside, now)
        if chosen is None:
            return Nothing("Nothing is set aside.")
        wanted = self._wanted(connection, database.schema, chosen.mark.schema)
        if not wanted.tables and not wanted.keys:
            return Nothing(f"All rows of {chosen.mark.schema} are live, and the same.")
        found = read_report(connection, database.schema, chosen.mark.schema, wanted)
        if found.nothing:
            return Nothing(f"All that was asked for of {chosen.mark.schema} is live.")
        situation = self._situation(connection, found, new_run())
        return self._planned(situation, wanted, aside=chosen.mark, by_file=bool(wanted.keys))

    def _wanted(self, connection: Connection, schema: str, aside: str) -> Wanted:
        inputs, tables, keys = self._inputs, self._inputs.tables, {}
        if inputs.keys:
            facts = read_facts(connection, schema, aside)
            keys = dict(read_keys(path, facts) for path in inputs.keys)
        if not tables and not keys:
            declared_empty = self._app.declared.empty_tables
            found = loss.compute(connection, aside, schema, without=declared_empty)
            tables = asking.tables(found.tables, aside, self._screen)
        return Wanted(tables, keys, inputs.without, inputs.conflicts)

    def _situation(self, connection: Connection, found: Report | TakeBack, run: str) -> Situation:
        return Situation(
            now=datetime.now(UTC),
            app=self._app.name,
            declared=self._app.declared,
            run=run,
            aside=None,
            generations=kept.read(connection),
            found=found,
            lock_holder=lock.holder(connection),
        )

    def show(self, planned: Planned, *, full: bool) -> None:
        """The plan on screen; colour repeats what the words say."""
        for line in render(planned.plan, full=full):
            word = line.strip().partition(" ")[0]
            say = {
                "DESTROYS:": self._screen.warn,
                "REFUSED": self._screen.bad,
                "ok": self._screen.good,
            }.get(word, self._screen.line)
            say(line)

    def refuse_where_gates_do(self, planned: Planned) -> None:
        """Raise `Refused`, or `Locked`, where a gate does not hold."""
        refusals = planned.plan.refusals
        if not refusals:
            return
        if planned.situation.lock_holder:
            raise Locked(
                planned.plan.title,
                planned.situation.lock_holder,
                state=_UNCHANGED,
                next_step="wait for that run to end, or talk to them, then run the same command again",
            )
        raise Refused(
            planned.plan.title,
            "refused by " + ", ".join(dict.fromkeys(gate.name for gate in refusals)),
            state=_UNCHANGED,
            next_step="see the lines marked REFUSED",
        )

    def confirm(self) -> None:
        """Have the protected environment's name typed. Raises `Refused` where it was not."""
        confirmation.require(self._app.declared, self._inputs.confirm)

    def execute(self, planned: Planned) -> None:
        """Bring it about. Raises an `OpsError` that says in which state things are."""
        began = time.monotonic()
        verification = Verification(self._app, None, self._screen)
        with self._told_and_recorded(planned):
            healthy_before = verification.passing()
            with ExitStack() as stack:
                interrupts = stack.enter_context(Interrupts(self._announce_stop))
                database = stack.enter_context(self._app.database())
                session = new_run()
                held = stack.enter_context(EnvironmentLock.take(database, session, who=who()))
                with connect(database, session, "leftovers") as connection:
                    leftovers.end(connection, session)
                self._refuse_a_deployment(planned)
                if isinstance(planned.situation.found, TakeBack):
                    done, replaced = self._take_back(planned.situation.found, database, session, held)
                else:
                    done, replaced = self._write(planned, database, session, held, interrupts)
            self._look_at_pages(verification, healthy_before, planned)
        self._say_done(planned, done, replaced, time.monotonic() - began)

    def _announce_stop(self, signal: str) -> None:
        self._screen.warn(f"{signal}: stopping at the next safe point; nothing is written unless it is said.")

    def _refuse_a_deployment(self, planned: Planned) -> None:
        platform = reading.read_platform(self._app, backups=False)
        self.refuse_where_gates_do(self._planned(planned.situation, planned.wanted, moving=platform.moving))

    def _write(
        self, planned: Planned, database: Target, session: str, held: EnvironmentLock, interrupts: Interrupts
    ) -> tuple[dict[str, int], dict[str, int]]:
        situation, wanted = planned.situation, planned.wanted
        assert wanted is not None and situation.aside is not None and isinstance(situation.found, Report)
        folder = self._folder(situation.run)
        try:
            report, _ = write(
                database,
                session,
                situation.aside.schema,
                wanted,
                situation.found,
                situation.run,
                folder,
                paths.state("written_over") / self._app.declared.environment / situation.run,
                check_lock=held.held,
                stop=interrupts.stop,
            )
        except PersonNeeded:
            raise  # it may have happened: the keys stay
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        with connect(database, session, "read again", read_only=True) as connection:
            again = read_report(connection, database.schema, situation.aside.schema, wanted)
        if left := {**again.counts(), **again.replaced()}:
            raise PersonNeeded(
                planned.plan.title,
                "compared again, there is still something to bring back: "
                + ", ".join(f"{number_of(count, 'row')} of {table}" for table, count in left.items()),
                state="the rows were written; somebody or a trigger has changed them at once",
                next_step=f"look at those rows; to take it back: {self.undo_line(situation.run)}",
            )
        return report.counts(), report.replaced()

    def _take_back(
        self, found: TakeBack, database: Target, session: str, held: EnvironmentLock
    ) -> tuple[dict[str, int], dict[str, int]]:
        folder = self._folder(found.manifest.run)
        done = take_back(database, session, found.manifest, folder, keep=found.keep, check_lock=held.held)
        with connect(database, session, "read again", read_only=True) as connection:
            again = read_take_back(connection, found.manifest, folder, keep=True)
        if again.looked and (left := again.counts()):
            raise PersonNeeded(
                f"Taking back run {found.manifest.run}",
                f"compared again, rows are still live: {left}",
                state="the rows were deleted; somebody or a trigger has written them anew at once",
                next_step="look at those rows",
            )
        return done.counts(), {table.table: table.restored for table in done.tables if table.restored}

    def _look_at_pages(
        self, verification: Verification, healthy_before: frozenset[str], planned: Planned
    ) -> None:
        broken = verification.broken_since(healthy_before)
        if broken:
            undoing = isinstance(planned.situation.found, TakeBack)
            raise PersonNeeded(
                planned.plan.title,
                f"pages that were fine before fail since: {', '.join(broken)}",
                state="the rows were taken back" if undoing else "the rows are live",
                next_step="look at the pages"
                + ("" if undoing else f"; to take it back: {self.undo_line(planned.situation.run)}"),
            )
        self._screen.good(f"Pages that were fine before are fine: {number_of(len(healthy_before), 'check')}.")

    def _say_done(
        self, planned: Planned, done: dict[str, int], replaced: dict[str, int], seconds: float
    ) -> None:
        undoing = isinstance(planned.situation.found, TakeBack)
        parts = [f"{number_of(count, 'row')} of {table}" for table, count in done.items()]
        parts += [
            f"{number_of(count, 'row')} of {table} as {'before' if undoing else 'set aside'}"
            for table, count in replaced.items()
        ]
        what = "taken back" if undoing else "live again"
        self._screen.good(f"Done in {seconds:.0f} s, and compared again; {what}: {', '.join(parts)}.")
        if not undoing:
            self._screen.line(f"To take it back: {self.undo_line(planned.situation.run)}")

    def undo_line(self, run: str) -> str:
        """The command that takes a run back."""
        where = self._app.declared.environment
        return f"pyinfra inventories/{where}.py deploys/{DEPLOY}.py --data undo={run}"

    @contextmanager
    def _told_and_recorded(self, planned: Planned) -> Iterator[None]:
        """Tell the channel and write the journal of how the block ends."""
        situation = planned.situation
        undoing = isinstance(situation.found, TakeBack)
        source = situation.aside.schema if situation.aside else situation.run
        subject = notices.Subject(
            self._app.name, self._app.declared.environment, who(), self._inputs.reason, source, undoing
        )
        try:
            yield
        except OpsError as error:
            state = "les lignes sont écrites" if isinstance(error, PersonNeeded) else "rien n'a changé"
            self._tell(notices.failed(subject, str(error), state))
            self._record(planned, "failed", str(error))
            raise
        rows = situation.found.counts()
        replaced = situation.found.replaced() if isinstance(situation.found, Report) else {}
        undo = "" if undoing else self.undo_line(situation.run)
        self._record(planned, "succeeded")
        self._tell(notices.succeeded(subject, rows, replaced, undo))

    def _tell(self, text: str) -> None:
        channel = self._app.channel
        problem = channel.post(text) if channel else "MATTERMOST_WEBHOOK_URL is not set"
        if problem:
            self._screen.warn(f"The team's channel was not told: {problem}")

    def _record(self, planned: Planned, result: str, error: str = "") -> None:
        situation = planned.situation
        manifest = Manifest.read(self._folder(situation.run))
        try:
            self._app.journal.append(
                run=situation.run,
                app=self._app.name,
                deploy=DEPLOY,
                undo=isinstance(situation.found, TakeBack),
                result=result,
                moved=False,
                reason=self._inputs.reason,
                data=situation.aside.schema if situation.aside else situation.run,
                plan=planned.plan.digest,
                gates=[asdict(gate) for gate in planned.plan.gates],
                keys=str(self._folder(situation.run)) if manifest else None,
                rows=[
                    {"table": one.table, "inserted": one.inserted, "replaced": one.replaced,
                     "key": list(one.key), "file": one.file, "sha256": one.sha256}
                    for one in (manifest.tables if manifest else ())
                ],
                error=error or None,
            )  # fmt: skip
        except OpsError as problem:
            self._screen.warn(str(problem))

    def _folder(self, run: str) -> Path:
        """Where a run keeps the keys of what it has written: beside the journal, which the team shares."""
        return self._app.declared.journal_folder / DEPLOY / self._app.declared.environment / run

    def _runs(self) -> list[str]:
        """Runs of this deploy that have written, the newest first."""
        return [
            str(record.get("run"))
            for record in reversed(self._app.journal.of_app(self._app.name))
            if record.get("deploy") == DEPLOY and record.get("rows") and not record.get("undo")
        ][:5]


def _fields(situation: Situation) -> dict[str, Any]:
    return {name: getattr(situation, name) for name in Situation.__dataclass_fields__}
