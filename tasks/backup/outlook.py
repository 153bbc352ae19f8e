"""What is, before a backup is made, and the plan that follows from it. Pure but for `read`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from tasks.backup.destination import Destination
from tasks.core.concurrent import side_by_side
from tasks.core.errors import NotConfigured
from tasks.core.plan import Change, Gate, Plan
from tasks.core.screen import amount_text
from tasks.core.wording import number_of
from tasks.postgres import lock
from tasks.postgres.connection import Target, connect
from tasks.postgres.live import LiveFacts, read_live
from tasks.postgres.pg_dump import Extent, read_extent
from tasks.postgres.tools import Tool, find_pg_dump
from tasks.rollback import reading
from tasks.rollback.application import Application
from tasks.rollback.inputs import Inputs
from tasks.rollback.intent import new_run
from tasks.rollback.situation import Platform

SKIPPABLE: Final = frozenset({"deployment", "room"})
_NAMED: Final = 5


@dataclass(frozen=True)
class Outlook:
    """One moment before one backup.

    + destination: None where the platform makes the backup
    + extent: what pg_dump would read
    + tool: the pg_dump that suits the server; None with `tool_problem` where there is none
    """

    app: str
    environment: str
    inputs: Inputs
    run: str
    platform: Platform
    live: LiveFacts
    extent: Extent
    lock_holder: str | None
    destination: Destination | None = None
    free_bytes: int | None = None
    tool: Tool | None = None
    tool_problem: str = ""


@dataclass(frozen=True)
class Planned:
    """A plan with what it was made from."""

    outlook: Outlook
    plan: Plan


def read(app: Application, inputs: Inputs, run: str, destination: Destination | None) -> Outlook:
    """Read it side by side, without writing anything. Raises an `OpsError` where something can't be read."""
    app.client.require_credentials()
    platform, (live, extent, holder) = side_by_side(
        lambda: reading.read_platform(app, backups=True), lambda: _read_database(app)
    )
    tool, problem = None, ""
    if destination is not None:
        try:
            tool = find_pg_dump(live.version // 10000, app.declared.pg_restore)
        except NotConfigured as missing:
            problem = f"{missing.reply}; {missing.next_step}"
    return Outlook(
        app.name,
        app.declared.environment,
        inputs,
        run,
        platform,
        live,
        extent,
        holder,
        destination,
        destination.free_bytes() if destination else None,
        tool,
        problem,
    )


def _read_database(app: Application) -> tuple[LiveFacts, Extent, str | None]:
    with app.database() as database, connect(database, new_run(), "read plan", read_only=True) as connection:
        return (
            read_live(connection, database),
            read_extent(connection, dumped_schemas(database)),
            lock.holder(connection),
        )


def dumped_schemas(database: Target) -> tuple[str, ...]:
    """The application's own: not what was set aside beside it, nor what others keep there."""
    return (database.schema,)


def plan(outlook: Outlook) -> Plan:
    """What making this backup would do."""
    size = amount_text(outlook.live.database_bytes, "bytes")
    steps: tuple[str, ...]
    if outlook.destination is None:
        change = Change(
            f"backup of {outlook.app}", None, f"a backup of the platform's, of a database of {size}"
        )
        steps = ("have the platform make a backup", "follow it to its end")
    else:
        tables = number_of(len(outlook.extent.tables), "table")
        read = amount_text(outlook.extent.bytes, "bytes")
        change = Change(
            f"archive of {outlook.app}",
            None,
            f"in {outlook.destination.title}, of {tables} that take {read} in the database",
            details=tuple(
                f"{table}: {amount_text(outlook.extent.tables[table], 'bytes')}"
                for table in sorted(outlook.extent.tables)
            ),
        )
        steps = ("dump the database", "read the archive to its end", "keep it with its manifest")
    return Plan(
        f"Back up {outlook.app} ({outlook.environment})",
        (change,),
        gates=tuple(_with_skip(gate, outlook.inputs) for gate in _gates(outlook)),
        steps=(*steps, "tell the channel, write the journal"),
        notes=tuple(_notes(outlook)),
    )


def _with_skip(gate: Gate, inputs: Inputs) -> Gate:
    if gate.name not in SKIPPABLE:
        return gate
    return Gate(
        gate.name, gate.holds, gate.sentence, gate.next_step, skip=True, skipped=inputs.skips.get(gate.name)
    )


def _gates(outlook: Outlook) -> Iterator[Gate]:
    holder = outlook.lock_holder
    yield Gate(
        "lock",
        holder is None,
        holder or "nobody else is at work here",
        "wait for that run, or talk to them.",
    )
    yield _deployment(outlook)
    if outlook.destination is None:
        yield _backups(outlook)
        return
    yield Gate(
        "tools",
        outlook.tool is not None,
        f"{outlook.tool.path} is of version {outlook.tool.major}, the server {outlook.live.version // 10000}"
        if outlook.tool
        else outlook.tool_problem,
        "see above.",
    )
    yield _rights(outlook)
    yield _room(outlook)


def _deployment(outlook: Outlook) -> Gate:
    if not outlook.platform.moving:
        return Gate("deployment", True, "no deployment is running")
    one = outlook.platform.moving[0]
    return Gate(
        "deployment",
        False,
        f"{one.pusher or 'somebody'} is deploying {one.commit[:8]} since {one.started:%H:%M} UTC; "
        "the backup would be of neither release",
        "wait until it has ended, then run the same command again.",
    )


def _backups(outlook: Outlook) -> Gate:
    under_way = [b.name for b in outlook.platform.backups if b.status in ("scheduled", "pending", "running")]
    if under_way:
        return Gate("backups", False, f"the platform is making {under_way[0]}", "wait until it is done.")
    return Gate("backups", True, "no platform backup is running")


def _rights(outlook: Outlook) -> Gate:
    unreadable = outlook.extent.unreadable
    if not unreadable:
        return Gate("rights", True, f"{outlook.live.role} may read all of it")
    more = f" and {len(unreadable) - _NAMED} more" if len(unreadable) > _NAMED else ""
    return Gate(
        "rights",
        False,
        f"{outlook.live.role} may not read {', '.join(unreadable[:_NAMED])}{more}",
        f"have their owner run GRANT SELECT ON ... TO {outlook.live.role}.",
    )


def _room(outlook: Outlook) -> Gate:
    free, most = outlook.free_bytes, outlook.extent.bytes
    if free is None:
        return Gate("room", True, "no limit is known there")
    sentence = f"{amount_text(free, 'bytes')} are free, at most {amount_text(most, 'bytes')} are needed"
    return Gate("room", free > most, sentence, "make room there, or give another folder.")


def _notes(outlook: Outlook) -> Iterator[str]:
    if outlook.destination is None:
        return
    if outlook.live.large_objects:
        yield "Large objects are in no schema: they are not in an archive of ours; the platform's has them."
    aside = (*outlook.live.state.set_aside, *outlook.live.state.stages)
    if aside:
        yield f"Not in it: {', '.join(mark.schema for mark in aside)}."
