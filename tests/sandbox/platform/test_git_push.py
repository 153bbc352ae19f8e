"""Deployments by git push: the build runs inside the push, and the ref follows its outcome."""

from __future__ import annotations

import os
import re
import signal
import subprocess

import pytest

from tests.sandbox.platform.room import Room


def test_a_push_builds_boots_and_serves(room: Room) -> None:
    app, folder = room.deployed()
    assert room.get(app) == (200, "hello")
    deployment = room.last(app)
    commit = room.git(folder, "rev-parse", "HEAD").stdout.strip()
    assert (deployment.status, deployment.git_ref, deployment.type) == ("success", commit, "git")
    assert room.head(app) == commit
    assert app.last_deployment_id == deployment.id
    assert app.status == "running"
    assert room.get(app, "/env/CONTAINER_VERSION") == (200, commit)
    assert room.get(app, "/env/CONTAINER") == (200, "web-1")
    assert {name: (one.amount, one.command) for name, one in app.formation.items()} == {
        "web": (1, "python server.py"),
        "worker": (0, "sleep 1000"),
    }


def test_the_log_streams_to_the_pusher_in_the_documented_words(room: Room) -> None:
    app = room.new_app()
    done = room.push(
        app, room.repository("words", {"Procfile": "web: python server.py\npostdeploy: echo all set\n"})
    )
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in done.stderr.splitlines()]
    plain = [line.removeprefix("remote: ").rstrip() for line in lines]
    wanted = [
        f" <-- Start deployment of {app.name} -->",
        "       Fetching source code",
        "=====> Downloading Buildpack: https://github.com/Scalingo/apt-buildpack",
        "=====> Detected Framework: Apt",
        "       gdal-bin",
        "=====> Using branch: master",
        "=====> Detected Framework: Python",
        " Build complete, shipping your container...",
        " Waiting for your application to boot...",
        "all set",
        " Postdeploy hook succeeded, accepting deployment...",
        f" <-- {room.platform.url(app)} -->",
    ]
    found = [line for line in plain if line in wanted]
    assert found == wanted, done.stderr


def test_a_failed_build_leaves_the_ref_and_the_old_release(room: Room) -> None:
    app, folder = room.deployed()
    before = room.head(app)
    room.commit(
        folder, {"bin/post_compile": "#!/bin/sh\necho no assets\nexit 3\n", "server.py": "raise SystemExit"}
    )
    done = room.push(app, folder)
    assert done.returncode == 1
    assert "[remote rejected] (pre-receive hook declined)" in done.stdout
    assert "no assets" in done.stderr
    assert room.last(app).status == "build-error"
    assert (room.head(app), room.get(app)) == (before, (200, "hello"))


@pytest.mark.parametrize(
    ("changes", "status", "said"),
    [
        ({"server.py": "raise SystemExit(3)"}, "crashed-error", "web-1 exited with code 3"),
        ({"server.py": "import time; time.sleep(60)"}, "timeout-error", "did not listen on $PORT"),
        ({"Procfile": "web: python server.py\npostdeploy: exit 7\n"}, "hook-error", "exit code 7"),
        (
            {".buildpacks": "https://example.org/unknown.git\n"},
            "build-error",
            "https://example.org/unknown.git",
        ),
        ({"requirements.txt": "no-such-package==1\n"}, "build-error", "no-such-package is not installed"),
        ({"Procfile": "web python\n"}, "build-error", "Invalid Procfile, line 1"),
    ],
)
def test_a_failed_deployment_ends_in_its_documented_state(
    room: Room, changes: dict[str, str], status: str, said: str
) -> None:
    app, folder = room.deployed()
    app.scenario.boot_timeout = 0.6
    before = room.head(app)
    room.commit(folder, changes)
    done = room.push(app, folder)
    assert (done.returncode, room.last(app).status) == (1, status)
    assert said in done.stderr and "Error deploying the application" in done.stderr
    assert (room.head(app), room.get(app)) == (before, (200, "hello"))
    assert [one.label for one in room.call(room.platform.containers, app)] == ["web-1"]


@pytest.mark.parametrize("status", ["build-error", "crashed-error", "timeout-error", "hook-error", "aborted"])
def test_a_scenario_makes_the_next_deployment_fail(room: Room, status: str) -> None:
    app, folder = room.deployed()
    before = room.head(app)
    app.scenario.fail, app.scenario.fail_times = status, 1
    room.commit(folder, {"more": ""})
    assert room.push(app, folder).returncode == (128 if status == "aborted" else 1)
    assert room.until(lambda: room.last(app).finished_at) and room.last(app).status == status
    assert (room.head(app), room.get(app)) == (before, (200, "hello"))
    assert app.scenario.fail is None


