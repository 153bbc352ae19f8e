"""What the reverse of a bringing back would do: by table, with what stands in its way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tasks.core.wording import number_of
from tasks.postgres.bring_back.kept import Manifest
from tasks.postgres.bring_back.report import Finding, Problem


@dataclass(frozen=True)
class TakenTable:
    """One table's rows that a run has brought back.

    + going: as they were written, to be deleted; restored: written over, to get their earlier values
    + changed: written to since; gone: not live any more
    + needed: other rows that point to those that go
    + lost: files of keys or of earlier values that are not here
    """

    table: str
    going: int
    restored: int
    changed: Finding
    gone: int
    needed: tuple[Finding, ...] = ()
    lost: str = ""

    def problems(self, keep: bool) -> Iterator[Problem]:
        if self.lost:
            yield Problem(f"{self.table}: {self.lost}", "run it where the rows were brought back")
        if self.changed.count and not keep:
            yield Problem(
                f"{self.table}: {number_of(self.changed.count, 'row was', 'rows were')} changed since: "
                + self.changed.shown,
                "--data conflicts=keep leaves those rows as they are",
            )
        for needed in self.needed:
            if needed.count:
                yield Problem(
                    f"{self.table}: {number_of(needed.count, 'row needs', 'rows need')} those that would go, "
                    f"by {needed.name}: {needed.shown}",
                    "delete or change those rows first",
                )

    def notes(self, keep: bool) -> list[str]:
        """What stays as it is."""
        notes = []
        if self.changed.count and keep:
            notes.append(
                f"{self.table}: {number_of(self.changed.count, 'row stays', 'rows stay')}, changed since: "
                + self.changed.shown
            )
        if self.gone:
            notes.append(f"{self.table}: {number_of(self.gone, 'row is', 'rows are')} not live any more")
        return notes


@dataclass(frozen=True)
class TakeBack:
    """What taking a run back would do."""

    manifest: Manifest
    tables: tuple[TakenTable, ...]
    keep: bool
    looked: bool = True
    """Whether the rows were looked at; else they are too many for that before the run."""

    @property
    def nothing(self) -> bool:
        return not any(table.going or table.restored for table in self.tables) and not self.problems()

    def counts(self) -> dict[str, int]:
        """Rows that go, by table."""
        return {table.table: table.going for table in self.tables if table.going}

    def problems(self) -> list[Problem]:
        return [problem for table in self.tables for problem in table.problems(self.keep)]
