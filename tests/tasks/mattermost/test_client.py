"""Messages to the channel: what is sent, and that nothing that goes wrong is more than a sentence."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator

import pytest

from tasks.core.secrets import Secret
from tasks.mattermost.client import LONGEST, Webhook, fit, quote
from tests import http_servers
from tests.http_servers import answering

HOOK = "/hooks/secrethookidentifier"


class Server(http_servers.Server):
    def __init__(self) -> None:
        super().__init__(Handler)
        self.answers: list[tuple[int, str, str]] = []
        self.posts: list[tuple[str, dict[str, str]]] = []


class Handler(http_servers.Handler):
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.posts.append((self.path, json.loads(body)))
        status, kind, text = self.server.answers.pop(0) if self.server.answers else (200, "text/plain", "ok")
        if status == 0:
            self.close_connection = True
            return
        if status == -1:
            time.sleep(1)
        self.send_response(max(status, 200))
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text.encode())))
        if status == 302:
            self.send_header("Location", "http://127.0.0.1:1/elsewhere")
        self.end_headers()
        self.wfile.write(text.encode())


@pytest.fixture
def server() -> Iterator[Server]:
    with answering(Server()) as server:
        yield server


def hook(server: Server, sandbox: bool | None = True) -> Webhook:
    url = Secret("MATTERMOST_WEBHOOK_URL", f"{server.url}{HOOK}")
    return Webhook(url, sandbox=sandbox, pause=0.01)


def test_a_message_is_taken(server: Server) -> None:
    assert hook(server).post("**Bonjour** é") is None
    assert hook(server).post("x", username="operations", icon_emoji="rewind") is None
    assert server.posts == [
        (HOOK, {"text": "**Bonjour** é"}),
        (HOOK, {"text": "x", "username": "operations", "icon_emoji": "rewind"}),
    ]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            (400, "application/json", '{"id": "x", "message": "Invalid webhook"}'),
            "answered 400, Invalid webhook",
        ),
        ((501, "application/json", '{"message": "webhooks are off"}'), "answered 501, webhooks are off"),
        ((404, "text/html", "<html>nginx"), "answered 404, a page of HTML"),
        ((302, "text/html", "<html>"), "answered 302"),
    ],
)
def test_a_refusal_is_a_sentence(server: Server, answer: tuple[int, str, str], words: str) -> None:
    server.answers = [answer]
    warning = hook(server).post("x")
    assert warning is not None
    assert warning.startswith("The team channel was not told: Mattermost ")
    assert words in warning
    assert "secrethook" not in warning


@pytest.mark.parametrize(
    "trouble", [(429, "text/plain", "limit exceeded"), (502, "text/html", "<html>"), (0, "", "")]
)
def test_a_passing_trouble_is_tried_once_more(server: Server, trouble: tuple[int, str, str]) -> None:
    server.answers = [trouble]
    assert hook(server).post("x") is None
    assert len(server.posts) == 2


def test_a_lasting_trouble_ends_after_two_attempts(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    server.answers = [(502, "text/html", "<html>")] * 5
    assert hook(server).post("x") == (
        "The team channel was not told: Mattermost answered 502, a page of HTML"
    )
    assert len(server.posts) == 2
    assert "secrethook" not in caplog.text


def test_no_server_at_all_is_a_sentence() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}{HOOK}"
    warning = Webhook(Secret("u", url), pause=0.01).post("x")
    assert warning == "The team channel was not told: connection refused"


@pytest.mark.parametrize("url", ["", "nonsense", "https://", "ftp://x/hooks/y"])
def test_an_address_that_is_none_is_a_sentence(url: str) -> None:
    warning = Webhook(Secret("u", url)).post("x")
    assert warning == "The team channel was not told: the address declared for it is not http(s)://HOST"


def test_a_sandbox_tells_no_real_channel_and_the_other_way_round(server: Server) -> None:
    real = Webhook(Secret("u", "https://chat.example.com/hooks/abcdefghij"), sandbox=True)
    assert "not on this machine" in (real.post("x") or "")
    assert "on this machine" in (hook(server, sandbox=False).post("x") or "")
    assert server.posts == []


def test_a_secret_in_a_message_does_not_leave(server: Server) -> None:
    Secret("token", "tk-us-in-a-message")
    hook(server).post("failed with tk-us-in-a-message")
    assert server.posts[0][1]["text"] == "failed with [secret]"


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("Fix for @here\nand @all", "Fix for @\u200bhere and @\u200ball"),
        ("<!channel> hello", "<\u200b!channel> hello"),
        ("  plain\ttext ", "plain text"),
    ],
)
def test_text_of_others_notifies_nobody(text: str, quoted: str) -> None:
    assert quote(text) == quoted


def test_a_text_that_fits_stays() -> None:
    assert fit("x" * LONGEST) == "x" * LONGEST


def test_a_long_text_is_cut_at_a_line() -> None:
    text = "\n".join(f"line {number}" for number in range(3000))
    cut = fit(text)
    assert len(cut) <= LONGEST
    kept = cut.removesuffix("\n[...]")
    assert kept != cut
    assert text.startswith(f"{kept}\n")


def test_an_open_fence_is_closed_and_a_closed_one_is_not() -> None:
    log = "\n".join(f"line {number}" for number in range(3000))
    assert fit(f"Log:\n```\n{log}\n```").endswith("\n```\n[...]")
    assert len(fit(f"Log:\n```\n{log}\n```")) <= LONGEST
    assert not fit(f"```\nshort\n```\n{log}").endswith("```\n[...]")


def test_one_endless_line_is_cut_anyway() -> None:
    assert fit("x" * 99999, 100) == "x" * 90 + "\n[...]"
