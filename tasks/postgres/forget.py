"""Removing a schema of ours, object by object, so that nothing outside it goes with it.

`DROP SCHEMA ... CASCADE` takes along whatever depends on the schema, another role's view included, and
holds a lock for each object at once. Here everything is dropped with RESTRICT, dependents first, some at a
time: the server itself refuses to touch anything else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from tasks.core.errors import Interrupted, OpsError, Refused
from tasks.postgres.connection import Connection, explained, results
from tasks.postgres.dependencies import Edge, edges_of, edges_query
from tasks.postgres.inventory import (
    Inventory,
    LiveObject,
    inventory_of,
    objects_query,
    sequences_query,
)
from tasks.postgres.marks import Mark
from tasks.postgres.sql import ident, literal, message

OBJECTS_PER_TRANSACTION: Final = 40
_FOREIGN_KEYS: Final = """
select conrelid::regclass::text, conname from pg_constraint
 where connamespace = {namespace}::regnamespace and contype = 'f' and conparentid = 0
"""
_EXISTS: Final = "select to_regnamespace({namespace}) is not null"


def foreign_keys_query(schema: str) -> str:
    """Table and name of each foreign key in the schema."""
    return _FOREIGN_KEYS.format(namespace=literal(ident(schema)))


@dataclass(frozen=True)
class Removal:
    """How a schema goes.

    + outside: dependencies of things elsewhere on it; while there are any, nothing is dropped
    + batches: statements, a transaction each; the last one drops the schema itself
    + tables: how many tables go
    """

    outside: tuple[Edge, ...]
    batches: tuple[tuple[str, ...], ...]
    tables: int


def drop_statement(item: LiveObject) -> str:
    """The statement that drops the object and nothing else."""
    kinds = {"statistics object": "STATISTICS"}
    kind = kinds.get(item.kind, item.kind.upper())
    return f"DROP {kind} {item.thing.identity} RESTRICT"


def in_order(objects: Sequence[LiveObject], edges: Iterable[Edge]) -> list[LiveObject]:
    """The objects with each dependent before what it needs; foreign keys are gone by then."""
    by_key = {item.thing.key: item for item in objects}
    dependents: dict[tuple[str, int], set[tuple[str, int]]] = {key: set() for key in by_key}
    for edge in edges:
        if edge.via != "foreign key" and edge.dependent.key in by_key and edge.referenced.key in by_key:
            dependents[edge.referenced.key].add(edge.dependent.key)
    ordered: list[LiveObject] = []
    done: set[tuple[str, int]] = set()
    while len(ordered) < len(objects):
        free = [key for key in by_key if key not in done and dependents[key] <= done]
        if not free:
            stuck = ", ".join(sorted(by_key[key].thing.title for key in by_key if key not in done))
            raise OpsError("Ordering what is to be dropped", f"these need each other: {stuck}")
        ordered += [by_key[key] for key in free]
        done.update(free)
    return ordered


def plan_removal(
    schema: str, inventory: Inventory, edges: Sequence[Edge], foreign_keys: Iterable[tuple[str, str]]
) -> Removal:
    """Plan how to remove the schema. Pure."""
    inside = {item.thing.key for item in inventory.objects}
    outside = tuple(
        edge
        for edge in edges
        if edge.referenced.schema == schema
        and edge.dependent.schema != schema
        and edge.via != "publication"  # a publication lets go of a table that is dropped
    )
    keys = [f"ALTER TABLE {table} DROP CONSTRAINT {ident(name)}" for table, name in foreign_keys]
    drops = [drop_statement(item) for item in in_order(inventory.objects, edges)]
    statements = [keys[at : at + 2 * OBJECTS_PER_TRANSACTION] for at in _steps(keys, 2)]
    statements += [drops[at : at + OBJECTS_PER_TRANSACTION] for at in _steps(drops, 1)]
    statements.append([f"DROP SCHEMA {ident(schema)} RESTRICT"])
    return Removal(
        tuple(edge for edge in outside if edge.dependent.key not in inside),
        tuple(tuple(batch) for batch in statements),
        sum(item.kind == "table" for item in inventory.objects),
    )


def _steps(items: Sequence[str], factor: int) -> range:
    return range(0, len(items), factor * OBJECTS_PER_TRANSACTION)


def read_removal(connection: Connection, schema: str) -> Removal | None:
    """The plan for this schema as it is now; None when there is no such schema."""
    namespace = literal(ident(schema))
    ((exists,),) = results(connection, _EXISTS.format(namespace=namespace))[0]
    if not exists:
        return None
    objects, sequences, edges, keys = results(
        connection,
        ";".join(
            [
                objects_query(schema),
                sequences_query(schema),
                edges_query([schema]),
                foreign_keys_query(schema),
            ]
        ),
    )
    inventory = inventory_of(schema, objects, sequences)
    return plan_removal(schema, inventory, edges_of(edges), [(str(table), str(name)) for table, name in keys])


def drop_schema(connection: Connection, schema: str, *, stop: Callable[[], bool] = lambda: False) -> int:
    """Drop a schema of ours and only what is in it; gives the number of tables that went.

    Raises Refused, naming them, when things outside depend on it; nothing is dropped then. Interrupted at a
    later point leaves fewer objects in the schema, and the next call goes on.
    """
    with explained(f"Dropping {schema}", state=f"what is left of {schema} is still there"):
        removal = read_removal(connection, schema)
        if removal is None:
            return 0
        if removal.outside:
            raise Refused(
                f"Dropping {schema}",
                "it is needed by " + ", ".join(sorted({edge.dependent.title for edge in removal.outside})),
                state=f"{schema} is untouched",
                next_step="drop or move those first, then run the same command again",
            )
        for batch in removal.batches:
            if stop():
                raise Interrupted(f"Dropping {schema}", state=f"part of {schema} is still there")
            if batch:
                connection.execute(message(batch).encode())  # one message, one transaction
        return removal.tables


def forget(connection: Connection, mark: Mark, *, stop: Callable[[], bool] = lambda: False) -> int:
    """Drop data that was set aside: after this the swap it belongs to can't be taken back.

    Whether a newer backup is complete is the caller's to check first. Raises as `drop_schema`.
    """
    return drop_schema(connection, mark.schema, stop=stop)
