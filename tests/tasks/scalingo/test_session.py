"""Tokens and addresses: when they are asked for, and what happens when they end early."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tasks.core.errors import NotConfigured, OpsError, Refused
from tasks.core.http import UnexpectedStatus
from tasks.core.secrets import Secret
from tasks.scalingo.client import Scalingo
from tasks.scalingo.credentials import Credentials, Endpoints

EXCHANGE = "POST /v1/tokens/exchange"


def test_nothing_is_sent_before_the_first_call(platform, client) -> None:
    assert platform.asked == []
    client.apps.get("demo")
    assert platform.calls() == [EXCHANGE, "GET /v1/regions", "GET /v1/apps/demo"]
    client.apps.get("demo")
    assert platform.calls()[3:] == ["GET /v1/apps/demo"]


def test_both_addresses_declared_need_no_list_of_regions(platform, credentials) -> None:
    declared = Endpoints(platform.url, platform.url, platform.url, None)
    with Scalingo(replace(credentials, endpoints=declared), sandbox=True) as client:
        client.apps.list()
        assert platform.calls("regions") == []
        assert client.account.region().ssh == "127.0.0.1:2222"


@pytest.mark.parametrize(("life", "exchanges"), [(3600, 1), (290, 3)])
def test_a_token_is_renewed_five_minutes_before_its_end(platform, client, life: int, exchanges: int) -> None:
    platform.life = life
    client.account.user()
    client.account.user()
    client.account.user()
    assert len(platform.calls("exchange")) == exchanges


@pytest.mark.parametrize("skew", [-7200, 7200])
def test_a_wrong_clock_here_costs_nothing(platform, client, skew: int) -> None:
    platform.skew = skew
    client.account.user()
    client.account.user()
    assert len(platform.calls("exchange")) == 1


def test_a_token_refused_early_is_renewed_once(platform, client) -> None:
    client.account.user()
    platform.give(
        "POST /v1/apps/demo/restart", (401, {"error": "expired"}), (202, "", {"Location": "/x/op-1"})
    )
    assert client.apps.restart("demo") == "op-1"
    tokens = [asked.headers["Authorization"] for asked in platform.asked if "restart" in asked.path]
    assert tokens == [f"Bearer {platform.issued[0]}", f"Bearer {platform.issued[1]}"]


def test_a_token_refused_twice_is_an_error(platform, client) -> None:
    platform.give("GET /v1/apps/demo", (401, {"error": "no"}))
    with pytest.raises(UnexpectedStatus, match="401 Unauthorized, no") as caught:
        client.apps.get("demo")
    assert "scalingo login" in caught.value.next_step
    assert len(platform.calls("GET /v1/apps/demo")) == 2


def test_a_refused_api_token_says_where_it_came_from(platform, credentials) -> None:
    bad = replace(
        credentials, token=Secret("t", "tk-us-wrong-wrong"), source="/home/jane/.config/scalingo/auth"
    )
    with pytest.raises(NotConfigured) as caught, Scalingo(bad, sandbox=True) as client:
        client.apps.list()
    assert str(caught.value).startswith(
        "Signing in to Scalingo: the API token from /home/jane/.config/scalingo/auth is refused: "
        "Invalid credentials\nNext: run `scalingo login`"
    )
    assert "wrong-wrong" not in str(caught.value)


def test_the_exchange_survives_a_passing_trouble(platform, client) -> None:
    platform.give(EXCHANGE, (429, "Retry later"), (502, "<html>"), type(platform).exchange)
    assert client.account.user().username == "jane"


def test_the_database_api_gets_a_token_of_its_own_and_keeps_it(platform, client) -> None:
    client.databases.get("demo", "ad-1")
    client.databases.backups("demo", "ad-1")
    assert len(platform.calls("/token")) == 2  # exchange and add-on
    sent = [asked.headers["Authorization"] for asked in platform.asked if asked.path.startswith("/api")]
    assert len(set(sent)) == 1
    assert sent[0] != f"Bearer {platform.issued[0]}"


@pytest.mark.parametrize("refusal", [(401, {"error": "x"}), (400, {"error": "unauthorized"})])
def test_an_addon_token_refused_early_is_renewed(platform, client, refusal) -> None:
    good = platform.routes["GET /api/databases/ad-1"]
    client.databases.get("demo", "ad-1")
    platform.give("GET /api/databases/ad-1", refusal, good)
    assert client.databases.get("demo", "ad-1").readable_version == "15.8.0-1"
    assert len(platform.calls("addons/ad-1/token")) == 2


def test_the_region_is_the_declared_one_or_the_platforms_default(platform, credentials) -> None:
    with Scalingo(credentials, sandbox=True) as client:
        assert client.account.region().name == "osc-fr1"
    with Scalingo(credentials, region="other", sandbox=True) as client:
        assert client.account.region().name == "other"
    with Scalingo(credentials, region="mars", sandbox=True) as client, pytest.raises(NotConfigured) as caught:
        client.apps.list()
    assert "there is none called mars" in str(caught.value)
    assert "osc-fr1, other" in caught.value.next_step


def test_an_environment_that_is_no_sandbox_refuses_this_machine(platform, credentials) -> None:
    with Scalingo(credentials, sandbox=False) as client, pytest.raises(Refused, match="is on this machine"):
        client.apps.list()
    assert platform.asked == []


def test_a_sandbox_refuses_other_machines_before_the_token_leaves() -> None:
    endpoints = Endpoints("https://auth.scalingo.com", None, None, None)
    far = Credentials(Secret("t", "tk-us-0123456789"), "here", endpoints)
    with Scalingo(far, sandbox=True) as client, pytest.raises(Refused, match=r"auth\.scalingo\.com"):
        client.apps.list()


def test_a_sandboxs_list_of_regions_can_not_lead_away(platform, client) -> None:
    away = {"name": "away", "api": "https://api.example.com", "database_api": "https://db.example.com",
            "ssh": "ssh.example.com:22", "default": True}  # fmt: skip
    platform.give("GET /v1/regions", (200, {"regions": [away]}))
    with pytest.raises(Refused, match=r"api\.example\.com, db\.example\.com, ssh\.example\.com"):
        client.apps.list()


def test_an_app_name_can_not_reach_beyond_its_path(platform, client) -> None:
    with pytest.raises(UnexpectedStatus):
        client.apps.get("demo/variables?x=")
    assert platform.calls()[-1] == "GET /v1/apps/demo%2Fvariables%3Fx%3D"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"apps": [{"name": "x"}]}, "its answer has no id as documented"),
        ({}, "its answer has no apps as documented"),
        ([], "its answer has no apps as documented"),
    ],
)
def test_an_undocumented_answer_is_one_line(platform, client, answer, words: str) -> None:
    platform.give("GET /v1/apps", (200, answer))
    with pytest.raises(OpsError, match=words):
        client.apps.list()


def test_a_missing_app_says_what_to_check(platform, client) -> None:
    with pytest.raises(UnexpectedStatus) as caught:
        client.apps.get("nowhere")
    assert str(caught.value) == (
        "Reading nowhere (Scalingo, GET /v1/apps/nowhere): 404 Not Found, app not found\n"
        "Next: check the name and the region; the token's account must own it or collaborate on it"
    )
