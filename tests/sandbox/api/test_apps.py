"""Apps and their variables: exact statuses, and error bodies as the official client decodes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

APP = "api-test-app"


@pytest.fixture
def app(sandbox: Any) -> Iterator[str]:
    client = sandbox.client()
    answer = client.post("/v1/apps", json={"app": {"name": APP}})
    assert answer.status_code == 201, answer.text
    yield APP
    assert client.delete(f"/v1/apps/{APP}?current_name={APP}").status_code == 204
    assert client.get(f"/v1/apps/{APP}").status_code == 404


def test_the_two_apps_exist_with_a_database(sandbox: Any) -> None:
    apps = sandbox.client().get("/v1/apps?").json()
    assert list(apps) == ["apps"], "another top-level value breaks the official client"
    assert {"sandbox-demo", "sandbox-demo-preprod"} <= {app["name"] for app in apps["apps"]}
    for name in ("sandbox-demo", "sandbox-demo-preprod"):
        assert sandbox.addon(name)["id"].startswith("ad-")


def test_an_app_is_found_by_name_and_id_and_has_what_the_client_needs(sandbox: Any) -> None:
    client = sandbox.client()
    content = client.get("/v1/apps/sandbox-demo").json()
    assert list(content) == ["app"]
    shown = content["app"]
    assert client.get(f"/v1/apps/{shown['id']}").json()["app"]["name"] == "sandbox-demo"
    assert shown["links"]["deployments_stream"].startswith("ws://127.0.0.1:")
    assert shown["git_url"] == f"ssh://git@127.0.0.1:{sandbox.state.ssh_port}/sandbox-demo.git"
    assert shown["owner"]["id"].startswith("us-")
    assert all(isinstance(flag, bool) for flag in shown["flags"].values())


@pytest.mark.parametrize(
    ("path", "resource"),
    [
        ("/v1/apps/none", "app"),
        ("/v1/apps/none/variables", "app"),
        ("/v1/apps/sandbox-demo/deployments/none", "deployment"),
        ("/v1/apps/sandbox-demo/operations/none", "operation"),
        ("/v1/apps/sandbox-demo/addons/ad-none", "addon"),
        ("/v1/apps/sandbox-demo/scm_repo_link", "scm_repo_link"),
    ],
)
def test_what_is_not_there_is_named(sandbox: Any, path: str, resource: str) -> None:
    answer = sandbox.client().get(path)
    assert (answer.status_code, answer.json()) == (404, {"resource": resource, "error": "not found"})


@pytest.mark.parametrize(
    "name", ["", "a", "Upper-case", "double--hyphen", "-leading", "x" * 49, "sandbox-demo"]
)
def test_an_unfit_name_is_422(sandbox: Any, name: str) -> None:
    answer = sandbox.client().post("/v1/apps", json={"app": {"name": name}})
    assert (answer.status_code, list(answer.json()["errors"])) == (422, ["name"])


def test_an_app_is_removed_only_by_its_name(sandbox: Any, app: str) -> None:
    answer = sandbox.client().delete(f"/v1/apps/{app}?current_name=other")
    assert (answer.status_code, list(answer.json()["errors"])) == (422, ["current_name"])


def test_switches_and_stack_change(sandbox: Any, app: str) -> None:
    client = sandbox.client()
    assert client.put(f"/v1/apps/{app}", json={"force_https": True}).json()["app"]["force_https"] is True
    stack = client.get("/v1/features/stacks").json()["stacks"][0]
    changed = client.patch(f"/v1/apps/{app}", json={"app": {"stack_id": stack["id"]}})
    assert (changed.status_code, changed.json()["app"]["stack_id"]) == (200, stack["id"])
    unknown = client.patch(f"/v1/apps/{app}", json={"app": {"stack_id": "st-none"}})
    assert (unknown.status_code, unknown.json()["resource"]) == (404, "stack")


def test_stacks_have_bare_dates(sandbox: Any) -> None:
    for stack in sandbox.client().get("/v1/features/stacks").json()["stacks"]:
        assert stack["deprecated_at"] is None or len(stack["deprecated_at"]) == len("2027-04-30")


def test_variables(sandbox: Any, app: str) -> None:
    client = sandbox.client()
    path = f"/v1/apps/{app}/variables"
    created = client.post(path, json={"variable": {"name": "ONE", "value": "1"}})
    assert created.status_code == 201
    one = created.json()["variable"]
    sent = [{"id": "", "name": "TWO", "value": "2"}, {"id": "", "name": "ALIAS", "value": "$ONE"}]
    put = client.put(path, json={"variables": sent})
    assert (put.status_code, {item["name"] for item in put.json()["variables"]}) == (200, {"TWO", "ALIAS"})

    def values(query: str = "") -> dict[str, str]:
        return {item["name"]: item["value"] for item in client.get(path + query).json()["variables"]}

    assert values() == values("?aliases=true") == {"ONE": "1", "TWO": "2", "ALIAS": "$ONE"}
    assert values("?aliases=false")["ALIAS"] == "1"
    assert client.patch(f"{path}/{one['id']}", json={"variable": {"value": "changed"}}).status_code == 200
    assert values("?aliases=false")["ALIAS"] == "changed"
    assert client.delete(f"{path}/{one['id']}").status_code == 204
    again = client.delete(f"{path}/{one['id']}")
    assert (again.status_code, again.json()["resource"]) == (404, "variable")
    rest = [item["id"] for item in client.get(path).json()["variables"]]
    assert client.delete(path, json={"variable_ids": rest}).status_code == 204
    assert values() == {}


@pytest.mark.parametrize(
    ("variable", "field"),
    [
        ({"name": "_LEADING", "value": "x"}, "name"),
        ({"name": "A" * 65, "value": "x"}, "name"),
        ({"name": "", "value": "x"}, "name"),
        ({"value": "x"}, "name"),
        ({"name": "FINE", "value": ""}, "value"),
        ({"name": "FINE", "value": "x" * 32769}, "value"),
    ],
)
def test_unfit_variables_are_422_and_none_is_set(
    sandbox: Any, app: str, variable: dict[str, str], field: str
) -> None:
    client = sandbox.client()
    path = f"/v1/apps/{app}/variables"
    answer = client.put(path, json={"variables": [{"name": "GOOD", "value": "1"}, variable]})
    assert (answer.status_code, list(answer.json()["errors"])) == (422, [field])
    assert client.get(path).json() == {"variables": []}


@pytest.mark.parametrize("content", ["{", "[]", '"x"', '{"app": 3}'])
def test_a_body_that_is_no_object_is_400(sandbox: Any, content: str) -> None:
    answer = sandbox.client().post("/v1/apps", data=content)
    assert answer.status_code == 400
    assert set(answer.json()) == {"error"}


def test_formation_before_the_first_deployment(sandbox: Any, app: str) -> None:
    client = sandbox.client()
    scaled = client.post(
        f"/v1/apps/{app}/scale", json={"containers": [{"name": "web", "amount": 2, "size": ""}]}
    )
    assert (scaled.status_code, "Location" in scaled.headers) == (200, False)
    wrong = client.post(f"/v1/apps/{app}/scale", json={"containers": [{"name": "web", "amount": "two"}]})
    assert (wrong.status_code, list(wrong.json()["errors"])) == (422, ["container-web-amount"])
    assert client.get(f"/v1/apps/{app}/autoscalers").json() == {"autoscalers": []}
    assert client.get(f"/v1/apps/{app}/ps").json() == {"containers": []}


def test_an_addon_is_added_and_removed_with_its_variables(sandbox: Any, app: str) -> None:
    client = sandbox.client()
    path = f"/v1/apps/{app}/addons"
    no_plan = client.post(path, json={"addon": {"addon_provider_id": "postgresql"}})
    assert (no_plan.status_code, no_plan.json()) == (400, {"error": "plan_id is required"})
    no_such_plan = client.post(path, json={"addon": {"addon_provider_id": "postgresql", "plan_id": "x"}})
    assert (no_such_plan.status_code, no_such_plan.json()["resource"]) == (404, "plan")
    plan = client.get("/v1/addon_providers/postgresql/plans").json()["plans"][0]
    made = client.post(path, json={"addon": {"addon_provider_id": "postgresql", "plan_id": plan["id"]}})
    assert made.status_code == 201
    assert made.json()["variables"] == ["SCALINGO_POSTGRESQL_URL", "DATABASE_URL"]
    values = client.get(f"/v1/apps/{app}/variables?aliases=false").json()["variables"]
    urls = {item["name"]: item["value"] for item in values}
    assert urls["DATABASE_URL"] == urls["SCALINGO_POSTGRESQL_URL"]
    assert ".postgresql.sandbox-dbs.test:" in urls["DATABASE_URL"]
    addon = made.json()["addon"]
    assert client.get(f"{path}/{addon['id']}").json()["addon"] == addon
    assert client.delete(f"{path}/{addon['id']}").status_code == 204
    assert client.get(f"/v1/apps/{app}/variables").json() == {"variables": []}


def test_rename_asks_for_the_present_name(sandbox: Any, app: str) -> None:
    client = sandbox.client()
    answer = client.post(f"/v1/apps/{app}/rename", json={"current_name": "x", "new_name": "api-test-other"})
    assert (answer.status_code, list(answer.json()["errors"])) == (422, ["current_name"])
    done = client.post(f"/v1/apps/{app}/rename", json={"current_name": app, "new_name": "api-test-other"})
    assert (done.status_code, done.json()["app"]["name"]) == (200, "api-test-other")
    client.post("/v1/apps/api-test-other/rename", json={"current_name": "api-test-other", "new_name": app})
