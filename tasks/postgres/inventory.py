"""What is in a schema: each object with the statement that moves it, read from the catalog, not from a list.

The query asks pg_depend what hangs on the schema itself, so that a kind of object nobody thought of is seen
(and refused) instead of left behind. What follows its table by itself (indexes, constraints, triggers,
owned sequences, row types) is not listed.
"""

# ruff: noqa: S608  (names and values are quoted by tasks.postgres.sql)

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from tasks.postgres.connection import Connection, results
from tasks.postgres.dependencies import Edge, Thing, edges_of, edges_query
from tasks.postgres.sql import ident, literal

# The server's name of a kind, and ALTER's. A kind that is not here can't be moved and is refused.
MOVABLE: Final = {
    "table": "TABLE",
    "view": "VIEW",
    "materialized view": "MATERIALIZED VIEW",
    "sequence": "SEQUENCE",
    "type": "TYPE",
    "function": "FUNCTION",
    "procedure": "PROCEDURE",
    "statistics object": "STATISTICS",
    "foreign table": "FOREIGN TABLE",
    "aggregate": "AGGREGATE",
    "operator": "OPERATOR",
    "collation": "COLLATION",
    "conversion": "CONVERSION",
    "text search configuration": "TEXT SEARCH CONFIGURATION",
    "text search dictionary": "TEXT SEARCH DICTIONARY",
}
# LOCK TABLE refuses these or reaches through them: they are altered before the tables are locked.
UNLOCKABLE: Final = frozenset({"view", "materialized view", "sequence", "foreign table"})

_HANGING = """
  from pg_depend d
 where d.refclassid = 'pg_namespace'::regclass and d.refobjid in ({schemas}) and d.deptype = 'n'
   and d.classid not in ('pg_extension'::regclass, 'pg_default_acl'::regclass)
   and not exists (select from pg_depend x where x.classid = d.classid and x.objid = d.objid and (
         x.deptype = 'e'
      or (x.deptype = 'i' and x.refclassid <> 'pg_namespace'::regclass
          and not (x.refclassid = x.classid and x.refobjid = x.objid))
      or (x.deptype = 'a' and d.classid = 'pg_class'::regclass and x.refclassid = 'pg_class'::regclass
          and x.refobjsubid > 0
          and exists (select from pg_class c where c.oid = d.objid and c.relkind = 'S'))))
"""

_OWNER = """
  coalesce((select o.refobjid from pg_shdepend o
             where o.dbid = (select oid from pg_database where datname = current_database())
               and o.classid = d.classid and o.objid = d.objid and o.objsubid = 0 and o.deptype = 'o'), 10)
"""


def _hanging(*schemas: str) -> str:
    return _HANGING.format(schemas=", ".join(f"{literal(ident(schema))}::regnamespace" for schema in schemas))


def objects_query(schema: str) -> str:
    """Catalog, oid, kind, identity, name, owner, whether the role may move it, and details of relations."""
    return f"""
select d.classid::regclass::text, d.objid, i.type, i.identity,
       coalesce(c.relname::text, y.typname::text, i.identity),
       pg_get_userbyid(w.owner), pg_has_role(w.owner, 'USAGE'),
       coalesce(c.relkind::text, ''), coalesce(c.relispartition, false),
       coalesce(c.relpersistence::text, 'p'), coalesce(y.typtype::text, ''),
       coalesce(greatest(c.reltuples, 0), 0)::bigint
  from (select d.classid, d.objid, {_OWNER} as owner {_hanging(schema)}) w
  cross join lateral (select w.classid, w.objid) d
  cross join lateral pg_identify_object(d.classid, d.objid, 0) i
  left join pg_class c on d.classid = 'pg_class'::regclass and c.oid = d.objid
  left join pg_type y on d.classid = 'pg_type'::regclass and y.oid = d.objid
 order by i.type, i.identity"""


def digest_query(*schemas: str) -> str:
    """One text that changes when an object is made or dropped in the schemas. Computed by the server alone,
    so that the swap can compare it while it holds its locks, with some objects moved already."""
    return (
        "select coalesce(md5(string_agg(d.classid::oid::text || '/' || d.objid::text, ',' "
        f"order by d.classid::oid, d.objid)), '') {_hanging(*schemas)}"
    )


def digest(objects: Iterable[LiveObject]) -> str:
    """The same text from an inventory; "" of an empty schema."""
    keys = sorted((item.catalog_oid, item.thing.oid) for item in objects)
    text = ",".join(f"{catalog}/{oid}" for catalog, oid in keys)
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest() if text else ""


_CATALOGS: Final = {
    "pg_class": 1259,
    "pg_type": 1247,
    "pg_proc": 1255,
    "pg_operator": 2617,
    "pg_opclass": 2616,
    "pg_opfamily": 2753,
    "pg_collation": 3456,
    "pg_conversion": 2607,
    "pg_statistic_ext": 3381,
    "pg_ts_config": 3602,
    "pg_ts_dict": 3600,
    "pg_ts_parser": 3601,
    "pg_ts_template": 3764,
}


