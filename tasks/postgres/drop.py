"""strategy=drop: the live objects are dropped, then pg_restore builds the archive's in their place.

For archives that can't be restored beside. It is the one restore that leaves nothing to swap back: the
caller has a fresh backup first. What must outlive the drop (rights of other roles, how far each sequence has
come) is written in a mark in the transaction that drops, so that the next run finishes what dies here.
"""

# ruff: noqa: S608  (names and values are quoted by tasks.postgres.sql)

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import psycopg

from tasks.core.errors import OpsError, PersonNeeded, Refused
from tasks.core.wording import number_of
from tasks.postgres.archive import Archive, Contents, Entry, Treatment
from tasks.postgres.archive.definitions import verdicts
from tasks.postgres.assess import Refusal
from tasks.postgres.connection import Connection, Target, connect, explain, results
from tasks.postgres.forget import OBJECTS_PER_TRANSACTION, drop_statement, foreign_keys_query, in_order
from tasks.postgres.grants import Grant, carry_over, read_grants
from tasks.postgres.inventory import Inventory, crossing
from tasks.postgres.live import LiveFacts, read_live
from tasks.postgres.marks import Mark
from tasks.postgres.pg_restore import restored_entries, run_pg_restore
from tasks.postgres.prove import count_problems, read_findings
from tasks.postgres.sql import ident, literal, message, qualified
from tasks.postgres.stage_plan import expected_counts
from tasks.postgres.tools import Tool

# Locks that dropping one table takes: itself, its indexes, constraints, TOAST table, sequences, types.
_LOCKS_PER_TABLE: Final = 20


@dataclass(frozen=True)
class DropPlan:
    """How the live objects go.

    + batches: statements, a transaction each; one where the server's lock table allows
    + tables: how many tables go
    """

    batches: tuple[tuple[str, ...], ...]
    tables: int


@dataclass(frozen=True)
class DropRequest:
    """What to put in the place of the live objects.

    + run, fence: of the run, and of its lock
    + archive, contents: open, and read to its end
    + tool: the pg_restore to use
    + backup, release: recorded in the mark
    + details: more for the mark: where the safety backup is
    + empty: tables declared to come back empty
    + jobs: sessions of pg_restore
    """

    run: str
    archive: Archive
    contents: Contents
    tool: Tool
    backup: str
    fence: int = 0
    release: str = ""
    details: Mapping[str, Any] | None = None
    empty: frozenset[str] = frozenset()
    jobs: int = 2


def obstacles(archive: Archive, contents: Contents, live: LiveFacts) -> list[Refusal]:
    """Why this archive can't take the live objects' place by dropping them either; empty where it can."""
    into, _ = crossing(live.inventory, live.edges)
    found = [
        Refusal(
            edge.dependent.kind,
            edge.dependent.identity,
            f"it depends on {edge.referenced.title} and would be dropped with it",
            "drop it first and make it again afterwards",
        )
        for edge in into
        if not edge.dependent.extension
    ]
    found += [
        Refusal(
            "extension", entry.name, "the live database does not have it", f"CREATE EXTENSION {entry.name}"
        )
        for entry in archive.entries
        if entry.kind == "EXTENSION" and entry.name not in live.extensions
    ]
    found += [
        Refusal(verdict.entry.kind.lower(), verdict.entry.name, verdict.reason, "restore it as superuser")
        for verdict in verdicts(archive.entries, live.inventory.schema)
        if verdict.treatment is Treatment.REFUSE and "superuser" in verdict.reason
    ]
    if contents.large_objects and live.large_objects:
        found.append(
            Refusal(
                "large objects",
                f"{contents.large_objects:,} of them",
                "the live database has large objects too, and their numbers would meet",
                "unlink the live ones first (vacuumlo)",
            )
        )
    staying = {item.name for item in live.inventory.staying}
    found += [
        Refusal(
            "table",
            f"{entry.schema}.{entry.name}",
            "the live one belongs to another role and stays",
            f"have it given to {live.role}",
        )
        for entry in archive.entries
        if entry.kind == "TABLE" and entry.schema == live.inventory.schema and entry.name in staying
    ]
    return found


def plan_drop(inventory: Inventory, live: LiveFacts, foreign_keys: Sequence[tuple[str, str]]) -> DropPlan:
    """Plan the drop of everything that the role owns in the schema, and of nothing else. Pure."""
    keys = [f"ALTER TABLE {table} DROP CONSTRAINT {ident(name)}" for table, name in foreign_keys]
    drops = [drop_statement(item) for item in in_order(inventory.moved, live.edges)]
    tables = len(inventory.tables)
    if tables * _LOCKS_PER_TABLE <= live.lock_capacity:
        return DropPlan(((*keys, *drops),), tables)
    size = OBJECTS_PER_TRANSACTION
    batches = [tuple(part[at : at + size]) for part in (keys, drops) for at in range(0, len(part), size)]
    return DropPlan(tuple(batches), tables)


