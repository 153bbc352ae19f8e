"""The HTTP client against real servers on loopback that answer as badly as the real world does."""

from __future__ import annotations

import json
import logging
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.core.endpoints import is_loopback, refuse_loopback, require_loopback
from tasks.core.errors import NotConfigured, OpsError, Refused, Unreachable
from tasks.core.http import Http, UnexpectedStatus
from tasks.core.secrets import Secret
from tests import http_servers
from tests.http_servers import answering

Answer = Callable[["Handler"], None]


class Handler(http_servers.Handler):
    server: Server

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.seen.append((self.command, self.path, dict(self.headers), body))
        self.server.script.pop(0)(self)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = handle_any

    def answer(self, status: int, body: bytes | str, kind: str, **headers: str) -> None:
        data = body.encode() if isinstance(body, str) else body
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)


class Server(http_servers.Server):
    """Answers one request after the other with what is in `script`, and keeps what was asked in `seen`."""

    def __init__(self) -> None:
        super().__init__(Handler)
        self.script: list[Answer] = []
        self.seen: list[tuple[str, str, dict[str, str], bytes]] = []


@pytest.fixture
def server() -> Iterator[Server]:
    with answering(Server()) as server:
        yield server


def data(value: Any, status: int = 200, **headers: str) -> Answer:
    return lambda handler: handler.answer(status, json.dumps(value), "application/json", **headers)


def plain(status: int, text: str, **headers: str) -> Answer:
    return lambda handler: handler.answer(status, text, "text/plain", **headers)


def html(status: int) -> Answer:
    return lambda handler: handler.answer(status, "<html><h1>nginx</h1></html>", "text/html")


def cut(handler: Handler) -> None:
    handler.close_connection = True
    handler.connection.shutdown(socket.SHUT_RDWR)


def half(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", "100")
    handler.end_headers()
    handler.wfile.write(b'{"half":')
    handler.close_connection = True


def slow(handler: Handler) -> None:
    time.sleep(0.6)
    data({"late": True})(handler)


def client(server: Server, **options: Any) -> Http:
    return Http("The service", server.url, pause=0.01, **options)


@pytest.mark.parametrize(
    "trouble",
    [plain(429, "Retry later"), html(502), data({"error": "maintenance"}, 503), cut, half, slow],
    ids=["429 in plain text", "502 in HTML", "503", "cut", "half a body", "slow"],
)
def test_a_read_survives_a_passing_trouble(server: Server, trouble: Answer) -> None:
    server.script = [trouble, data({"ok": 1})]
    reply = client(server, timeout=(1, 0.3)).get("/things", doing="Reading")
    assert reply.json == {"ok": 1}
    assert len(server.seen) == 2


@pytest.mark.parametrize("trouble", [html(502), cut, half, slow, plain(429, "Retry later")])
def test_a_write_is_never_sent_twice(server: Server, trouble: Answer) -> None:
    server.script = [trouble, data({})]
    with pytest.raises(OpsError):
        client(server, timeout=(1, 0.3)).post("/things", {"a": 1})
    assert len(server.seen) == 1


def test_a_write_marked_as_repeatable_is(server: Server) -> None:
    server.script = [cut, html(502), data({"token": 1})]
    assert client(server).post("/exchange", {}, repeat=True).json == {"token": 1}


def test_a_cut_write_says_that_its_outcome_is_not_known(server: Server) -> None:
    server.script = [cut]
    with pytest.raises(Unreachable) as caught:
        client(server).post("/scale", {}, doing="Scaling demo")
    assert str(caught.value) == (
        "Scaling demo (The service, POST /scale): the connection was cut before the whole answer had come\n"
        "Now: whether it was carried out is not known\n"
        "Next: check the network here, then run the same command again"
    )


def test_a_write_without_connection_is_tried_again_since_nothing_was_sent() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(Unreachable) as caught:
        Http("The service", f"http://127.0.0.1:{port}", pause=0.01).post("/scale", {})
    assert "connection refused" in str(caught.value)
    assert caught.value.state == "nothing was sent"


def test_retry_after_is_waited_for_and_the_wait_is_seen(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "pyinfra")
    server.script = [plain(429, "Retry later", Retry_After="1"), data({})]
    began = time.monotonic()
    client(server).get("/")
    assert time.monotonic() - began >= 1
    assert caplog.messages == ["The service answered 429; trying again in 1 s"]


@pytest.mark.parametrize("value", ["3600", "soon"])
def test_a_retry_after_of_an_hour_is_an_error_and_nonsense_is_ignored(server: Server, value: str) -> None:
    server.script = [plain(429, "Retry later", Retry_After=value), data({})]
    if value == "soon":
        assert client(server).get("/").json == {}
        return
    with pytest.raises(UnexpectedStatus, match="429 Too Many Requests, Retry later"):
        client(server).get("/")


def test_lasting_errors_are_one_line_without_the_page(server: Server) -> None:
    server.script = [html(502)] * 9
    with pytest.raises(UnexpectedStatus) as caught:
        client(server).get("/apps/demo", params={"token": "s3cret-in-query"}, doing="Reading demo")
    assert str(caught.value).splitlines()[0] == (
        "Reading demo (The service, GET /apps/demo): 502 Bad Gateway, a page of HTML"
    )
    assert len(server.seen) == 5


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"error": "not found", "resource": "app"}, "404 Not Found, app not found"),
        ({"errors": {"name": ["is taken", "is short"]}}, "404 Not Found, name is taken, is short"),
        ({"message": "Bad \x1b[31mcredentials\nhere"}, "404 Not Found, Bad credentials here"),
        ({"error": "no token tk-us-0123456789"}, "404 Not Found, no token [secret]"),
        ([], "404 Not Found, JSON without an error's text"),
    ],
)
def test_an_errors_own_text_is_shown_clean(server: Server, body: Any, words: str) -> None:
    Secret("token", "tk-us-0123456789")
    server.script = [data(body, 404)]
    with pytest.raises(UnexpectedStatus) as caught:
        client(server).get("/")
    assert words in str(caught.value)


