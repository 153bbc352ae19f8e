"""What becomes of a deployment whose pusher goes away."""

from __future__ import annotations

import os
import signal

import pytest

from sandbox.platform import processes
from tests.sandbox.platform.room import Room


@pytest.mark.parametrize("state", ["building", "pushing"])
def test_a_killed_pusher_aborts_the_deployment(room: Room, state: str) -> None:
    app, folder = room.deployed()
    before = room.head(app)
    setattr(app.scenario, state, 30)
    room.commit(folder, {"server.py": "raise SystemExit(3)"})
    pusher = room.begin_push(app, folder)
    room.until(lambda: room.last(app).status == state)
    os.killpg(pusher.pid, signal.SIGKILL)
    pusher.communicate()
    assert room.until(lambda: room.last(app).finished_at, seconds=3)
    assert room.last(app).status == "aborted"
    assert (room.head(app), room.get(app)) == (before, (200, "hello"))
    objects = room.folder / "state" / "git" / f"{app.name}.git" / "objects"
    room.until(lambda: not [path.name for path in objects.iterdir() if "incoming" in path.name])
    builds = room.folder / "state" / "apps" / app.id
    assert [path.name for path in builds.glob("build-*")] == []
    assert len(list((builds / "releases").iterdir())) == 1


def test_a_build_that_is_running_ends_with_its_pusher(room: Room) -> None:
    app, folder = room.deployed()
    marker = room.folder / f"{app.name}-pid"
    room.commit(folder, {"bin/post_compile": f"#!/bin/sh\necho $$ >{marker}\nexec sleep 1000\n"})
    pusher = room.begin_push(app, folder)
    pid = int(room.until(lambda: marker.exists() and marker.read_text().strip()))
    os.killpg(pusher.pid, signal.SIGTERM)
    pusher.communicate()
    room.until(lambda: processes.start_time(pid) is None)
    assert room.until(lambda: room.last(app).status == "aborted")


def test_a_deployment_that_is_starting_goes_on_without_its_pusher(room: Room) -> None:
    app, folder = room.deployed()
    before = room.head(app)
    app.scenario.starting = 0.5
    room.commit(folder, {"server.py": (folder / "server.py").read_text().replace("hello", "second")})
    pusher = room.begin_push(app, folder)
    room.until(lambda: room.last(app).status == "starting")
    os.killpg(pusher.pid, signal.SIGKILL)
    pusher.communicate()
    assert room.until(lambda: room.last(app).finished_at)
    assert (room.last(app).status, room.get(app), room.head(app)) == ("success", (200, "second"), before)


def test_the_branch_may_be_moved_by_another_during_the_build(room: Room) -> None:
    app, folder = room.deployed()
    first = room.head(app)
    commit = room.commit(folder, {"more": ""})
    app.scenario.pushing = 0.5
    pusher = room.begin_push(app, folder)
    room.until(lambda: room.last(app).status == "pushing")
    repository = room.folder / "state" / "git" / f"{app.name}.git"
    other = room.git(
        repository, "commit-tree", "-p", str(first), "-m", "other", f"{first}^{{tree}}"
    ).stdout.strip()
    room.git(repository, "update-ref", "refs/heads/master", other)
    _, said = pusher.communicate()
    assert pusher.returncode == 1 and b"failed to update ref" in said
    assert (room.last(app).status, room.last(app).git_ref) == ("success", commit)
    assert room.head(app) == other
