"""Tokens, account, regions and keys, by the bodies that the documentation and the official client name."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import pytest

from sandbox.state import REGION


def test_exchange_gives_a_token_of_one_hour(sandbox: Any) -> None:
    token = sandbox.exchange()
    head, claims, _ = (base64.urlsafe_b64decode(part + "==") for part in token.split("."))
    assert json.loads(head) == {"typ": "JWT", "alg": "HS512"}
    content = json.loads(claims)
    assert isinstance(content["exp"], int)
    assert content["exp"] - content["iat"] == 3600
    assert abs(content["iat"] - time.time()) < 60
    assert content["uuid"].startswith("us-")


@pytest.mark.parametrize("password", ["", "tk-us-wrong", "é"])
def test_exchange_refuses_an_unknown_token(sandbox: Any, password: str) -> None:
    answer = sandbox.anonymous().post("/v1/tokens/exchange", json={}, auth=(b"", password.encode()))
    assert (answer.status_code, answer.json()) == (401, {"error": "Invalid credentials"})


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer x.y.z", "Bearer é", "Basic !!", "Bearer a.b"])
@pytest.mark.parametrize("path", ["/v1/apps", "/v1/users/self", "/v1/keys"])
def test_without_a_valid_token_nothing_is_shown(sandbox: Any, path: str, header: str) -> None:
    answer = sandbox.anonymous().get(path, headers={"Authorization": header.encode()})
    assert (answer.status_code, answer.json()) == (401, {"error": "Invalid credentials"})


def test_a_changed_token_is_refused(sandbox: Any) -> None:
    head, claims, signature = sandbox.exchange().split(".")
    other = base64.urlsafe_b64encode(b'{"uuid":"us-1","exp":9999999999,"issued_at":9999999999}').decode()
    assert sandbox.client(f"{head}.{other}.{signature}").get("/v1/apps").status_code == 401
    assert sandbox.client(f"{head}.{claims}.{signature}").get("/v1/apps").status_code == 200


def test_tokens_expire_when_told_to(sandbox: Any) -> None:
    old = sandbox.client()
    sandbox.control.expire_tokens()
    assert old.get("/v1/apps").status_code == 401
    assert sandbox.client().get("/v1/apps").status_code == 200


def test_a_short_lifetime_ends_by_itself(sandbox: Any) -> None:
    sandbox.control.token_lifetime(1)
    try:
        client = sandbox.client()
        assert client.get("/v1/apps").status_code == 200
        time.sleep(2)
        assert client.get("/v1/apps").status_code == 401
    finally:
        sandbox.control.token_lifetime(None)


def test_self_has_no_admin_flag(sandbox: Any) -> None:
    user = sandbox.client().get("/v1/users/self").json()["user"]
    assert set(user) >= {"id", "username", "email", "fullname", "flags"}
    assert user["flags"] == {}


def test_regions_are_readable_by_anybody_and_lead_here(sandbox: Any) -> None:
    for client in (sandbox.anonymous(), sandbox.client()):
        (region,) = client.get("/v1/regions?").json()["regions"]
        assert (region["name"], region["default"]) == (REGION, True)
        assert region["api"] == region["database_api"] == sandbox.state.url("platform")
        assert region["ssh"] == f"127.0.0.1:{sandbox.state.ssh_port}"


def test_a_key_is_registered_once_and_removed(sandbox: Any) -> None:
    client = sandbox.client()
    (own,) = client.get("/v1/keys").json()["keys"]
    assert own["content"] == sandbox.state.public_key
    assert client.post("/v1/keys", json={"key": {"name": "x", "content": own["content"]}}).json() == {
        "errors": {"content": ["has already been taken"]}
    }
    for bad in ("", "ssh-ed25519 short", None):
        answer = client.post("/v1/keys", json={"key": {"name": "x", "content": bad}})
        assert (answer.status_code, list(answer.json()["errors"])) == (422, ["content"])
    other = "ssh-ed25519 " + base64.b64encode(b"\0\0\0\x0bssh-ed25519\0\0\0 " + bytes(range(32))).decode()
    added = client.post("/v1/keys", json={"key": {"name": "laptop", "content": other}})
    assert added.status_code == 201
    assert added.json()["key"]["name"] == "laptop"
    identifier = added.json()["key"]["id"]
    assert client.get(f"/v1/keys/{identifier}").json()["key"]["content"].startswith(other)
    assert client.delete(f"/v1/keys/{identifier}").status_code == 204
    assert client.get(f"/v1/keys/{identifier}").json() == {"resource": "key", "error": "not found"}
