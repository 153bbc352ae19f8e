"""What a run would take away from users, listed by table, exported, and kept for who signs it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tasks.postgres import loss, marks
from tasks.postgres.marks import DataState, Mark
from tasks.rollback.work import Work


class Losses:
    """The loss of one run: computed, shown, signed."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._loss: loss.Loss | None = None

    @property
    def _incoming(self) -> str:
        """The schema whose objects come in at the swap."""
        aside = self._work.intent.set_aside
        return aside.schema if aside else marks.stage_schema(self._work.intent.run)

    def compute(self, folder: Path) -> tuple[loss.Loss, list[Path]]:
        """What the swap would take away, now, and where it was exported to."""
        without = self._work.app.declared.empty_tables
        schema = self._work.database.schema
        with self._work.connect("loss", read_only=True) as connection:
            self._loss = loss.compute(connection, schema, self._incoming, without=without)
            files = loss.export_csv(connection, schema, self._incoming, self._loss, folder, without=without)
        return self._loss, files

    def signed(self) -> tuple[str, dict[str, int]]:
        """The token and the counts of the list that was last shown for this stage, from its mark."""
        mark = self._incoming_mark(self._work.marks())
        if mark is None or not isinstance(mark.details.get("loss"), dict):
            return "", {}
        return mark.loss, {str(table): int(count) for table, count in mark.details["loss"].items()}

    def remember_shown(self, shown: loss.Loss) -> None:
        """Keep the list that was shown with the stage, so that whoever signs it means that one."""
        with self._work.connect("state") as connection:
            mark = self._incoming_mark(marks.read(connection))
            if mark is not None:
                details = {**mark.details, "loss": shown.counts()}
                marks.write(connection, replace(mark, loss=shown.token, details=details))

    def _incoming_mark(self, found: DataState) -> Mark | None:
        everything = (*found.stages, *found.set_aside)
        return next((mark for mark in everything if mark.schema == self._incoming), None)

    @property
    def token(self) -> str | None:
        """Stands for the list as it was computed last; None before."""
        return self._loss.token if self._loss else None

    def counts(self) -> dict[str, int]:
        """How many rows of each table were set aside; empty where nothing was lost."""
        return {} if self._loss is None else self._loss.counts()

    def estimate(self) -> loss.Loss:
        """For strategy=drop, where nothing is staged: numbers of rows live against those of the backup."""
        wanted = self._work.opened.fetched.rows
        schema, without = self._work.database.schema, self._work.app.declared.empty_tables
        with self._work.connect("read counts", read_only=True) as connection:
            counted = loss.count_rows(connection, schema, loss.tables(connection, schema))
        found = [
            loss.TableLoss(
                table,
                lost=max(0, rows - wanted.get(table, 0)),
                differ=0,
                back=max(0, wanted.get(table, 0) - rows),
                columns=() if table in wanted else None,
            )
            for table, rows in sorted(counted.items())
            if table not in without
        ]
        self._loss = loss.Loss(tuple(found))
        return self._loss

    @property
    def backup_token(self) -> str:
        """Stands for agreeing to lose everything that is newer than this run's backup."""
        return f"b{self._work.opened.contents.sha256[:7]}"
