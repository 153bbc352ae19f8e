"""Containers: boot, scale, restart, crash, and the front that never shows any of it to readers."""

from __future__ import annotations

import http.client
import os
import signal
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from sandbox.platform import processes, router
from sandbox.platform.errors import Conflict, Invalid
from sandbox.platform.guardian import session_members
from sandbox.platform.model import App, Formation, Operation
from tests.sandbox.platform.room import Room

SERVER_THAT_BREAKS_OFF = """\
import os, socket

listening = socket.create_server(("127.0.0.1", int(os.environ["PORT"])))
while True:
    connection, _ = listening.accept()
    path = connection.recv(65536).split()[1:2]
    if path == [b"/short"]:
        connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 100\\r\\n\\r\\nhalf")
    if path == [b"/chunks"]:
        connection.sendall(b"HTTP/1.1 200 OK\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n4\\r\\nhalf\\r\\n")
    connection.close()
"""


def labels(room: Room, app: App) -> list[str]:
    return sorted(container.label for container in room.call(room.platform.containers, app))


def scaled(room: Room, app: App, **amounts: int) -> Operation:
    changes = {name: Formation(amount, "") for name, amount in amounts.items()}
    operation: Operation = room.run(room.platform.scale(app, changes))
    room.until(lambda: operation.status in ("done", "error"))
    return operation


@contextmanager
def reading(room: Room, app: App, path: str = "/") -> Iterator[list[str]]:
    """Reads a page every 50 ms meanwhile; the list gets each answer that isn't a 200."""
    errors: list[str] = []
    counts = [0]
    over = threading.Event()

    def read() -> None:
        while not over.wait(0.05):
            status, text = room.get(app, path)
            counts[0] += 1
            if status != 200:
                errors.append(f"{status} {text[:80]}")

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    try:
        yield errors
        time.sleep(0.2)
    finally:
        over.set()
        for reader in readers:
            reader.join()
    assert counts[0] > 5


@pytest.mark.parametrize("path", ["/", "/slow"])
def test_readers_see_no_error_while_a_release_replaces_another(room: Room, path: str) -> None:
    app, folder = room.deployed()
    room.commit(folder, {"server.py": (folder / "server.py").read_text().replace("hello", "second")})
    with reading(room, app, path) as errors:
        assert room.push(app, folder).returncode == 0
    assert errors == []
    assert room.get(app) == (200, "second")
    room.until(lambda: labels(room, app) == ["web-1"])


def test_scaling_starts_and_stops_containers(room: Room) -> None:
    app, _ = room.deployed()
    with reading(room, app) as errors:
        assert scaled(room, app, web=3, worker=2).status == "done"
        assert labels(room, app) == ["web-1", "web-2", "web-3", "worker-1", "worker-2"]
        answers = {room.get(app, "/env/CONTAINER")[1] for _ in range(6)}
        assert answers == {"web-1", "web-2", "web-3"}
        assert scaled(room, app, web=1, worker=0).status == "done"
    assert errors == []
    assert (labels(room, app), app.status) == (["web-1"], "running")


def test_without_web_containers_the_front_says_so(room: Room) -> None:
    app, _ = room.deployed()
    scaled(room, app, web=0)
    status, page = room.get(app)
    assert (status, app.status) == (503, "stopped")
    assert "No web container is running" in page
    assert scaled(room, app, web=1).status == "done"
    assert room.get(app) == (200, "hello")


def test_restart_gives_new_processes_without_an_error(room: Room) -> None:
    app, _ = room.deployed()
    scaled(room, app, worker=1)
    before = {one.label: one.pid for one in room.call(room.platform.containers, app)}
    room.call(room.platform.set_variables, app, {"COLOUR": "blue"})
    assert room.get(app, "/env/COLOUR") == (200, "")
    with reading(room, app) as errors:
        operation = room.run(room.platform.restart(app, ["web"]))
        room.until(lambda: operation.status == "done")
    assert errors == []
    after = {one.label: one.pid for one in room.call(room.platform.containers, app)}
    assert after["web-1"] != before["web-1"] and after["worker-1"] == before["worker-1"]
    assert room.get(app, "/env/COLOUR") == (200, "blue")


def test_wrong_scales_and_restarts_are_refused(room: Room) -> None:
    app, _ = room.deployed()
    with pytest.raises(Invalid) as refused:
        scaled(room, app, web=11)
    assert list(refused.value.errors) == ["container-web-amount"]
    with pytest.raises(Invalid) as refused:
        room.run(room.platform.restart(app, ["clock"]))
    assert list(refused.value.errors) == ["scope"]
    never_deployed = room.new_app()
    assert room.run(room.platform.scale(never_deployed, {"web": Formation(2)})) is None
    with pytest.raises(Invalid):
        room.run(room.platform.restart(never_deployed, []))


def test_one_scale_or_restart_at_a_time(room: Room) -> None:
    app, _ = room.deployed()

    async def twice() -> Operation:
        first: Operation = await room.platform.restart(app, [])
        with pytest.raises(Conflict):
            await room.platform.restart(app, [])
        return first

    operation = room.run(twice())
    room.until(lambda: operation.status == "done")


