"""From what the server has found to a plan: pure. What a person reads before anything happens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from tasks.core.plan import Change, Gate, Plan
from tasks.core.wording import number_of
from tasks.postgres.bring_back.report import Problem, Report, TableReport
from tasks.postgres.bring_back.taken import TakeBack, TakenTable
from tasks.postgres.generations import Generation
from tasks.postgres.marks import Mark
from tasks.rollback.declared import Declared
from tasks.rollback.setting_aside import described
from tasks.rollback.situation import Moving


@dataclass(frozen=True)
class Situation:
    """One moment.

    + aside: what is taken from; None for an undo, whose run is named instead
    + found: what the server has found
    + by_file: whether rows were named by a file
    """

    now: datetime
    app: str
    declared: Declared
    run: str
    aside: Mark | None
    generations: Sequence[Generation]
    found: Report | TakeBack
    lock_holder: str | None = None
    moving: Sequence[Moving] = ()
    by_file: bool = False


def plan(situation: Situation) -> Plan:
    """The plan of the situation."""
    found, where = situation.found, f"{situation.app} ({situation.declared.environment})"
    if isinstance(found, TakeBack):
        title = f"Take back what run {situation.run} has brought back to {where}"
        changes = [change for table in found.tables for change in _going(table)]
        steps = ["delete exactly those rows, in one transaction", "compare again", "tell the channel"]
    else:
        source = situation.aside.schema if situation.aside else "what was set aside"
        title = f"Bring rows of {source} back to {where}"
        changes = [change for table in found.tables for change in _coming(table)]
        steps = [
            "insert the rows with their identifiers, in one transaction; triggers fire",
            "set the sequences beyond them",
            "compare again; look at the pages that were fine before",
            "tell the team's channel, write the journal",
        ]
    return Plan(title, tuple(changes), _gates(situation), tuple(steps), tuple(_notes(situation)))


def _coming(table: TableReport) -> list[Change]:
    changes = []
    live = [f"{number_of(table.equal, 'row')} asked for: live already, and the same"] if table.equal else []
    if table.new:
        changes.append(
            Change(
                f"rows of {table.table}",
                None,
                number_of(table.new, "row comes back", "rows come back"),
                details=tuple(live),
            )
        )
    if table.along.count:
        text = number_of(table.along.count, "row comes along", "rows come along")
        changes.append(
            Change(f"rows of {table.table}", None, f"{text}, which others need: {table.along.shown}")
        )
    if table.replaced:
        changes.append(
            Change(
                f"rows of {table.table}",
                "live values",
                f"{number_of(table.replaced, 'row', 'rows')} as set aside: {table.differing.shown}",
                f"the live values of {number_of(table.replaced, 'row')}; they are exported first",
            )
        )
    return changes


def _going(table: TakenTable) -> list[Change]:
    changes = []
    if table.going:
        changes.append(
            Change(
                f"rows of {table.table}",
                number_of(table.going, "row that was brought back", "rows that were brought back"),
                None,
                f"{number_of(table.going, 'row')}; they stay in what was set aside, while that is kept",
            )
        )
    if table.restored:
        changes.append(
            Change(
                f"rows of {table.table}",
                "values as set aside",
                f"{number_of(table.restored, 'row', 'rows')} as they were live before",
            )
        )
    return changes


def _gates(situation: Situation) -> tuple[Gate, ...]:
    holder = situation.lock_holder
    gates = [
        Gate(
            "lock",
            holder is None,
            "nobody else is at work here" if holder is None else holder,
            "wait for that run, or talk to them.",
        ),
        _deployment(situation.moving),
    ]
    problems = situation.found.problems()
    gates += [_rows_gate(problem) for problem in problems]
    if not problems:
        gates.append(Gate("rows", True, "nothing that is live stands in their way"))
    return tuple(gates)


def _rows_gate(problem: Problem) -> Gate:
    return Gate("rows", False, f"{problem.sentence}.", f"{problem.way_out}.")


def _deployment(moving: Sequence[Moving]) -> Gate:
    if not moving:
        return Gate("deployment", True, "no deployment is running, so no migration is")
    one = moving[0]
    return Gate(
        "deployment",
        False,
        f"{one.pusher or 'somebody'} is deploying {one.commit[:8]} since {one.started:%H:%M} UTC.",
        "wait until it has ended: its migrations may change the tables.",
    )


def _notes(situation: Situation) -> list[str]:
    notes = []
    found = situation.found
    if isinstance(found, Report):
        for table in found.tables:
            if table.differing.count and found.conflicts == "keep":
                notes.append(
                    f"{table.table}: {number_of(table.differing.count, 'row stays', 'rows stay')} as live, "
                    f"with other values than set aside: {table.differing.shown}"
                )
            if table.kept_out:
                shown = "; ".join(one.shown for one in table.taken if one.count)
                notes.append(
                    f"{table.table}: {number_of(table.kept_out, 'row stays', 'rows stay')} behind, whose "
                    f"unique value another live row has (set aside / live): {shown}"
                )
        if situation.by_file:
            notes.append(
                "The rows are those that the file names; their values are those that were set aside."
            )
    else:
        notes += [note for table in found.tables for note in table.notes(found.keep)]
        if not found.looked:
            notes.append(
                "They are too many to be looked at now: where some were changed since, or are needed by "
                "other rows, the run says so and changes nothing."
            )
    for generation in situation.generations:
        taken_from = situation.aside is not None and generation.mark.schema == situation.aside.schema
        mark = " (taken from)" if taken_from else ""
        notes.append(f"Kept: {described(generation.mark, situation.now, generation.bytes)}{mark}")
    if situation.declared.protected:
        name = situation.declared.environment
        notes.append(f"{name} is protected: its name is asked for, or --data confirm=...")
    return notes
