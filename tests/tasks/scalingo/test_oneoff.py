"""One-off containers: the attach protocol against a real socket that behaves as documented, and worse."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path

import pytest

from tasks.core.errors import Interrupted, OpsError, Unreachable
from tasks.core.secrets import Secret
from tasks.scalingo.oneoff import _Attached, terminal_lines

from .conftest import TIME, basic

ATTACH = "/attach/secret-path"


@pytest.fixture
def one_off(platform):
    """A platform that starts one-offs; the test says what the attached connection does."""
    container = {"id": "c1", "label": "one-off-12", "type": "one-off", "type_index": 12, "created_at": TIME}
    operation = {
        "id": "op-1",
        "status": "done",
        "type": "start-one-off",
        "error": None,
        "start_one_off_data": {"attach_url": platform.url + ATTACH, "container_id": "c1"},
    }
    platform.give(
        "POST /v1/apps/demo/run",
        (
            200,
            {
                "container": container,
                "operation_url": f"{platform.url}/v1/apps/demo/operations/op-1",
                "operation": "op-1",
            },
        ),
    )
    platform.give("GET /v1/apps/demo/operations/op-1", (200, {"operation": operation}))
    platform.give(f"GET {ATTACH}/wait", (200, {"exit_code": 0}))
    platform.give("POST /v1/apps/demo/containers/c1/stop", (202, ""))
    return platform


def speaking(
    *blocks: bytes, pause: float = 0.02, header: bytes = b"HTTP/1.1 200 OK\r\n\r\n", end: str = "close"
):
    def attach(handler) -> None:
        # The first block goes out in one segment with the header: the trap that the protocol has.
        handler.wfile.write(header + (blocks[0] if blocks else b""))
        for block in blocks[1:]:
            time.sleep(pause)
            handler.wfile.write(block)
        if end == "reset":
            linger = (1).to_bytes(4, "little") + (0).to_bytes(4, "little")
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            handler.connection.close()
        elif end == "silence":
            time.sleep(30)

    return attach


def test_lines_come_live_and_whole_with_the_exit_code(one_off, client) -> None:
    times: list[float] = []
    call = "GET /v1/apps/demo/operations/op-1"
    pending = {"operation": {"id": "op-1", "status": "pending", "start_one_off_data": None}}
    one_off.give(call, (200, pending), *one_off.routes[call])
    one_off.attach = speaking(
        b"first\r\nh", "é".encode()[:1], "é".encode()[1:] + b"llo\r\n", b"last", pause=0.3
    )
    one_off.give(f"GET {ATTACH}/wait", (200, {"exit_code": 7}))
    result = client.run(
        "demo", "./run it && 'now'", env={"A": "1"}, on_line=lambda _: times.append(time.monotonic())
    )
    assert (result.exit_code, result.output, result.label) == (7, ["first", "héllo", "last"], "one-off-12")
    assert times[1] - times[0] > 0.4
    sent = next(asked for asked in one_off.asked if asked.path.endswith("/run")).json
    assert sent == {
        "command": "./run it && 'now'", "env": {"TERM": "dumb", "A": "1"}, "size": "M",
        "detached": False, "has_uploads": False,
    }  # fmt: skip


def test_the_request_to_attach_is_literal_and_signed(one_off, client) -> None:
    received: list[bytes] = []

    def attach(handler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
        received.append(handler.rfile.read1(10))

    one_off.attach = attach
    client.run("demo", "true")
    connect = next(asked for asked in one_off.asked if asked.method == "CONNECT")
    assert connect.path == ATTACH
    assert connect.headers == {
        "Host": one_off.url.removeprefix("http://"), "Authorization": basic(one_off.issued[0]),
    }  # fmt: skip
    wait = next(asked for asked in one_off.asked if asked.path.endswith("/wait"))
    assert wait.headers["Authorization"] == basic(one_off.issued[0])
    assert received == [b"\x04"]


def test_silence_for_too_long_is_said(one_off, client) -> None:
    one_off.attach = speaking(b"a\r\n")
    one_off.give(f"GET {ATTACH}/wait", (408, {"error": "timeout"}))
    with pytest.raises(OpsError, match="silent for too long"):
        client.run("demo", "sleep 9999")


@pytest.mark.parametrize("header", [b"HTTP/1.1 403 Forbidden\r\n\r\n", b"HTTP/1.1 202 Accepted\r\n\r\n"])
def test_a_refused_attachment_ran_nothing_and_hides_the_path(one_off, client, header: bytes) -> None:
    one_off.attach = speaking(header=header)
    with pytest.raises(OpsError, match=r"attaching to its container: HTTP/1\.1 ") as caught:
        client.run("demo", "true")
    assert caught.value.state == "nothing ran"
    assert "secret-path" not in str(caught.value)


def test_a_cut_connection_still_asks_for_the_exit_code(one_off, client) -> None:
    one_off.attach = speaking(b"half a li", b"ne", end="reset")
    one_off.give(f"GET {ATTACH}/wait", (502, "<html>"), (200, {"exit_code": 3}))
    result = client.run("demo", "true")
    assert result.exit_code == 3
    assert result.output in (["half a line"], ["half a li"], [])


def test_an_attachment_that_is_cut_at_once(one_off, client) -> None:
    one_off.attach = speaking(header=b"HTTP/1.1 2", end="close")
    with pytest.raises(Unreachable) as caught:
        client.run("demo", "true")
    assert "secret-path" not in str(caught.value)


def test_a_command_that_takes_too_long_is_stopped(one_off, client) -> None:
    one_off.attach = speaking(b"working\r\n", end="silence")
    with pytest.raises(OpsError, match="not finished after 1 s") as caught:
        client.run("demo", "sleep 9999", limit=1.0)
    assert caught.value.state == "the container was stopped"
    assert one_off.calls("stop") == ["POST /v1/apps/demo/containers/c1/stop"]


def test_an_exit_code_that_never_comes_is_waited_for_no_longer_than_allowed(one_off, client) -> None:
    one_off.attach = speaking(b"done\r\n")
    one_off.give(f"GET {ATTACH}/wait", (503, "<html>"))
    began = time.monotonic()
    with pytest.raises(OpsError, match="not finished after 2 s") as caught:
        client.run("demo", "true", limit=2.0)
    assert time.monotonic() - began < 5
    assert caught.value.state == "the container was stopped"


def test_a_command_is_stopped_when_asked(one_off, client) -> None:
    one_off.attach = speaking(b"working\r\n", end="silence")
    seen: list[str] = []
    with pytest.raises(Interrupted, match="the container was stopped"):
        client.run("demo", "sleep 9999", on_line=seen.append, stop=lambda: bool(seen))


def test_a_failure_to_start_is_the_platforms_own_text(one_off, client) -> None:
    failed = {"id": "op-1", "status": "error", "error": "too many one-offs", "type": "start-one-off"}
    one_off.give("GET /v1/apps/demo/operations/op-1", (200, {"operation": failed}))
    with pytest.raises(OpsError, match="Running a command on demo: too many one-offs"):
        client.run("demo", "true")


def test_an_error_of_the_one_who_listens_is_not_taken_for_the_networks(one_off, client) -> None:
    one_off.attach = speaking(b"a\r\n")

    def broken(_line: str) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        client.run("demo", "true", on_line=broken)


@pytest.mark.parametrize("trust", [True, False], ids=["trusted", "not trusted"])
def test_over_tls(one_off, client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trust: bool) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "1",
                "-subj",
                "/CN=localhost",
            ),
            *("-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    if trust:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        monkeypatch.setenv("NO_PROXY", "*")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = context.wrap_socket(socket.create_server(("127.0.0.1", 0)), server_side=True)

    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\nthrough TLS\r\n")

    thread = threading.Thread(target=lambda: _quietly(serve), daemon=True)
    thread.start()
    url = f"https://localhost:{server.getsockname()[1]}/x"
    attached = _Attached(Secret("u", url), Secret("t", "jwt"), "Running")
    try:
        if trust:
            assert attached.follow(time.monotonic() + 10, None, None) == ["through TLS"]
        else:
            with pytest.raises(Unreachable, match="its certificate is not accepted"):
                attached.follow(time.monotonic() + 10, None, None)
    finally:
        server.close()


def _quietly(function) -> None:
    with contextlib.suppress(OSError):
        function()


@pytest.mark.parametrize(
    ("blocks", "lines"),
    [
        ([b"a\r\nb\r\n"], ["a", "b"]),
        ([b"a\r", b"\nb"], ["a", "b"]),
        ([b"10%\r50%\r100%\r\n"], ["100%"]),
        ([b"\x1b[1;31mred\x1b[0m \x1b]0;title\x07end\r\n"], ["red end"]),
        ([b"\x1b[3", b"2mgreen\r\n"], ["green"]),
        ([b"tab\there \x07\x00bell\r\n", b"\xff\r\n"], ["tab\there bell", "�"]),
        ([b"\r\n\r\n"], ["", ""]),
        ([], []),
    ],
)
def test_a_terminals_bytes_as_lines(blocks: list[bytes], lines: list[str]) -> None:
    assert list(terminal_lines(iter(blocks))) == lines
