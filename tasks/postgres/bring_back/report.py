"""What the server has found, as counts and examples, and what it means for the run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from tasks.core.errors import Refused
from tasks.core.wording import number_of
from tasks.postgres.bring_back.chosen import Conflicts, Scope, Wanted, scope
from tasks.postgres.bring_back.facts import read_facts
from tasks.postgres.bring_back.rows import report_query
from tasks.postgres.connection import Connection, explained, results

SETTINGS = (
    "SET LOCAL jit = off",  # compiling a statement of this length takes longer than running it
    "SET LOCAL work_mem = '32MB'",
    # How many rows a query within a query gives is guessed badly; each look into a table has an index.
    "SET LOCAL enable_seqscan = off",
    "SET LOCAL TimeZone = 'UTC'",
    "SET LOCAL IntervalStyle = 'postgres'",
    "SET LOCAL bytea_output = 'hex'",
    "SET LOCAL extra_float_digits = 1",
)
"""What a session of ours needs, so that values written as text mean the same for everybody."""


@dataclass(frozen=True)
class Finding:
    """Something found: how many, and a few examples by key."""

    name: str
    count: int
    examples: tuple[str, ...]

    @property
    def shown(self) -> str:
        """The examples as one text."""
        more = self.count - len(self.examples)
        return ", ".join(self.examples) + (f" and {more:,} more" if more > 0 else "")


@dataclass(frozen=True)
class TableReport:
    """One table's rows.

    + wanted: rows that were asked for; None where the table was not asked for
    + new, along: rows that come: wanted, or needed by others
    + replaced: live rows that get the values that were set aside
    + differing: live rows of the same key with other values, with the columns
    + kept_out: rows that stay behind, since another live row has their place in a unique index
    + unknown: keys that were asked for and were not set aside
    + taken, meeting, orphans, empty: what stands in the way, by index, foreign key or column
    + problems, remedies: of the table's shape
    """

    table: str
    wanted: int | None
    new: int
    along: Finding
    replaced: int
    kept_out: int
    differing: Finding
    unknown: Finding
    taken: tuple[Finding, ...] = ()
    meeting: tuple[Finding, ...] = ()
    orphans: tuple[Finding, ...] = ()
    empty: tuple[Finding, ...] = ()
    problems: tuple[str, ...] = ()
    remedies: tuple[str, ...] = ()

    @property
    def coming(self) -> int:
        """Rows that are inserted."""
        return self.new + self.along.count

    @property
    def written(self) -> int:
        """Rows that are inserted or written over."""
        return self.coming + self.replaced

    @property
    def equal(self) -> int:
        """Wanted rows that are live already."""
        left = (self.wanted or 0) - self.new - self.differing.count
        return max(0, left)


@dataclass(frozen=True)
class Report:
    """What would come back, table by table, those that were asked for first."""

    scope: Scope
    tables: tuple[TableReport, ...]

    @property
    def conflicts(self) -> Conflicts:
        return self.scope.conflicts

    @property
    def nothing(self) -> bool:
        """Whether everything that was asked for is live already."""
        return not any(table.written for table in self.tables) and not self.problems()

    def counts(self) -> dict[str, int]:
        """Rows that are inserted, by table."""
        return {table.table: table.coming for table in self.tables if table.coming}

    def replaced(self) -> dict[str, int]:
        """Rows that are written over, by table."""
        return {table.table: table.replaced for table in self.tables if table.replaced}

    def grown_since(self, shown: Report) -> dict[str, int]:
        """How many more rows would be written than when the plan was shown, by table."""
        before = {table.table: table.written for table in shown.tables}
        more = {table.table: table.written - before.get(table.table, 0) for table in self.tables}
        return {table: number for table, number in more.items() if number > 0}

    def problems(self) -> list[Problem]:
        """What stands in the way; nothing is written while there is any."""
        return [problem for table in self.tables for problem in _problems(table, self.conflicts)]


@dataclass(frozen=True)
class Problem:
    """What stands in the way, and the way out."""

    sentence: str
    way_out: str


def _problems(table: TableReport, conflicts: Conflicts) -> Iterable[Problem]:
    name = table.table
    if table.written:
        without = ",".join(table.remedies)
        for sentence in table.problems:
            remedy = (
                f"--data without={without} leaves them behind" if table.remedies else "choose other tables"
            )
            yield Problem(f"{name}: {sentence}", remedy)
    if table.unknown.count:
        yield Problem(
            f"{name}: {number_of(table.unknown.count, 'key')} asked for "
            f"{'was' if table.unknown.count == 1 else 'were'} not set aside: {table.unknown.shown}",
            "take those lines out of the file, or choose another set_aside",
        )
    if table.differing.count and conflicts == "stop":
        yield Problem(
            f"{name}: {number_of(table.differing.count, 'row is', 'rows are')} live with other values: "
            + table.differing.shown,
            "--data conflicts=keep leaves the live rows as they are, conflicts=replace writes the old values "
            "over them",
        )
    for taken in table.taken:
        if taken.count and conflicts != "keep":
            yield Problem(
                f"{name}: another live row has the value of {number_of(taken.count, 'row')} in the unique "
                f"{taken.name} (set aside / live): {taken.shown}",
                "--data conflicts=keep leaves those rows behind",
            )
    for meeting in table.meeting:
        if meeting.count:
            yield Problem(
                f"{name}: rows that would come have the same value in the unique {meeting.name}: "
                + "; ".join(meeting.examples),
                f"choose among them by --data keys={name}.csv",
            )
    for orphans in table.orphans:
        if orphans.count:
            behind = ", or one that a conflict keeps behind" if conflicts == "keep" else ""
            yield Problem(
                f"{name}: {number_of(orphans.count, 'row needs', 'rows need')} by {orphans.name} a row that "
                f"is neither live nor set aside{behind}: {orphans.shown}",
                "leave those rows out, or bring the rows that they need another way first",
            )
    for empty in table.empty:
        if empty.count:
            yield Problem(
                f"{name}: column {empty.name} needs a value, and "
                f"{number_of(empty.count, 'row has', 'rows have')} none: {empty.shown}",
                f"leave those rows out, or --data without={empty.name} where the column has a default",
            )


def report_of(scope: Scope, rows: Iterable[Sequence[Any]]) -> Report:
    """What the rows of `report_query` say."""
    found: dict[tuple[str, int], list[Finding]] = {}
    for what, number, name, count, examples in rows:
        finding = Finding(str(name), int(count), tuple(str(one) for one in examples or ()))
        found.setdefault((str(what), int(number)), []).append(finding)

    def all_of(what: str, number: int) -> tuple[Finding, ...]:
        return tuple(found.get((what, number), ()))

    def one_of(what: str, number: int) -> Finding:
        return next(iter(all_of(what, number)), Finding("", 0, ()))

    return Report(
        scope,
        tuple(
            TableReport(
                part.name,
                one_of("wanted", part.number).count if part.wanted else None,
                one_of("found new", part.number).count,
                one_of("along", part.number),
                one_of("found changed", part.number).count,
                one_of("found kept", part.number).count,
                one_of("differs", part.number),
                one_of("unknown", part.number),
                all_of("taken", part.number),
                all_of("meet", part.number),
                all_of("orphan", part.number),
                all_of("empty", part.number),
                part.problems,
                part.remedies,
            )
            for part in scope.parts
        ),
    )


def read_report(connection: Connection, schema: str, aside: str, wanted: Wanted) -> Report:
    """Plan: what would come back, by the server's own count. Reads alone, at one moment.

    Raises `Refused` for tables, keys and columns that are not there, `OpsError` for what the server says.
    """
    with explained("Comparing what was set aside with what is live"), one_moment(connection):
        chosen = scope(read_facts(connection, schema, aside), wanted)
        return report_of(chosen, ask(connection, report_query(chosen)))


def ask(connection: Connection, query: str) -> list[tuple[Any, ...]]:
    """The rows of a query. Raises `Refused` where a key that was asked for can't be read."""
    try:
        return results(connection, query)[0]
    except psycopg.errors.DataError as error:
        text = str(error).splitlines()[0]
        raise Refused(
            "Reading the keys that were asked for",
            f"one of them is no value of its column ({text})",
            state="nothing was changed",
            next_step="keep the key's columns as they were exported; a spreadsheet may have rewritten them",
        ) from None


@contextlib.contextmanager
def one_moment(connection: Connection) -> Iterator[None]:
    """A transaction that can only read, in which every query sees the same moment."""
    connection.execute(";".join(["BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", *SETTINGS]).encode())
    try:
        yield
    finally:
        with contextlib.suppress(psycopg.Error):
            connection.execute("ROLLBACK")
