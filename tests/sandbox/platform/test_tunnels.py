"""Forwarding through the platform's SSH server, to databases only."""

from __future__ import annotations

import contextlib
import os
import socket
import socketserver
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.ports import free_port
from tests.sandbox.platform.room import Room

HOST, PORT = "demo-1.postgresql.sandbox-dbs.test", 31234


class Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):
            while data := self.request.recv(1 << 16):
                self.request.sendall(data)


@pytest.fixture
def echo(room: Room) -> Iterator[None]:
    """A server behind the database's name."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        room.databases[HOST, PORT] = ("127.0.0.1", server.server_address[1])
        yield
        server.shutdown()


@contextlib.contextmanager
def tunnel(room: Room, destination: str = f"{HOST}:{PORT}") -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """(local port, ssh) of a tunnel made by the plain client."""
    port = free_port()
    ssh = subprocess.Popen(
        [
            *room.ssh,
            "-N",
            "-o",
            "ExitOnForwardFailure=yes",
            "-L",
            f"127.0.0.1:{port}:{destination}",
            "git@127.0.0.1",
        ],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        room.until(lambda: _listens(port))
        yield port, ssh
    finally:
        ssh.terminate()
        ssh.wait()
        assert ssh.stderr is not None
        ssh.stderr.close()


def said(ssh: subprocess.Popen[str]) -> str:
    """What the client complains of, to its end."""
    ssh.terminate()
    assert ssh.stderr is not None
    return ssh.stderr.read()


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), Path("/proc/net/tcp").open() as table:
        return any(line.split()[1].endswith(f":{port:04X}") for line in table.readlines()[1:])
    return False


def exchange(port: int, data: bytes) -> bytes:
    """Send, end the sending, and read to the end, at the same time."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:

        def send() -> None:
            with contextlib.suppress(OSError):
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)

        sending = threading.Thread(target=send)
        sending.start()
        received = []
        with contextlib.suppress(ConnectionResetError):
            received.extend(iter(lambda: connection.recv(1 << 16), b""))
        sending.join()
        return b"".join(received)


@pytest.mark.usefixtures("echo")
def test_a_database_is_reached_by_its_platform_name(room: Room) -> None:
    data = os.urandom(8_000_000)
    with tunnel(room) as (port, _):
        assert exchange(port, data) == data
        assert exchange(port, b"again") == b"again"


@pytest.mark.parametrize("destination", ["127.0.0.1:22", f"{HOST}:22", "example.org:80"])
@pytest.mark.usefixtures("echo")
def test_any_other_destination_is_prohibited(room: Room, destination: str) -> None:
    with tunnel(room, destination) as (port, ssh):
        assert exchange(port, b"x") == b""
        assert "administratively prohibited" in said(ssh)


def test_a_database_that_is_down_is_a_failed_connection(room: Room) -> None:
    room.databases[HOST, PORT] = ("127.0.0.1", free_port())
    with tunnel(room) as (port, ssh):
        assert exchange(port, b"x") == b""
        assert "connect failed" in said(ssh)


@pytest.mark.usefixtures("echo")
def test_tunnels_can_be_cut_at_once_and_after_so_many_bytes(room: Room) -> None:
    with tunnel(room) as (port, ssh), socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"x")
        assert connection.recv(1) == b"x"
        room.call(room.platform.cut_tunnels)
        assert connection.recv(1) == b""
        assert ssh.wait(10) == 255
    room.call(room.platform.cut_tunnels, 1_000_000)
    with tunnel(room) as (port, ssh):
        received = exchange(port, b"x" * 4_000_000)
        assert len(received) < 1_000_000
        assert ssh.wait(10) == 255
    with tunnel(room) as (port, _):
        assert exchange(port, b"whole again") == b"whole again"


@pytest.mark.usefixtures("echo")
def test_tunnels_can_be_slow_without_losing_order_or_bandwidth(room: Room) -> None:
    data = os.urandom(4_000_000)
    with tunnel(room) as (port, _):
        room.call(room.platform.slow_tunnels, 60)
        try:
            with socket.create_connection(("127.0.0.1", port)) as connection:
                trips = []
                for _ in range(3):
                    began = time.monotonic()
                    connection.sendall(b"x")
                    assert connection.recv(1) == b"x"
                    trips.append(time.monotonic() - began)
            assert min(trips) >= 0.06
            began = time.monotonic()
            assert exchange(port, data) == data
            assert time.monotonic() - began < 5
        finally:
            room.call(room.platform.slow_tunnels, 0)


def test_a_shell_or_a_listening_port_is_not_to_be_had(room: Room) -> None:
    done = subprocess.run(
        [*room.ssh, "-tt", "git@127.0.0.1"], capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 255 and "PTY allocation request failed" in done.stderr
    done = subprocess.run(
        [*room.ssh, "-N", "-o", "ExitOnForwardFailure=yes", "-R", "0:127.0.0.1:1", "git@127.0.0.1"],
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert done.returncode == 255 and "remote port forwarding failed" in done.stderr