@dataclass(frozen=True, slots=True)
class LiveObject:
    """An object that hangs on a schema.

    + thing: which
    + name: its own name without the schema; a function's is its identity
    + usable: the role owns it, or is a member of the role that does
    + relkind, partition, persistence: of a relation, as in pg_class
    + typtype: of a type, as in pg_type ("e" enum, "c" composite, "d" domain, "r" range)
    + rows: the server's own estimate
    """

    thing: Thing
    name: str
    usable: bool
    relkind: str
    partition: bool
    persistence: str
    typtype: str
    rows: int

    @property
    def catalog_oid(self) -> int:
        """The oid of its catalog, fixed since the catalogs exist."""
        return _CATALOGS.get(self.thing.catalog, 0)

    @property
    def kind(self) -> str:
        """The server's name of its kind."""
        return self.thing.kind

    def set_schema(self, destination: str) -> str:
        """The statement that moves it. KeyError for a kind that can't be moved."""
        return f"ALTER {MOVABLE[self.kind]} {self.thing.identity} SET SCHEMA {ident(destination)}"


@dataclass(frozen=True, slots=True)
class SequenceFact:
    """A sequence.

    + owner: the (table, column) that it numbers, or None for a free one
    + called: it has given out a number
    """

    name: str
    owner: tuple[str, str] | None
    increment: int
    called: bool


@dataclass(frozen=True)
class Inventory:
    """A schema's objects that are not an extension's, at one moment."""

    schema: str
    objects: tuple[LiveObject, ...]
    sequences: tuple[SequenceFact, ...]

    @property
    def moved(self) -> tuple[LiveObject, ...]:
        """What a swap moves: everything that the role may move."""
        return tuple(item for item in self.objects if item.usable)

    @property
    def staying(self) -> tuple[LiveObject, ...]:
        """Objects of other owners, which stay where they are."""
        return tuple(item for item in self.objects if not item.usable)

    @property
    def tables(self) -> tuple[str, ...]:
        """Names of the tables that a swap moves."""
        return tuple(item.name for item in self.moved if item.kind == "table")

    @property
    def digest(self) -> str:
        """Changes when an object is made or dropped."""
        return digest(self.objects)


def sequences_query(schema: str) -> str:
    """Name, owning table and column, increment of each sequence that is not an extension's, and whether it
    has given out a number."""
    return f"""
select s.relname, t.relname, a.attname, q.seqincrement, pg_sequence_last_value(s.oid) is not null
  from pg_class s join pg_sequence q on q.seqrelid = s.oid
  left join pg_depend d on d.classid = 'pg_class'::regclass and d.objid = s.oid
        and d.refclassid = 'pg_class'::regclass and d.refobjsubid > 0 and d.deptype in ('a', 'i')
  left join pg_class t on t.oid = d.refobjid
  left join pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
 where s.relnamespace = {literal(ident(schema))}::regnamespace and pg_has_role(s.relowner, 'USAGE')
   and not exists (select from pg_depend e where e.classid = 'pg_class'::regclass and e.deptype = 'e'
                      and e.objid in (s.oid, t.oid))
 order by 1"""


def inventory_of(
    schema: str, objects: Iterable[Sequence[object]], sequences: Iterable[Sequence[object]]
) -> Inventory:
    """What the rows of `objects_query` and `sequences_query` say."""
    return Inventory(
        schema,
        tuple(_object(schema, row) for row in objects),
        tuple(
            SequenceFact(
                str(name),
                None if table is None else (str(table), str(column)),
                int(str(increment)),
                called is True,
            )
            for name, table, column, increment, called in sequences
        ),
    )


def _object(schema: str, row: Sequence[object]) -> LiveObject:
    catalog, oid, kind, identity, name, owner, usable, relkind, partition, persistence, typtype, rows = row
    return LiveObject(
        Thing(str(catalog), int(str(oid)), str(kind), str(identity), schema, str(owner), False),
        str(name),
        usable is True,
        str(relkind),
        partition is True,
        str(persistence),
        str(typtype),
        int(str(rows)),
    )


def read_inventory(connection: Connection, schema: str) -> Inventory:
    """The schema's inventory, in one message."""
    objects, sequences = results(connection, f"{objects_query(schema)}; {sequences_query(schema)}")
    return inventory_of(schema, objects, sequences)


def crossing(inventory: Inventory, edges: Iterable[Edge]) -> tuple[tuple[Edge, ...], tuple[Edge, ...]]:
    """The dependencies between what moves and what does not: those that reach in, those that reach out.

    Extension members are no obstacle in either direction; a function of an extension is found by its oid.
    """
    moving = {item.thing.key for item in inventory.moved}
    into, out = [], []
    for edge in edges:
        dependent, referenced = edge.dependent.key in moving, edge.referenced.key in moving
        if referenced and not dependent:
            into.append(edge)
        elif dependent and not referenced and not edge.referenced.extension:
            out.append(edge)
    return tuple(into), tuple(out)


def read_edges(connection: Connection, schema: str) -> tuple[Edge, ...]:
    """The dependencies that begin or end in the schema."""
    (rows,) = results(connection, edges_query([schema]))
    return edges_of(rows)
