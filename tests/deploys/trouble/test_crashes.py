"""Killed and interrupted at every step: code and data stay whole, and the next run ends the mix."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

Scene = Any
Terminal = Any

KILL, INT, TERM, HUP = signal.SIGKILL, signal.SIGINT, signal.SIGTERM, signal.SIGHUP

BETWEEN_HEALTHY_RELEASES = [
    "Gates:",
    "Where things are",
    "Step: restore the backup",
    "Restored beside and proved",
    "Step: push",
    "Downloading Buildpack",
    "Build complete",
    "Postdeploy hook succeeded",
    "Deployment",
    "Step: swap the data",
    "Swapped",
    "Step: verify",
    "Rows of the backup",
    "Done in",
]
FROM_THE_FAULTY_RELEASE = [
    "Step: push",
    "Build complete",
    "Step: swap the data",
    "Swapped",
    "Waiting for your application to boot",
    "Postdeploy hook succeeded",
    "Step: verify",
]


def check_whole_then_ended_by_the_next_run(scene: Scene) -> None:
    """Code and data are each old or new; the next run says where they are, goes on, and leaves nothing."""
    assert scene.operator.left_behind() == []
    scene.settle()
    code, data = scene.now()
    assert code in ("old", "new")
    assert data in ("old", "new")
    again = scene.roll_back()
    assert again.code == 0, again.text
    assert "Where things are: " in again.text or "That is how things are" in again.text
    assert scene.now() == ("new", "new")
    assert set(scene.operator.pages().values()) == {200}
    assert scene.operator.schemas("new") == []
    assert len(scene.operator.schemas("before")) == 1
    assert scene.operator.left_behind() == []
    assert scene.operator.sessions() == 0
    undone = scene.last_record()
    assert undone["result"] == "succeeded"


@pytest.mark.slow
@pytest.mark.parametrize("line", BETWEEN_HEALTHY_RELEASES)
def test_killed(scene: Scene, line: str) -> None:
    ran = scene.until(line, KILL)
    assert ran.code == -KILL, ran.text
    check_whole_then_ended_by_the_next_run(scene)


@pytest.mark.parametrize(
    "line",
    [
        line if line == "Swapped" else pytest.param(line, marks=pytest.mark.slow)
        for line in FROM_THE_FAULTY_RELEASE
    ],
)
def test_killed_on_the_way_from_the_faulty_release(incident_scene: Scene, line: str) -> None:
    ran = incident_scene.until(line, KILL)
    assert ran.code == -KILL, ran.text
    check_whole_then_ended_by_the_next_run(incident_scene)


@pytest.mark.slow
@pytest.mark.parametrize("number", [INT, TERM, HUP])
@pytest.mark.parametrize("line", ["Gates:", "Step: restore the backup", "Downloading Buildpack", "Swapped"])
def test_asked_to_stop(scene: Scene, line: str, number: signal.Signals) -> None:
    ran = scene.until(line, number)
    assert ran.code != 0, ran.text
    assert "Traceback" not in ran.text
    if line != "Gates:":
        assert f"{number.name}: stopping at the next safe point" in ran.text
        assert re.search("stopped", ran.text, re.IGNORECASE)
        assert "Now: " in ran.text
    elif number is INT:
        assert "Stopped as asked: nothing was changed." in ran.text or "Now: " in ran.text
    check_whole_then_ended_by_the_next_run(scene)


@pytest.mark.slow
@pytest.mark.parametrize("line", ["Step: push", "Downloading Buildpack", "Step: swap", "Waiting for your"])
def test_asked_to_stop_on_the_way_from_the_faulty_release(incident_scene: Scene, line: str) -> None:
    ran = incident_scene.until(line, TERM)
    assert ran.code != 0, ran.text
    assert "Traceback" not in ran.text
    assert "Now: " in ran.text
    check_whole_then_ended_by_the_next_run(incident_scene)


def test_ctrl_c_in_the_middle_of_a_push_stops_it_for_good(
    scene: Scene, terminal: Callable[..., Terminal]
) -> None:
    scene.operator.control.scenario(scene.operator.app, building=3)
    at = terminal(scene.operator, "rollback", **scene.wanted)
    at.expect("Press enter to execute")
    at.type("")
    at.expect("Downloading Buildpack")
    at.interrupt()
    assert at.end() == 1, at.text
    assert "SIGINT: stopping at the next safe point" in at.text
    assert "Stopped as asked" in at.text
    scene.settle()
    assert scene.operator.left_behind() == []
    assert scene.now() == ("old", "old")
    time.sleep(4)  # longer than the build that was interrupted would have lasted
    assert scene.now() == ("old", "old")
