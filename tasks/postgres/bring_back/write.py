"""One transaction that writes what was planned, and the files by which it can be taken back."""

# ruff: noqa: S608  (names and values are quoted by tasks.postgres.sql)

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import psycopg

from tasks.core import paths
from tasks.core.errors import Interrupted, OpsError, PersonNeeded, Refused
from tasks.core.wording import number_of
from tasks.postgres import leftovers
from tasks.postgres.bring_back.chosen import Part, Scope, Wanted, scope
from tasks.postgres.bring_back.facts import column_of, read_facts
from tasks.postgres.bring_back.kept import Manifest, Written, copy_out, file_name
from tasks.postgres.bring_back.report import SETTINGS, Report, ask, report_of
from tasks.postgres.bring_back.rows import (
    FOUND,
    at_place,
    keep_query,
    live_table,
    report_query,
    row_names,
    same_key,
)
from tasks.postgres.connection import Connection, Target, connect, explain, explained, is_cut, results
from tasks.postgres.sql import ident, literal

PURPOSE: Final = "bring back"
_DONE: Final = 'pg_temp."ops done"'
_RECONNECT_SECONDS: Final = 20.0


def write(
    target: Target,
    run: str,
    aside: str,
    wanted: Wanted,
    shown: Report,
    name: str,
    folder: Path,
    private: Path,
    *,
    check_lock: Callable[[], None] = lambda: None,
    stop: Callable[[], bool] = lambda: False,
) -> tuple[Report, Manifest]:
    """Write the wanted rows, in one transaction.

    + aside: the schema that they come from
    + shown: the plan that was agreed to: no more than in it is written
    + name: by which it can be taken back
    + folder: for keys and prints; private: for the values of rows that are written over
    + check_lock: raises when the environment's lock is no longer ours; asked before anything is committed
    + stop: asked between statements

    Raises Refused for whatever stands in the way by now, OpsError for what the server says: nothing is
    written then. Raises PersonNeeded where the connection was lost and the outcome can't be read.
    """
    transaction = _Transaction(target, run, aside, wanted, shown, name, folder, private, check_lock, stop)
    return transaction.go()


