"""Typed calls: what is sent, what comes back, what is waited for."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from tasks.core.errors import Interrupted, OpsError
from tasks.core.http import UnexpectedStatus
from tasks.core.secrets import Secret
from tasks.scalingo.models import ContainerType

from .conftest import backup, deployment

DEPLOYMENT = "GET /v1/apps/demo/deployments/d3"


def asked(platform, call: str):
    """The last request of that method and path."""
    return [a for a in platform.asked if f"{a.method} {a.path}" == call][-1]


def test_values_of_variables_are_secrets(platform, client) -> None:
    variables = {variable.name: variable for variable in client.variables.list("demo", resolved=True)}
    assert variables["SECRET_KEY"].value.reveal() == "very-secret-key-1"
    assert "very-secret" not in repr(variables) + str(variables["SECRET_KEY"].model_dump())
    assert asked(platform, "GET /v1/apps/demo/variables").query == "aliases=false"


def test_variables_are_set_together_and_removed_one_by_one(platform, client) -> None:
    platform.give("PUT /v1/apps/demo/variables", (200, {"variables": []}))
    platform.give("DELETE /v1/apps/demo/variables/v1", (204, ""))
    client.variables.set("demo", {"A": "1", "B": Secret("B", "hidden-value")})
    assert asked(platform, "PUT /v1/apps/demo/variables").json == {
        "variables": [{"id": "", "name": "A", "value": "1"}, {"id": "", "name": "B", "value": "hidden-value"}]
    }
    client.variables.remove("demo", client.variables.list("demo")[:1])
    assert platform.calls("DELETE") == ["DELETE /v1/apps/demo/variables/v1"]


def test_an_unacceptable_variable_is_said_by_name_and_without_its_value(platform, client) -> None:
    platform.give(
        "PUT /v1/apps/demo/variables", (422, {"errors": {"name": ["must start with a letter"]}, "value": "x"})
    )
    with pytest.raises(UnexpectedStatus) as caught:
        client.variables.set("demo", {"_A": "hidden-value"})
    assert str(caught.value) == (
        "Setting _A of demo (Scalingo, PUT /v1/apps/demo/variables): 422 Unprocessable Entity, "
        "name must start with a letter"
    ).replace("Unprocessable Entity", _phrase(422))


def _phrase(status: int) -> str:
    from http import HTTPStatus

    return HTTPStatus(status).phrase


def test_the_formation_and_the_containers(client) -> None:
    web, worker = client.containers.formation("demo")
    assert (web.name, web.amount, web.size) == ("web", 2, "M")
    assert (worker.amount, worker.command) == (0, "")
    assert [(one.label, one.size) for one in client.containers.running("demo")] == [("web-1", "M")]


def test_scaling_gives_the_operation_or_none_before_the_first_deployment(platform, client) -> None:
    call = "POST /v1/apps/demo/scale"
    location = {"Location": f"{platform.url}/v1/apps/ap-1/operations/op-7"}
    platform.give(call, (202, {"containers": []}, location), (200, {"containers": []}))
    web = ContainerType(name="web", amount=0)
    assert client.containers.scale("demo", [web]) == "op-7"
    assert asked(platform, call).json == {
        "containers": [{"app_id": "", "name": "web", "amount": 0, "command": "", "size": ""}]
    }
    assert client.containers.scale("demo", [web]) is None


def operation(status: str, error: str | None = None) -> tuple[int, dict]:
    return 200, {"operation": {"id": "op-1", "status": status, "type": "restart", "error": error}}


def test_a_restart_is_waited_for(platform, client) -> None:
    location = {"Location": f"{platform.url}/v1/apps/demo/operations/op-1"}
    platform.give("POST /v1/apps/demo/restart", (202, b"", location))
    platform.give(
        "GET /v1/apps/demo/operations/op-1", operation("pending"), operation("running"), operation("done")
    )
    seen: list[str] = []
    found = client.apps.restart("demo", ["web"])
    client.apps.wait("demo", found, doing="Restarting demo", every=0.01, on_status=seen.append)
    assert seen == ["pending", "running", "done"]
    assert asked(platform, "POST /v1/apps/demo/restart").json == {"scope": ["web"]}


def test_a_failed_operation_gives_the_platforms_reason(platform, client) -> None:
    platform.give("GET /v1/apps/demo/operations/op-1", operation("error", "no container slot"))
    with pytest.raises(OpsError, match="Restarting demo: no container slot"):
        client.apps.wait("demo", "op-1", doing="Restarting demo")


def test_waiting_ends_when_asked_and_when_it_takes_too_long(platform, client) -> None:
    platform.give("GET /v1/apps/demo/operations/op-1", operation("running"))
    with pytest.raises(Interrupted, match="it goes on at the platform"):
        client.apps.wait("demo", "op-1", doing="Restarting demo", stop=lambda: True)
    with pytest.raises(OpsError, match="not finished after 0 s"):
        client.apps.wait("demo", "op-1", doing="Restarting demo", every=0.01, limit=0.05)


def test_deployments_are_read_page_by_page(platform, client) -> None:
    def page(_platform, request):
        number = int(request.query.split("page=")[1].split("&")[0])
        following = number + 1 if number < 3 else None
        found = [deployment(f"p{number}-{index}", "success") for index in range(2)]
        return 200, {"deployments": found, "meta": {"pagination": {"next_page": following}}}

    platform.routes["GET /v1/apps/demo/deployments"] = page
    assert [found.id for found in client.deployments.newest("demo", 3)] == ["p1-0", "p1-1", "p2-0"]
    assert len(platform.calls("GET /v1/apps/demo/deployments")) == 2
    assert len(list(client.deployments.all("demo"))) == 6


def test_a_deployment_is_followed_through_an_outage_to_its_end(platform, client) -> None:
    answers = [
        (200, {"deployment": deployment("d3", status)}) for status in ("queued", "building", "building")
    ]
    final = (200, {"deployment": deployment("d3", "hook-error")})
    platform.give(DEPLOYMENT, *answers, *[(503, "<html>")] * 6, final)
    seen: list[str] = []
    found = client.deployments.follow(
        "demo", "d3", every=0.01, on_status=lambda deployment: seen.append(deployment.status)
    )
    assert seen == ["queued", "building", "hook-error"]
    assert (found.finished, found.succeeded) == (True, False)


def test_a_deployment_that_is_gone_is_no_outage(platform, client) -> None:
    with pytest.raises(UnexpectedStatus, match="404"):
        client.deployments.follow("demo", "d9", every=0.01)


def test_following_ends_when_asked(platform, client) -> None:
    platform.give(DEPLOYMENT, (200, {"deployment": deployment("d3", "building")}))
    with pytest.raises(Interrupted, match="deployment d3 goes on at the platform"):
        client.deployments.follow("demo", "d3", stop=lambda: True)


def test_a_build_log_is_text_and_may_be_missing(platform, client) -> None:
    platform.give(f"{DEPLOYMENT}/output", (200, "-----> Python\nok\n"))
    assert client.deployments.output("demo", "d3") == "-----> Python\nok\n"
    assert client.deployments.output("demo", "d4") == ""


@pytest.mark.parametrize("status", [200, 201])
def test_an_archive_is_put_and_deployed(platform, client, tmp_path: Path, status: int) -> None:
    source = {
        "upload_url": f"{platform.url}/files/up?sig=1",
        "download_url": f"{platform.url}/files/down?sig=2",
    }
    platform.give("POST /v1/sources", (201, {"source": source}))
    platform.give("PUT /files/up", (200, ""))
    platform.give("POST /v1/apps/demo/deployments", (status, {"deployment": deployment("d3", "queued")}))
    archive = tmp_path / "release.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(Path(__file__), "release/file.py")
    assert client.deployments.deploy_archive("demo", archive, "a" * 40).status == "queued"
    put = asked(platform, "PUT /files/up")
    assert put.json == archive.read_bytes()
    assert put.headers["Content-Type"] == "application/x-gzip"
    assert "Authorization" not in put.headers
    assert asked(platform, "POST /v1/apps/demo/deployments").json == {
        "deployment": {"git_ref": "a" * 40, "source_url": source["download_url"]}
    }


def test_the_one_addon_of_a_kind(platform, client) -> None:
    assert client.addons.find("demo").id == "ad-1"
    assert client.addons.find("demo", "ad-2").provider.id == "redis"
    with pytest.raises(OpsError, match="looking for the mysql".capitalize()) as caught:
        client.addons.find("demo", "mysql")
    assert caught.value.state == "its add-ons: postgresql ad-1, redis ad-2"


def test_backups_come_newest_first_whatever_the_server_does(client) -> None:
    assert [found.id for found in client.databases.backups("demo", "ad-1")] == ["b2", "b1"]


def test_a_backup_is_made_and_waited_for(platform, client) -> None:
    now = "2026-03-03T01:00:00Z"
    platform.give(
        "POST /api/databases/ad-1/backups", (201, {"database_backup": backup("b3", now, "scheduled")})
    )
    states = [
        (200, {"database_backup": backup("b3", now, status)}) for status in ("pending", "running", "done")
    ]
    platform.give("GET /api/backups/b3", *states)
    seen: list[str] = []
    begun = client.databases.create_backup("demo", "ad-1")
    done = client.databases.follow_backup(
        "demo", "ad-1", begun.id, every=0.01, on_status=lambda found: seen.append(found.status)
    )
    assert (seen, done.size) == (["pending", "running", "done"], 1000)


def test_a_failed_backup_is_an_error(platform, client) -> None:
    failed = backup("b3", "2026-03-03T01:00:00Z", "error")
    platform.give("GET /api/backups/b3", (200, {"database_backup": failed}))
    with pytest.raises(OpsError, match="the platform says error"):
        client.databases.follow_backup("demo", "ad-1", "b3", every=0.01)


def test_a_backup_is_fetched_from_a_signed_address_without_credentials(
    platform, client, tmp_path: Path
) -> None:
    signed = f"{platform.url}/files/b1.tar.gz?signature=secret"
    platform.give("GET /api/databases/ad-1/backups/b1/archive", (200, {"download_url": signed}))
    platform.give("GET /files/b1.tar.gz", (403, "<html>expired"), (200, b"archive"))
    found = client.databases.backups("demo", "ad-1")[1]
    to = client.databases.download("demo", "ad-1", found, tmp_path / "b1.tar.gz")
    assert to.read_bytes() == b"archive"
    assert "Authorization" not in asked(platform, "GET /files/b1.tar.gz").headers
    assert len(platform.calls("archive")) == 2


def test_a_sandboxs_backup_can_not_come_from_elsewhere(platform, client) -> None:
    platform.give(
        "GET /api/databases/ad-1/backups/b1/archive", (200, {"download_url": "https://s3.example/b1"})
    )
    with pytest.raises(OpsError, match=r"s3\.example is not on this machine"):
        client.databases.download_url("demo", "ad-1", "b1")
