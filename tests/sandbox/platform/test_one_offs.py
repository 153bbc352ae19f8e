"""One-off containers over the raw attach protocol, and detached."""

from __future__ import annotations

import base64
import json
import socket
import threading
import time
import urllib.parse

import pytest

from sandbox.platform import oneoffs, processes
from sandbox.platform.errors import BadRequest, Forbidden, Invalid
from sandbox.platform.model import App, Container, Operation
from tests.sandbox.platform.room import Room


def create(room: Room, app: App, command: str, detached: bool = False) -> tuple[Container, Operation]:
    made: tuple[Container, Operation] = room.run(
        room.platform.run_one_off(app, command, {"TERM": "dumb"}, "M", detached, room.user)
    )
    return made


class Attached:
    """A client of the attach endpoint, written from the protocol's description."""

    def __init__(self, url: str, password: str = "let me in") -> None:
        parts = urllib.parse.urlsplit(url)
        self.address = (parts.hostname, parts.port)
        self.path = parts.path
        self.authorization = base64.b64encode(f":{password}".encode()).decode()

    def request(self, method: str, path: str = "", body: bytes = b"") -> tuple[int, bytes]:
        """One whole exchange; (status, body)."""
        with socket.create_connection(self.address, timeout=20) as connection:
            self.send(connection, method, path, body)
            answer = b"".join(iter(lambda: connection.recv(4096), b""))
        head, _, rest = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]), rest

    def send(self, connection: socket.socket, method: str, path: str, body: bytes = b"") -> None:
        connection.sendall(
            f"{method} {self.path}{path} HTTP/1.1\r\nHost: sandbox\r\nContent-Length: {len(body)}\r\n"
            f"Authorization: Basic {self.authorization}\r\n\r\n".encode()
            + body
        )

    def connect(self) -> socket.socket:
        connection = socket.create_connection(self.address, timeout=20)
        self.send(connection, "CONNECT", "")
        assert connection.recv(4096) == b"HTTP/1.1 200 OK\r\n\r\n"
        return connection

    def run(self, typed: bytes = b"") -> tuple[str, int]:
        """(output, exit code) of a command that is given this input."""
        with self.connect() as connection:
            connection.sendall(typed)
            output = b"".join(iter(lambda: connection.recv(4096), b""))
        status, body = self.request("GET", "/wait")
        assert status == 200
        return output.decode(), json.loads(body)["exit_code"]


def attached(room: Room, app: App, command: str) -> Attached:
    _, operation = create(room, app, command)
    assert operation.status == "done"
    url = room.platform.attach_url(operation)
    assert url is not None
    return Attached(url)


@pytest.fixture(scope="module")
def app(room: Room) -> App:
    app, _ = room.deployed()
    return app


def test_output_comes_through_a_terminal_and_the_exit_code_by_wait(room: Room, app: App) -> None:
    command = "tty -s && echo $CONTAINER $APP $TERM && python -c 'print(6 * 7)' && exit 7"
    output, code = attached(room, app, command).run()
    label = room.call(room.platform.container, app, f"one-off-{app.one_off_count}").label
    assert output == f"{label} {app.name} dumb\r\n42\r\n"
    assert code == 7


def test_output_never_comes_together_with_the_headers(room: Room, app: App) -> None:
    with attached(room, app, "echo at once").connect() as connection:
        began = time.monotonic()
        assert connection.recv(4096) == b"at once\r\n"
        assert time.monotonic() - began > 0.25


def test_a_killed_command_exits_as_a_shell_says(room: Room, app: App) -> None:
    assert attached(room, app, "kill -9 $$").run() == ("", 137)


def test_nothing_of_a_long_output_is_lost(room: Room, app: App) -> None:
    output, code = attached(room, app, "seq 1 60000").run()
    assert output.split() == [str(number) for number in range(1, 60001)]
    assert code == 0


def test_input_and_its_end_reach_the_command(room: Room, app: App) -> None:
    output, code = attached(room, app, "tr a-z A-Z; exit 5").run(b"one\ntwo\n\x04")
    echoed = "one\r\ntwo\r\n"
    assert output == echoed + "ONE\r\nTWO\r\n"
    assert code == 5


