"""What a push would change, between real commits."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.git.plan import PushPlan, plan_push


def plan(mirror: Any, old_remote: str | None, running: str | None, target: str) -> PushPlan:
    return plan_push(
        old_remote=old_remote, running=running, target=target, has=mirror.has, commits=mirror.commits
    )


@pytest.fixture
def shas(source: Any, mirror: Any) -> list[str]:
    found = [source.commit(f"Change {number}") for number in (1, 2, 3)]
    source.git("checkout", "-q", "-b", "hotfix", found[0])
    found.append(source.commit("Hotfix"))
    mirror.update()
    return found


def subjects(commits: Any) -> list[str]:
    return [commit.subject for commit in commits]


def test_backwards_loses(mirror: Any, shas: list[str]) -> None:
    found = plan(mirror, shas[2], shas[2], shas[0])
    assert (found.way, subjects(found.lost), subjects(found.regained)) == (
        "push",
        ["Change 3", "Change 2"],
        [],
    )


def test_forwards_regains(mirror: Any, shas: list[str]) -> None:
    found = plan(mirror, shas[0], shas[0], shas[2])
    assert (subjects(found.lost), subjects(found.regained)) == ([], ["Change 3", "Change 2"])


def test_sideways_does_both(mirror: Any, shas: list[str]) -> None:
    found = plan(mirror, shas[2], shas[2], shas[3])
    assert (subjects(found.lost), subjects(found.regained)) == (["Change 3", "Change 2"], ["Hotfix"])


def test_the_running_release_counts_and_not_the_branch(mirror: Any, shas: list[str]) -> None:
    found = plan(mirror, shas[0], shas[2], shas[0])
    assert (found.way, found.needs_archive) == ("archive", True)
    assert subjects(found.lost) == ["Change 3", "Change 2"]


def test_what_runs_is_not_deployed_again(mirror: Any, shas: list[str]) -> None:
    found = plan(mirror, shas[0], shas[2], shas[2])
    assert (found.way, found.needs_archive, found.lost, found.regained) == ("nothing", False, (), ())


@pytest.mark.parametrize("running", [None, "1" * 40])
def test_an_unknown_running_release_is_said(mirror: Any, shas: list[str], running: str | None) -> None:
    found = plan(mirror, None, running, shas[0])
    assert (found.way, found.comparable, found.lost, found.regained) == ("push", False, (), ())
