"""The cut-over as data: what both sides hold, what is in the way, and the messages that exchange them.

Pure but for `read_sides`. `swap.py` sends the messages.
"""

# ruff: noqa: S608  (names and values are quoted by tasks.postgres.sql)

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from tasks.postgres import lock
from tasks.postgres.connection import Connection, results
from tasks.postgres.dependencies import edges_of, edges_query
from tasks.postgres.grants import GRANTS_IN, carry_over, grants_of
from tasks.postgres.inventory import (
    MOVABLE,
    UNLOCKABLE,
    Inventory,
    SequenceFact,
    digest_query,
    inventory_of,
    objects_query,
    sequences_query,
)
from tasks.postgres.marks import Mark
from tasks.postgres.sql import ident, literal, message, names, qualified
from tasks.postgres.ties.catalog import read_ties
from tasks.postgres.ties.model import NO_TIES, Key, Ties

LONGEST_WAIT: Final = 0.1
PRE_LOCK_SECONDS: Final = 10
# Error codes of our own, raised inside the exchange.
CHANGED: Final = "OPS01"
NOT_HELD: Final = "OPS02"
BUSY: Final = "OPS03"


@dataclass(frozen=True)
class Sides:
    """Both sides of a swap, read in one message: what is live and what comes in.

    + grants: the statements that carry what other roles may do over to what comes in
    + ties: what outside depends on what is live
    + deadlock_timeout: seconds after which the server picks a victim among those who wait for each other
    """

    live: Inventory
    incoming: Inventory
    grants: tuple[str, ...]
    ties: Ties = NO_TIES
    deadlock_timeout: float = 1.0


def read_sides(connection: Connection, schema: str, incoming: str) -> Sides:
    """Read both inventories, the dependencies across them, and the grants to carry over."""
    out_objects, out_sequences, in_objects, in_sequences, edges, live_grants, given, patience = results(
        connection,
        ";".join(
            [
                objects_query(schema),
                sequences_query(schema),
                objects_query(incoming),
                sequences_query(incoming),
                edges_query([schema, incoming]),
                GRANTS_IN.format(schema=literal(schema)),
                GRANTS_IN.format(schema=literal(incoming)),
                "select setting::int from pg_settings where name = 'deadlock_timeout'",
            ]
        ),
    )
    live = inventory_of(schema, out_objects, out_sequences)
    coming = inventory_of(incoming, in_objects, in_sequences)
    there = grants_of(given)
    wanted = grants_of(live_grants)
    ties = read_ties(connection, live, edges_of(edges))
    same = named(live) & named(coming)
    same |= {(grant.kind, grant.name) for grant in wanted} & {(grant.kind, grant.name) for grant in there}
    return Sides(
        live,
        coming,
        tuple(carry_over(wanted, there, schema=incoming, same_named=same)),
        ties.among(coming.tables),
        int(patience[0][0]) / 1000,
    )


def named(inventory: Inventory) -> set[tuple[str, str]]:
    """What a grant can name, by kind and name; functions are left to their grants' own names."""
    relations = {("TABLE", item.name) for item in inventory.moved if item.thing.catalog == "pg_class"}
    types = {("TYPE", item.name) for item in inventory.moved if item.thing.catalog == "pg_type"}
    return relations | types | {("SEQUENCE", sequence.name) for sequence in inventory.sequences}


def obstacles(sides: Sides) -> list[str]:
    """Why these two sides can't be exchanged, in words, ties apart; empty where they can."""
    found = [
        f"{item.thing.title} is of a kind that can't be moved"
        for item in (*sides.live.moved, *sides.incoming.moved)
        if item.kind not in MOVABLE
    ]
    staying = {(item.kind, item.name) for item in sides.live.staying}
    found += [
        f"{item.thing.title} would meet one of the same name, which belongs to another role"
        for item in sides.incoming.moved
        if (item.kind, item.name) in staying
    ]
    return found


def pairs(
    out: Iterable[SequenceFact], coming: Iterable[SequenceFact]
) -> list[tuple[SequenceFact, SequenceFact]]:
    """Sequences of either side that number the same: by the column they serve, else by name."""
    by_owner = {sequence.owner: sequence for sequence in out if sequence.owner}
    by_name = {sequence.name: sequence for sequence in out}
    found = []
    for sequence in coming:
        same = by_owner.get(sequence.owner) if sequence.owner else None
        same = same or by_name.get(sequence.name)
        if same is not None:
            found.append((same, sequence))
    return found