def test_control_c_interrupts_the_command(room: Room, app: App) -> None:
    client = attached(room, app, "echo ready; exec sleep 60")
    with client.connect() as connection:
        assert connection.recv(4096) == b"ready\r\n"
        connection.settimeout(1)
        for _ in range(20):  # as a person does: the shell may not have come to the command yet
            connection.sendall(b"\x03")
            try:
                while connection.recv(4096):
                    pass
                break
            except TimeoutError:
                continue
    assert json.loads(client.request("GET", "/wait")[1]) == {"exit_code": 130}


def test_the_terminals_size_can_be_set(room: Room, app: App) -> None:
    client = attached(room, app, "read line; stty size")
    with client.connect() as connection:
        room.until(lambda: room.call(room.platform.containers, app)[-1].state == "running")
        time.sleep(0.4)
        assert client.request("PUT", "", b'{"width": "97", "height": "31"}')[0] == 200
        connection.sendall(b"\n")
        output = b"".join(iter(lambda: connection.recv(4096), b""))
    assert output.split() == [b"31", b"97"]


def test_a_client_that_goes_away_ends_the_command(room: Room, app: App) -> None:
    client = attached(room, app, "trap '' HUP; echo ready; sleep 1000")
    container = room.call(room.platform.containers, app)[-1]
    with client.connect() as connection:
        assert connection.recv(4096) == b"ready\r\n"
    room.until(lambda: processes.start_time(container.pid) is None)
    room.until(lambda: container.state == "stopped")


def test_a_stop_ends_the_command_and_the_connection(room: Room, app: App) -> None:
    client = attached(room, app, "sleep 1000")
    container = room.call(room.platform.containers, app)[-1]
    with client.connect() as connection:
        room.until(lambda: container.pid)
        room.run(room.platform.stop_container(container))
        assert connection.recv(1) == b""
    assert json.loads(client.request("GET", "/wait")[1]) == {"exit_code": 143}


@pytest.mark.parametrize(
    ("method", "path", "password", "status"),
    [
        ("CONNECT", "", "wrong", 401),
        ("GET", "/wait", "wrong", 401),
        ("GET", "/other", "let me in", 404),
        ("POST", "/files", "let me in", 403),
    ],
)
def test_other_requests_are_refused(
    room: Room, app: App, method: str, path: str, password: str, status: int
) -> None:
    container, operation = create(room, app, "true")
    url = room.platform.attach_url(operation)
    assert url is not None
    assert Attached(url, password).request(method, path)[0] == status
    assert Attached(url + "x").request("CONNECT")[0] == 404
    assert container.pid is None
    room.run(room.platform.stop_container(container))


def test_one_client_at_a_time(room: Room, app: App) -> None:
    client = attached(room, app, "sleep 1000")
    with client.connect():
        room.until(lambda: room.call(room.platform.containers, app)[-1].pid)
        assert client.request("CONNECT")[0] == 409


def test_wait_waits_for_the_end(room: Room, app: App) -> None:
    client = attached(room, app, "read line; exit 4")
    answers: list[bytes] = []
    with client.connect() as connection:
        waiting = threading.Thread(target=lambda: answers.append(client.request("GET", "/wait")[1]))
        waiting.start()
        time.sleep(0.1)
        assert answers == []
        connection.sendall(b"\n")
        waiting.join(10)
    assert [json.loads(answer) for answer in answers] == [{"exit_code": 4}]


def test_a_detached_ones_output_goes_to_the_log(room: Room, app: App) -> None:
    container, operation = create(
        room, app, "echo said by $CONTAINER; echo and failed >&2; exit 3", detached=True
    )
    assert room.platform.attach_url(operation) is None
    room.until(lambda: container.state == "stopped")
    lines = [line.text for line in room.call(room.platform.logs, app, 10, container.label)]
    assert lines == [f"said by {container.label}", "and failed"]
    assert container.exit_code == 3
    said = room.call(room.platform.logs, app, 1, "manager")[0].text
    assert said == f"container [{container.label}] ({container.id}) has stopped"


def test_what_cannot_be_run_is_refused(room: Room, app: App) -> None:
    with pytest.raises(Invalid):
        create(room, app, "  ")
    with pytest.raises(Invalid):
        create(room, room.new_app(), "true")
    room.platform.forbid_writes = True
    try:
        with pytest.raises(Forbidden):
            create(room, app, "true")
    finally:
        room.platform.forbid_writes = False
    made = []
    with pytest.raises(BadRequest):
        for _ in range(oneoffs.MOST_AT_ONCE + 1):
            made.append(create(room, app, "true")[0])
    for container in made:
        room.run(room.platform.stop_container(container))
