"""Counting what was restored, in the copy alone, through a session that can only read."""

# ruff: noqa: S608  (names and values are quoted by tasks.postgres.sql)

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import psycopg

from tasks.drill.checks import ForeignKey, Newest, Statement
from tasks.postgres.connection import Connection, explained, first_line, is_cut, results
from tasks.postgres.sql import ident, literal, names, qualified

_KEYS: Final = """
select k.conname, c.relname, c.relkind::text, rn.nspname, r.relname, r.relkind::text, k.confmatchtype::text,
       (select array_agg(a.attname::text order by n) from unnest(k.conkey) with ordinality u(number, n)
          join pg_attribute a on a.attrelid = k.conrelid and a.attnum = u.number),
       (select array_agg(a.attname::text order by n) from unnest(k.confkey) with ordinality u(number, n)
          join pg_attribute a on a.attrelid = k.confrelid and a.attnum = u.number),
       (select array_agg(format('OPERATOR(%I.%s)', s.nspname, o.oprname) order by n)
          from unnest(k.conpfeqop) with ordinality u(operator, n)
          join pg_operator o on o.oid = u.operator join pg_namespace s on s.oid = o.oprnamespace)
  from pg_constraint k join pg_class c on c.oid = k.conrelid join pg_class r on r.oid = k.confrelid
  join pg_namespace rn on rn.oid = r.relnamespace
 where k.connamespace = {namespace}::regnamespace and k.contype = 'f' and k.conparentid = 0
   and coalesce(to_jsonb(k) ->> 'conperiod', 'false') = 'false'
 order by 2, 1
"""

_STORED: Final = """
select coalesce(sum(pg_total_relation_size(oid)), 0)::int8 from pg_class
 where relnamespace = {namespace}::regnamespace and relkind in ('r', 'm')
"""

_EXTENSION_SCHEMAS: Final = """
select distinct n.nspname from pg_extension e join pg_namespace n on n.oid = e.extnamespace
 where n.nspname <> 'pg_catalog' order by 1
"""

# Whatever a transaction has read is locked until its end: live tables among it were read by mistake.
_READ_LIVE: Final = """
select distinct c.relname from pg_locks l join pg_class c on c.oid = l.relation
 where l.pid = pg_backend_pid() and l.locktype = 'relation' and c.relkind in ('r', 'p', 'm', 'v', 'f')
   and c.relnamespace = {live}::regnamespace
   and not exists (select from pg_depend e where e.classid = 'pg_class'::regclass and e.objid = c.oid
                      and e.deptype = 'e')
 order by 1
"""


def count_rows(connection: Connection, schema: str, tables: Iterable[str]) -> dict[str, int]:
    """The rows of each table itself, without those of tables that inherit from it."""
    wanted = sorted(tables)
    if not wanted:
        return {}
    parts = (f"select {literal(table)}, count(*) from only {qualified(schema, table)}" for table in wanted)
    with explained("Counting what was restored"):
        (rows,) = results(connection, " union all ".join(parts))
    return {str(table): int(count) for table, count in rows}


def stored_bytes(connection: Connection, schema: str) -> int:
    """What the copy takes on the server, indexes included."""
    ((size,),) = results(connection, _STORED.format(namespace=literal(ident(schema))))[0]
    return int(size)


def foreign_keys(connection: Connection, schema: str) -> list[ForeignKey]:
    """Each foreign key with its orphans, counted whether or not the server holds it for valid."""
    with explained("Looking for rows that refer to nothing"):
        (keys,) = results(connection, _KEYS.format(namespace=literal(ident(schema))))
        return [
            ForeignKey(
                str(row[0]), str(row[1]), int(results(connection, orphans_query(schema, row))[0][0][0])
            )
            for row in keys
        ]


def orphans_query(schema: str, row: Sequence[Any]) -> str:
    """Counts the rows of one key that refer to nothing, by its own operators. Pure."""
    _, table, kind, other_schema, other, other_kind, match, columns, other_columns, operators = row
    own = [f"c.{ident(name)}" for name in columns]
    theirs = [f"r.{ident(name)}" for name in other_columns]
    equal = " and ".join(
        f"{their} {operator} {our}" for their, operator, our in zip(theirs, operators, own, strict=True)
    )
    refers = " or " if match == "f" else " and "
    present = refers.join(f"{column} is not null" for column in own)
    return (
        f"select count(*) from {_alone(kind)}{qualified(schema, table)} c where ({present}) and not exists "
        f"(select from {_alone(other_kind)}{qualified(other_schema, other)} r where {equal})"
    )


def _alone(kind: str) -> str:
    """A key holds for the table itself; a partitioned one is its partitions."""
    return "" if kind == "p" else "only "


def newest(connection: Connection, schema: str, limits: Mapping[str, float]) -> list[Newest]:
    """The age of the newest row by each declared `table.column`."""
    found = []
    for column, hours in limits.items():
        table, _, name = column.rpartition(".")
        query = (
            f"select extract(epoch from now() - max({ident(name)})::timestamptz)::float8 "
            f"from {qualified(schema, table)}"
        )
        try:
            ((seconds,),) = results(connection, f"set timezone = 'UTC'; {query}")[0]
            found.append(Newest(column, hours, seconds))
        except psycopg.Error as error:
            _raise_where_cut(error)
            found.append(Newest(column, hours, None, first_line(error)))
    return found


def statements(
    connection: Connection, schema: str, live: str, declared: Mapping[str, str]
) -> list[Statement]:
    """What each declared statement gives, the copy's tables being found first and live ones refused."""
    if not declared:
        return []
    (extensions,) = results(connection, _EXTENSION_SCHEMAS)
    # A schema that holds extensions is often the live one too: what is read there is looked at afterwards.
    path = ", ".join(ident(name) for name in (schema, *(str(name) for (name,) in extensions)))
    return [_statement(connection, path, live, title, query) for title, query in declared.items()]


def _statement(connection: Connection, path: str, live: str, title: str, query: str) -> Statement:
    try:
        with connection.transaction():
            connection.execute(f"set local search_path = {path}".encode())
            row = connection.execute(query.encode()).fetchone()
            (read,) = results(connection, _READ_LIVE.format(live=literal(ident(live))))
    except psycopg.Error as error:
        _raise_where_cut(error)
        return Statement(title, None, first_line(error))
    if read:
        tables = names(live, (str(name) for (name,) in read))
        return Statement(title, None, f"it reads what is live there, not the copy: {tables}")
    return Statement(title, row[0] if row else None)


def _raise_where_cut(error: psycopg.Error) -> None:
    """A session that is gone is no answer of the data's."""
    if is_cut(error):
        with explained("Checking what was restored"):
            raise error
