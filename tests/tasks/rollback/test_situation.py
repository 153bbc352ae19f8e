"""One moment compared with a later one, and what a refusal says of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tasks.core.journal import Journal
from tasks.git.plan import PushPlan
from tasks.postgres.marks import Mark
from tasks.rollback.choices import Deployed
from tasks.rollback.situation import Moving, Situation
from tasks.rollback.standstill import stopped_before

from .conftest import BAD, GOOD, NOW

Make = Callable[..., Situation]
THEIRS = "c" * 40


def after(situation: Situation, *, runs: str = BAD, branch: str = BAD) -> Situation:
    """The same, with a release running and the platform's branch at a commit."""
    assert situation.push is not None
    successes = (Deployed(runs, NOW, NOW, "grace"), *situation.platform.successes)
    platform = replace(situation.platform, successes=successes)
    push = PushPlan(branch, runs, GOOD, lost=(), regained=(), comparable=True)
    return replace(situation, platform=platform, push=push)


def test_nothing_has_moved(situation: Make) -> None:
    fine = situation()
    assert fine.overtaken_by(after(fine)) is None


@pytest.mark.parametrize("moved", [{"runs": THEIRS}, {"branch": THEIRS}, {"runs": GOOD}, {"branch": GOOD}])
def test_somebody_has_deployed(situation: Make, moved: dict[str, str]) -> None:
    fine = situation()
    sentence = fine.overtaken_by(after(fine, **moved))
    assert sentence is not None
    assert next(iter(moved.values())) in sentence


def test_wanted_deployment_of_an_earlier_run_may_end(situation: Make) -> None:
    fine = situation()
    awaiting = replace(fine.platform, moving=(Moving(GOOD, "starting", NOW, "ada"),))
    waiting = replace(fine, platform=awaiting)
    assert waiting.overtaken_by(after(fine, runs=GOOD, branch=GOOD)) is None
    assert waiting.overtaken_by(after(fine, runs=THEIRS, branch=GOOD))


def test_refusal_while_pages_are_down_says_so(situation: Make) -> None:
    assert situation().unchanged == "nothing was changed by this run"
    assert "the pages are down: an earlier one has stopped web 1" in situation(stopped="web 1").unchanged


def test_what_an_earlier_run_has_stopped(tmp_path) -> None:
    journal = Journal(tmp_path, "prod")
    line = {"name": "web", "amount": 2, "size": "M"}
    assert stopped_before(journal, "demo", None) == ""
    drop = Mark("drop", "r1", "dropping", details={"formation": [line]})
    assert stopped_before(journal, "demo", drop) == "web 2", "stopped from another laptop"
    assert stopped_before(journal, "demo", replace(drop, confirmed=True)) == ""
    journal.append(app="demo", deploy="standstill", result="stopped", formation=[line])
    assert stopped_before(journal, "demo", None) == "web 2"
    assert stopped_before(journal, "other", None) == ""
    journal.append(app="demo", deploy="standstill", result="started", formation=[line])
    assert stopped_before(journal, "demo", None) == ""
