"""What a run works with once it holds the environment's lock; each side of the run takes from it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from tasks.core.errors import OpsError
from tasks.core.screen import Screen
from tasks.postgres import marks
from tasks.postgres.connection import Connection, Target, connect
from tasks.postgres.live import LiveFacts
from tasks.postgres.lock import EnvironmentLock
from tasks.postgres.marks import DataState
from tasks.rollback.application import Application
from tasks.rollback.backups import Backups, OpenBackup
from tasks.rollback.intent import Intent
from tasks.rollback.situation import Situation


@dataclass(frozen=True)
class Work:
    """One run's application, its situation as read under the lock, and the ways to them.

    + database: the database through this run's tunnel
    + backups: the cache that a fresh backup goes to
    + backup: open and read to its end; None where the run restores none
    """

    app: Application
    situation: Situation
    database: Target
    lock: EnvironmentLock
    backups: Backups
    backup: OpenBackup | None
    screen: Screen

    @property
    def intent(self) -> Intent:
        return self.situation.intent

    @property
    def opened(self) -> OpenBackup:
        """The backup. Raises `OpsError` where the run has none."""
        if self.backup is None:
            raise OpsError("Restoring a backup", "this run has none")
        return self.backup

    @property
    def live(self) -> LiveFacts:
        """The live database as the plan saw it. Raises `OpsError` where it was not read."""
        if self.situation.live is None:
            raise OpsError("Restoring a backup", "the live database was not read")
        return self.situation.live

    def connect(self, purpose: str, *, read_only: bool = False) -> AbstractContextManager[Connection]:
        """A session on the database, which the server lists under the run and this purpose."""
        return connect(self.database, self.intent.run, purpose, read_only=read_only)

    def marks(self) -> DataState:
        """What the database says of itself, now."""
        with self.connect("state", read_only=True) as connection:
            return marks.read(connection)

    def what_undo_needs(self, known: Mapping[str, Any]) -> dict[str, str | None]:
        """Written with the exchange of data, so that another person's laptop can undo it.

        + known: the same of the run that this one goes on from: before its push landed, another release ran
        """
        asked = self.situation.inputs.backup
        running = self.situation.platform.running
        before = known.get("code_before") or running if running == self.situation.target_commit else running
        return {
            "deploy": self.intent.deploy.value,
            "code_before": before if self.intent.target else None,
            "code_after": self.situation.target_commit,
            "asked": str(asked) if asked else None,
        }
