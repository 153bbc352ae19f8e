"""The data side of a run: where the application's data is, and exchanging it as a whole."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from tasks.core.errors import OpsError
from tasks.core.wording import number_of
from tasks.postgres import forget, marks, stage, swap
from tasks.postgres.connection import Connection
from tasks.postgres.marks import DataState, Mark
from tasks.postgres.ties import settle
from tasks.rollback.cells import Data
from tasks.rollback.intent import Intent
from tasks.rollback.work import Work

_SECONDS_FOR_LOCKS: Final = 60.0


class DataSide:
    """An application's data, for one run."""

    def __init__(self, work: Work) -> None:
        self._work = work

    @property
    def _intent(self) -> Intent:
        return self._work.intent

    def state(self) -> Data:
        """Old, staged or swapped, as the marks in the database say for this run."""
        found = self._work.marks()
        if self._intent.set_aside is not None:
            waiting = any(mark.schema == self._intent.set_aside.schema for mark in found.set_aside)
            return Data.STAGED if waiting else Data.SWAPPED
        if any(mark.kind == "before" and mark.run == self._intent.run for mark in found.set_aside):
            return Data.SWAPPED
        if found.dropping is not None and found.dropping.run == self._intent.run:
            return Data.SWAPPED if found.dropping.state == "restored" else Data.OLD
        return Data.STAGED if self._stage_in(found) else Data.OLD

    def _stage_in(self, found: DataState) -> Mark | None:
        """This run's proved stage."""
        for mark in found.stages:
            if mark.run == self._intent.run and mark.state == "proved":
                return mark
        return None

    def stage(self, stop: Callable[[], bool]) -> None:
        """Restore the backup beside the live data and prove it. Raises as `tasks.postgres.stage.stage`."""
        work, backup, live = self._work, self._work.opened, self._work.live
        self._drop_other_stages()
        request = stage.StageRequest(
            run=self._intent.run,
            archive=backup.archive,
            rows=backup.contents.rows,
            total_bytes=sum(backup.contents.text_bytes.values()),
            backup=self._intent.backup.id if self._intent.backup else "",
            sha256=backup.contents.sha256,
            fence=work.lock.fence,
            release=self._intent.target.commit if self._intent.target else "",
            empty=frozenset(work.app.declared.empty_tables),
            workers=stage.workers_for(live.free_slots, most=work.app.declared.workers),
            size_limit=work.app.declared.room_bytes,
        )
        staged = stage.stage(
            work.database, request, live, progress=work.screen.progress("Restoring beside"), stop=stop
        )
        with work.connect("state") as connection:
            details = {**staged.mark.details, **work.what_undo_needs({})}
            marks.write(connection, replace(staged.mark, details=details))
        parts = ", ".join(f"{part} {seconds:.1f} s" for part, seconds in staged.seconds.items())
        tables = number_of(len(staged.rows), "table")
        rows = number_of(sum(staged.rows.values()), "row")
        work.screen.good(f"Restored beside and proved: {tables}, {rows} ({parts})")

    def _drop_other_stages(self) -> None:
        """Copies of backups that earlier runs did not finish, or did not use."""
        for mark in self._work.marks().stages:
            self._work.screen.warn(f"Dropping {mark.schema}, which an earlier run has left.")
            with self._work.connect("cleanup") as connection:
                forget.drop_schema(connection, mark.schema)

    def cut_over(self) -> None:
        """Swap, in one transaction. Raises as `tasks.postgres.swap.swap`; nothing has happened then."""
        if self._intent.set_aside is not None:
            self._report(self._take_back({"deploy": self._intent.deploy.value}))
            return
        with self._work.connect("state") as connection:
            found = self._stage_in(marks.read(connection))
            if found is None:
                raise OpsError("Swapping the restored data in", "its stage is gone", next_step="run it again")
            details = {**found.details, **self._work.what_undo_needs(found.details)}
            proved = swap.adopt(
                connection, replace(found, details=details), self._intent.run, self._work.lock.fence
            )
        live = self._work.situation.live
        self._report(
            swap.swap(
                self._work.database,
                self._intent.run,
                proved,
                planned=None if self._intent.before_boot or live is None else live.inventory.digest,
                lock_pid=self._work.lock.pid,
                fence=self._work.lock.fence,
                deadline=_SECONDS_FOR_LOCKS,
                waiting=self._waiting,
            )
        )

    def _take_back(self, details: Mapping[str, Any]) -> swap.Swapped:
        return swap.take_back(
            self._work.database,
            self._intent.run,
            lock_pid=self._work.lock.pid,
            fence=self._work.lock.fence,
            deadline=_SECONDS_FOR_LOCKS,
            waiting=self._waiting,
            details=details,
        )

    def _waiting(self, sentence: str) -> None:
        if sentence:
            self._work.screen.warn(f"The swap waits for: {sentence}")

    def _report(self, swapped: swap.Swapped) -> None:
        held = "" if swapped.locked is None else f", locks held {swapped.locked * 1000:.0f} ms"
        tries = "" if swapped.attempts == 1 else f" at attempt {swapped.attempts}"
        moved = f"{number_of(swapped.moved_in, 'object')} in, {swapped.moved_out} out"
        self._work.screen.good(f"Swapped{tries}: {moved}{held}")

    def can_be_taken_back(self) -> bool:
        """Whether the last swap is this run's, and its other side still there."""
        live = self._work.marks().live
        return live is not None and live.run == self._intent.run and live.kind == "before"

    def take_back(self) -> None:
        """The swap backwards, by this run itself: what it restored is set aside, and marked so."""
        self._report(self._take_back({"taken_back": True}))
        self.settle(lambda: False, analyse=False)

    def settle(self, stop: Callable[[], bool], *, analyse: bool) -> None:
        """What follows an exchange and blocks nobody: keys across schemas checked, statistics in full.

        + analyse: whether the data that came in was new to the server

        Never raises: what it could not do is a warning, since what users see is right without it.
        """
        screen = self._work.screen
        try:
            with self._work.connect("settle") as connection:
                found = settle.check_keys(connection, stop=stop)
                if found.checked:
                    checked = number_of(len(found.checked), "foreign key")
                    screen.good(f"Checked {checked} across schemas")
                for orphans in found.orphans:
                    screen.warn(f"{orphans.sentence}; the key holds for new rows")
                for key in found.left:
                    screen.warn(f"Not checked: {key}")
                if analyse:
                    self._analyse(connection, stop)
        except OpsError as error:
            screen.warn(f"{error}")

    def _analyse(self, connection: Connection, stop: Callable[[], bool]) -> None:
        began = time.monotonic()
        found = settle.analyse(connection, self._work.database.schema, stop=stop)
        seconds = time.monotonic() - began
        self._work.screen.good(
            f"Statistics computed in full: {number_of(found.analysed, 'table')} ({seconds:.1f} s)"
        )
        if found.left:
            self._work.screen.warn(f"Left to autovacuum: {', '.join(found.left)}")

    def confirm(self) -> None:
        """Record that what users see is right: the next run then begins anew instead of going on."""
        with self._work.connect("state") as connection:
            found = marks.read(connection)
            mark = found.live if found.live and found.live.run == self._intent.run else found.dropping
            if mark is not None:
                marks.confirm(connection, mark)
