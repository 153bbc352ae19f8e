"""Deployments of an archive: they run what it holds and leave the branch where it is."""

from __future__ import annotations

import asyncio
import http.server
import io
import tarfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from sandbox.platform.errors import Conflict, Invalid
from sandbox.platform.model import App
from tests import http_servers
from tests.http_servers import answering
from tests.sandbox.platform.room import Room


def archive(room: Room, folder: Path, name: str = "source.tar.gz") -> Path:
    path = room.folder / name
    room.git(folder, "archive", "--format=tar.gz", "--prefix=root/", "-o", str(path), "HEAD")
    return path


def deploy(room: Room, app: App, source: str, label: str | None = "v2") -> str:
    async def work() -> str:
        deployment = await room.platform.deploy_archive(app, source, label, room.user)
        return (await room.platform.wait_for_deployment(deployment)).status

    status: str = room.run(work())
    return status


def changed(room: Room, folder: Path, text: str) -> None:
    room.commit(folder, {"server.py": (folder / "server.py").read_text().replace("hello", text)})


def test_an_archive_is_deployed_and_the_branch_stays(room: Room) -> None:
    app, folder = room.deployed()
    before = room.head(app)
    changed(room, folder, "archived")
    assert deploy(room, app, str(archive(room, folder))) == "success"
    assert (room.get(app), room.head(app)) == ((200, "archived"), before)
    last = room.last(app)
    assert (last.type, last.git_ref, last.previous_git_ref) == ("archive", "v2", before)
    assert room.get(app, "/env/CONTAINER_VERSION") == (200, "v2")


def test_an_archive_comes_from_an_address(room: Room, tmp_path: Path) -> None:
    app, folder = room.deployed()
    changed(room, folder, "downloaded")
    archive(room, folder, "served.tar.gz")

    class Files(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(room.folder))

        def log_message(self, *_: Any) -> None: ...

    with answering(http_servers.Server(Files)) as server:
        assert deploy(room, app, f"{server.url}/served.tar.gz", None) == "success"
        assert room.get(app) == (200, "downloaded")
        assert deploy(room, app, f"{server.url}/missing.tar.gz") == "build-error"
    assert "status 404" in room.call(room.platform.output, room.last(app))


@pytest.mark.parametrize("names", [["a/Procfile", "b/Procfile"], ["Procfile"], ["../out/Procfile"], []])
def test_an_archive_of_another_shape_is_a_build_error(room: Room, tmp_path: Path, names: list[str]) -> None:
    app = room.new_app()
    path = tmp_path / "odd.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 3
            tar.addfile(member, io.BytesIO(b"x:y"))
    assert deploy(room, app, str(path)) == "build-error"
    assert not (room.folder / "state" / "apps" / app.id / "out").exists()


def test_one_deployment_at_a_time(room: Room) -> None:
    app, folder = room.deployed()
    source = str(archive(room, folder))
    app.scenario.building = 0.3

    async def work() -> list[str]:
        first = await room.platform.deploy_archive(app, source, "one", room.user)
        with pytest.raises(Conflict):
            await room.platform.deploy_archive(app, source, "two", room.user)
        await room.platform.wait_for_deployment(first)
        return [first.status]

    assert room.run(work()) == ["success"]
    with pytest.raises(Invalid):
        room.run(room.platform.deploy_archive(app, source, "-rf", room.user))


def test_the_stream_gives_what_was_said_before_then_what_follows(room: Room) -> None:
    app, folder = room.deployed()
    source = str(archive(room, folder))

    async def until_final() -> tuple[str, list[str], str]:
        deployment = await room.platform.deploy_archive(app, source, "one", room.user)
        app.scenario.pushing = 0.1
        await asyncio.sleep(0.05)
        events = [event async for event in _to_the_end(room.platform.subscribe(app))]
        assert {event.deployment_id for event in events} == {deployment.id}
        assert events[0].type == "new"
        return (
            "".join(event.text for event in events if event.type == "log"),
            [event.text for event in events if event.type == "status"],
            deployment.id,
        )

    text, states, identifier = room.run(until_final())
    assert states == ["queued", "building", "pushing", "starting", "success"]
    stored = room.call(room.platform.output, room.call(room.platform.deployment, app, identifier))
    assert text == stored
    replayed = room.run(_states(room, app))
    assert replayed == states


async def _to_the_end(events: Any) -> Any:
    async for event in events:
        yield event
        if event.type == "status" and event.text in ("success", "build-error"):
            return


def _states(room: Room, app: App) -> Coroutine[Any, Any, list[str]]:
    async def work() -> list[str]:
        events = _to_the_end(room.platform.subscribe(app))
        return [event.text async for event in events if event.type == "status"]

    return work()
