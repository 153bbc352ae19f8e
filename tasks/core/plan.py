"""What a run would do, before it does it: changes, gates and steps, and how a person reads them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from tasks.core.secrets import Secret

Value = str | Secret | None


@dataclass(frozen=True)
class Change:
    """One planned difference.

    + what: the thing that differs, with its app
    + before, after: None where it does not exist on that side
    + destroys: what is lost by it, in words; empty when nothing is
    + details: lines shown in the full plan only
    """

    what: str
    before: Value
    after: Value
    destroys: str = ""
    details: tuple[str, ...] = ()

    @property
    def sign(self) -> str:
        if self.before is None:
            return "+"
        return "-" if self.after is None else "~"


@dataclass(frozen=True)
class Gate:
    """A condition that must hold before the first step that changes something.

    + name: its word on the command line (`skip_NAME`)
    + holds: None while it can't be known yet
    + sentence: what was found
    + next_step: what makes it hold
    + skip: whether a reason may stand in for it
    + skipped: the reason given
    """

    name: str
    holds: bool | None
    sentence: str
    next_step: str = ""
    skip: bool = False
    skipped: str | None = None

    @property
    def refuses(self) -> bool:
        """Whether the run must not go on: it does not hold, and no accepted reason stands in for it."""
        return self.holds is False and self.skipped is None


@dataclass(frozen=True)
class Plan:
    """The ordered changes of one operation, with what must hold and what will be done."""

    title: str
    changes: tuple[Change, ...]
    gates: tuple[Gate, ...] = ()
    steps: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def refusals(self) -> tuple[Gate, ...]:
        return tuple(gate for gate in self.gates if gate.refuses)

    @property
    def digest(self) -> str:
        """Twelve digits that change with what would be changed; not with gates, notes or wording of steps."""
        text = "\n".join(f"{c.sign}|{c.what}|{c.before}|{c.after}" for c in self.changes)
        return hashlib.sha256(f"{self.title}\n{text}".encode()).hexdigest()[:12]


def render(plan: Plan, *, full: bool = False) -> list[str]:
    """The plan as plain lines: the summary, or with every detail. Meaning never rests on colour."""
    lines = [plan.title]
    for change in plan.changes:
        lines += _change_lines(change, full=full)
    if plan.gates:
        lines.append("Gates:")
        lines += [gate_line(gate) for gate in plan.gates]
    if plan.steps and full:
        lines.append("Steps:")
        lines += [f"  {number}. {step}" for number, step in enumerate(plan.steps, 1)]
    lines += list(plan.notes)
    lines.append(_counts(plan))
    return lines


def _change_lines(change: Change, *, full: bool) -> list[str]:
    if change.before is None:
        text = f"{change.after}"
    elif change.after is None:
        text = f"{change.before}"
    else:
        text = f"{change.before} → {change.after}"
    lines = [f"  {change.sign} {change.what}: {text}"]
    if change.destroys:
        lines.append(f"      DESTROYS: {change.destroys}")
    if full:
        lines += [f"      {detail}" for detail in change.details]
    return lines


def gate_line(gate: Gate) -> str:
    """What was found, as one line that begins with its verdict."""
    if gate.skipped is not None and gate.holds is not True:
        return f'  skipped  {gate.name}: {gate.sentence} (reason given: "{gate.skipped}")'
    mark = {True: "ok", False: "REFUSED", None: "later"}[gate.holds]
    line = f"  {mark:<8} {gate.name}: {gate.sentence}"
    if gate.refuses:
        line += f" Next: {gate.next_step}" if gate.next_step else ""
        line += f' Or give a reason: --data skip_{gate.name}="..."' if gate.skip else ""
    return line


def _counts(plan: Plan) -> str:
    if not plan.changes:
        return "Nothing to change but what is said above." if plan.notes else "Nothing to change."
    by_sign = {sign: sum(change.sign == sign for change in plan.changes) for sign in "+~-"}
    destructive = sum(bool(change.destroys) for change in plan.changes)
    text = f"{by_sign['+']} to add, {by_sign['~']} to change, {by_sign['-']} to remove"
    return f"{text}; {destructive} of them destructive." if destructive else f"{text}."