class _Transaction:
    def __init__(
        self,
        target: Target,
        run: str,
        aside: str,
        wanted: Wanted,
        shown: Report,
        name: str,
        folder: Path,
        private: Path,
        check_lock: Callable[[], None],
        stop: Callable[[], bool],
    ) -> None:
        self.target = target
        self.run = run
        self.aside = aside
        self.wanted = wanted
        self.shown = shown
        self.name = name
        self.folder = folder
        self.private = private
        self.check_lock = check_lock
        self.stop = stop
        self.attempted = f"Bringing back rows of {aside}"

    def go(self) -> tuple[Report, Manifest]:
        with connect(self.target, self.run, PURPOSE) as connection:
            with explained(self.attempted, state="nothing was changed"):
                connection.execute(";".join(["BEGIN", *SETTINGS]).encode())
                ((transaction_id,),) = results(connection, "SELECT txid_current()")[0]
                report, manifest = self._before_commit(connection)
            self._commit(connection, int(transaction_id))
            return report, manifest

    def _before_commit(self, connection: Connection) -> tuple[Report, Manifest]:
        chosen = scope(read_facts(connection, self.target.schema, self.aside), self.wanted)
        ask(connection, f"{keep_query(chosen)}; SELECT 1")
        connection.execute(f"ANALYZE {FOUND}".encode())
        report = report_of(chosen, ask(connection, report_query(chosen, kept=True)))
        self._check(report)
        before = self._export_replaced(connection, report)
        connection.execute(b"SET LOCAL enable_seqscan = on")  # triggers are the application's own
        connection.execute(
            f"CREATE TEMPORARY TABLE {_DONE} (t int, how text, key text[], print text) "
            "ON COMMIT DROP".encode()
        )
        for group in in_order(chosen):
            self._safe_point()
            for statement in write_statements(chosen, group):
                connection.execute(statement.encode())
        connection.execute(b"SET CONSTRAINTS ALL IMMEDIATE")
        done = self._counted(connection, report)
        for statement in numbering_statements(chosen, {t for t, (inserted, _) in done.items() if inserted}):
            connection.execute(statement.encode())
        manifest = self._keep_keys(connection, chosen, done, before)
        self._safe_point()
        self.check_lock()
        return report, manifest

    def _safe_point(self) -> None:
        if self.stop():
            raise Interrupted(self.attempted, "stopped on request", state="nothing was changed")

    def _check(self, report: Report) -> None:
        problems = report.problems()
        if problems:
            raise Refused(
                self.attempted,
                "; ".join(problem.sentence for problem in problems),
                state="nothing was changed",
                next_step="run the same command again and read the new plan",
            )
        if more := report.grown_since(self.shown):
            text = ", ".join(f"{number_of(count, 'more row')} in {table}" for table, count in more.items())
            raise Refused(
                self.attempted,
                f"there is more to write than when the plan was shown: {text}",
                state="nothing was changed",
                next_step="run the same command again and read the new plan",
            )

    def _export_replaced(self, connection: Connection, report: Report) -> dict[int, str]:
        files = {}
        for part in report.scope.parts:
            if part.name not in report.replaced():
                continue
            live = report.scope.facts.live_source(part.name)
            names = ", ".join(column_of("l", name) for name in stored_columns(part))
            query = (
                f"WITH {', '.join(row_names(report.scope, [part]))} SELECT {names} FROM {FOUND} f "
                f"JOIN row_{part.number} a ON {at_place(part)} "
                f"JOIN {live} l ON {same_key(part)} WHERE f.t = {part.number} AND f.origin = 'changed'"
            )
            path = paths.private(self.private) / f"{part.number:03}_{file_name(part.name)}.before.csv"
            copy_out(connection, query, path)
            files[part.number] = str(path)
        return files

    def _counted(self, connection: Connection, report: Report) -> dict[int, tuple[int, int]]:
        """Rows inserted and replaced by table's number. Raises OpsError where they are not those planned."""
        rows = results(connection, f"SELECT t, how, count(*) FROM {_DONE} GROUP BY t, how")[0]
        number = {(int(t), str(how)): int(count) for t, how, count in rows}
        done = {}
        for part, table in zip(report.scope.parts, report.tables, strict=True):
            inserted = number.get((part.number, "inserted"), 0)
            replaced = number.get((part.number, "replaced"), 0)
            if (inserted, replaced) != (table.coming, table.replaced):
                raise OpsError(
                    f"{self.attempted}: table {part.name}",
                    f"{number_of(table.written, 'row')} were to be written and {inserted + replaced:,} were: "
                    "a trigger or a rule of the table keeps rows out",
                    state="nothing was changed",
                    next_step="look at the table's triggers; rows that they refuse can't be brought back so",
                )
            if inserted or replaced:
                done[part.number] = (inserted, replaced)
        return done

    def _keep_keys(
        self,
        connection: Connection,
        chosen: Scope,
        done: Mapping[int, tuple[int, int]],
        before: Mapping[int, str],
    ) -> Manifest:
        folder = paths.private(self.folder)
        tables = []
        for number, (inserted, replaced) in done.items():
            part = chosen.parts[number]
            path = folder / f"{number:03}_{file_name(part.name)}.csv"
            digest = copy_out(connection, keys_query(chosen, part), path)
            key = part.key.columns if part.key else ()
            tables.append(
                Written(
                    part.name, key, stored_columns(part), inserted, replaced, path.name, digest,
                    before.get(number, ""),
                )
            )  # fmt: skip
        manifest = Manifest(self.name, self.target.schema, self.aside, tuple(tables))
        manifest.write(folder)
        return manifest

    def _commit(self, connection: Connection, transaction_id: int) -> None:
        try:
            connection.execute(b"SET LOCAL synchronous_commit = on; COMMIT")
        except psycopg.Error as error:
            if not is_cut(error):
                raise explain(error, self.attempted, state="nothing was changed") from None
            if not committed(self.target, self.run, transaction_id, self.attempted):
                raise explain(error, self.attempted, state="nothing was changed") from None


def committed(target: Target, run: str, transaction_id: int, attempted: str) -> bool:
    """Whether a transaction whose connection was lost at its commit has happened. Ends what is left of it.

    Raises PersonNeeded when the database can't be asked.
    """
    deadline = time.monotonic() + _RECONNECT_SECONDS
    while True:
        try:
            with connect(target, run, "state") as connection:
                leftovers.end_of_run(connection, run, PURPOSE)
                row = connection.execute(f"SELECT txid_status({transaction_id})".encode()).fetchone()
                return row is not None and row[0] == "committed"
        except (OpsError, psycopg.Error):
            if time.monotonic() > deadline:
                raise PersonNeeded(
                    attempted,
                    "the connection was lost, and the database can't be reached to read what happened",
                    state="either nothing was changed, or all rows are there",
                    next_step="run the same command again once the database answers: it compares first",
                ) from None
            time.sleep(0.5)


def stored_columns(part: Part) -> tuple[str, ...]:
    """The live table's columns that hold a value of their own, in order."""
    return tuple(column.name for column in part.table.live.values() if not column.generated)


def print_of(columns: Iterable[str], alias: str) -> str:
    """A print of a row's values."""
    return f"md5(ROW({', '.join(column_of(alias, name) for name in columns)})::text)"


def in_order(chosen: Scope) -> list[list[Part]]:
    """Parts in groups, each after those that its foreign keys need; a group's need each other."""
    needs = {
        part.number: {
            parent.number
            for link in chosen.links
            if link.table == part.name and (parent := chosen.parent(link)) is not None
        }
        for part in chosen.parts
    }
    reach = {number: _reach(needs, number) for number in needs}
    groups: list[list[Part]] = []
    left = set(needs)
    while left:
        free = next(
            number for number in sorted(left) if all(number in reach[n] for n in reach[number] & left)
        )
        group = {free} | {number for number in reach[free] & left if free in reach[number]}
        groups.append([chosen.parts[number] for number in sorted(group)])
        left -= group
    return groups