def carry_on(out_schema: str, in_schema: str, both: Iterable[tuple[SequenceFact, SequenceFact]]) -> list[str]:
    """Statements that set each incoming sequence to the further of both, so that no number is given twice.

    One statement for those that have given out numbers. An incoming one that has not may still be set to
    begin further on, which only reading it tells.
    """
    rows, statements = [], []
    for out, coming in both:
        here, there = qualified(in_schema, coming.name), qualified(out_schema, out.name)
        if coming.called:
            rows.append(f"({literal(here)}::regclass, {literal(there)}::regclass, {coming.increment > 0})")
        else:
            further = ">=" if coming.increment > 0 else "<="
            statements.append(
                f"SELECT setval({literal(here)}, o.last_value, "
                "o.is_called OR (i.last_value = o.last_value AND i.is_called)) "
                f"FROM {there} o, {here} i WHERE o.last_value {further} i.last_value"
            )
    if rows:
        statements.append(
            "SELECT setval(coming, out_last) FROM (SELECT coming, up, "
            "pg_sequence_last_value(coming) AS in_last, pg_sequence_last_value(out) AS out_last "
            f"FROM (VALUES {', '.join(rows)}) v(coming, out, up)) s "
            "WHERE CASE WHEN up THEN out_last > in_last ELSE out_last < in_last END"
        )
    return statements


@dataclass(frozen=True)
class Order:
    """One exchange, as data: everything that the one message is made from.

    + schema: where the live objects are
    + incoming: the schema whose objects come in; it is dropped when empty
    + mark: written on the schema that takes the live ones
    + sides: as read just before
    + planned: digest of the live inventory that the plan was made from; None for whatever is there
    + lock_pid: the session that must hold the run's lock; None where there is none
    + outward: foreign keys that the incoming tables get, to tables of other schemas
    """

    schema: str
    incoming: str
    mark: Mark
    sides: Sides
    planned: str | None
    lock_pid: int | None
    outward: tuple[Key, ...] = ()


def preparation(order: Order) -> str:
    """The first message: a transaction, locks that stop nobody but autovacuum, and grants."""
    live, coming = order.sides.live.tables, order.sides.incoming.tables
    return message(
        [
            "BEGIN",
            f"SET LOCAL lock_timeout = '{PRE_LOCK_SECONDS}s'",
            f"LOCK TABLE {names(order.incoming, coming)} IN ACCESS EXCLUSIVE MODE" if coming else "",
            f"LOCK TABLE {names(order.schema, live)} IN SHARE UPDATE EXCLUSIVE MODE" if live else "",
            *order.sides.grants,
            "SAVEPOINT attempt",
        ]
    )


def exchange(order: Order, *, wait: float = LONGEST_WAIT) -> str:
    """The one message: locks, checks, moves, sequences, mark, commit.

    + wait: seconds that a lock of one object, or those of all tables together, are waited for
    """
    live, coming = order.sides.live.moved, order.sides.incoming.moved
    aside = order.mark.schema
    # Below the deadlock timeout it is always we who give way, never a reader.
    milliseconds = max(1, int(1000 * min(wait, order.sides.deadlock_timeout / 2)))
    unlockable = [item for item in live if item.kind in UNLOCKABLE]
    lockable = [item for item in live if item.kind not in UNLOCKABLE]
    tables = order.sides.live.tables
    locked = [*order.sides.ties.tables, *((names(order.schema, tables),) if tables else ())]
    return message(
        [
            f"SET LOCAL lock_timeout = '{milliseconds}ms'",
            f"SET LOCAL statement_timeout = '{milliseconds}ms'",
            _check(order),
            f"CREATE SCHEMA {ident(aside)}",
            "SELECT clock_timestamp() - statement_timestamp()",
            *order.sides.ties.first,
            *(item.set_schema(aside) for item in unlockable),
            f"LOCK TABLE {', '.join(locked)} IN ACCESS EXCLUSIVE MODE" if locked else "",
            "SET LOCAL statement_timeout = '5s'",
            _unchanged(order) if order.planned is not None else "",
            *order.sides.ties.untying,
            *(item.set_schema(aside) for item in lockable),
            *carry_on(
                aside, order.incoming, pairs(order.sides.live.sequences, order.sides.incoming.sequences)
            ),
            *(item.set_schema(order.schema) for item in coming),
            *order.sides.ties.tying(order.outward),
            order.mark.statement(),
            f"DROP SCHEMA {ident(order.incoming)} RESTRICT",
            "SET LOCAL synchronous_commit = on",
            "COMMIT",
        ]
    )


def _raise_unless(condition: str, code: str, sentence: str) -> str:
    return (
        f"DO $check$BEGIN IF NOT ({condition}) THEN "
        f"RAISE EXCEPTION USING ERRCODE = {literal(code)}, MESSAGE = {literal(sentence)}; END IF; END$check$"
    )


def _check(order: Order) -> str:
    """The swap's own lock, and the run's: taken away by an administrator, or lost with its connection."""
    alone = _raise_unless(
        f"pg_try_advisory_xact_lock({lock.CLASS}, {lock.SWAP})", BUSY, "another swap is under way"
    )
    if order.lock_pid is None:
        return alone
    held = _raise_unless(
        lock.holder_condition(order.lock_pid), NOT_HELD, "this run no longer holds the environment's lock"
    )
    return f"{alone};\n{held}"


def _unchanged(order: Order) -> str:
    return _raise_unless(
        f"({digest_query(order.schema, order.mark.schema)}) = {literal(order.planned or '')}",
        CHANGED,
        "objects were made or dropped since the plan",
    )
