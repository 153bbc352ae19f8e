"""The incoming webhook's table of answers."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from sandbox.mattermost.posts import LONGEST, Posts, split

Server = Any  # of conftest.py


def test_a_message_is_answered_with_the_text_ok(mattermost: Server) -> None:
    answer = mattermost.post({"text": "Retour en arrière"})
    assert (answer.status_code, answer.text, answer.headers["Content-Type"].split(";")[0]) == (
        200,
        "ok",
        "text/plain",
    )
    [message] = mattermost.messages()
    assert re.fullmatch("[a-z0-9]{26}", message["id"])
    assert (message["channel"], message["message"]) == ("tour-de-controle", "Retour en arrière")


@pytest.mark.parametrize(
    ("content", "status", "error"),
    [
        ({}, 400, "web.incoming_webhook.text.app_error"),
        ({"text": ""}, 400, "web.incoming_webhook.text.app_error"),
        ([1], 400, "model.incoming_hook.parse_data.app_error"),
        ({"text": 3}, 400, "model.incoming_hook.parse_data.app_error"),
        ({"text": "x", "channel": "@nobody"}, 400, "web.incoming_webhook.user.app_error"),
        ({"text": "x", "channel": "nowhere"}, 404, "web.incoming_webhook.channel.app_error"),
        ({"text": "x", "type": "system"}, 400, "model.post.is_valid.type.app_error"),
    ],
)
def test_refusals(mattermost: Server, content: Any, status: int, error: str) -> None:
    answer = mattermost.post(content)
    assert answer.status_code == status
    assert answer.json()["id"] == error
    assert answer.json()["status_code"] == status
    assert mattermost.messages() == []


def test_an_unknown_hook_is_400_not_404(mattermost: Server) -> None:
    answer = mattermost.post({"text": "x"}, hook="0" * 26)
    assert answer.status_code == 400
    assert answer.json()["id"] == "web.incoming_webhook.invalid.app_error"


def test_what_the_server_s_settings_refuse(mattermost: Server) -> None:
    assert mattermost.control("PUT", "settings", {"channel_locked": True}).status_code == 200
    assert mattermost.post({"text": "x", "channel": "town-square"}).status_code == 403
    assert mattermost.post({"text": "x", "channel": "#tour-de-controle"}).status_code == 200
    mattermost.control("PUT", "settings", {"enabled": False})
    answer = mattermost.post({"text": "x"})
    assert (answer.status_code, answer.json()["id"]) == (501, "web.incoming_webhook.disabled.app_error")
    assert mattermost.control("PUT", "settings", {"colour": "blue"}).status_code == 422


def test_all_ways_to_send_the_payload(mattermost: Server) -> None:
    payload = json.dumps({"text": "x"})
    assert mattermost.post(data={"payload": payload}).text == "ok"
    assert mattermost.post(files={"payload": (None, payload)}).text == "ok"
    assert mattermost.post(files={"text": (None, "x")}).text == "ok"
    assert mattermost.post(data=payload.encode(), headers={"Content-Type": "application/json"}).text == "ok"
    assert mattermost.post(data=payload.encode(), headers={"Content-Type": ""}).text == "ok"
    assert (
        mattermost.post(data=b'{"text": "a\nb"}', headers={"Content-Type": "application/json"}).text == "ok"
    )
    assert [message["message"] for message in mattermost.messages()] == ["x"] * 5 + ["a\nb"]
    for refused in (
        {"data": b"{", "headers": {"Content-Type": "application/json"}},
        {"data": {"text": "x"}},
        {"data": b"x", "headers": {"Content-Type": "text/csv"}},
    ):
        assert mattermost.post(**refused).status_code == 400


def test_long_texts_become_several_posts(mattermost: Server) -> None:
    assert mattermost.post({"text": "é" * LONGEST + "fin"}).text == "ok"
    assert [len(message["message"]) for message in mattermost.messages()] == [16_383, 3]
    assert mattermost.post({"text": "x" * LONGEST}).text == "ok"
    assert len(mattermost.messages()) == 3


@pytest.mark.parametrize(
    ("length", "posts"), [(0, 1), (1, 1), (LONGEST, 1), (LONGEST + 1, 2), (3 * LONGEST, 3)]
)
def test_split(length: int, posts: int) -> None:
    parts = split("x" * length)
    assert len(parts) == posts
    assert "".join(parts) == "x" * length


def test_overrides_are_ignored_unless_allowed(mattermost: Server) -> None:
    mattermost.post({"text": "x", "username": "ops"})
    mattermost.control("PUT", "settings", {"allow_overrides": True})
    mattermost.post({"text": "x", "username": "ops"})
    assert [message["username"] for message in mattermost.messages()] == ["webhook", "ops"]


def test_the_rate_limit_is_plain_text(mattermost: Server) -> None:
    mattermost.control("PUT", "settings", {"rate_limited": True})
    answers = [mattermost.post({"text": "x"}) for _ in range(101)]
    assert {answer.status_code for answer in answers[:100]} == {200}
    assert (answers[100].status_code, answers[100].text) == (429, "limit exceeded")


def test_attachments_alone_are_a_message(mattermost: Server) -> None:
    attachment = {"fallback": "f", "title": "Sauvegarde", "text": "de **minuit**", "color": "#2EB67D"}
    assert mattermost.post({"attachments": [attachment], "priority": {"priority": "urgent"}}).text == "ok"
    assert mattermost.messages()[0]["attachments"] == [attachment]
    page = mattermost.page()
    assert "de <strong>minuit</strong>" in page
    assert "urgent" in page


def test_the_page_shows_messages_escaped(mattermost: Server) -> None:
    text = "**Retour** de `v1.1.0` <script>alert(1)</script> [x](https://a.example/?a=1&b=2)"
    text += " [y](javascript:1)\n```\n<b>\n```"
    mattermost.post({"text": text})
    page = mattermost.page()
    assert "<strong>Retour</strong> de <code>v1.1.0</code> &lt;script&gt;" in page
    assert "<script>" not in page
    assert '<a href="https://a.example/?a=1&amp;b=2">x</a>' in page
    assert 'href="javascript' not in page
    assert "<pre>&lt;b&gt;\n</pre>" in page


def test_messages_outlive_a_restart_in_a_private_file(mattermost: Server) -> None:
    mattermost.post({"text": "un"})
    mattermost.post({"text": "deux"})
    path = mattermost.team.posts.path
    assert path.stat().st_mode & 0o777 == 0o600
    assert [post.message for post in Posts(path).all] == ["un", "deux"]
    assert mattermost.control("DELETE", "messages").status_code == 204
    assert Posts(path).all == []


def test_control_needs_the_secret(mattermost: Server) -> None:
    for secret in ("", "wrong"):
        assert mattermost.control("DELETE", "messages", secret=secret).status_code == 403
        assert mattermost.control("PUT", "settings", {}, secret=secret).status_code == 403