def test_a_crashed_container_is_seen_said_and_started_again(room: Room) -> None:
    app, _ = room.deployed()
    (container,) = room.call(room.platform.containers, app)
    first = container.pid
    room.run(room.platform.crash_container(container))
    room.until(lambda: container.state == "crashed")
    assert room.call(room.platform.part_states)[f"web-1 of {app.name}"] == "crashed"
    assert app.status == "crashed"
    assert room.get(app)[0] == 502
    room.until(lambda: container.state == "running")
    assert (container.restarts, room.get(app), app.status) == (1, (200, "hello"), "running")
    assert container.pid != first
    said = [line.text for line in room.call(room.platform.logs, app, 50, "manager")]
    assert any("[web-1]" in text and "has crashed: web-1 exited with code 137" in text for text in said)


def test_a_container_that_ignores_sigterm_is_killed(room: Room) -> None:
    app, _ = room.deployed(
        {"Procfile": "web: python server.py\nworker: trap '' TERM; while :; do sleep 1; done\n"}
    )
    app.scenario.stop_timeout = 0.3
    scaled(room, app, worker=1)
    (worker,) = [one for one in room.call(room.platform.containers, app) if one.type == "worker"]
    assert scaled(room, app, worker=0).status == "done"
    room.until(lambda: processes.start_time(worker.pid) is None)


def test_output_is_in_the_log_under_the_containers_label(room: Room) -> None:
    app, _ = room.deployed()
    room.get(app, "/looked-for")
    line = room.until(lambda: room.call(room.platform.logs, app, 1, "web"))[0]
    assert line.render().endswith(" +0000 UTC [web-1] request /looked-for")


def test_signals_reach_the_process(room: Room) -> None:
    app, _ = room.deployed(
        {"Procfile": "web: python server.py\nworker: trap 'echo heard' USR1; while :; do sleep 0.05; done\n"}
    )
    scaled(room, app, worker=1)
    worker = room.call(room.platform.container, app, "worker-1")
    with pytest.raises(Invalid):
        room.run(room.platform.signal_container(worker, "SIGKILL"))
    os.kill(worker.pid, signal.SIGUSR1)
    room.until(lambda: [line.text for line in room.call(room.platform.logs, app, 9, "worker")] == ["heard"])


def test_the_front_passes_bodies_headers_and_status(room: Room) -> None:
    app, _ = room.deployed()
    body = os.urandom(300_000)
    request = urllib.request.Request(room.platform.url(app) + "/a%20b?c=%2F", data=body)
    with urllib.request.urlopen(request) as reply:
        assert (reply.status, reply.read()) == (201, body)
        assert reply.headers["X-Request-ID"]
    assert room.call(room.platform.logs, app, 1, "web")[0].text == "request /a%20b?c=%2F"


def test_variables_are_those_of_the_app_with_aliases_resolved(room: Room) -> None:
    app, _ = room.deployed()
    os.environ["SCALINGO_API_TOKEN"] = "the operator's own"
    try:
        room.call(room.platform.set_variables, app, {"REAL_URL": "x://y", "ALIAS_URL": "$REAL_URL"})
        operation = room.run(room.platform.restart(app, []))
        room.until(lambda: operation.status == "done")
        assert room.get(app, "/env/ALIAS_URL") == (200, "x://y")
        assert room.get(app, "/env/SCALINGO_API_TOKEN") == (200, "")
    finally:
        del os.environ["SCALINGO_API_TOKEN"]
    listed = room.call(room.platform.variables, app)
    assert [(one.name, one.value) for one in listed] == [("ALIAS_URL", "$REAL_URL"), ("REAL_URL", "x://y")]
    with pytest.raises(Invalid):
        room.call(room.platform.set_variables, app, {"GOOD": "1", "_BAD": "1"})
    assert "GOOD" not in app.variables


def test_what_a_crashed_container_started_ends_with_it(room: Room) -> None:
    server = "import subprocess, sys\nsubprocess.Popen(['sleep', '1005'])\n"
    app, folder = room.deployed()
    room.commit(folder, {"server.py": server + (folder / "server.py").read_text()})
    assert room.push(app, folder).returncode == 0
    (container,) = [one for one in room.call(room.platform.containers, app) if one.state == "running"]
    first = container.pid
    os.kill(first, signal.SIGKILL)
    room.until(lambda: container.state == "running" and container.pid != first)
    assert container.exit_code is None
    room.until(lambda: session_members(first) == [])


def test_an_application_that_is_too_slow_is_a_504(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    app, _ = room.deployed()
    monkeypatch.setattr(router, "FIRST_BYTE_SECONDS", 0.15)
    status, page = room.get(app, "/slow")
    assert status == 504 and "too long" in page
    assert room.get(app) == (200, "hello")


def test_an_answer_that_breaks_off_is_not_taken_for_a_whole_one(room: Room) -> None:
    app, _ = room.deployed({"server.py": SERVER_THAT_BREAKS_OFF})
    for path in ("/short", "/chunks"):
        with pytest.raises(http.client.IncompleteRead):
            room.get(app, path)
    assert room.get(app, "/none")[0] == 502
    assert app.status == "running"


def test_a_request_under_way_is_answered_by_the_container_that_has_it(room: Room) -> None:
    app, _ = room.deployed()
    answers: list[tuple[int, str]] = []
    reader = threading.Thread(target=lambda: answers.append(room.get(app, "/slow")))
    reader.start()
    time.sleep(0.1)
    (container,) = room.call(room.platform.containers, app)
    assert scaled(room, app, web=0).status == "done"
    reader.join()
    assert (answers, container.state) == ([(200, "hello")], "stopped")
