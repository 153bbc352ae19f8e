"""The reverse of a bringing back: exactly the rows that it inserted, where nobody has changed them since."""

# ruff: noqa: S608  (names and values are quoted by tasks.postgres.sql)

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import psycopg

from tasks.core.errors import OpsError, Refused
from tasks.postgres.bring_back.facts import Facts, ForeignKey, column_of, read_facts
from tasks.postgres.bring_back.kept import Manifest, Written
from tasks.postgres.bring_back.report import SETTINGS, Finding, one_moment
from tasks.postgres.bring_back.rows import EXAMPLES, array
from tasks.postgres.bring_back.taken import TakeBack, TakenTable
from tasks.postgres.bring_back.write import PURPOSE, committed, print_of
from tasks.postgres.connection import Connection, Target, connect, explain, explained, is_cut, results
from tasks.postgres.sql import ident, literal, qualified

_ROWS_IN_A_QUERY: Final = 20_000
# More keys than that are not sent for a plan: they are looked at once they are in a temporary table.
_ROWS_LOOKED_AT: Final = 100_000


def read_take_back(
    connection: Connection, manifest: Manifest, folder: Path, *, keep: bool = False
) -> TakeBack:
    """Plan: what taking the run back would do. Reads alone, at one moment.

    + folder: with the files of keys that the run has kept
    + keep: rows that were changed since stay as they are

    Raises OpsError for a file of keys that is not as it was written, or that the server can't compare.
    """
    with explained("Comparing what was brought back with what is live"), one_moment(connection):
        facts = read_facts(connection, manifest.schema, manifest.aside)
        check_columns(facts, manifest)
        if sum(table.inserted + table.replaced for table in manifest.tables) > _ROWS_LOOKED_AT:
            return _not_looked_at(manifest, keep)
        names = [
            f"gone_{number}({_gone_columns(table)}) AS MATERIALIZED ({_values(facts, table, folder)})"
            for number, table in enumerate(manifest.tables)
        ]
        names += [
            f"match_{number} AS MATERIALIZED ({_match(facts, table, f'gone_{number}')})"
            for number, table in enumerate(manifest.tables)
        ]
        rows = results(connection, _report_query(facts, manifest, names, "match_{}"))[0]
        return _report_of(manifest, rows, keep)


def _not_looked_at(manifest: Manifest, keep: bool) -> TakeBack:
    none = Finding("", 0, ())
    return TakeBack(
        manifest,
        tuple(TakenTable(one.table, one.inserted, one.replaced, none, 0) for one in manifest.tables),
        keep,
        looked=False,
    )


def take_back(
    target: Target,
    run: str,
    manifest: Manifest,
    folder: Path,
    *,
    keep: bool = False,
    check_lock: Callable[[], None] = lambda: None,
) -> TakeBack:
    """Delete what the run has inserted and give what it has written over its earlier values, in one
    transaction.

    Raises Refused for whatever stands in the way, OpsError for what the server says: nothing is changed then.
    Raises PersonNeeded where the connection was lost and the outcome can't be read.
    """
    attempted = f"Taking back what run {manifest.run} has brought back"
    with connect(target, run, PURPOSE) as connection:
        with explained(attempted, state="nothing was changed"):
            connection.execute(";".join(["BEGIN", *SETTINGS]).encode())
            ((transaction_id,),) = results(connection, "SELECT txid_current()")[0]
            found = _change(connection, manifest, folder, keep, attempted)
            check_lock()
        try:
            connection.execute(b"SET LOCAL synchronous_commit = on; COMMIT")
        except psycopg.Error as error:
            if not is_cut(error) or not committed(target, run, int(transaction_id), attempted):
                raise explain(error, attempted, state="nothing was changed") from None
    return found


