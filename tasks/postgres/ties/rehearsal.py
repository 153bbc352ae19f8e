"""Every tie made over the staged objects, in a transaction that is rolled back.

What the server says to that is what it would say during the swap, when it would be too late: a column that is
gone, a type that changed, a unique key that a foreign key needs. Nobody waits for it: views and copies of
tables without rows are made in schemas that are never committed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, Final

import psycopg
from psycopg import errors as pg

from tasks.postgres.connection import Connection, first_line
from tasks.postgres.rename import rename
from tasks.postgres.sql import ident, literal, message, qualified
from tasks.postgres.ties.model import DROP_IT, Key, Obstacle, Tie, Ties

# Another's lock proves nothing; the swap has its own attempts.
_IN_THE_WAY: Final = (pg.LockNotAvailable, pg.QueryCanceled, pg.DeadlockDetected)

_NAMES: Final = """
select relname::text from pg_class where relnamespace = {schema}::regnamespace
union select p.proname from pg_proc p where p.pronamespace = {schema}::regnamespace
  and not exists (select from pg_depend e where e.classid = 'pg_proc'::regclass and e.objid = p.oid
                     and e.deptype = 'e')
union select t.typname from pg_type t where t.typnamespace = {schema}::regnamespace
  and not exists (select from pg_depend e where e.classid = 'pg_type'::regclass
                     and e.objid in (t.oid, t.typelem) and e.deptype = 'e')
union select o.oprname from pg_operator o where o.oprnamespace = {schema}::regnamespace
  and not exists (select from pg_depend e where e.classid = 'pg_operator'::regclass and e.objid = o.oid
                     and e.deptype = 'e')
union select collname from pg_collation where collnamespace = {schema}::regnamespace
union select cfgname from pg_ts_config where cfgnamespace = {schema}::regnamespace
"""

_SHAPE: Final = """
select a.attname, n.nspname, t.typname, a.atttypmod, coalesce(l.collname, '')
  from pg_attribute a join pg_type t on t.oid = a.atttypid join pg_namespace n on n.oid = t.typnamespace
  left join pg_collation l on l.oid = a.attcollation
 where a.attrelid = {view}::regclass and a.attnum > 0 order by a.attnum