def test_a_sign_in_page_instead_of_an_answer_is_named(server: Server) -> None:
    server.script = [html(200)]
    with pytest.raises(OpsError, match="200, but with a page of HTML instead of JSON"):
        _ = client(server).get("/").json


def test_redirects_are_followed_at_the_same_address_only(server: Server) -> None:
    server.script = [data({}, 301, Location="/moved"), data({"here": 1})]
    assert client(server).get("/old", params={"a": 1}).json == {"here": 1}
    assert server.seen[1][1] == "/moved"
    for method in ("GET", "POST"):
        server.script = [data({}, 302, Location="http://127.0.0.1:1/elsewhere")]
        with pytest.raises(UnexpectedStatus, match=r"points to 127\.0\.0\.1:1, which is not followed"):
            client(server, headers=lambda: {"Authorization": "Bearer x"}).request(method, "/old")


def test_a_whole_address_elsewhere_gets_no_credentials(server: Server) -> None:
    with pytest.raises(OpsError, match=r"it leads to 127\.0\.0\.1:1"):
        client(server).get("http://127.0.0.1:1/next")


def test_a_password_in_netrc_is_not_sent(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login me password hunter2\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    server.script = [data({}), data({})]
    http = client(server)
    http._sessions[True].trust_env = True  # as for an address that is not on this machine
    http.get("/")
    assert "Authorization" not in server.seen[0][2]


def test_a_proxy_is_not_asked_for_this_machine(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    server.script = [data({"direct": 1})]
    assert client(server).get("/").json == {"direct": 1}


def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"),
            *("-subj", "/CN=127.0.0.1", "-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = Server()
    server.socket = context.wrap_socket(server.socket, server_side=True)
    with answering(server), pytest.raises(Unreachable) as caught:
        Http("The service", server.url.replace("http:", "https:"), pause=0.01).post("/", {})
    assert "its certificate is not accepted (self-signed certificate)" in str(caught.value)
    assert caught.value.state == "nothing was sent"
    assert not server.seen


def test_a_name_that_nobody_knows_is_one_clear_line() -> None:
    with pytest.raises(Unreachable) as caught:
        Http("The service", "http://nowhere.invalid", pause=0.01).get("/")
    assert str(caught.value).splitlines()[0] == (
        "The service, GET /: its name is not known here: no network, or a wrong address"
    )


@pytest.mark.parametrize("url", ["", "ftp://host", "http://", "host:80", "http://[::1"])
def test_an_address_that_is_none_is_said_so(url: str) -> None:
    with pytest.raises(NotConfigured, match="not http"):
        Http("The service", url).get("/")


def test_other_greenlets_run_while_one_waits(server: Server) -> None:
    """In a process of its own, patched as pyinfra patches it."""
    server.script = [slow]
    program = f"""
from gevent import monkey; monkey.patch_all()
import gevent, sys
sys.path.insert(0, {str(Path(__file__).parents[3])!r})
from tasks.core.http import Http
reading = gevent.spawn(lambda: Http("The service", {server.url!r}).get("/").json)
ticks = 0
while not reading.ready():
    gevent.sleep(0.02)
    ticks += 1
print(ticks, reading.get())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    ticks, _, value = done.stdout.partition(" ")
    assert value.strip() == "{'late': True}", done.stderr
    assert int(ticks) >= 10


LOOPBACK = [
    "http://127.0.0.1:8080",
    "localhost",
    "127.9.9.9:22",
    "ssh://[::1]:22",
    "http://a.localhost/x",
    "0.0.0.0",
]
ELSEWHERE = [
    "https://api.osc-fr1.scalingo.com",
    "10.0.0.1:22",
    "http://127.0.0.1.example.com",
    "localhost.com",
    "",
]


@pytest.mark.parametrize("address", LOOPBACK)
def test_this_machine(address: str) -> None:
    assert is_loopback(address)
    require_loopback([address])
    with pytest.raises(Refused, match="is on this machine"):
        refuse_loopback([*ELSEWHERE, address])


@pytest.mark.parametrize("address", ELSEWHERE)
def test_another_machine(address: str) -> None:
    assert not is_loopback(address)
    refuse_loopback([address])
    with pytest.raises(Refused, match="is not on this machine"):
        require_loopback([*LOOPBACK, address])
