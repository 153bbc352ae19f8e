"""The ties of a schema as the server has them, and which of them can be taken up."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final

from tasks.postgres.connection import Connection, results
from tasks.postgres.dependencies import Edge, Thing, edges_everywhere_query, edges_of
from tasks.postgres.inventory import Inventory, crossing
from tasks.postgres.sql import ident, literal, qualified
from tasks.postgres.ties import relations
from tasks.postgres.ties.model import DROP_IT, Key, Need, Obstacle, Tie, Ties
from tasks.postgres.ties.relations import Relation

# Keys of which one end is in the schema and the other is elsewhere, another role's or an extension's.
_KEYS: Final = """
with member as (select objid from pg_depend where classid = 'pg_class'::regclass and deptype = 'e')
select k.conname, c.oid::int8, cn.nspname, c.relname, c.relkind::text, pg_get_userbyid(c.relowner),
       pg_has_role(c.relowner, 'USAGE') and has_schema_privilege(cn.oid, 'USAGE'),
       p.oid::int8, pn.nspname, p.relname, pg_get_constraintdef(k.oid), k.convalidated,
       coalesce((to_jsonb(k) ->> 'conenforced')::bool, true),
       coalesce(obj_description(k.oid, 'pg_constraint'), ''),
       has_table_privilege(p.oid, 'UPDATE, DELETE, TRUNCATE') and has_schema_privilege(pn.oid, 'USAGE'),
       array(select a.attname::text from pg_attribute a
              where a.attrelid = p.oid and a.attnum = any(k.confkey))
  from pg_constraint k
  join pg_class c on c.oid = k.conrelid join pg_namespace cn on cn.oid = c.relnamespace
  join pg_class p on p.oid = k.confrelid join pg_namespace pn on pn.oid = p.relnamespace
 where k.contype = 'f' and k.conparentid = 0 and {schema} in (cn.nspname, pn.nspname)
   and (cn.oid <> pn.oid or not pg_has_role(c.relowner, 'USAGE') or not pg_has_role(p.relowner, 'USAGE')
        or c.oid in (select objid from member) or p.oid in (select objid from member))
 order by cn.nspname, c.relname, k.conname
"""

# Column lists and row filters came with PostgreSQL 15.
_PUBLISHED: Final = """
select p.pubname, pg_get_userbyid(p.pubowner), pg_has_role(p.pubowner, 'USAGE'), c.oid::int8, c.relname,
       {columns}, {filter}
  from pg_publication_rel r
  join pg_class c on c.oid = r.prrelid join pg_namespace n on n.oid = c.relnamespace
  join pg_publication p on p.oid = r.prpubid
 where n.nspname = {schema} order by p.pubname, c.relname
