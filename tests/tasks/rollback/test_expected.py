"""How long a run will take: from runs nearest in size, else from the measured line."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from tasks.core.journal import Journal
from tasks.rollback.choices import Deployed
from tasks.rollback.expected import (
    BENCHMARKS,
    Expected,
    Range,
    Sample,
    from_deployments,
    from_the_benchmarks,
    from_the_past,
    measured_line,
    range_text,
    samples,
)
from tests.tasks.rollback.conftest import NOW

MB = 1_000_000


def test_those_of_the_same_size_are_taken_as_they_are() -> None:
    past = [Sample(300 * MB, seconds) for seconds in (61, 55, 70)]
    found = from_the_past(300 * MB, past)
    assert found == Range(55, 70, "from 3 own runs and drills, of 300.0 MB")


def test_one_alone_says_little() -> None:
    assert from_the_past(300 * MB, [Sample(300 * MB, 60)]) == Range(
        40, 90, "from 1 own run or drill, of 300.0 MB"
    )


def test_the_nearest_in_size_count_and_the_newest_of_many() -> None:
    past = [Sample(MB // 5, 1), *(Sample(300 * MB, 100) for _ in range(9))]
    past += [Sample(310 * MB, seconds) for seconds in (50, 51, 52, 53, 54)]
    found = from_the_past(310 * MB, past)
    assert found is not None
    assert (found.least, found.most) == (50, 54)


def test_another_size_lies_between_all_and_nothing_of_its_time() -> None:
    past = [Sample(100 * MB, 20)] * 3
    larger, smaller = from_the_past(400 * MB, past), from_the_past(50 * MB, past)
    assert larger is not None and smaller is not None
    assert (larger.least, larger.most) == (20, 80)
    assert (smaller.least, smaller.most) == (10, 20)


@pytest.mark.parametrize(("size", "past"), [(None, [Sample(1, 1)]), (0, [Sample(1, 1)]), (5, [])])
def test_nothing_known_is_nothing_said(size: int | None, past: list[Sample]) -> None:
    assert from_the_past(size, past) is None
    assert Expected().lines == []


def test_the_measured_line_is_that_of_the_page() -> None:
    measured = measured_line()
    assert measured is not None, f"{BENCHMARKS} has a line `load` with megabytes and our seconds"
    found = from_the_benchmarks(10 * measured.bytes)
    assert found is not None
    assert found.least == pytest.approx(10 * measured.seconds)
    assert found.most > found.least
    assert "never done here" in found.source


def test_without_the_page_nothing_is_estimated(tmp_path: Path) -> None:
    assert from_the_benchmarks(MB, tmp_path / "missing.md") is None
    (tmp_path / "page.md").write_text("- `load`: it could not be measured\n")
    assert from_the_benchmarks(MB, tmp_path / "page.md") is None


def test_the_journal_of_every_environment_is_read(tmp_path: Path) -> None:
    preprod, prod = Journal(tmp_path, "preprod"), Journal(tmp_path, "prod")
    prod.append(deploy="drill", restored={"bytes": 3, "seconds": 2.5})
    preprod.append(deploy="rollback", restored={"bytes": 4, "seconds": 1})
    for odd in (None, "x", {}, {"bytes": 0, "seconds": 1}, {"bytes": "5", "seconds": 1}, {"bytes": 5}):
        prod.append(deploy="rollback", restored=odd)
    found = samples(prod.of_all(), "restored")
    assert sorted((one.bytes, one.seconds) for one in found) == [(3, 2.5), (4, 1.0)]


def test_the_last_deployments_say_how_long_the_next_takes() -> None:
    took = [Deployed("c", NOW, NOW + timedelta(seconds=seconds), "ada") for seconds in (200, 260, 230)]
    assert from_deployments(took) == Range(200, 260, "the last 3 deployments")
    assert from_deployments([Deployed("c", NOW, NOW, "ada")]) is None


@pytest.mark.parametrize(
    ("least", "most", "text"),
    [
        (2.2, 2.9, "2 to 3 s"),
        (0.1, 0.4, "1 s"),
        (40, 170, "40 s to 3 min"),
        (125, 170, "2 to 3 min"),
        (120, 120, "2 min"),
    ],
)
def test_ranges_in_words(least: float, most: float, text: str) -> None:
    assert range_text(least, most) == text


def test_the_plan_says_the_whole_and_each_part() -> None:
    known = Expected(restore=Range(50, 70, "from there"), deploy=Range(200, 260, "the last 3 deployments"))
    assert known.lines == [
        "How long: about 4 to 6 min",
        "  restore it and prove it: 50 to 70 s (from there)",
        "  build and boot: 3 to 5 min (the last 3 deployments)",
    ]
