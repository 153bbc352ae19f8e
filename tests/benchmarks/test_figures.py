"""What a figure says of its bound, and the line that says it."""

from __future__ import annotations

import random
from statistics import median

import pytest

from benchmarks.__main__ import FAILED, SHORT, exit_code
from benchmarks.figures import (
    FEWEST_PAIRS,
    Bound,
    Figure,
    Verdict,
    counted,
    interleaved,
    median_interval,
    paired,
    worst,
)

FASTER = Bound(at_least=2.5, unit="times")
LOCKS = Bound(at_most=100, unit="ms")


@pytest.mark.parametrize(
    ("samples", "verdict"),
    [
        ([2.5, 2.6, 2.7, 2.8, 2.9], Verdict.OK),
        ([2.0, 2.1, 2.2, 2.3, 2.4], Verdict.SHORT),
        ([2.4, 2.6, 2.7, 2.8, 2.9], Verdict.INCONCLUSIVE),
        ([2.6, 2.1, 2.2, 2.3, 2.4], Verdict.INCONCLUSIVE),
        ([0.3, 2.6, 2.7, 2.8, 2.9, 3.0, 3.1, 9.9], Verdict.OK),
        ([0.3, 0.4, 2.7, 2.8, 2.9, 3.0, 3.1, 9.9], Verdict.INCONCLUSIVE),
        ([1.9, 2.0, 2.1, 2.2, 2.3, 2.4, 2.4, 9.9], Verdict.SHORT),
    ],
)
def test_pairs_decide_when_their_whole_spread_does(samples: list[float], verdict: Verdict) -> None:
    figure = paired("restore", FASTER, samples)
    assert figure.verdict is verdict
    assert figure.value == median(samples)


@pytest.mark.parametrize(
    ("samples", "quiet", "busy"),
    [
        ([40, 50, 100], Verdict.OK, Verdict.OK),
        ([40, 50, 101], Verdict.INCONCLUSIVE, Verdict.INCONCLUSIVE),
        ([40, 101, 102], Verdict.SHORT, Verdict.INCONCLUSIVE),
        ([101, 102, 103], Verdict.SHORT, Verdict.SHORT),
    ],
)
def test_a_worst_case_is_the_greatest_and_short_when_most_are(
    samples: list[float], quiet: Verdict, busy: Verdict
) -> None:
    figure = worst("locks", LOCKS, samples)
    assert figure.value == max(samples)
    assert figure.verdict is quiet
    assert worst("locks", LOCKS, samples, busy=True).verdict is busy


def test_one_error_is_one_too_many() -> None:
    none = Bound(at_most=0, unit="errors")
    assert counted("errors", none, 0).verdict is Verdict.OK
    assert counted("errors", none, 1).verdict is Verdict.SHORT


def test_too_few_pairs_say_nothing() -> None:
    with pytest.raises(ValueError, match=f"at least {FEWEST_PAIRS}"):
        paired("restore", FASTER, [3.0] * (FEWEST_PAIRS - 1))


@pytest.mark.parametrize("bound", [{}, {"at_most": 1.0, "at_least": 1.0}])
def test_a_bound_has_one_side(bound: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="one of"):
        Bound(**bound)  # type: ignore[arg-type]


@pytest.mark.parametrize("number", [5, 6, 7, 8, 9, 12, 15])
def test_the_interval_holds_the_median_nine_times_in_ten_and_no_narrower_one_does(number: int) -> None:
    """Against 4,000 sets of samples of a lopsided distribution whose median is known to be 1."""
    chance = random.Random(number)
    held = held_by_narrower = 0
    for _ in range(4000):
        samples = [2 ** chance.gauss(0, 1) for _ in range(number)]
        low, high = median_interval(samples)
        held += low <= 1 <= high
        inner = sorted(samples)[sorted(samples).index(low) + 1 : sorted(samples).index(high)]
        held_by_narrower += bool(inner) and inner[0] <= 1 <= inner[-1]
    assert held / 4000 > 0.885
    assert held_by_narrower / 4000 < 0.915


def test_pairs_are_measured_a_b_b_a() -> None:
    order: list[str] = []

    def measured(name: str, value: float) -> float:
        order.append(name)
        return value

    pairs = list(interleaved(3, lambda: measured("a", 1.0), lambda: measured("b", 2.0)))
    assert order == ["a", "b", "b", "a", "a", "b"]
    assert pairs == [(1.0, 2.0)] * 3


@pytest.mark.parametrize(
    ("figure", "line"),
    [
        (
            counted("rollback-errors", Bound(at_most=0, unit="errors"), 0, "2 rollbacks"),
            "rollback-errors   0 errors     at most 0 errors     ok            2 rollbacks",
        ),
        (
            worst("swap-locks", LOCKS, [31.25, 140.4, 90.0]),
            "swap-locks        140 ms       at most 100 ms       inconclusive  greatest of 3, median 90",
        ),
        (
            paired("restore-loopback", FASTER, [2.0, 1.9, 2.125, 2.2, 2.4], "seed 2.1 s"),
            "restore-loopback  2.12 times   at least 2.50 times  short         "
            "5 pairs, 1.90 to 2.40; seed 2.1 s",
        ),
        (
            Figure("rows", Bound(at_least=1000, unit="rows"), 12345, 12345, 12345, ""),
            "rows              12,345 rows  at least 1,000 rows  ok",
        ),
    ],
)
def test_a_figure_is_one_line(figure: Figure, line: str) -> None:
    assert figure.line() == line


def test_the_exit_code_tells_short_from_not_measured() -> None:
    fine, short = counted("fine", LOCKS, 1), counted("short", LOCKS, 101)
    unsure = worst("unsure", LOCKS, [1, 2, 101])
    assert exit_code([fine, unsure], []) == 0
    assert exit_code([fine, short], []) == SHORT
    assert exit_code([fine, short], ["load"]) == FAILED
