"""The tunnel: the real ssh against a real SSH server, with the refusals that people meet."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tasks.core.errors import NotConfigured, Refused, Unreachable
from tasks.scalingo import tunnel as module
from tasks.scalingo.tunnel import POSTGRESQL_PROBE, Target, Tunnel, explain, tunnel_command

asyncssh = pytest.importorskip("asyncssh")
DATABASE = "demo-1.postgresql.dbs.example"


@dataclass
class Platform:
    """An SSH server that forwards one database name to `database`, as a platform does."""

    folder: Path
    database: int = 0
    port: int = 0
    prohibit: bool = False
    connections: list[Any] = field(default_factory=list)
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known hosts %h"  # a blank and a token of ssh's on purpose

    @property
    def identity(self) -> Path:
        return self.folder / "my key"

    def pin(self, public_key: str) -> None:
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {public_key}\n")

    def tunnel(self, port: int = 5432, **options: Any) -> Tunnel:
        options = {"identity": self.identity, **options}
        return Tunnel("127.0.0.1", self.port, DATABASE, port, self.known_hosts, **options)

    def drop(self) -> None:
        for connection in self.connections:
            self.loop.call_soon_threadsafe(connection.abort)


@pytest.fixture
def database() -> Iterator[int]:
    """What answers PostgreSQL's first question, and then echoes."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        with connection:
            if connection.recv(8) == POSTGRESQL_PROBE:
                connection.sendall(b"N")
            while data := connection.recv(100):
                connection.sendall(data.upper())

    def accept() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield server.getsockname()[1]
    server.close()


@pytest.fixture
def platform(tmp_path: Path, database: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Platform]:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    folder = tmp_path / "a folder"
    folder.mkdir()
    platform = Platform(folder, database)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", platform.identity], check=True)
    host_key = asyncssh.generate_private_key("ssh-ed25519")

    class Server(asyncssh.SSHServer):  # type: ignore[misc, name-defined]
        def connection_made(self, connection: Any) -> None:
            self.connection = connection
            platform.connections.append(connection)

        def connection_requested(self, host: str, port: int, _from: str, _port: int) -> Any:
            if platform.prohibit or host != DATABASE:
                raise asyncssh.ChannelOpenError(asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, "not yours")
            return self.connection.forward_connection(
                "127.0.0.1", platform.database if port == 5432 else port
            )

    async def serve() -> None:
        server = await asyncssh.create_server(
            Server, "127.0.0.1", 0, server_host_keys=[host_key],
            authorized_client_keys=str(platform.identity.with_suffix(".pub")),
        )  # fmt: skip
        platform.port = server.sockets[0].getsockname()[1]

    platform.loop.run_until_complete(serve())
    thread = threading.Thread(target=platform.loop.run_forever, daemon=True)
    thread.start()
    platform.pin(host_key.export_public_key().decode().strip())
    yield platform
    platform.loop.call_soon_threadsafe(platform.loop.stop)
    thread.join()


def processes_of(tunnel: Tunnel) -> list[str]:
    """ssh processes that forward this tunnel's port, wherever they hang."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if f"127.0.0.1:{tunnel.port}:{DATABASE}" in command:
                found.append(command)
    return found


def test_bytes_go_through_and_nothing_is_left(platform: Platform) -> None:
    with platform.tunnel() as tunnel:
        assert tunnel.failed() is None
        assert tunnel.address == ("127.0.0.1", tunnel.port)
        with socket.create_connection(tunnel.address, 5) as connection:
            connection.sendall(POSTGRESQL_PROBE)
            assert connection.recv(1) == b"N"
            connection.sendall(b"hello")
            assert connection.recv(5) == b"HELLO"
        assert processes_of(tunnel)
    assert not processes_of(tunnel)
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(tunnel.address, 1)


def test_two_side_by_side(platform: Platform) -> None:
    with platform.tunnel() as one, platform.tunnel(compression=False) as two:
        assert one.port != two.port


def test_another_host_key_than_the_pinned_one(platform: Platform) -> None:
    platform.pin(asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().strip())
    with pytest.raises(Refused, match="ITS HOST KEY IS NOT THE PINNED ONE") as caught, platform.tunnel():
        pass
    assert "do not go on from this network" in caught.value.next_step


def test_a_key_that_the_platform_does_not_know(platform: Platform) -> None:
    other = platform.folder / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other], check=True)
    with (
        pytest.raises(NotConfigured, match="does not accept any SSH key") as caught,
        platform.tunnel(identity=other),
    ):
        pass
    assert "scalingo keys-add" in caught.value.next_step


def test_a_database_of_somebody_else(platform: Platform) -> None:
    platform.prohibit = True
    with pytest.raises(Refused, match="administratively prohibited"), platform.tunnel():
        pass


def test_a_database_that_is_down(platform: Platform) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(Unreachable, match="the database does not accept connections"), platform.tunnel(port):
        pass


def test_an_ssh_server_that_is_down(platform: Platform) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        platform.port = free.getsockname()[1]
    with pytest.raises(Unreachable, match="Connection refused"), platform.tunnel():
        pass


def test_a_tunnel_that_breaks_is_noticed(platform: Platform) -> None:
    with platform.tunnel() as tunnel:
        platform.drop()
        deadline = time.monotonic() + 10
        while tunnel.failed() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        reason = tunnel.failed()
    assert reason
    assert "connection" in reason.lower() or "ssh ended" in reason


def test_a_taken_port_is_tried_elsewhere(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where whoever took it would answer as a database does."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        threading.Thread(target=lambda: taken.accept()[0].sendall(b"N"), daemon=True).start()
        ports = iter([taken.getsockname()[1], module._free_port()])
        monkeypatch.setattr(module, "_free_port", lambda: next(ports))
        with platform.tunnel() as tunnel:
            assert tunnel.port != taken.getsockname()[1]


def test_the_command_trusts_and_asks_nobody_else(tmp_path: Path) -> None:
    target = Target("ssh.example", 2222, "::1", 5432)
    command = tunnel_command(target, 6000, tmp_path / 'a "b" %h', None, True)
    assert 'UserKnownHostsFile="' + str(tmp_path) + '/a \\"b\\" %%h"' in command
    assert command[-5:] == ["-L", "127.0.0.1:6000:[::1]:5432", "-p", "2222", "git@ssh.example"]
    assert {"BatchMode=yes", "StrictHostKeyChecking=yes", "GlobalKnownHostsFile=/dev/null"} <= set(command)
    assert {"ExitOnForwardFailure=yes", "ServerAliveInterval=10", "Compression=yes"} <= set(command)


def test_an_unknown_complaint_is_given_as_it_is() -> None:
    assert explain(["a", "ssh: strange thing"]).reason == "ssh: strange thing"


def test_a_killed_owner_leaves_no_tunnel(platform: Platform, tmp_path: Path) -> None:
    program = f"""
import sys, time
sys.path.insert(0, {str(Path(__file__).parents[3])!r})
from pathlib import Path
from tasks.scalingo.tunnel import Tunnel
with Tunnel("127.0.0.1", {platform.port}, {DATABASE!r}, 5432, Path({str(platform.known_hosts)!r}),
            Path({str(platform.identity)!r})) as tunnel:
    print(tunnel.port, flush=True)
    time.sleep(60)
"""
    owner = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    with owner.stdout:
        tunnel = platform.tunnel()
        tunnel.port = int(owner.stdout.readline())
    assert processes_of(tunnel)
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    deadline = time.monotonic() + 10
    while processes_of(tunnel) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not processes_of(tunnel)