def replace_live(
    target: Target,
    request: DropRequest,
    *,
    progress: Callable[[int, int | None], None] = lambda done, total: None,
    stop: Callable[[], bool] = lambda: False,
) -> Mark:
    """Drop what is live, restore the archive, prove it; gives the mark, whose state is then "restored".

    + progress: objects and tables restored, of how many
    + stop: heeded before the drop, and by ending pg_restore after it

    Called again after a failure or a crash it begins with the drop of what is there, and remembers rights and
    sequences of the data that was live at first. Raises Refused, with nothing changed, before the drop;
    PersonNeeded, saying what is and isn't there, after it.
    """
    schema = target.schema
    with connect(target, request.run, "drop", statement_seconds=6 * 3600) as connection:
        live = read_live(connection, target)
        refusals = [refusal.sentence for refusal in obstacles(request.archive, request.contents, live)]
        if request.tool.reads < request.archive.header.version:
            refusals.append(f"{request.tool.path} of version {request.tool.major} can't read this archive")
        if not request.contents.are_of(request.archive.path):
            refusals.append(f"{request.archive.path} has gone or changed since it was read")
        if refusals:
            raise Refused("Dropping what is live", "; ".join(refusals), state="nothing was changed")
        mark = _drop_all(connection, request, live, schema)
    try:
        entries = restored_entries(
            request.archive.entries,
            schema,
            request.empty,
            large_objects=bool(request.contents.large_objects),
        )
        complaints = run_pg_restore(
            target, request.run, request.tool, request.archive.path, entries, request.jobs, progress, stop
        )
        with connect(target, request.run, "restore", statement_seconds=6 * 3600) as connection:
            return _finish(connection, request, schema, mark, complaints)
    except (OpsError, psycopg.Error) as error:
        cause = error if isinstance(error, OpsError) else explain(error, "Restoring with pg_restore")
        raise PersonNeeded(
            cause.attempted,
            cause.reply,
            state=f"the live objects were dropped and the backup {request.backup} is not completely restored",
            next_step="run the same command again: it drops what is there and restores anew; "
            "or restore the safety backup in the same way",
        ) from None


def _drop_all(connection: Connection, request: DropRequest, live: LiveFacts, schema: str) -> Mark:
    """Drop, and in the same transaction write the mark that remembers what must outlive it."""
    earlier = live.state.dropping
    kept = dict(earlier.details) if earlier is not None and earlier.state == "dropping" else {}
    sequences = further(kept.get("sequences"), _sequence_values(connection, live.inventory))
    given = kept.get("grants") or [
        [grant.kind, grant.name, grant.column, grant.role, grant.privilege, grant.grantable]
        for grant in live.grants
    ]
    mark = Mark(
        kind="drop",
        run=request.run,
        state="dropping",
        backup=request.backup,
        sha256=request.contents.sha256,
        release=request.release,
        fence=request.fence,
        details={**(request.details or {}), "sequences": sequences, "grants": given},
    )
    (keys,) = results(connection, foreign_keys_query(schema))
    plan = plan_drop(live.inventory, live, [(str(table), str(name)) for table, name in keys])
    begin = []
    if earlier is None or earlier.schema != mark.schema:
        begin.append(f"CREATE SCHEMA {ident(mark.schema)}")
    if earlier is not None and earlier.schema != mark.schema:
        begin.append(f"DROP SCHEMA {ident(earlier.schema)} RESTRICT")
    begin.append(mark.statement())
    first, *rest = plan.batches or ((),)
    try:
        connection.execute(message([*begin, *first]).encode())  # one message, one transaction
    except psycopg.Error as error:
        raise explain(error, "Dropping what is live", state="nothing was dropped") from None
    try:
        for batch in rest:
            connection.execute(message(batch).encode())
    except psycopg.Error as error:
        raise PersonNeeded(
            "Dropping what is live",
            explain(error, "").reply,
            state="part of the live objects is dropped",
            next_step="run the same command again: it goes on dropping, then restores",
        ) from None
    return mark