def _reach(needs: Mapping[int, set[int]], start: int) -> set[int]:
    found: set[int] = set()
    open_ends = [start]
    while open_ends:
        more = needs[open_ends.pop()] - found
        found |= more
        open_ends += more
    return found


def write_statements(chosen: Scope, group: Sequence[Part]) -> list[str]:
    """What writes a group's rows: one statement for those that need each other, checked at its end."""
    names = row_names(chosen, group)
    inserts = [f"in_{part.number} AS ({_insert(chosen, part)})" for part in group]
    all_of = " UNION ALL ".join(f"SELECT {_done('in', part, 'inserted')}" for part in group)
    statements = [f"WITH {', '.join([*names, *inserts])} INSERT INTO {_DONE} {all_of}"]
    for part in group:
        if chosen.conflicts == "replace" and part.wanted and part.key is not None and part.compared:
            statements.append(
                f"WITH {', '.join(row_names(chosen, [part]))}, up_{part.number} AS ({_update(chosen, part)}) "
                f"INSERT INTO {_DONE} SELECT {_done('up', part, 'replaced')}"
            )
    return statements


def _done(name: str, part: Part, how: str) -> str:
    return f"{part.number}, {literal(how)}, key, print FROM {name}_{part.number}"


def _insert(chosen: Scope, part: Part) -> str:
    into = ", ".join(ident(name) for name in part.carried)
    values = ", ".join(column_of("a", name) for name in part.carried)
    return (
        f"INSERT INTO {live_table(chosen, part)} AS x ({into}) OVERRIDING SYSTEM VALUE "
        f"SELECT {values} FROM {FOUND} f JOIN row_{part.number} a ON {at_place(part)} "
        f"WHERE f.t = {part.number} AND f.origin IN ('new', 'along') RETURNING {_returning(part)}"
    )


def _update(chosen: Scope, part: Part) -> str:
    values = ", ".join(f"{ident(name)} = {column_of('a', name)}" for name in part.compared)
    return (
        f"UPDATE {chosen.facts.live_source(part.name)} AS x SET {values} "
        f"FROM {FOUND} f JOIN row_{part.number} a ON {at_place(part)} "
        f"WHERE f.t = {part.number} AND f.origin = 'changed' AND {same_key(part, 'x')} "
        f"RETURNING {_returning(part)}"
    )


def _returning(part: Part) -> str:
    key = ", ".join(f"{column_of('x', name)}::text" for name in part.key.columns) if part.key else ""
    return f"ARRAY[{key}]::text[] AS key, {print_of(stored_columns(part), 'x')} AS print"


def keys_query(chosen: Scope, part: Part) -> str:
    """Key and print of each row that was written, as it is now that every trigger has fired."""
    if part.key is None:
        return f"SELECT d.how, d.print FROM {_DONE} d WHERE d.t = {part.number}"
    names = ", ".join(column_of("l", name) for name in part.key.columns)
    same = " AND ".join(
        f"{column_of('l', name)} {operator} d.key[{at}]::{part.table.live[name].kind}"
        for at, (name, operator) in enumerate(zip(part.key.columns, part.key.operators, strict=True), 1)
    )
    return (
        f"SELECT d.how, {print_of(stored_columns(part), 'l')}, {names} FROM {_DONE} d "
        f"JOIN {chosen.facts.live_source(part.name)} l ON {same} WHERE d.t = {part.number}"
    )


def numbering_statements(chosen: Scope, numbers: set[int]) -> Iterator[str]:
    """What sets each sequence beyond the greatest number that came, and never back."""
    for numbering in chosen.facts.numberings:
        part = chosen.part(numbering.table)
        if part is None or part.number not in numbers or numbering.column not in part.carried:
            continue
        furthest, beyond = ("max", ">") if numbering.increment > 0 else ("min", "<")
        # Where nothing has been given out yet, last_value itself is still to come.
        yield (
            f"SELECT setval({literal(numbering.sequence)}, m.value) FROM {numbering.sequence} s, "
            f"(SELECT {furthest}({column_of('a', numbering.column)}) AS value FROM "
            f"({_written_rows(chosen, part)}) a) m "
            f"WHERE m.value {beyond} s.last_value OR (m.value = s.last_value AND NOT s.is_called)"
        )


def _written_rows(chosen: Scope, part: Part) -> str:
    names = ", ".join(row_names(chosen, [part]))
    return (
        f"WITH {names} SELECT a.* FROM {FOUND} f "
        f"JOIN row_{part.number} a ON {at_place(part)} "
        f"WHERE f.t = {part.number} AND f.origin IN ('new', 'along')"
    )