def _change(connection: Connection, manifest: Manifest, folder: Path, keep: bool, attempted: str) -> TakeBack:
    facts = read_facts(connection, manifest.schema, manifest.aside)
    check_columns(facts, manifest)
    for number, table in enumerate(manifest.tables):
        _load(connection, facts, table, number, folder)
        lock = " FOR UPDATE OF l" if table.key else ""
        connection.execute(
            f"CREATE TEMPORARY TABLE {_temporary('match', number)} ON COMMIT DROP AS "
            f"{_match(facts, table, _temporary('gone', number))}{lock}".encode()
        )
        connection.execute(f"ANALYZE {_temporary('match', number)}".encode())
    rows = results(connection, _report_query(facts, manifest, [], f"{_temporary('match', '{}')}"))[0]
    found = _report_of(manifest, rows, keep)
    if problems := found.problems():
        raise Refused(
            attempted,
            "; ".join(problem.sentence for problem in problems),
            state="nothing was changed",
            next_step="run the same command again and read the new plan",
        )
    connection.execute(b"SET LOCAL enable_seqscan = on")  # triggers are the application's own
    for number, table in enumerate(manifest.tables):
        if found.tables[number].restored:
            _restore(connection, facts, table, number)
    deletes = [
        f"out_{number} AS (DELETE FROM {facts.live_source(table.table)} x "
        f"USING {_temporary('match', number)} m WHERE x.tableoid = m.o AND x.ctid = m.r "
        "AND m.same AND m.how = 'inserted' RETURNING 1)"
        for number, table in enumerate(manifest.tables)
    ]
    counts = ", ".join(f"(SELECT count(*) FROM out_{number})" for number in range(len(deletes)))
    (row,) = results(connection, f"WITH {', '.join(deletes)} SELECT {counts}")[0]
    if (deleted := [int(value) for value in row]) != [table.going for table in found.tables]:
        raise OpsError(
            attempted,
            f"{sum(deleted):,} rows would go instead of {sum(table.going for table in found.tables):,}: "
            "a trigger or a rule keeps some",
            state="nothing was changed",
        )
    return found


def check_columns(facts: Facts, manifest: Manifest) -> None:
    """Raise Refused where a table has no longer the columns by which its rows can be compared."""
    for table in manifest.tables:
        there = facts.tables.get(table.table)
        gone = [name for name in table.columns if there is None or name not in there.live]
        if there is None or not there.live or gone:
            what = f"no longer has {', '.join(gone)}" if there is not None and there.live else "is gone"
            raise Refused(
                f"Taking back rows of {table.table}",
                f"the table {what}, so its rows can't be compared with what was written",
                state="nothing was changed",
                next_step="remove the rows by hand: their keys are in the files of that run",
            )


def _temporary(what: str, number: int | str) -> str:
    return f'pg_temp."ops {what} {number}"'


def _gone_columns(table: Written) -> str:
    return ", ".join(["how", "print", *(ident(name) for name in table.key)])


def _check_digest(table: Written, folder: Path) -> Path:
    """The file of keys. Raises OpsError where it can't be read, or is not as it was written."""
    path = folder / table.file
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise OpsError(
            f"Reading {path}",
            error.strerror or str(error),
            next_step="run it where the journal's folder is that of the run",
        ) from None
    if digest != table.sha256:
        raise Refused(
            f"Reading {path}",
            "it was changed since the run has written it",
            state="nothing was changed",
            next_step="bring the file back from a copy of the journal's folder",
        )
    return path


def _rows_of(table: Written, folder: Path) -> list[list[str]]:
    with _check_digest(table, folder).open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))[1:]


def _values(facts: Facts, table: Written, folder: Path) -> str:
    """The keys and prints of a file, as a query."""
    rows = _rows_of(table, folder)
    kinds = ["text", "text", *(facts.tables[table.table].live[name].kind for name in table.key)]
    blocks = [rows[at : at + _ROWS_IN_A_QUERY] for at in range(0, len(rows), _ROWS_IN_A_QUERY)] or [[]]
    return " UNION ALL ".join(_block(block, kinds) for block in blocks)


