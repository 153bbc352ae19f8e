"""Nothing survives the platform, and the next start brings back what ran."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

from sandbox.platform import processes
from sandbox.platform.guardian import session_members, signal_session
from sandbox.platform.model import now
from sandbox.platform.store import Store
from tests.sandbox.platform.room import Room


def processes_of(folder: Path) -> list[str]:
    """Command lines of processes that work in the folder or name it."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            where = str((entry / "cwd").readlink())
            line = (entry / "cmdline").read_text().replace("\0", " ")
        except OSError:
            continue
        if int(entry.name) != os.getpid() and (where.startswith(str(folder)) or str(folder) in line):
            found.append(f"{entry.name} {line}")
    return found


def test_a_stop_leaves_no_process_and_a_start_resumes(make_room: Callable[[], Room]) -> None:
    first = make_room()
    app, folder = first.deployed()
    url, key = first.platform.url(app), first.platform.host_key
    commit = first.head(app)
    first.run(first.platform.run_one_off(app, "sleep 1000", {}, "M", True, first.user))
    first.stop()
    assert processes_of(first.folder) == []

    second = make_room()
    app = second.call(second.platform.app, app.name)
    assert (second.platform.url(app), second.platform.host_key) == (url, key)
    assert (second.get(app), second.head(app), app.status) == ((200, "hello"), commit, "running")
    assert [one.label for one in second.call(second.platform.containers, app)] == ["web-1"]
    second.commit(folder, {"more": ""})
    assert second.push(app, folder).returncode == 0
    assert len(second.call(second.platform.deployments, app)) == 2


def test_a_stop_in_the_middle_of_a_deployment_aborts_it(make_room: Callable[[], Room]) -> None:
    first = make_room()
    app, folder = first.deployed()
    app.scenario.starting = 30
    first.commit(folder, {"more": ""})
    pusher = first.begin_push(app, folder)
    first.until(lambda: first.last(app).status == "starting")
    first.stop()
    pusher.communicate()
    assert pusher.returncode != 0
    assert processes_of(first.folder) == []
    second = make_room()
    app = second.call(second.platform.app, app.name)
    assert (second.last(app).status, second.get(app)) == ("aborted", (200, "hello"))


def test_kill_9_leaves_no_process(tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import asyncio, sys
        from pathlib import Path
        from sandbox.platform.processes import Guard

        async def main():
            guard = Guard()
            guard.start()
            here = sys.argv[1]
            await guard.spawn(["sleep", "1001"], env={"PATH": "/usr/bin:/bin"}, cwd=here)
            await guard.spawn(
                ["bash", "-ic", "(trap '' TERM HUP; sleep 1002) & sleep 1003"],
                env={"PATH": "/usr/bin:/bin", "HOME": here}, cwd=here,
            )
            print("ready", flush=True)
            await asyncio.sleep(1000)

        asyncio.run(main())
        """
    )
    supervisor = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
    )
    assert supervisor.stdout is not None and supervisor.stdout.readline() == "ready\n"
    wait_until(lambda: len([line for line in processes_of(tmp_path) if "sleep 100" in line]) >= 3)
    supervisor.kill()
    supervisor.wait()
    wait_until(lambda: not [line for line in processes_of(tmp_path) if "sleep" in line])


def test_leftovers_of_supervisor_and_guardian_killed_together_are_ended(
    make_room: Callable[[], Room],
) -> None:
    first = make_room()
    app, _ = first.deployed()
    first.stop()
    left = subprocess.Popen(["sleep", "1000"], start_new_session=True, cwd=first.folder)
    other = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    store = Store(first.store.path)
    records = list(store.state.containers.values())
    container = records[0]
    container.deleted_at, container.state = None, "running"
    container.pid, container.process_started = left.pid, processes.start_time(left.pid)
    deployment = next(iter(store.state.deployments.values()))
    deployment.status, deployment.finished_at = "building", None
    store.save()
    try:
        second = make_room()
        assert left.wait(5) == -signal.SIGKILL
        assert not processes.end_leftover(other.pid, "not its start time")
        assert other.poll() is None
        app = second.call(second.platform.app, app.name)
        assert second.last(app).status == "aborted" and second.last(app).finished_at <= now()
    finally:
        other.kill()
        other.wait()


def test_a_session_is_ended_with_those_that_left_its_process_group() -> None:
    shell = subprocess.Popen(
        ["bash", "-c", "set -m; sleep 1000 & sleep 1000"],
        start_new_session=True,
        env={"PATH": os.environ["PATH"]},
    )
    wait_until(lambda: len(session_members(shell.pid)) == 3)
    signal_session(shell.pid, signal.SIGKILL)
    shell.wait()
    wait_until(lambda: session_members(shell.pid) == [])


def test_a_killed_guardian_is_replaced(make_room: Callable[[], Room]) -> None:
    room = make_room()
    app, _ = room.deployed()
    guard = room.platform._services.guard
    assert guard._guardian is not None
    guard._guardian.kill()
    guard._guardian.wait()
    assert room.call(room.platform.part_states)["guardian"] == "crashed"
    operation = room.run(room.platform.restart(app, []))
    room.until(lambda: operation.status == "done")
    assert room.call(room.platform.part_states)["guardian"] == "running"


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "never came true"
        time.sleep(0.03)
