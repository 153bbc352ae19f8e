"""From one application as it is now to a plan, and again from what it is once the lock is held."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from tasks.core.concurrent import side_by_side
from tasks.core.plan import Plan
from tasks.django import release
from tasks.django.migrations import Verdict, compare
from tasks.git.plan import PushPlan, plan_push
from tasks.git.program import git_environment
from tasks.git.remote import remote_branch
from tasks.postgres import assess, drop, swap
from tasks.postgres.connection import Target as Database
from tasks.postgres.live import LiveFacts
from tasks.postgres.ties.model import Obstacle
from tasks.rollback import reading, resolve, standstill
from tasks.rollback.application import Application
from tasks.rollback.backups import Backups, OpenBackup
from tasks.rollback.history import History
from tasks.rollback.inputs import Inputs
from tasks.rollback.intent import Deploy, Intent
from tasks.rollback.planning import plan
from tasks.rollback.resolve import Done
from tasks.rollback.situation import Platform, Situation


@dataclass(frozen=True)
class Planned:
    """A plan with the situation that it was made from."""

    situation: Situation
    plan: Plan


def _is_staged(live: LiveFacts, intent: Intent) -> bool:
    """Whether an earlier run has restored the backup already, and this one goes on from there."""
    return any(mark.run == intent.run for mark in (*live.state.proved, *live.state.set_aside))


class Planner:
    """Reads and plans for one application and one deploy; writes nothing but the cache."""

    def __init__(self, app: Application, deploy: Deploy, inputs: Inputs, backups: Backups) -> None:
        self._app = app
        self._deploy = deploy
        self._inputs = inputs
        self._backups = backups

    def plan(self) -> Planned | Done:
        """Read, resolve (asking at a terminal) and plan. Changes nothing.

        Raises an `OpsError` where something can't be read or is missing.
        """
        app = self._app
        app.client.require_credentials()
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

    def plan_again(self, planned: Planned, database: Database, backup: OpenBackup | None) -> Planned:
        """The plan of the same intent from what is true now, the archive being here and read."""
        intent = planned.situation.intent
        platform, (live, _) = side_by_side(
            lambda: reading.read_platform(self._app, backups=intent.moves_data),
            lambda: reading.read_database(database),
        )
        situation = self._situation(intent, platform, live, None, planned.situation.source_problem, backup)
        aside = intent.set_aside
        if aside is not None and not situation.refusals:
            tried = swap.try_take_back(database, intent.run, aside.schema)
            situation = replace(situation, refusals=_refusals(tried))
        return Planned(situation, plan(self._app.name, situation))

    def _read_database(self) -> tuple[LiveFacts, str | None]:
        with self._app.database() as database:
            return reading.read_database(database)

    def _resolve(self, platform: Platform, live: LiveFacts) -> Intent | Done:
        app, inputs = self._app, self._inputs
        history = History(platform.successes, live.state, app.journal.of_app(app.name))
        match self._deploy:
            case Deploy.ROLLBACK:
                return resolve.rollback(app, inputs, platform, history)
            case Deploy.RESTORE:
                return resolve.restore(inputs, platform, history)
            case Deploy.UNDO:
                return resolve.undo(app, history)

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
            expected=reading.expect(
                app,
                None if _is_staged(live, intent) else intent.backup,
                backup.fetched.size if backup else None,
                platform.successes if push and push.way != "nothing" else (),
                dropping=intent.strategy == "drop",
            ),
            stopped=standstill.stopped_before(app.journal, app.name, live.state.dropping),
        )
        return self._judged(situation, backup)

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

    def _judged(self, situation: Situation, backup: OpenBackup | None) -> Situation:
        """With what the archive's and the database's contents mean for the release that is to run on them."""
        situation = self._with_migrations(situation)
        live, app = situation.live, self._app
        if live is not None and situation.intent.set_aside is not None:
            return replace(situation, refusals=_refusals(live.ties.obstacles))
        if backup is None or live is None:
            return situation
        refusals: Sequence[assess.Refusal]
        if situation.intent.strategy == "drop":
            refusals = drop.obstacles(backup.archive, backup.contents, live)
        else:
            refusals = assess.assess(
                backup.archive,
                backup.contents,
                live,
                empty=frozenset(app.declared.empty_tables),
                room_bytes=app.declared.room_bytes,
            )
        left_as_it_is = assess.notes(backup.archive, backup.contents, live)
        return replace(situation, refusals=refusals, left_as_it_is=left_as_it_is)

    def _with_migrations(self, situation: Situation) -> Situation:
        """Judge archive and live database by the release's migrations, and time the swap by the verdicts."""
        mirror, intent, live = self._app.mirror, situation.intent, situation.live
        running = situation.platform.running
        commit = situation.target_commit or running
        if commit is None or live is None or not mirror.has(commit):
            return situation
        wanted = release.migrations(mirror, commit)
        of_running = release.migrations(mirror, running) if running and mirror.has(running) else {}
        shipped = release.labels(wanted, of_running)
        ever = release.migrations_ever(mirror, commit)

        def judged(rows: tuple[tuple[str, str], ...] | None) -> Verdict | None:
            return None if rows is None else compare(rows, wanted, live.migrations, shipped, retired=ever)

        of_live = judged(live.migrations)
        of_archive = judged(situation.fetched.migrations if situation.fetched else None)
        verdict = of_archive if intent.moves_data else of_live
        alike = of_live is not None and of_live.fit == "same" and (verdict is None or verdict.fit == "same")
        commands = release.postdeploy_commands(mirror, commit)
        timed = replace(
            intent,
            before_boot=intent.target is not None and not alike,
            catch_up=intent.target is None and verdict is not None and bool(verdict.missing),
        )
        return replace(situation, intent=timed, migrations=verdict, postdeploy=" && ".join(commands) or None)


def _refusals(obstacles: Sequence[Obstacle]) -> list[assess.Refusal]:
    return [assess.Refusal(found.kind, found.name, found.why, found.way_out) for found in obstacles]
