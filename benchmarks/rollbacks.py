"""The real command against a real sandbox: what its users see, and how long its plan takes."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.figures import Bound, Figure, counted, interleaved, paired
from benchmarks.operator import NEWER, Operator
from benchmarks.server import MeasureError
from benchmarks.visitors import Visitors
from benchmarks.workshop import Workshop

_ROLLBACKS: Final = 2
_HELD: Final = re.compile(r"locks held (\d+) ms")


def errors(workshop: Workshop) -> Figure:
    """Errors that users see while `deploys/rollback.py` takes code and data back, between healthy releases.

    From the command's start to its end, each every 50 ms or as soon as the last answer is there: a search
    that must find the same places, the form, a writer who fills it in, and one session that stays open, with
    prepared and plain statements, reading and writing. A wrong answer is an error, and so is a number given
    out twice.
    """
    operator = workshop.operator
    address, database_url = operator.address, operator.database_url
    seconds, actions, longest, held = [], 0, 0.0, []
    problems: list[str] = []
    for number in range(_ROLLBACKS):
        workshop.say(f"rollback-errors: rollback {number + 1} of {_ROLLBACKS}")
        with Visitors(address, database_url) as visitors:
            took, text = operator.roll_back()
        swap = _HELD.search(text)
        if swap is None:
            raise MeasureError(f"the rollback swapped nothing:\n{text[-800:]}")
        held.append(int(swap[1]))
        seconds.append(took)
        actions += sum(seen.actions for seen in visitors.seen)
        longest = max([longest, *(seen.longest for seen in visitors.seen)])
        problems += visitors.errors
        operator.deploy(NEWER)
    note = (
        f"{_ROLLBACKS} rollbacks of {median(seconds):.1f} s, {actions:,} actions, slowest answer "
        f"{1000 * longest:.0f} ms, swap's locks {max(held)} ms"
    )
    if problems:
        note += f"; the first: {problems[0]}"
    return counted("rollback-errors", Bound(at_most=0, unit="errors"), len(problems), note)


def plan(workshop: Workshop) -> Figure:
    """What `rollback.py --dry` takes longer than pyinfra's own start, the backup and the code being cached.

    pyinfra's own start is a `--dry` of an empty deploy on the same inventory.
    """
    operator = workshop.operator
    with tempfile.TemporaryDirectory(prefix="operations-bench-") as folder:
        empty = Path(folder) / "empty.py"
        empty.write_text('"""Nothing to do."""\n')
        dry = ("--dry", *operator.inputs)
        _warm(operator, dry)
        times = []
        for pair in interleaved(
            workshop.pairs,
            lambda: operator.pyinfra("deploys/rollback.py", *dry)[0],
            lambda: operator.pyinfra(str(empty), "--dry")[0],
        ):
            times.append(pair)
            workshop.say(f"plan: pair {len(times)} of {workshop.pairs}")
    planned, started = (median(column) for column in zip(*times, strict=True))
    note = f"the plan {planned:.2f} s, pyinfra's start {started:.2f} s"
    return paired("plan", Bound(at_most=2, unit="s"), [plan - start for plan, start in times], note)


def _warm(operator: Operator, dry: tuple[str, ...]) -> None:
    """Have in the cache what a plan reads: a rollback fetches the backup, a plan the code."""
    if not operator.has_rolled_back:
        operator.roll_back()
        operator.deploy(NEWER)
    _, text = operator.pyinfra("deploys/rollback.py", *dry)
    if "not fetched" in text:
        raise MeasureError(f"the backup is not in the cache:\n{text[-800:]}")
