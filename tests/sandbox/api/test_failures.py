"""Failures on request, the rate limit, and the switch that forbids writes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
import requests

from sandbox.api.writes import is_write, written_by_operations


@pytest.fixture(autouse=True)
def as_before(sandbox: Any) -> Iterator[None]:
    yield
    sandbox.control.clear_failures()
    sandbox.control.rate_limit(False)
    sandbox.control.forbid_writes(False)
    sandbox.control.clear_violations()


@pytest.mark.parametrize(
    ("status", "content"),
    [
        (401, {"error": "Invalid credentials"}),
        (404, {"resource": "app", "error": "not found"}),
        (422, {"errors": {"base": ["is invalid"]}}),
        (500, {"error": "Internal server error"}),
        (503, {"error": "Service unavailable"}),
    ],
)
def test_a_status_comes_with_its_documented_body_as_often_as_asked(
    sandbox: Any, status: int, content: dict[str, Any]
) -> None:
    client = sandbox.client()
    sandbox.control.fail(status, path="^/v1/apps$", times=2)
    for _ in range(2):
        answer = client.get("/v1/apps")
        assert (answer.status_code, answer.json()) == (status, content)
    assert client.get("/v1/apps").status_code == 200


def test_a_rule_is_for_what_it_matches_alone(sandbox: Any) -> None:
    client = sandbox.client()
    sandbox.control.fail(500, method="POST", path="/restart$", service="scalingo", times=None)
    assert client.get("/v1/apps").status_code == 200
    assert client.post("/v1/apps/sandbox-demo/restart", json={}).status_code == 500


def test_the_first_requests_may_pass(sandbox: Any) -> None:
    client = sandbox.client()
    sandbox.control.fail(500, path="^/v1/apps$", skip=2)
    assert [client.get("/v1/apps").status_code for _ in range(4)] == [200, 200, 500, 200]


def test_too_many_requests_are_told_in_plain_text(sandbox: Any) -> None:
    client = sandbox.client()
    sandbox.control.rate_limit(True, 3)
    answers = [client.get("/v1/apps") for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
    assert answers[-1].text.strip() == "Retry later"
    assert sandbox.exchange(), "exchanging a token is not counted"


def test_html_slow_and_cut(sandbox: Any) -> None:
    client = sandbox.client()
    sandbox.control.fail("html", path="^/v1/apps$")
    page = client.get("/v1/apps")
    assert (page.status_code, page.headers["Content-Type"].split(";")[0]) == (502, "text/html")
    sandbox.control.fail("slow", path="^/v1/apps$", seconds=0.5)
    began = time.monotonic()
    assert client.get("/v1/apps").status_code == 200
    assert time.monotonic() - began > 0.45
    sandbox.control.fail("cut", path="^/v1/apps$")
    with pytest.raises(requests.ConnectionError):
        client.get("/v1/apps")
    assert sandbox.control.requests("scalingo")[-1]["status"] == 0


def test_failures_reach_github_and_the_channel(sandbox: Any) -> None:
    sandbox.control.fail(401, service="github")
    answer = requests.get(f"{sandbox.state.url('github')}/rate_limit", timeout=10)
    assert answer.status_code == 401
    assert "message" in answer.json()
    sandbox.control.fail(500, service="mattermost")
    assert requests.post(sandbox.state.webhook_url, json={"text": "x"}, timeout=10).status_code == 500


def test_an_unknown_answer_or_field_is_refused(sandbox: Any) -> None:
    from sandbox.control import ControlError

    with pytest.raises(ControlError, match="html, cut or slow"):
        sandbox.control.fail("explode")
    with pytest.raises(ControlError, match="no colour"):
        sandbox.control.scenario("sandbox-demo", colour="red")


def test_the_control_api_wants_its_secret(sandbox: Any) -> None:
    assert sandbox.client().get("/_sandbox/status").status_code == 403


def test_requests_are_recorded_with_the_part_that_they_reached(sandbox: Any) -> None:
    sandbox.control.clear_requests()
    sandbox.client().get("/v1/apps?x=1")
    seen = [
        (item["service"], item["method"], item["path"], item["status"]) for item in sandbox.control.requests()
    ]
    assert seen == [
        ("scalingo-auth", "POST", "/v1/tokens/exchange", 200),
        ("scalingo", "GET", "/v1/apps", 200),
    ]


def test_forbidden_writes_are_refused_and_told(sandbox: Any) -> None:
    addon = sandbox.addon("sandbox-demo")
    with sandbox.control.no_writes() as violations:
        client = sandbox.client()
        assert client.get("/v1/apps").status_code == 200
        token = client.post(f"/v1/apps/sandbox-demo/addons/{addon['id']}/token", json={})
        assert token.status_code == 200, "the two token exchanges are no writes"
        assert client.put("/v1/apps/sandbox-demo/variables", json={"variables": []}).status_code == 503
        assert requests.post(sandbox.state.webhook_url, json={"text": "x"}, timeout=10).status_code == 503
    assert [(item["service"], item["what"].split()[0]) for item in violations] == [
        ("scalingo", "PUT"),
        ("mattermost", "POST"),
    ]
    assert sandbox.client().post("/v1/sources", json={}).status_code == 201


def test_forbidden_sql_is_told_where_the_session_is_the_tools(sandbox: Any) -> None:
    url = sandbox.control.database("sandbox-demo")["url"]

    def run(name: str, *statements: str) -> None:
        with psycopg.connect(url, application_name=name, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    with sandbox.control.no_writes() as violations:
        run("gunicorn", "CREATE TABLE IF NOT EXISTS api_test (a int)")
        run("ops/run-1", "SELECT 1", "SHOW timezone", "SET statement_timeout = 1000", "EXPLAIN SELECT 1")
        run("ops/run-1", "BEGIN READ ONLY", "SELECT count(*) FROM pg_class", "COMMIT")
    assert violations == []
    with sandbox.control.no_writes() as violations:
        run("ops/run-2", "INSERT INTO api_test\nVALUES (1)", "DROP TABLE api_test")
    assert [item["what"].split()[0] for item in violations] == ["INSERT", "DROP"]
    assert {item["service"] for item in violations} == {"postgresql"}


@pytest.mark.parametrize(
    ("statement", "write"),
    [
        ("SELECT 1", False),
        ("  -- a remark\n select * from t", False),
        ("/* a */ SHOW all", False),
        ("COPY (SELECT 1) TO STDOUT", False),
        ("COPY t TO STDOUT", False),
        ("COPY t FROM STDIN", True),
        ("WITH x AS (INSERT INTO t VALUES (1) RETURNING 1) SELECT * FROM x", True),
        ("SELECT setval('s', 3)", True),
        ("BEGIN; DROP TABLE t; COMMIT", True),
        ("SELECT pg_advisory_lock(1)", False),
        ("CREATE SCHEMA x", True),
        ("LOCK TABLE t", True),
    ],
)
def test_what_counts_as_writing(statement: str, write: bool) -> None:
    assert is_write(statement) is write


def test_statements_of_several_lines_are_read_whole() -> None:
    log = (
        "2026-01-01 00:00:00.000 UTC [7] app=ops/a user=u db=d: LOG:  statement: SELECT 1;\n"
        "\tDROP TABLE t\n"
        "2026-01-01 00:00:00.000 UTC [7] app=web user=u db=d: LOG:  statement: DROP TABLE u\n"
        "2026-01-01 00:00:00.000 UTC [7] app=ops/a user=u db=d: LOG:  execute <unnamed>: DELETE FROM v\n"
    )
    assert written_by_operations(log) == ["SELECT 1;\nDROP TABLE t", "DELETE FROM v"]