def _block(rows: list[list[str]], kinds: list[str]) -> str:
    lists = ", ".join(array(row[at] for row in rows) for at in range(len(kinds)))
    names = ", ".join(f"k{at}" for at in range(len(kinds)))
    values = ", ".join(f"u.k{at}::{kind}" for at, kind in enumerate(kinds))
    return f"SELECT {values} FROM unnest({lists}) u({names})"


def _load(connection: Connection, facts: Facts, table: Written, number: int, folder: Path) -> None:
    """Keys and prints, and the earlier values of rows that were written over, into temporary tables."""
    _check_digest(table, folder)
    kinds = [f"{ident(name)} {facts.tables[table.table].live[name].kind}" for name in table.key]
    connection.execute(
        f"CREATE TEMPORARY TABLE {_temporary('gone', number)} "
        f"({', '.join(['how text', 'print text', *kinds])}) ON COMMIT DROP".encode()
    )
    _copy_in(connection, _temporary("gone", number), "", folder / table.file)
    if table.before and Path(table.before).is_file():
        connection.execute(
            f"CREATE TEMPORARY TABLE {_temporary('before', number)} "
            f"(LIKE {qualified(facts.schema, table.table)}) ON COMMIT DROP".encode()
        )
        columns = ", ".join(ident(name) for name in table.columns)
        _copy_in(connection, _temporary("before", number), f" ({columns})", Path(table.before))
    connection.execute(f"ANALYZE {_temporary('gone', number)}".encode())


def _copy_in(connection: Connection, table: str, columns: str, path: Path) -> None:
    statement = f"COPY {table}{columns} FROM STDIN (FORMAT csv, HEADER)"
    with path.open("rb") as file, connection.cursor() as cursor, cursor.copy(statement.encode()) as rows:
        while block := file.read(1 << 16):
            rows.write(block)


def _match(facts: Facts, table: Written, gone: str) -> str:
    """Live rows that were written: place, whether as an insertion, whether unchanged, key."""
    live = facts.live_source(table.table)
    if not table.key:
        return (
            "SELECT 'inserted' AS how, n.o, n.r, true AS same, 'a row' AS key FROM "
            f"(SELECT l.tableoid AS o, l.ctid AS r, {print_of(table.columns, 'l')} AS print, "
            f"row_number() OVER (PARTITION BY {print_of(table.columns, 'l')}) AS place FROM {live} l) n "
            f"JOIN (SELECT print, count(*) AS number FROM {gone} GROUP BY 1) g USING (print) "
            "WHERE n.place <= g.number"
        )
    key = next(
        (one for one in facts.tables[table.table].keys if one.columns == table.key and not one.condition),
        None,
    )
    operators = key.operators if key else ("OPERATOR(pg_catalog.=)",) * len(table.key)
    same = " AND ".join(
        f"{column_of('l', name)} {operator} {column_of('g', name)}"
        for name, operator in zip(table.key, operators, strict=True)
    )
    text = "concat_ws(' ', " + ", ".join(f"{column_of('l', name)}::text" for name in table.key) + ")"
    return (
        f"SELECT g.how, l.tableoid AS o, l.ctid AS r, {print_of(table.columns, 'l')} = g.print AS same, "
        f"{text} AS key FROM {gone} g JOIN {live} l ON {same}"
    )