"""
_COLUMNS: Final = """case when r.prattrs is not null then
         array(select a.attname::text from unnest(r.prattrs::int2[]) with ordinality u(number, at)
                 join pg_attribute a on a.attrelid = c.oid and a.attnum = u.number order by u.at) end"""


def keys_query(schema: str) -> str:
    """Foreign keys with one end in the schema."""
    return _KEYS.format(schema=literal(schema))


def published_query(schema: str, server_version: int) -> str:
    """Tables of the schema that publications list by name."""
    recent = server_version >= 150_000
    return _PUBLISHED.format(
        schema=literal(schema),
        columns=_COLUMNS if recent else "null::text[]",
        filter="pg_get_expr(r.prqual, r.prrelid)" if recent else "null::text",
    )


def read_ties(connection: Connection, inventory: Inventory, edges: Collection[Edge]) -> Ties:
    """The ties of what the inventory moves: one message, and another where relations outside depend on it.

    + edges: the dependencies that begin or end in the inventory's schema
    """
    schema = inventory.schema
    keys, published = results(
        connection, f"{keys_query(schema)}; {published_query(schema, connection.info.server_version)}"
    )
    into, _ = crossing(inventory, edges)
    into = tuple(edge for edge in into if not edge.dependent.extension)
    outside = sorted({edge.dependent.oid for edge in into if edge.dependent.catalog == "pg_class"})
    details: Sequence[Sequence[Any]] = ()
    everywhere: tuple[Edge, ...] = ()
    if any(edge.via != "foreign key" for edge in into if edge.dependent.catalog == "pg_class"):
        details, found = results(
            connection, f"{relations.query(schema, outside)}; {edges_everywhere_query()}"
        )
        everywhere = edges_of(found)
    return ties_of(inventory, into, keys, published, details, everywhere)


def ties_of(
    inventory: Inventory,
    into: Collection[Edge],
    keys: Iterable[Sequence[Any]],
    published: Iterable[Sequence[Any]],
    details: Iterable[Sequence[Any]],
    everywhere: Collection[Edge],
) -> Ties:
    """What the queries' rows say. Pure.

    + into: the dependencies of things outside on what moves
    + details: of the relations among them (`relations.query`)
    + everywhere: the dependencies between all objects
    """
    moved = {item.thing.key for item in inventory.moved}
    shown = {int(row[0]): Relation.of(row) for row in details}
    found = relations.plan(into, shown, everywhere, moved)
    parts = [_keys(moved, keys), found.ties, _publications(moved, inventory.schema, published)]
    left = sorted(
        {
            (edge.dependent, edge.referenced)
            for edge in into
            if edge.via not in ("foreign key", "publication") and edge.dependent.key not in found.judged
        },
        key=lambda pair: (pair[0].identity, pair[1].identity),
    )
    refused = [Obstacle(thing.kind, thing.identity, _why(thing, needed), DROP_IT) for thing, needed in left]
    return Ties(
        ties=tuple(tie for part in parts for tie in part.ties),
        outward=parts[0].outward,
        outward_locks=parts[0].outward_locks,
        obstacles=(*(obstacle for part in parts for obstacle in part.obstacles), *refused),
        needs=tuple(need for part in parts for need in part.needs),
        notes=tuple(note for part in parts for note in part.notes),
    )


def _why(thing: Thing, needed: Thing) -> str:
    return (
        f"it is outside and belongs to {thing.owner}, depends on {needed.title} and would follow it "
        "when that is set aside"
    )


def _keys(moved: Collection[tuple[str, int]], rows: Iterable[Sequence[Any]]) -> Ties:
    ties: list[Tie] = []
    outward: list[Key] = []
    locks: set[str] = set()
    obstacles: list[Obstacle] = []
    needs: list[Need] = []
    for row in rows:
        name, child, schema, table, relkind, owner, usable, parent, parent_schema, parent_name = row[:10]
        definition, valid, enforced, comment, lockable, columns = row[10:]
        leaving, needed = ("pg_class", child) in moved, ("pg_class", parent) in moved
        if leaving == needed:
            continue
        text = str(definition).removesuffix(" NOT VALID")
        key = Key(str(schema), str(table), str(name), text, bool(valid), bool(enforced), str(comment))
        problem = ""
        if relkind == "p":
            problem = "a key of a partitioned table can't be added without checking all of its rows"
        elif not usable:
            problem = f"that table belongs to {owner}"
        if problem:
            obstacles.append(
                Obstacle(
                    "table",
                    f"{schema}.{table}",
                    f"its foreign key {name} refers to table {parent_schema}.{parent_name} and would "
                    f"pin what is set aside; {problem}",
                    "drop that foreign key first, and make it again afterwards",
                )
            )
        elif leaving:
            outward.append(key)
            if lockable:
                locks.add(qualified(str(parent_schema), str(parent_name)))
        else:
            title = f"foreign key {key.title}, which refers to {parent_schema}.{parent_name}"
            ties.append(
                Tie("table", key.schema, key.table, title, (), (key.drop,), key.make, key, lockable=True)
            )
            needs.append(Need("table", f"{schema}.{table}", str(parent_name), tuple(columns)))
    return Ties(tuple(ties), tuple(outward), tuple(sorted(locks)), tuple(obstacles), tuple(needs))


def _publications(moved: Collection[tuple[str, int]], schema: str, rows: Iterable[Sequence[Any]]) -> Ties:
    ties: list[Tie] = []
    obstacles: list[Obstacle] = []
    for name, owner, usable, oid, table, columns, condition in rows:
        if ("pg_class", oid) not in moved:
            continue
        if not usable:
            obstacles.append(
                Obstacle(
                    "publication",
                    str(name),
                    f"it belongs to {owner}, lists {table} by name and would follow the table "
                    "when that is set aside",
                    f"have {owner} publish the whole schema instead, or take the table out first",
                )
            )
            continue
        on = f"ONLY {qualified(schema, str(table))}"
        listed = f" ({', '.join(ident(column) for column in columns)})" if columns is not None else ""
        where = f" WHERE ({condition})" if condition is not None else ""
        change = f"ALTER PUBLICATION {ident(str(name))}"
        ties.append(
            Tie(
                "publication",
                "",
                str(name),
                f"publication {name}, which lists {table}",
                untie=(f"{change} DROP TABLE {on}",),
                tie=(f"{change} ADD TABLE {on}{listed}{where}",),
                of=str(table),
            )
        )
    return Ties(tuple(ties), obstacles=tuple(obstacles))
