"""What a figure is, and when it is `ok`, `short` or `inconclusive`. Pure.

A ratio is judged by its pairs: the median, and the interval between two of the ordered pairs that holds the
true median with at least nine chances in ten, whatever the distribution. With five pairs that is the smallest
and the largest, which is why there are never fewer; with eight, one outlier at either end does not count.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from statistics import median
from typing import Final

FEWEST_PAIRS: Final = 5
DEFAULT_PAIRS: Final = 8
CONFIDENCE: Final = 0.9


class Verdict(Enum):
    """What a figure says about its bound."""

    OK = "ok"
    SHORT = "short"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True)
class Bound:
    """What is promised: `at_most` or `at_least` so much of a unit."""

    at_most: float | None = None
    at_least: float | None = None
    unit: str = ""

    def __post_init__(self) -> None:
        if (self.at_most is None) == (self.at_least is None):
            raise ValueError("a bound is one of at_most and at_least")

    def holds(self, value: float) -> bool:
        """Whether a value keeps the promise; a value equal to the limit does."""
        if self.at_most is not None:
            return value <= self.at_most
        return self.at_least is not None and value >= self.at_least

    def __str__(self) -> str:
        if self.at_most is not None:
            return f"at most {_number(self.at_most)} {self.unit}"
        return f"at least {_number(self.at_least or 0.0)} {self.unit}"


@dataclass(frozen=True)
class Figure:
    """One measured figure.

    + value: what is printed
    + low, high: its spread; both ends must agree for a verdict
    + note: how many were measured, their spread, and what else was seen
    """

    name: str
    bound: Bound
    value: float
    low: float
    high: float
    note: str

    @property
    def verdict(self) -> Verdict:
        """`ok` or `short` when the whole spread lies on one side of the bound."""
        kept = {self.bound.holds(self.low), self.bound.holds(self.high)}
        if len(kept) == 2:
            return Verdict.INCONCLUSIVE
        return Verdict.OK if kept == {True} else Verdict.SHORT

    def line(self) -> str:
        """Name, value, bound, verdict, note; in columns."""
        value = f"{_number(self.value)} {self.bound.unit}"
        return (
            f"{self.name:<17} {value:<12} {self.bound!s:<20} {self.verdict.value:<12}  {self.note}".rstrip()
        )


def paired(name: str, bound: Bound, samples: Sequence[float], note: str = "") -> Figure:
    """A figure of pairs: ratios, or differences. ValueError for too few."""
    if len(samples) < FEWEST_PAIRS:
        raise ValueError(f"{name}: {len(samples)} pairs, at least {FEWEST_PAIRS} are needed")
    low, high = median_interval(samples)
    spread = f"{len(samples)} pairs, {_number(low)} to {_number(high)}"
    return Figure(name, bound, median(samples), low, high, "; ".join(filter(None, (spread, note))))


def worst(name: str, bound: Bound, samples: Sequence[float], note: str = "", *, busy: bool = False) -> Figure:
    """A figure of which each sample must keep an upper bound: its value is the greatest.

    It is short when the median breaks the bound, and inconclusive when only some samples do. On a machine
    that was busy with other things it is short only when all of them do.
    """
    middle, greatest = median(samples), max(samples)
    spread = f"greatest of {len(samples)}, median {_number(middle)}"
    low = min(samples) if busy else middle
    return Figure(name, bound, greatest, low, greatest, "; ".join(filter(None, (spread, note))))


def counted(name: str, bound: Bound, count: int, note: str = "") -> Figure:
    """A figure that noise can't excuse: what was counted, once is enough."""
    return Figure(name, bound, count, count, count, note)


def median_interval(samples: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The innermost two ordered samples that hold the median so surely between them; else the outermost."""
    ordered = sorted(samples)
    at = 0
    while _surety(len(ordered), at + 1) >= confidence:
        at += 1
    return ordered[at], ordered[-1 - at]


def _surety(number: int, at: int) -> float:
    """How surely the median lies between ordered samples `at` and `number - 1 - at`, counted from 0."""
    return 1 - sum(math.comb(number, below) for below in range(at + 1)) / float(2 ** (number - 1))


def interleaved(
    pairs: int, first: Callable[[], float], second: Callable[[], float]
) -> Iterator[tuple[float, float]]:
    """Measure both in turn, A B, B A, A B ...: what drifts meets both alike."""
    for number in range(pairs):
        if number % 2:
            b = second()
            yield first(), b
        else:
            a = first()
            yield a, second()


def _number(value: float) -> str:
    """With three figures at least: 0, 3.42, 31.5, 1,204."""
    if float(value).is_integer():
        return f"{value:,.0f}"
    digits = max(0, 2 - max(0, math.floor(math.log10(abs(value)))))
    return f"{value:,.{digits}f}"
