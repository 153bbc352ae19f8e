"""What a swap would take away, computed by the server: live rows against those that come in, table by table.

Rows are matched by primary key and compared by the columns that both sides have; a table without a key is
compared as a bag of rows.
"""

# ruff: noqa: S608  (names and values are quoted by tasks.postgres.sql)

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg

from tasks.core import paths
from tasks.core.wording import number_of
from tasks.postgres.connection import Connection, explained, results
from tasks.postgres.sql import ident, literal, qualified

_SHOWN: Final = 3
_ACCOUNT_COLUMNS: Final = frozenset({"password", "is_active", "is_staff", "is_superuser"})
# Types of which two values are equal exactly when they are the same value.
_EXACT: Final = frozenset(
    {
        "smallint", "integer", "bigint", "boolean", "uuid", "bytea", "date",
        "timestamp with time zone", "timestamp without time zone",
    }
)  # fmt: skip
_TEXTS: Final = frozenset({"text", "character varying"})
_TIMES: Final = frozenset({"timestamp with time zone", "timestamp without time zone", "date"})


@dataclass(frozen=True)
class Shape:
    """A table on one or both sides.

    + live, incoming: columns and their types, in order; empty where the table is not there
    + key: primary key columns, the same on both sides; empty where there is none in common
    + account: whether it holds accounts, by its columns
    """

    table: str
    live: Mapping[str, str]
    incoming: Mapping[str, str]
    key: tuple[str, ...]

    @property
    def common(self) -> tuple[str, ...]:
        """Columns that both sides have, beside the key."""
        return tuple(name for name in self.live if name in self.incoming and name not in self.key)

    @property
    def account(self) -> bool:
        return self.live.keys() >= _ACCOUNT_COLUMNS and self.incoming.keys() >= _ACCOUNT_COLUMNS

    @property
    def time(self) -> str | None:
        """The column that most likely says when a row came to be."""
        times = [name for name, kind in self.live.items() if kind in _TIMES]
        likely = [name for name in times if any(word in name for word in ("creat", "date", "added", "_at"))]
        return next(iter(likely or times), None)


@dataclass(frozen=True)
class TableLoss:
    """One table's part.

    + lost: rows live that do not come in; differ: rows on both sides with other values
    + back: rows that come in and are not live
    + newest: a few of the lost ones, by key and time
    + columns: live columns that the incoming table lacks; None where the whole table goes
    """

    table: str
    lost: int
    differ: int
    back: int
    newest: tuple[str, ...] = ()
    columns: tuple[str, ...] | None = ()

    @property
    def counts(self) -> bool:
        """Whether somebody has to agree to it."""
        return bool(self.lost or self.differ)

    def sentence(self) -> str:
        """The loss of this table, for people."""
        parts = []
        if self.lost:
            parts.append(
                number_of(self.lost, "row goes", "rows go")
                + (", and the table" if self.columns is None else "")
            )
        if self.differ:
            parts.append(number_of(self.differ, "row changes back", "rows change back"))
        if self.back:
            parts.append(number_of(self.back, "row comes back", "rows come back"))
        if self.columns:
            parts.append(
                f"{number_of(len(self.columns), 'column goes', 'columns go')}: {', '.join(self.columns)}"
            )
        text = f"{self.table}: {'; '.join(parts) or 'nothing is lost'}"
        return text + (f" (newest: {' | '.join(self.newest)})" if self.newest else "")


@dataclass(frozen=True)
class Loss:
    """Everything that goes, with a token that is the same for the same list."""

    tables: tuple[TableLoss, ...]
    accounts: tuple[str, ...] = ()

    @property
    def counting(self) -> tuple[TableLoss, ...]:
        """The tables that somebody has to agree to."""
        return tuple(table for table in self.tables if table.counts)

    @property
    def nothing(self) -> bool:
        return not self.counting and not self.accounts

    @property
    def token(self) -> str:
        """A letter and seven digits of the list; the letter keeps a command line from reading a number."""
        text = "\n".join([*(table.sentence() for table in self.counting), *self.accounts])
        return f"t{hashlib.sha256(text.encode()).hexdigest()[:7]}"

    def counts(self) -> dict[str, int]:
        """Rows that go or change, by table: what a later list is compared with."""
        return {table.table: table.lost + table.differ for table in self.counting}

    def lines(self) -> list[str]:
        """The list for a person, the tables with losses first."""
        rest = [table for table in self.tables if not table.counts and (table.back or table.columns)]
        return [*(table.sentence() for table in (*self.counting, *rest)), *self.accounts]


def grown(signed: Mapping[str, int], now: Loss) -> dict[str, int]:
    """How many more rows are lost than when the list was signed, by table."""
    more = {table: count - signed.get(table, 0) for table, count in now.counts().items()}
    return {table: count for table, count in more.items() if count > 0}