def _sequence_values(connection: Connection, inventory: Inventory) -> dict[str, list[Any]]:
    """How far each sequence has come, and the sign of its increment."""
    if not inventory.sequences:
        return {}
    found = results(
        connection,
        message(
            f"SELECT last_value, is_called FROM {qualified(inventory.schema, sequence.name)}"
            for sequence in inventory.sequences
        ),
    )
    return {
        sequence.name: [int(rows[0][0]), bool(rows[0][1]), 1 if sequence.increment > 0 else -1]
        for sequence, rows in zip(inventory.sequences, found, strict=True)
    }


def further(earlier: object, now: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
    """For each sequence the further of what was written down before and what it is at now."""
    merged = {name: list(value) for name, value in now.items()}
    if isinstance(earlier, dict):
        for name, value in earlier.items():
            mine = merged.get(name)
            if mine is None or value[0] * value[2] >= mine[0] * value[2]:
                merged[name] = list(value)
    return merged


def _finish(
    connection: Connection, request: DropRequest, schema: str, mark: Mark, complaints: Sequence[str]
) -> Mark:
    """Prove what is there, then rights, sequences and the mark in one transaction."""
    problems = list(_problems(connection, request, schema))
    if problems:
        raise OpsError(
            "Proving what pg_restore has restored",
            "; ".join(problems) + (f" (pg_restore: {' | '.join(complaints[-3:])})" if complaints else ""),
        )
    (there,) = read_grants(connection, schema)
    wanted = [Grant(*values) for values in mark.details["grants"]]
    names = {(entry.kind, entry.name) for entry in _grantable(request.archive.entries, schema)}
    same = names | ({(g.kind, g.name) for g in wanted} & {(g.kind, g.name) for g in there})
    restored = replace(mark, state="restored", details={**mark.details, "sequences": {}, "grants": []})
    connection.execute(
        message(
            [
                "SET LOCAL synchronous_commit = on",
                *carry_over(wanted, there, schema=schema, same_named=same),
                *_sequence_statements(request.archive.entries, schema, mark.details["sequences"]),
                restored.statement(),
            ]
        ).encode()
    )
    return restored


@dataclass(frozen=True)
class _Named:
    kind: str
    name: str


def _grantable(entries: Sequence[Entry], schema: str) -> Iterator[_Named]:
    kinds = {"TABLE": "TABLE", "VIEW": "TABLE", "MATERIALIZED VIEW": "TABLE", "SEQUENCE": "SEQUENCE"}
    for entry in entries:
        if entry.schema == schema and entry.kind in kinds:
            yield _Named(kinds[entry.kind], entry.name)


def _sequence_statements(
    entries: Sequence[Entry], schema: str, values: Mapping[str, Sequence[Any]]
) -> Iterator[str]:
    there = {entry.name for entry in entries if entry.kind == "SEQUENCE" and entry.schema == schema}
    for name, (value, called, sign) in values.items():
        if name in there:
            further_than = ">=" if sign > 0 else "<="
            yield (
                f"SELECT setval({literal(qualified(schema, name))}, {int(value)}, "
                f"{str(bool(called)).lower()} OR (s.last_value = {int(value)} AND s.is_called)) "
                f"FROM {qualified(schema, name)} s WHERE {int(value)} {further_than} s.last_value"
            )


def _problems(connection: Connection, request: DropRequest, schema: str) -> Iterator[str]:
    entries = restored_entries(request.archive.entries, schema, request.empty)
    wanted = {
        entry.name: request.contents.rows.get(entry.dump_id, 0)
        for entry in entries
        if entry.kind == "TABLE DATA"
    }
    findings = read_findings(connection, schema)
    yield from count_problems(expected_counts(entries), findings.counts)
    yield from findings.unfit
    missing = [entry.name for entry in entries if entry.kind == "TABLE"]
    (present,) = results(
        connection,
        f"select relname from pg_class where relnamespace = {literal(ident(schema))}::regnamespace "
        "and relkind in ('r', 'p')",
    )
    tables = {str(name) for (name,) in present}
    gone = [name for name in missing if name not in tables]
    if gone:
        yield f"tables are missing: {', '.join(gone)}"
        return
    counted = _count(connection, schema, sorted(wanted))
    for name, rows in wanted.items():
        if counted[name] != rows:
            yield f"{name} has {number_of(counted[name], 'row')}, the archive {rows:,}"


def _count(connection: Connection, schema: str, tables: Sequence[str]) -> dict[str, int]:
    if not tables:
        return {}
    found = results(
        connection, message(f"SELECT count(*) FROM ONLY {qualified(schema, table)}" for table in tables)
    )
    return {table: int(rows[0][0]) for table, rows in zip(tables, found, strict=True)}
