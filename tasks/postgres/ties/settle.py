"""After a swap, with nobody waiting: foreign keys across schemas checked, statistics computed in full.

The swap adds such keys for new rows alone. What is checked here reads whole tables under locks that stop
neither readers nor writers. Rows without what they refer to are named, and are no failure of the swap: the
key stays as it is, and holds for new rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from psycopg import errors as pg

from tasks.core.errors import Interrupted
from tasks.core.wording import number_of
from tasks.postgres import marks
from tasks.postgres.connection import Connection, explained
from tasks.postgres.sql import ident, literal, qualified
from tasks.postgres.ties.model import UNVALIDATED, Key, keys_in

_SHOWN: Final = 5
_PATIENCE: Final = "2s"


@dataclass(frozen=True)
class Orphans:
    """Rows whose foreign key refers to nothing, after a swap.

    + key: how a person is told of the key
    + rows: how many
    + examples: some of the values that refer to nothing
    """

    key: str
    refers_to: str
    rows: int
    examples: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """In one line."""
        shown = ", ".join(self.examples) + (", ..." if self.rows > len(self.examples) else "")
        rows = number_of(self.rows, "row refers", "rows refer")
        return f"{self.key}: {rows} to nothing in {self.refers_to} ({shown})"


@dataclass(frozen=True)
class Settled:
    """What was done after a swap.

    + checked: keys whose rows were all found right
    + orphans: of those that were not
    + left: keys that could not be checked, with the server's reason
    + analysed: tables whose statistics were computed
    """

    checked: tuple[str, ...] = ()
    orphans: tuple[Orphans, ...] = ()
    left: tuple[str, ...] = ()
    analysed: int = 0


def check_keys(connection: Connection, *, stop: Callable[[], bool] = lambda: False) -> Settled:
    """Check the keys that the last swap has added, and remember in its mark those that are not right yet.

    Called again it checks those that were left. Raises Interrupted between two keys.
    """
    with explained("Checking foreign keys of other schemas", state="the swap has happened"):
        return _check_keys(connection, stop)


def _check_keys(connection: Connection, stop: Callable[[], bool]) -> Settled:
    mark = marks.read(connection).live
    if mark is None:
        return Settled()
    checked: list[str] = []
    orphans: list[Orphans] = []
    left: list[str] = []
    waiting: list[Key] = []
    keys = keys_in(mark.details, UNVALIDATED)
    for key in keys:
        if stop():
            raise Interrupted("Checking foreign keys of other schemas", state="the swap has happened")
        try:
            connection.execute(f"SET lock_timeout = '{_PATIENCE}'; {key.validate}".encode())
            checked.append(key.title)
        except (pg.UndefinedTable, pg.UndefinedObject, pg.InvalidSchemaName):
            continue  # dropped since
        except pg.ForeignKeyViolation:
            waiting.append(key)
            orphans.append(_orphans(connection, key))
        except (pg.LockNotAvailable, pg.QueryCanceled, pg.DeadlockDetected) as error:
            waiting.append(key)
            left.append(f"{key.title} ({error.diag.message_primary})")
    if keys:
        details = {**mark.details, UNVALIDATED: [key.as_json() for key in waiting]}
        marks.write(connection, replace(mark, details=details))
    return Settled(tuple(checked), tuple(orphans), tuple(left))


_COLUMNS: Final = """
select p.oid::regclass::text, c.oid::regclass::text,
       (select json_agg(json_build_array(ca.attname, pa.attname) order by u.at)
          from unnest(k.conkey, k.confkey) with ordinality u(child, parent, at)
          join pg_attribute ca on ca.attrelid = c.oid and ca.attnum = u.child
          join pg_attribute pa on pa.attrelid = p.oid and pa.attnum = u.parent)
  from pg_constraint k join pg_class c on c.oid = k.conrelid join pg_class p on p.oid = k.confrelid
 where c.oid = {table}::regclass and k.conname = {name}
"""


def _orphans(connection: Connection, key: Key) -> Orphans:
    """Count them and show a few; a row with a null in its key refers to nothing by right."""
    found = connection.execute(
        _COLUMNS.format(table=literal(key.on), name=literal(key.name)).encode()
    ).fetchone()
    assert found is not None, "the key was there a moment ago"
    parent, child, pairs = found
    same = " and ".join(f"p.{ident(theirs)} = c.{ident(mine)}" for mine, theirs in pairs)
    given = " and ".join(f"c.{ident(mine)} is not null" for mine, _ in pairs)
    values = ", ".join(f"c.{ident(mine)}" for mine, _ in pairs)
    lacking = f"from only {child} c where {given} and not exists (select from {parent} p where {same})"
    count = connection.execute(f"select count(*) {lacking}".encode()).fetchone()
    shown = connection.execute(
        f"select distinct {values} {lacking} order by {values} limit {_SHOWN}".encode()
    ).fetchall()
    examples = tuple(
        ", ".join(f"{mine} {value}" for (mine, _), value in zip(pairs, row, strict=True)) for row in shown
    )
    return Orphans(key.title, str(parent), int(count[0]) if count else 0, examples)


_ANALYSED: Final = """
select c.relname from pg_class c
 where c.relnamespace = {schema}::regnamespace and c.relkind in ('r', 'p', 'm')
   and pg_has_role(c.relowner, 'USAGE')
   and not exists (select from pg_depend e where e.classid = 'pg_class'::regclass and e.objid = c.oid
                      and e.deptype = 'e')
 order by c.relpages desc, c.relname
"""


def analyse(connection: Connection, schema: str, *, stop: Callable[[], bool] = lambda: False) -> Settled:
    """Full statistics of every table and materialized view, largest first, a transaction each.

    Nobody waits for it but another of its kind; a table that is being vacuumed or changed is left to the
    server's own autovacuum. Raises Interrupted between two tables.
    """
    with explained(f"Computing statistics of {schema}", state="the swap has happened"):
        return _analyse(connection, schema, stop)


def _analyse(connection: Connection, schema: str, stop: Callable[[], bool]) -> Settled:
    found = connection.execute(_ANALYSED.format(schema=literal(ident(schema))).encode())
    names = [str(name) for (name,) in found]
    left: list[str] = []
    connection.execute(f"RESET default_statistics_target; SET lock_timeout = '{_PATIENCE}'".encode())
    for name in names:
        if stop():
            raise Interrupted(f"Computing statistics of {schema}", state="the swap has happened")
        try:
            connection.execute(f"ANALYZE {qualified(schema, name)}".encode())
        except (pg.LockNotAvailable, pg.QueryCanceled, pg.DeadlockDetected, pg.UndefinedTable):
            left.append(name)
    return Settled(left=tuple(left), analysed=len(names) - len(left))