def compute(connection: Connection, schema: str, incoming: str, *, without: Collection[str] = ()) -> Loss:
    """The loss of putting `incoming` in the place of `schema`, by the server's own count.

    + without: tables declared to come back empty, which nobody misses

    Raises OpsError for whatever the server says. Reads alone.
    """
    with explained("Computing what would be lost"), _one_moment(connection):
        found = [shape for shape in shapes(connection, schema, incoming) if shape.table not in without]
        counted = (
            results(connection, ";".join(counts_query(schema, incoming, shape) for shape in found))
            if found
            else []
        )
        losses = tuple(
            _table_loss(connection, schema, incoming, shape, rows[0])
            for shape, rows in zip(found, counted, strict=True)
        )
        accounts = [
            line
            for shape in found
            if shape.account
            for line in _accounts(connection, schema, incoming, shape)
        ]
    return Loss(losses, tuple(accounts))


@contextlib.contextmanager
def _one_moment(connection: Connection) -> Iterator[None]:
    """A transaction in which every query sees the same moment, while the application goes on writing."""
    connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    try:
        yield
    finally:
        with contextlib.suppress(psycopg.Error):
            connection.execute("ROLLBACK")


def export_csv(
    connection: Connection,
    schema: str,
    incoming: str,
    loss: Loss,
    folder: Path,
    *,
    without: Collection[str] = (),
) -> list[Path]:
    """Write the rows that go or change, as they are live, one private CSV file a table; gives the files."""
    folder = paths.private(folder)
    wanted = {table.table for table in loss.counting}
    written = []
    with explained("Exporting what would be lost"):
        for shape in shapes(connection, schema, incoming):
            if shape.table not in wanted or shape.table in without:
                continue
            path = folder / f"{''.join(c if c.isalnum() or c in '_-' else '_' for c in shape.table)}.csv"
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            statement = f"COPY ({rows_lost(schema, incoming, shape)}) TO STDOUT (FORMAT csv, HEADER)"
            with (
                os.fdopen(descriptor, "wb") as file,
                connection.cursor() as cursor,
                cursor.copy(statement.encode()) as rows,
            ):
                for block in rows:
                    file.write(block)
            written.append(path)
    return written


def tables(connection: Connection, schema: str) -> list[str]:
    """The names of the role's own tables in the schema, but partitions."""
    return [shape.table for shape in shapes(connection, schema, schema)]


def count_rows(connection: Connection, schema: str, wanted: Sequence[str]) -> dict[str, int]:
    """Exact numbers of rows, in one message; a table that is not there has none."""
    there = {shape.table for shape in shapes(connection, schema, schema)}
    known = [table for table in wanted if table in there]
    with explained("Counting rows"):
        found = results(
            connection, ";".join(f"SELECT count(*) FROM {qualified(schema, table)}" for table in known)
        )
    return {table: int(rows[0][0]) for table, rows in zip(known, found, strict=True)}


def shapes(connection: Connection, schema: str, incoming: str) -> list[Shape]:
    """Every table of either side, but partitions, whose parent speaks for them."""
    columns, keys = results(connection, f"{_columns(schema, incoming)};{_keys(schema, incoming)}")
    sides: dict[str, dict[str, dict[str, str]]] = {}
    for side, table, column, kind in columns:
        sides.setdefault(str(table), {}).setdefault(str(side), {})[str(column)] = str(kind)
    found = []
    of_key = {(str(side), str(table)): tuple(names) for side, table, names in keys}
    for table, both in sorted(sides.items()):
        live, coming = both.get(schema, {}), both.get(incoming, {})
        key = of_key.get((schema, table), ())
        same = key == of_key.get((incoming, table), ()) and all(live[c] == coming.get(c) for c in key)
        found.append(Shape(table, live, coming, key if same else ()))
    return found


def _columns(schema: str, incoming: str) -> str:
    return f"""
select n.nspname, c.relname, a.attname, format_type(a.atttypid, null)
  from pg_class c join pg_namespace n on n.oid = c.relnamespace join pg_attribute a on a.attrelid = c.oid
 where n.nspname in ({literal(schema)}, {literal(incoming)}) and c.relkind in ('r', 'p')
   and not c.relispartition and a.attnum > 0 and not a.attisdropped and pg_has_role(c.relowner, 'USAGE')
   and not exists (select from pg_depend e where e.classid = 'pg_class'::regclass and e.objid = c.oid
                      and e.deptype = 'e')
 order by n.nspname, c.relname, a.attnum"""


def _keys(schema: str, incoming: str) -> str:
    return f"""
select n.nspname, c.relname, array_agg(a.attname::text order by k.place)
  from pg_constraint p join pg_class c on c.oid = p.conrelid join pg_namespace n on n.oid = c.relnamespace
  cross join lateral unnest(p.conkey) with ordinality k(number, place)
  join pg_attribute a on a.attrelid = c.oid and a.attnum = k.number
 where p.contype = 'p' and n.nspname in ({literal(schema)}, {literal(incoming)})
 group by n.nspname, c.relname"""