def test_going_back_is_a_forced_push_of_the_old_commit(room: Room) -> None:
    app, folder = room.deployed()
    first = room.head(app)
    room.commit(folder, {"server.py": (folder / "server.py").read_text().replace("hello", "second")})
    assert room.push(app, folder).returncode == 0
    assert room.get(app) == (200, "second")
    done = room.push(app, folder, f"{first}:refs/heads/master", "--force")
    assert done.returncode == 0
    assert (room.head(app), room.get(app)) == (first, (200, "hello"))


def test_a_stale_lease_is_refused_before_any_build(room: Room) -> None:
    app, folder = room.deployed()
    commit = room.commit(folder, {"more": ""})
    done = room.push(
        app, folder, f"{commit}:refs/heads/master", f"--force-with-lease=refs/heads/master:{commit}"
    )
    assert (done.returncode, len(room.call(room.platform.deployments, app))) == (1, 1)
    assert "(stale info)" in done.stdout


@pytest.mark.parametrize(
    ("refspec", "said"),
    [
        ("HEAD:refs/heads/feature", "Only the branches main and master are deployed"),
        ("v1:refs/tags/v1", "Tags are not accepted"),
        (":refs/heads/master", "can't be deleted"),
    ],
)
def test_only_main_and_master_deploy(room: Room, refspec: str, said: str) -> None:
    app, folder = room.deployed()
    room.git(folder, "tag", "v1")
    done = room.push(app, folder, refspec)
    assert done.returncode == 1
    assert said in done.stderr + done.stdout
    assert len(room.call(room.platform.deployments, app)) == 1


def test_a_shallow_push_is_refused_without_a_build(
    room: Room, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = room.repository("deep")
    other = room.new_app()
    room.commit(folder, {"more": ""})
    shallow = tmp_path_factory.mktemp("shallow") / "clone"
    room.git(folder, "clone", "-q", "--depth", "1", f"file://{folder}", str(shallow))
    done = room.push(other, shallow)
    assert done.returncode == 1
    assert "Shallow pushes are refused" in done.stderr
    assert room.call(room.platform.deployments, other) == []


def test_an_annotated_tag_builds_but_its_ref_is_refused_by_git(room: Room) -> None:
    app, folder = room.deployed()
    before = room.head(app)
    room.commit(folder, {"more": ""})
    room.git(folder, "tag", "-a", "-m", "release", "v2")
    done = room.push(app, folder, "v2:refs/heads/master")
    assert (done.returncode, room.last(app).status, room.head(app)) == (1, "success", before)


def test_an_unknown_key_is_refused(room: Room) -> None:
    app, _ = room.deployed()
    stranger = room.folder / "stranger"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(stranger)], check=True)
    command = [part.replace(str(room.key), str(stranger)) for part in room.ssh]
    done = subprocess.run(
        [*command, "git@127.0.0.1", f"git-upload-pack '/{app.name}.git'"], capture_output=True, text=True
    )
    assert done.returncode == 255
    assert "Permission denied (publickey)" in done.stderr


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("git-receive-pack '/nobodys.git'", "The application nobodys doesn't exist"),
        ("git-upload-pack '../platform.json'", "doesn't exist"),
        ("bash", "Only git pushes and fetches"),
        ("git-receive-pack 'a' 'b'", "Only git pushes and fetches"),
    ],
)
def test_nothing_but_the_apps_repositories_is_served(room: Room, command: str, said: str) -> None:
    done = subprocess.run([*room.ssh, "git@127.0.0.1", command], capture_output=True, text=True)
    assert done.returncode == 1
    assert said in done.stderr


def test_a_clone_gives_what_was_deployed(room: Room, tmp_path_factory: pytest.TempPathFactory) -> None:
    app, folder = room.deployed()
    clone = tmp_path_factory.mktemp("clone") / "clone"
    room.git(folder, "clone", "-q", room.platform.git_url(app), str(clone))
    assert (clone / "server.py").read_text() == (folder / "server.py").read_text()


def test_pushes_are_refused_and_told_while_writes_are_forbidden(room: Room) -> None:
    app, folder = room.deployed()
    room.commit(folder, {"more": ""})
    room.platform.forbid_writes = True
    try:
        done = room.push(app, folder)
    finally:
        room.platform.forbid_writes = False
    assert done.returncode == 128 and "Writes are forbidden" in done.stderr
    assert room.violations[-1] == f"git push to {app.name}"
    assert room.head(app) is not None


def test_a_second_push_is_refused_while_one_builds(room: Room) -> None:
    app, folder = room.deployed()
    app.scenario.building = 20
    room.commit(folder, {"more": ""})
    first = room.begin_push(app, folder)
    try:
        room.until(lambda: room.last(app).status == "building")
        room.commit(folder, {"more still": ""})
        done = room.push(app, folder)
        assert done.returncode == 1
        assert "Another deployment of this application is in progress" in done.stderr
    finally:
        os.killpg(first.pid, signal.SIGTERM)
        first.communicate()
    assert room.until(lambda: room.last(app).finished_at) and room.last(app).status == "aborted"