def _report_query(facts: Facts, manifest: Manifest, names: list[str], match: str) -> str:
    answers, checks = [], []
    for number, table in enumerate(manifest.tables):
        source = match.format(number)
        answers += [
            f"SELECT {literal(word)}, {number}, '', (SELECT count(*) FROM {source} WHERE {condition}), "
            f"ARRAY(SELECT key FROM {source} WHERE {condition} ORDER BY length(key), key LIMIT {EXAMPLES})"
            for word, condition in (
                ("going", "same AND how = 'inserted'"),
                ("restored", "same AND how = 'replaced'"),
                ("changed", "NOT same"),
            )
        ]
        checks += [
            (number, f"{link.name} of {link.table}", _needed(facts, manifest, link, match, number))
            for link in facts.foreign_keys
            if (link.parent_schema, link.parent) == (facts.schema, table.table)
        ]
    names = list(names)
    for at, (number, name, query) in enumerate(checks):
        names.append(f"check_{at} AS MATERIALIZED ({query})")
        answers.append(
            f"SELECT 'needed', {number}, {literal(name)}, (SELECT count(*) FROM check_{at}), "
            f"ARRAY(SELECT example FROM check_{at} ORDER BY length(example), example LIMIT {EXAMPLES})"
        )
    return (f"WITH {', '.join(names)} " if names else "") + " UNION ALL ".join(answers)


def _needed(facts: Facts, manifest: Manifest, link: ForeignKey, match: str, number: int) -> str:
    """Rows that stay and point to one that goes."""
    child = facts.any_source(link.schema, link.table)
    equal = " AND ".join(
        f"{column_of('p', name)} {operator} {column_of('h', value)}"
        for name, operator, value in zip(link.parent_columns, link.operators, link.columns, strict=True)
    )
    text = "concat_ws(' ', " + ", ".join(f"{column_of('h', name)}::text" for name in link.columns) + ")"
    query = (
        f"SELECT {literal(', '.join(link.columns) + ' ')} || {text} AS example FROM {match.format(number)} m "
        f"JOIN {facts.live_source(manifest.tables[number].table)} p ON p.tableoid = m.o AND p.ctid = m.r "
        f"JOIN {child} h ON {equal} WHERE m.same AND m.how = 'inserted'"
    )
    own = next(
        (
            at
            for at, table in enumerate(manifest.tables)
            if (link.schema, link.table) == (facts.schema, table.table)
        ),
        None,
    )
    if own is None:
        return query
    return query + (
        f" AND NOT EXISTS (SELECT FROM {match.format(own)} x WHERE x.o = h.tableoid AND x.r = h.ctid "
        "AND x.same AND x.how = 'inserted')"
    )


def _report_of(manifest: Manifest, rows: Iterable[tuple[object, ...]], keep: bool) -> TakeBack:
    found: dict[tuple[str, int], list[Finding]] = {}
    for what, number, name, count, examples in rows:
        texts = tuple(str(one) for one in examples) if isinstance(examples, list) else ()
        finding = Finding(str(name), int(str(count)), texts)
        found.setdefault((str(what), int(str(number))), []).append(finding)
    tables = []
    for number, table in enumerate(manifest.tables):
        (going,), (restored,), (changed,) = (found[what, number] for what in ("going", "restored", "changed"))
        missing = table.inserted + table.replaced - going.count - restored.count - changed.count
        without = restored.count and not Path(table.before).is_file()
        lost = (
            f"the values that were written over are in {table.before}, which is not here" if without else ""
        )
        tables.append(
            TakenTable(
                table.table,
                going.count,
                restored.count,
                changed,
                max(0, missing),
                tuple(found.get(("needed", number), ())),
                lost,
            )
        )
    return TakeBack(manifest, tuple(tables), keep)


def _restore(connection: Connection, facts: Facts, table: Written, number: int) -> None:
    """The earlier values of rows that were written over."""
    values = ", ".join(
        f"{ident(name)} = {column_of('b', name)}" for name in table.columns if name not in table.key
    )
    same = " AND ".join(f"{column_of('x', name)} = {column_of('b', name)}" for name in table.key)
    connection.execute(
        f"UPDATE {facts.live_source(table.table)} AS x SET {values} "
        f"FROM {_temporary('before', number)} b, {_temporary('match', number)} m "
        f"WHERE x.tableoid = m.o AND x.ctid = m.r AND m.same AND m.how = 'replaced' AND {same}".encode()
    )