def rows_lost(schema: str, incoming: str, shape: Shape) -> str:
    """A query for the live rows that go or change."""
    live = f"{qualified(schema, shape.table)} l"
    if not shape.incoming:
        return f"SELECT l.* FROM {live}"
    if not shape.key:
        names = ", ".join(f"{ident(name)}::text" for name in shape.live if name in shape.incoming) or "NULL"
        return (
            f"SELECT {names} FROM {qualified(schema, shape.table)} "
            f"EXCEPT ALL SELECT {names} FROM {qualified(incoming, shape.table)}"
        )
    return (
        f"SELECT l.* FROM {live} LEFT JOIN {qualified(incoming, shape.table)} n ON {_match(shape)} "
        f"WHERE n.{ident(shape.key[0])} IS NULL OR {_differs(shape)}"
    )


def _match(shape: Shape) -> str:
    return " AND ".join(f"l.{ident(name)} = n.{ident(name)}" for name in shape.key)


def _differs(shape: Shape) -> str:
    """Compared as they are where equal means the same, else as text, which every type has."""
    if not shape.common:
        return "false"
    return "(" + " OR ".join(_column_differs(shape, name) for name in shape.common) + ")"


def _column_differs(shape: Shape, name: str) -> str:
    kind = shape.live[name]
    one, other = f"l.{ident(name)}", f"n.{ident(name)}"
    if kind != shape.incoming[name] or kind not in _EXACT | _TEXTS:
        one, other, kind = f"{one}::text", f"{other}::text", "text"
    if kind in _TEXTS:  # bytes: a collation may take two texts for the same
        one, other = f'{one} COLLATE "C"', f'{other} COLLATE "C"'
    return f"{one} IS DISTINCT FROM {other}"


def counts_query(schema: str, incoming: str, shape: Shape) -> str:
    """A query for the numbers of rows lost, different and coming back."""
    live, coming = qualified(schema, shape.table), qualified(incoming, shape.table)
    if not shape.incoming:
        return f"SELECT count(*), 0, 0 FROM {live}"
    if not shape.live:
        return f"SELECT 0, 0, count(*) FROM {coming}"
    if not shape.key:
        names = ", ".join(ident(name) for name in shape.live if name in shape.incoming) or "NULL"
        one, other = f"SELECT ROW({names})::text FROM {live}", f"SELECT ROW({names})::text FROM {coming}"
        return (
            f"SELECT (SELECT count(*) FROM ({one} EXCEPT ALL {other}) x), 0, "
            f"(SELECT count(*) FROM ({other} EXCEPT ALL {one}) x)"
        )
    key = ident(shape.key[0])
    return (
        f"SELECT count(*) FILTER (WHERE n.{key} IS NULL), "
        f"count(*) FILTER (WHERE l.{key} IS NOT NULL AND n.{key} IS NOT NULL AND {_differs(shape)}), "
        f"count(*) FILTER (WHERE l.{key} IS NULL) "
        f"FROM {live} l FULL JOIN {coming} n ON {_match(shape)}"
    )


def _table_loss(
    connection: Connection, schema: str, incoming: str, shape: Shape, row: Sequence[Any]
) -> TableLoss:
    lost, differ, back = (int(value) for value in row)
    newest = _newest(connection, schema, incoming, shape) if lost or differ else ()
    gone = tuple(name for name in shape.live if name not in shape.incoming)
    return TableLoss(shape.table, lost, differ, back, newest, gone if shape.incoming else None)


def _newest(connection: Connection, schema: str, incoming: str, shape: Shape) -> tuple[str, ...]:
    """A few of the rows that go, the newest first, by key and time alone: other columns may be private."""
    shown = [*shape.key, *([shape.time] if shape.time and shape.time not in shape.key else [])]
    shown = [name for name in shown if name in shape.incoming or not shape.incoming or shape.key]
    if not shown:
        return ()
    order = ident(shape.time) if shape.time in shown and shape.time else ident(shown[0])
    names = ", ".join(f"{ident(name)}::text" for name in shown)
    query = (
        f"SELECT {names} FROM ({rows_lost(schema, incoming, shape)}) x "
        f"ORDER BY {order} DESC NULLS LAST LIMIT {_SHOWN}"
    )
    rows: list[tuple[Any, ...]] = connection.execute(query.encode()).fetchall()
    return tuple(" ".join(str(value)[:40] for value in row if value is not None) for row in rows)


def _accounts(connection: Connection, schema: str, incoming: str, shape: Shape) -> list[str]:
    """Accounts disabled, demoted or given a new password since: the swap would bring the old ones back."""
    if not shape.key:
        return []
    name = ident("username") if "username" in shape.live else ident(shape.key[0])
    rows = connection.execute(
        (
            f"SELECT l.{name}::text, n.is_active AND NOT l.is_active, "
            "(n.is_superuser AND NOT l.is_superuser) OR (n.is_staff AND NOT l.is_staff), "
            "l.password IS DISTINCT FROM n.password "
            f"FROM {qualified(schema, shape.table)} l JOIN {qualified(incoming, shape.table)} n "
            f"ON {_match(shape)} ORDER BY 1"
        ).encode()
    ).fetchall()
    lines = []
    for account, disabled, demoted, password in rows:
        what = [
            word
            for word, is_so in (("disabled", disabled), ("demoted", demoted), ("password", password))
            if is_so
        ]
        if what:
            lines.append(f"account {account}: {', '.join(what)} changed since, and would change back")
    return lines