"""


def rehearse(
    connection: Connection, schema: str, incoming: str, ties: Ties, outward: Collection[Key]
) -> list[Obstacle]:
    """What can't be tied to the objects of `incoming` once they are in `schema`; empty where all can.

    + outward: the keys that the incoming tables are to get

    The connection is in no transaction, before and after.
    """
    if not ties.ties and not outward:
        return []
    own = connection.execute(_NAMES.format(schema=literal(ident(schema))).encode())
    names = {str(name) for (name,) in own}
    stage = _Stage(connection, schema, incoming, frozenset(names), ties)
    connection.execute(b"BEGIN; SET LOCAL lock_timeout = '100ms'; SET LOCAL statement_timeout = '5s'")
    try:
        stage.build(ties.ties)
        found = [problem for tie in ties.ties for problem in stage.try_tie(tie)]
        return found + [problem for key in outward for problem in stage.try_key(key)]
    finally:
        connection.execute(b"ROLLBACK")


class _Stage:
    """The schemas of a rehearsal, one for each that has ties."""

    def __init__(
        self, connection: Connection, schema: str, incoming: str, names: frozenset[str], ties: Ties
    ) -> None:
        self._connection = connection
        self._schema = schema
        self._incoming = incoming
        self._names = names
        schemas = sorted({tie.schema for tie in ties.ties if tie.schema})
        self._scratch = {name: f"rehearsal_{incoming}_{n}"[-63:] for n, name in enumerate(schemas)}
        self._keys = f"rehearsal_{incoming}_keys"[-63:]
        self._dropped = {
            name: frozenset(tie.name for tie in ties.ties if tie.schema == name and _is_made_again(tie))
            for name in schemas
        }

    def build(self, ties: Iterable[Tie]) -> None:
        """The schemas, which only this transaction sees, and a copy of each table's columns."""
        copies = {
            f"CREATE TABLE {qualified(self._scratch[tie.schema], tie.name)} "
            f"(LIKE {qualified(tie.schema, tie.name)})"
            for tie in ties
            if tie.kind not in ("view", "publication")
        }
        schemas = [*self._scratch.values(), self._keys]
        self._connection.execute(
            message(
                [
                    *(f"CREATE SCHEMA {ident(name)}" for name in schemas),
                    *(f"GRANT ALL ON SCHEMA {ident(name)} TO PUBLIC" for name in schemas),
                    *sorted(copies),
                ]
            ).encode()
        )

    def try_tie(self, tie: Tie) -> list[Obstacle]:
        """The statements of one tie, over the incoming objects."""
        own = {**self._dropped, tie.schema: self._dropped.get(tie.schema, frozenset()) | {tie.name}}
        statements = []
        for statement in tie.tie:
            text = rename(statement, names=self._names, source=self._schema, target=self._incoming)
            for schema, scratch in self._scratch.items():
                text = rename(text, names=own[schema], source=schema, target=scratch)
            statements.append(text)
        name = f"{tie.schema}.{tie.name}" if tie.schema else tie.name
        problem = self._try(statements)
        if problem:
            why = f"with the restored objects it can't be: {problem}"
            return [Obstacle(tie.kind, name, why, DROP_IT)]
        if tie.shape and (changed := self._changed(tie)):
            why = f"with the restored objects its columns would be others: {changed}"
            return [Obstacle(tie.kind, name, why, DROP_IT)]
        return []

    def try_key(self, key: Key) -> list[Obstacle]:
        """A key of an incoming table, on a copy of that table's columns."""
        probe = qualified(self._keys, key.table)
        statements = [
            f"CREATE TABLE IF NOT EXISTS {probe} (LIKE {qualified(self._incoming, key.table)})",
            *(rename(text, names={key.table}, source=key.schema, target=self._keys) for text in key.make),
        ]
        problem = self._try(statements, keep=False)
        if not problem:
            return []
        why = f"its foreign key {key.name} refers out of the schema and can't be made: {problem}"
        return [Obstacle("table", f"{key.schema}.{key.table}", why, "make what it refers to first")]

    def _try(self, statements: Iterable[str], *, keep: bool = True) -> str:
        """What the server says against it; "" where nothing. What is not kept gives back its locks."""
        text = message(["SAVEPOINT tie", *statements, "" if keep else "ROLLBACK TO SAVEPOINT tie"])
        try:
            self._connection.execute(text.encode())
        except _IN_THE_WAY:
            self._connection.execute(b"ROLLBACK TO SAVEPOINT tie")
        except psycopg.Error as error:
            self._connection.execute(b"ROLLBACK TO SAVEPOINT tie")
            return first_line(error)
        return ""

    def _changed(self, tie: Tie) -> str:
        """Which column of a view would be another, in words."""
        view = literal(qualified(self._scratch[tie.schema], tie.name))
        rows = self._connection.execute(_SHAPE.format(view=view).encode()).fetchall()
        back = {scratch: schema for schema, scratch in self._scratch.items()} | {self._incoming: self._schema}
        there: list[tuple[Any, ...]] = [
            (name, back.get(schema, schema), kind, modifier, collation)
            for name, schema, kind, modifier, collation in rows
        ]
        for before, after in zip(tie.shape, there, strict=False):
            if tuple(before) != after:
                return f"{before[0]} of type {before[2]} would be {after[0]} of type {after[2]}"
        return "" if len(tie.shape) == len(there) else "their number changes"


def _is_made_again(tie: Tie) -> bool:
    return tie.kind == "view" and any(statement.startswith("DROP VIEW") for statement in tie.lock)
