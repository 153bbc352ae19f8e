"""What is kept of earlier data, generation by generation: set aside by swaps, with its size."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tasks.postgres.connection import Connection
from tasks.postgres.marks import Mark, parse

QUERY: Final = r"""
select n.nspname, d.description, count(c.oid), coalesce(sum(pg_total_relation_size(c.oid)), 0)
  from pg_namespace n
  join pg_description d on d.classoid = 'pg_namespace'::regclass and d.objoid = n.oid and d.objsubid = 0
  left join pg_class c on c.relnamespace = n.oid and c.relkind in ('r', 'm')
 where n.nspname ~ '^(before|after)_' and pg_has_role(n.nspowner, 'USAGE')
 group by 1, 2
"""


@dataclass(frozen=True)
class Generation:
    """Data that was live once.

    + tables: materialized views and parts of partitioned tables included
    + bytes: what it takes on the disk, indexes included
    """

    mark: Mark
    tables: int
    bytes: int


def generations_of(rows: Iterable[Sequence[Any]]) -> tuple[Generation, ...]:
    """What the rows of `QUERY` say, the newest last."""
    found = [
        Generation(mark, int(tables), int(size))
        for schema, comment, tables, size in rows
        if (mark := parse(str(schema), str(comment))) is not None
    ]
    return tuple(sorted(found, key=lambda one: (one.mark.number, one.mark.created)))


def read(connection: Connection) -> tuple[Generation, ...]:
    """Every generation that is kept, the newest last."""
    return generations_of(connection.execute(QUERY.encode()).fetchall())
