"""What is: everything that a plan is made from, read once, side by side, without writing anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from tasks.core.journal import Record
from tasks.django.migrations import Verdict
from tasks.git.plan import PushPlan
from tasks.postgres.archive.manifest import Manifest
from tasks.postgres.assess import Refusal
from tasks.postgres.live import LiveFacts
from tasks.postgres.marks import Mark
from tasks.rollback.choices import BackupOption, Deployed
from tasks.rollback.declared import Declared
from tasks.rollback.expected import Expected
from tasks.rollback.inputs import Inputs
from tasks.rollback.intent import Intent


@dataclass(frozen=True)
class Moving:
    """A deployment that is not final yet."""

    commit: str
    status: str
    started: datetime
    pusher: str


@dataclass(frozen=True)
class Fetched:
    """A backup's archive in the cache, read to its end.

    + rows: by table of the restored schema
    + migrations: (app, name) that are applied in it; None where it has no django_migrations
    + database: the name of the database that it was made from
    + manifest: what was said of it when it was made, and is so; None where it has none
    """

    path: Path
    sha256: str
    size: int
    rows: Mapping[str, int]
    migrations: tuple[tuple[str, str], ...] | None
    database: str = ""
    manifest: Manifest | None = None


@dataclass(frozen=True)
class Platform:
    """What the platform says of the application."""

    successes: tuple[Deployed, ...]
    moving: tuple[Moving, ...]
    backups: tuple[BackupOption, ...]
    backup_hours: tuple[int, ...]

    @property
    def running(self) -> str | None:
        """The commit of the last deployment that succeeded."""
        return self.successes[0].commit if self.successes else None


@dataclass(frozen=True)
class Situation:
    """One moment, for one intent."""

    now: datetime
    declared: Declared
    inputs: Inputs
    intent: Intent
    platform: Platform
    live: LiveFacts | None
    lock_holder: str | None = None
    push: PushPlan | None = None
    github_commit: str | None = None
    source_problem: str = ""
    fetched: Fetched | None = None
    refusals: Sequence[Refusal] = ()
    left_as_it_is: Sequence[str] = ()
    migrations: Verdict | None = None
    rehearsal: Record | None = None
    expected: Expected = field(default_factory=Expected)
    postdeploy: str | None = None
    stopped: str = ""
    """Containers that an earlier run has stopped and nobody has started since, as `web 1, worker 1`."""

    @property
    def moving(self) -> tuple[Moving, ...]:
        return self.platform.moving

    @property
    def backup_hours(self) -> tuple[int, ...]:
        return self.platform.backup_hours

    @property
    def backups_running(self) -> tuple[str, ...]:
        """Names of the platform's backups that are not finished."""
        return tuple(b.name for b in self.platform.backups if b.status in ("scheduled", "pending", "running"))

    @property
    def swapped_by(self) -> Mark | None:
        """The swap that an earlier run of this very intent has made and not confirmed."""
        mark = self.live.state.live if self.live else None
        if mark is None or mark.run != self.intent.run:
            return None
        if self.intent.set_aside is not None:
            return mark if mark.schema != self.intent.set_aside.schema else None
        return mark if mark.kind == "before" and self.intent.backup is not None else None

    @property
    def unchanged(self) -> str:
        """What a refusal says of the state: nothing was changed, which is not to say that all is well."""
        if not self.stopped:
            return "nothing was changed by this run"
        return (
            f"nothing was changed by this run; the pages are down: an earlier one has stopped {self.stopped}"
        )

    def overtaken_by(self, now: Situation) -> str | None:
        """How somebody has moved the code since this moment, in words; None where nobody has.

        A deployment of the wanted release that was under way, from an earlier run, may end in between.
        """
        awaited = {one.commit for one in self.moving} & {self.target_commit}
        running = now.platform.running
        if running != self.platform.running and running not in awaited:
            return f"the running release was {self.platform.running} and is {running}"
        if self.push and now.push and now.push.old_remote not in {self.push.old_remote, *awaited}:
            return f"the platform's branch was at {self.push.old_remote} and is at {now.push.old_remote}"
        return None

    @property
    def target_commit(self) -> str | None:
        return self.intent.target.commit if self.intent.target else None
