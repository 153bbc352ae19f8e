"""A release that does not come up: the old one goes on serving, on the data that it knows."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox import incident

Scene = Any

BEFORE_THE_SWAP = ["build-error", "aborted"]
AT_BOOT = ["crashed-error", "timeout-error", "hook-error"]
LAST_WORDS = {
    "broken-build": "Unknown command: 'compress'",
    "crash-at-boot": "MAP_TILES_URL",
    "hook-fails": "--fail-level",
    "never-listens": "did not listen",
}


def check_untouched(scene: Scene, ran: Any, code: int) -> None:
    """The old release on the old data; said, journaled, announced; nothing left at work."""
    assert ran.code == code, ran.text
    assert scene.now() == ("old", "old")
    assert scene.operator.left_behind() == []
    assert scene.operator.sessions() == 0
    record = scene.last_record()
    assert record["result"] == "failed"
    assert record["error"].splitlines()[0] in ran.text
    told = scene.told()
    assert ": échec" in told
    assert "État actuel : l'ancienne version sur les anciennes données" in told


@pytest.mark.slow
@pytest.mark.parametrize("failure", BEFORE_THE_SWAP + AT_BOOT)
def test_release_with_the_same_migrations_fails_and_the_next_run_goes_on(scene: Scene, failure: str) -> None:
    scene.operator.control.scenario(scene.operator.app, fail=failure)
    ran = scene.roll_back()
    check_untouched(scene, ran, code=1)
    assert failure in ran.text
    assert "  | " in scene.last_record()["error"], "the build's last lines"
    assert set(scene.operator.pages().values()) == {200}

    scene.operator.control.scenario(scene.operator.app, reset=True)
    again = scene.roll_back()
    assert again.code == 0, again.text
    assert "Goes on from new_" in again.text
    assert "Step: restore the backup" not in again.text
    assert scene.now() == ("new", "new")


@pytest.mark.slow
@pytest.mark.parametrize("failure", BEFORE_THE_SWAP)
def test_faulty_release_stays_when_the_build_fails(incident_scene: Scene, failure: str) -> None:
    scene = incident_scene
    scene.operator.control.scenario(scene.operator.app, fail=failure)
    ran = scene.roll_back()
    check_untouched(scene, ran, code=1)
    assert "Swapped" not in ran.text
    scene.operator.control.scenario(scene.operator.app, reset=True)
    assert scene.roll_back().code == 0
    assert scene.now() == ("new", "new")


@pytest.mark.parametrize(
    "failure", [AT_BOOT[0], *(pytest.param(one, marks=pytest.mark.slow) for one in AT_BOOT[1:])]
)
def test_swap_before_a_boot_that_fails_is_taken_back(incident_scene: Scene, failure: str) -> None:
    scene = incident_scene
    scene.operator.control.scenario(scene.operator.app, fail=failure)
    ran = scene.roll_back()
    check_untouched(scene, ran, code=6)
    assert "Taking the swap back" in ran.text
    assert failure in ran.text
    assert [step["title"] for step in scene.last_record()["steps"]].count("take the swap back") == 1

    scene.operator.control.scenario(scene.operator.app, reset=True)
    again = scene.roll_back()
    assert again.code == 0, again.text
    assert scene.now() == ("new", "new")


@pytest.mark.slow
@pytest.mark.parametrize("branch", LAST_WORDS)
def test_the_last_lines_of_what_went_wrong_are_shown(scene: Scene, branch: str) -> None:
    scene.operator.control.scenario(scene.operator.app, boot_timeout=3)
    commit = incident.repository.resolve(incident._published(scene.operator.control), branch)
    ran = scene.roll_back(tag=commit)
    check_untouched(scene, ran, code=1)
    told = ran.text[ran.text.rindex(f"Deploying {commit[:12]}") :]
    assert LAST_WORDS[branch] in told
    assert "deployment-logs" in told
    assert set(scene.operator.pages().values()) == {200}
