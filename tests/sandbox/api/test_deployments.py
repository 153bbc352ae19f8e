"""From an uploaded archive to a serving app, and what one then does with its containers, over HTTP alone."""

from __future__ import annotations

import asyncio
import io
import json
import tarfile
import time
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest
import requests

APP = "api-deploy-app"
FILES = {
    ".buildpacks": "https://github.com/Scalingo/python-buildpack\n",
    "requirements.txt": "",
    "Procfile": "web: python -m http.server --bind 127.0.0.1 $PORT\nworker: sleep 1000\n",
    "hello.txt": "hello",
}


def archive() -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        for name, text in FILES.items():
            entry = tarfile.TarInfo(f"root/{name}")
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text.encode()))
    return content.getvalue()


def upload(client: Any) -> str:
    source = client.post("/v1/sources", json={})
    assert source.status_code == 201
    addresses = source.json()["source"]
    put = requests.put(addresses["upload_url"], data=archive(), timeout=10)
    assert put.status_code == 200
    return str(addresses["download_url"])


def follow(sandbox: Any, address: str, deployment: str, token: str | None = None) -> list[dict[str, Any]]:
    """The frames of the stream until the deployment's final status."""

    async def read() -> list[dict[str, Any]]:
        frames = []
        async with aiohttp.ClientSession() as session, session.ws_connect(address) as socket:
            await socket.send_json({"type": "auth", "data": {"token": token or sandbox.exchange()}})
            async for message in socket:
                frame = json.loads(message.data)
                frames.append(frame)
                ended = frame["data"].get("status") not in (None, "queued", "building", "pushing", "starting")
                if frame["id"] == deployment and ended:
                    break
        return frames

    return asyncio.run(asyncio.wait_for(read(), 60))


def operation(client: Any, location: str) -> dict[str, Any]:
    while True:
        found: dict[str, Any] = client.get(location).json()["operation"]
        if found["status"] in ("done", "error"):
            return found
        time.sleep(0.05)


@pytest.fixture(scope="module")
def deployed(sandbox: Any) -> Iterator[tuple[Any, dict[str, Any], list[dict[str, Any]]]]:
    client = sandbox.client()
    app = client.post("/v1/apps", json={"app": {"name": APP}}).json()["app"]
    wanted = {"deployment": {"git_ref": "label", "source_url": upload(client)}}
    made = client.post(f"/v1/apps/{APP}/deployments", json=wanted)
    assert made.status_code == 201, "the official client refuses 200"
    deployment = made.json()["deployment"]
    assert deployment["status"] in ("queued", "building")
    frames = follow(sandbox, app["links"]["deployments_stream"], deployment["id"])
    yield client, deployment, frames
    client.delete(f"/v1/apps/{APP}?current_name={APP}")


def test_the_stream_tells_the_whole_story(deployed: Any) -> None:
    _, deployment, frames = deployed
    assert frames[0]["type"] == "new"
    assert frames[0]["data"]["deployment"]["pusher"]["username"] == "operator"
    statuses = [frame["data"]["status"] for frame in frames if frame["type"] == "status"]
    assert statuses == ["queued", "building", "pushing", "starting", "success"]
    assert {frame["id"] for frame in frames} == {deployment["id"]}
    assert "Build complete" in "".join(frame["data"]["content"] for frame in frames if frame["type"] == "log")


def test_a_stream_joined_late_ends_too(sandbox: Any, deployed: Any) -> None:
    client, deployment, _ = deployed
    address = client.get(f"/v1/apps/{APP}").json()["app"]["links"]["deployments_stream"]
    frames = follow(sandbox, address, deployment["id"])
    assert frames[-1]["data"] == {"status": "success"}
    assert follow(sandbox, address, deployment["id"], token="wrong") == []


def test_the_deployment_is_listed_with_its_output(deployed: Any) -> None:
    client, deployment, _ = deployed
    listed = client.get(f"/v1/apps/{APP}/deployments?page=1&per_page=1").json()
    assert listed["meta"]["pagination"]["total_count"] == 1
    (shown,) = listed["deployments"]
    assert (shown["id"], shown["status"], shown["git_ref"]) == (deployment["id"], "success", "label")
    assert isinstance(shown["duration"], int)
    content = client.get(f"/v1/apps/{APP}/deployments/{deployment['id']}").json()
    assert list(content) == ["deployment"]
    output = client.get(content["deployment"]["links"]["output"])
    assert output.headers["Content-Type"].startswith("text/plain")
    assert "Build complete" in output.text
    app = client.get(f"/v1/apps/{APP}").json()["app"]
    assert (app["status"], app["last_deployment_id"]) == ("running", deployment["id"])
    assert requests.get(f"{app['url']}/hello.txt", timeout=10).text == "hello"


def test_containers_scale_and_restart(deployed: Any) -> None:
    client, _, _ = deployed
    change = {"containers": [{"app_id": "", "name": "worker", "amount": 1, "command": "", "size": ""}]}
    scaled = client.post(f"/v1/apps/{APP}/scale", json=change)
    assert scaled.status_code == 202
    assert {item["name"]: item["amount"] for item in scaled.json()["containers"]}["worker"] == 1
    done = operation(client, scaled.headers["Location"])
    assert (done["status"], done["type"], done["error"]) == ("done", "scale", None)
    assert done["finished_at"]
    running = client.get(f"/v1/apps/{APP}/ps").json()["containers"]
    assert {item["label"] for item in running} == {"web-1", "worker-1"}
    for item in running:
        assert item["created_at"]
        assert isinstance(item["container_size"]["memory"], int)
    restarted = client.post(f"/v1/apps/{APP}/restart", json={"scope": ["web"]})
    assert (restarted.status_code, restarted.content) == (202, b"")
    assert operation(client, restarted.headers["Location"])["status"] == "done"
    unknown = client.post(f"/v1/apps/{APP}/restart", json={"scope": ["nothing"]})
    assert (unknown.status_code, list(unknown.json()["errors"])) == (422, ["scope"])


def test_a_detached_one_off_writes_to_the_log(deployed: Any) -> None:
    client, _, _ = deployed
    ran = client.post(
        f"/v1/apps/{APP}/run", json={"command": "echo from-one-off", "detached": True, "size": "M"}
    )
    assert ran.status_code == 200
    assert set(ran.json()) == {"container", "operation", "operation_url"}
    label = ran.json()["container"]["label"]
    address = client.get(f"/v1/apps/{APP}/logs").json()["logs_url"]
    deadline = time.monotonic() + 10
    while "from-one-off" not in (text := requests.get(f"{address}&n=50&filter={label}", timeout=10).text):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert f"[{label}] from-one-off" in text
    assert requests.get(address.replace("token=", "token=0"), timeout=10).status_code == 401


@pytest.mark.parametrize("source", ["", "ftp://x/y", "/etc/passwd"])
def test_an_unfit_source_is_422(deployed: Any, source: str) -> None:
    client, _, _ = deployed
    answer = client.post(f"/v1/apps/{APP}/deployments", json={"deployment": {"source_url": source}})
    assert (answer.status_code, list(answer.json()["errors"])) == (422, ["source_url"])


def test_an_upload_address_takes_nothing_without_its_token(sandbox: Any, deployed: Any) -> None:
    client, _, _ = deployed
    where = client.post("/v1/sources", json={}).json()["source"]["upload_url"].split("?")[0]
    assert requests.put(where, data=b"x", timeout=10).status_code == 403
