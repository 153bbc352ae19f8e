"""How long a run will take: a range, from what this team's own runs and drills took before, and from what.

A copy of another size is scaled between two bounds that both can be true: all of its time is for its bytes,
or none of it is. So the range is wide where nothing of about that size was restored before.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tasks.core.journal import Record
from tasks.core.screen import amount_text
from tasks.core.wording import number_of
from tasks.rollback.choices import Deployed

BENCHMARKS: Final = Path(__file__).parents[2] / "docs" / "benchmarks.md"
_MEASURED: Final = re.compile(
    r"^- `load`: .*?(?P<megabytes>[\d.,]+) MB, .*?ours (?P<seconds>[\d.,]+) s", re.MULTILINE
)
SLOW_LINE: Final = 2.5e6
"""Bytes a second of the slowest line that is reckoned with where nothing is known: 20 Mbit/s."""

_NEAREST: Final = 5
_DOUBLINGS: Final = 1.0
_DEPLOYMENTS: Final = 5
# What one measure, or two, say of the next.
_SPREAD: Final = {1: 1.5, 2: 1.25}


@dataclass(frozen=True)
class Sample:
    """One time that it was done.

    + bytes: of the archive
    """

    bytes: int
    seconds: float


@dataclass(frozen=True)
class Range:
    """Between how many seconds, and what that comes from."""

    least: float
    most: float
    source: str

    def __str__(self) -> str:
        return range_text(self.least, self.most)


@dataclass(frozen=True)
class Expected:
    """What parts of a run will take; None for what it does not do, or what nothing is known of."""

    fetch: Range | None = None
    restore: Range | None = None
    drop: Range | None = None
    deploy: Range | None = None

    @property
    def lines(self) -> list[str]:
        """For the plan: how long, and from what."""
        parts = {
            "fetch and read the backup": self.fetch,
            "restore it and prove it": self.restore,
            "back up, drop and restore, the pages being down": self.drop,
            "build and boot": self.deploy,
        }
        known = {title: found for title, found in parts.items() if found is not None}
        if not known:
            return []
        whole = range_text(
            sum(found.least for found in known.values()), sum(found.most for found in known.values())
        )
        lines = [f"How long: about {whole}"]
        lines += [f"  {title}: {found} ({found.source})" for title, found in known.items()]
        return lines


def samples(records: Iterable[Record], part: str) -> list[Sample]:
    """What the journal knows of one part (`fetched`, `restored`, `dropped`) that came to its end."""
    found = []
    for record in records:
        body = record.get(part)
        if not isinstance(body, dict):
            continue
        size, seconds = body.get("bytes"), body.get("seconds")
        if isinstance(size, int) and isinstance(seconds, int | float) and size > 0 and seconds > 0:
            found.append(Sample(size, float(seconds)))
    return found


def from_the_past(size: int | None, past: Sequence[Sample]) -> Range | None:
    """The range for a copy of this size, from those nearest in size; None where there is none.

    + past: the newest last
    """
    if not size or not past:
        return None

    def doublings(one: Sample) -> float:
        return abs(math.log2(size / one.bytes))

    newest_first = past[::-1]
    nearest = sorted(newest_first, key=doublings)[:_NEAREST]
    nearest = [one for one in nearest if doublings(one) <= doublings(nearest[0]) + _DOUBLINGS]
    spread = _SPREAD.get(len(nearest), 1.0)
    least = min(one.seconds * min(1.0, size / one.bytes) for one in nearest) / spread
    most = max(one.seconds * max(1.0, size / one.bytes) for one in nearest) * spread
    smallest, largest = (amount_text(which(one.bytes for one in nearest), "bytes") for which in (min, max))
    of = smallest if smallest == largest else f"{smallest} to {largest}"
    times = number_of(len(nearest), "own run or drill", "own runs and drills")
    return Range(least, most, f"from {times}, of {of}")


def from_the_benchmarks(size: int | None, page: Path = BENCHMARKS) -> Range | None:
    """The range from the measured line, beside the server, to a slow line; None where there is no page."""
    measured = measured_line(page)
    if not size or measured is None:
        return None
    beside = measured.seconds * size / measured.bytes
    return Range(
        beside,
        beside + size / SLOW_LINE,
        f"never done here; {amount_text(measured.bytes, 'bytes')} took {measured.seconds:g} s beside a "
        f"server (docs/benchmarks.md), and a line may have as little as {SLOW_LINE * 8 / 1e6:.0f} Mbit/s",
    )


def measured_line(page: Path = BENCHMARKS) -> Sample | None:
    """What docs/benchmarks.md says of a load."""
    try:
        found = _MEASURED.search(page.read_text(encoding="utf-8"))
    except OSError:
        return None
    if found is None:
        return None
    megabytes, seconds = (float(found[name].replace(",", "")) for name in ("megabytes", "seconds"))
    return Sample(int(megabytes * 1e6), seconds) if megabytes and seconds else None


def from_deployments(successes: Sequence[Deployed]) -> Range | None:
    """How long the last deployments took, the newest first; None where there was none."""
    taken = [
        seconds
        for one in successes[:_DEPLOYMENTS]
        if (seconds := (one.finished - one.started).total_seconds()) > 0
    ]
    if not taken:
        return None
    spread = _SPREAD.get(len(taken), 1.0)
    last = "the last deployment" if len(taken) == 1 else f"the last {len(taken)} deployments"
    return Range(min(taken) / spread, max(taken) * spread, last)


def range_text(least: float, most: float) -> str:
    """`3 s`, `3 to 5 s`, `40 s to 3 min`, `2 to 3 min`."""
    low, high = _duration(math.floor(least), down=True), _duration(math.ceil(most), down=False)
    if low == high:
        return high
    low_amount, low_unit = low.split()
    return f"{low_amount} to {high}" if low_unit == high.split()[1] else f"{low} to {high}"


def _duration(seconds: int, *, down: bool) -> str:
    if seconds < 100:
        return f"{max(1, seconds)} s"
    minutes = seconds / 60
    return f"{math.floor(minutes) if down else math.ceil(minutes)} min"
