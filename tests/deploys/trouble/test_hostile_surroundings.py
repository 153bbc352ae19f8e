"""Networks, disks, databases and colleagues that get in the way: one clear line, and nothing half done."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest

Scene = Any
Operator = Any

ROOT = Path(__file__).parents[3]


def check_refused(scene: Scene, ran: Any, *words: str, code: int = 1) -> None:
    """Refused in words; code and data are as they were; nothing is left at work."""
    assert ran.code == code, ran.text
    for word in words:
        assert word in ran.text
    assert scene.now() == ("old", "old")
    assert scene.operator.left_behind() == []


def go_on(scene: Scene) -> None:
    """The next run, once the cause is mended, does it."""
    again = scene.roll_back()
    assert again.code == 0, again.text
    assert scene.now() == ("new", "new")
    assert scene.operator.sessions() == 0


@pytest.mark.slow
def test_tunnel_cut_in_the_middle_of_the_load(scene: Scene) -> None:
    command = scene.start()
    command.see("Step: restore the backup")
    scene.operator.control.cut_tunnels(after_bytes=300_000)
    code = command.end()
    assert code == 1, command.text
    assert "Now: " in command.text
    assert "Next: " in command.text
    assert scene.now() == ("old", "old")
    assert scene.operator.left_behind() == []
    go_on(scene)


@pytest.mark.slow
@pytest.mark.parametrize("line", ["Step: push", "Step: swap the data", "Step: verify"])
def test_tunnel_cut_later(scene: Scene, line: str) -> None:
    command = scene.start()
    command.see(line)
    scene.operator.control.cut_tunnels()
    code = command.end()
    where = scene.now()
    assert set(where) <= {"old", "new"}
    if code != 0:
        assert "Now: " in command.text
        go_on(scene)
    assert scene.now() == ("new", "new")


@pytest.mark.slow
def test_database_restarted_in_the_middle_of_the_load(scene: Scene) -> None:
    command = scene.start()
    command.see("Step: restore the backup")
    scene.operator.control.restart_database()
    assert command.end() == 1, command.text
    assert scene.now() == ("old", "old")
    go_on(scene)


@pytest.mark.slow
def test_full_disk(scene: Scene) -> None:
    size = scene.operator.control.database(scene.operator.app)["size"]
    scene.operator.control.quota(scene.operator.app, size + 1_000_000)
    ran = scene.roll_back()
    check_refused(scene, ran, "Now: ", "Next: ")
    assert "room" in ran.text or "full" in ran.text
    scene.operator.control.quota(scene.operator.app, None)
    go_on(scene)


@pytest.mark.slow
def test_wrong_password(scene: Scene) -> None:
    client = scene.operator.sandbox.client()
    path = f"/v1/apps/{scene.operator.app}/variables"
    variables = client.get(path).json()["variables"]
    found = next(one for one in variables if one["name"] == "SCALINGO_POSTGRESQL_URL")
    right = found["value"]
    user, _, rest = right.partition("@")
    wrong = f"{user.rpartition(':')[0]}:not-the-password@{rest}"
    assert client.put(path, json={"variables": [{"name": found["name"], "value": wrong}]}).ok
    try:
        ran = scene.roll_back()
        assert "not-the-password" not in ran.text
        check_refused(scene, ran, "password", "Next: ")
    finally:
        client.put(path, json={"variables": [{"name": found["name"], "value": right}]})


@pytest.fixture(scope="session")
def files(materials: Any, operators: dict[str, Operator], tmp_path_factory: Any) -> Path:
    """A backup as downloaded, in several conditions."""
    folder: Path = tmp_path_factory.mktemp("archives")
    operator = operators["sandbox-demo-preprod"]
    client = operator.sandbox.database_client(operator.app)
    backup = materials(operator).backup
    link = client.get(f"/api/databases/{client.addon_id}/backups/{backup}/archive").json()["download_url"]
    whole = client.get(link).content
    (folder / "whole.tar.gz").write_bytes(whole)
    (folder / "truncated.tar.gz").write_bytes(whole[: len(whole) // 2])
    subprocess.run(["tar", "xzf", "whole.tar.gz"], cwd=folder, check=True)
    bare = next(path for path in folder.rglob("*") if path.is_file() and path.read_bytes()[:5] == b"PGDMP")
    bare.rename(folder / "bare.pgsql")
    (folder / "truncated.pgsql").write_bytes((folder / "bare.pgsql").read_bytes()[:-20_000])
    (folder / "dump.sql").write_text("CREATE TABLE t (x int);\n")
    (folder / "picture.tar.gz").write_bytes(b"\x89PNG\r\n\x1a\n" + os.urandom(4000))
    return folder


@pytest.mark.parametrize(
    "name", ["truncated.tar.gz", "truncated.pgsql", "dump.sql", "picture.tar.gz", "absent.tar.gz"]
)
@pytest.mark.slow
def test_archive_that_is_not_whole(scene: Scene, files: Path, name: str) -> None:
    ran = scene.roll_back(backup=f"file:{files / name}")
    assert ran.code in (1, 3), ran.text
    check_refused(scene, ran, name, "Next: ", code=ran.code)
    assert scene.operator.schemas("new") == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["whole.tar.gz", "bare.pgsql"])
def test_archive_from_a_file(scene: Scene, files: Path, name: str) -> None:
    ran = scene.roll_back(backup=f"file:{files / name}")
    assert ran.code == 0, ran.text
    assert scene.now() == ("new", "new")


@pytest.mark.slow
@pytest.mark.parametrize("line", ["Step: restore the backup", "Carrying it out"])
def test_somebody_else_deploys_meanwhile(scene: Scene, line: str) -> None:
    command = scene.start()
    command.see(line)
    scene.operator.deploy("v1.0.1~1")
    theirs = scene.operator.release()
    code = command.end()
    if code == 3:  # caught by the gate, while their deployment was still running
        assert "REFUSED  deployment" in command.text
    else:
        assert code == 5, command.text
        assert "somebody else" in command.text
    assert scene.operator.release() == theirs


@pytest.mark.slow
def test_archive_deployment_of_somebody_else_meanwhile(scene: Scene, deploy_archive: Any) -> None:
    """It moves no branch, so that the push's lease alone would not see it."""
    command = scene.start()
    command.see("Step: restore the backup")
    theirs = deploy_archive(scene.operator, "v1.0.1~1")
    code = command.end()
    assert code == 5, command.text
    assert "somebody else deployed" in command.text
    assert scene.operator.release() == theirs


@pytest.mark.slow
@pytest.mark.parametrize("answer", [404, 500, "html", "cut", "slow"])
def test_channel_that_fails_only_warns(scene: Scene, answer: Any) -> None:
    more = {"seconds": 60} if answer == "slow" else {}
    scene.operator.control.fail(answer, service="mattermost", times=None, **more)
    ran = scene.roll_back(backup="none")
    assert ran.code == 0, ran.text
    assert "The team's channel was not told: " in ran.text
    assert "<html" not in ran.text.casefold()
    assert scene.operator.release() == scene.good


@pytest.mark.slow
def test_github_down_refuses_and_a_reason_goes_on(scene: Scene) -> None:
    scene.operator.control.crash("github")
    try:
        refused = scene.roll_back()
        check_refused(scene, refused, "REFUSED  github", "skip_github", code=3)
        done = scene.roll_back(skip_github="GitHub is down, the tag was compared by hand")
        assert done.code == 0, done.text
        assert scene.now() == ("new", "new")
        assert "GitHub is down" in scene.told()
        gate = next(one for one in scene.last_record()["gates"] if one["name"] == "github")
        assert gate["skipped"].startswith("GitHub is down")
    finally:
        scene.operator.control.revive()


@pytest.mark.slow
def test_platform_hides_what_became_of_the_push(incident_scene: Scene) -> None:
    """The swap is not taken back under a release that may have come up."""
    scene = incident_scene
    command = scene.start()
    command.see("Swapped")
    scene.operator.control.fail(500, service="scalingo", path="deployments", times=None)
    code = command.end()
    assert code in (1, 7), command.text
    assert "not known" in command.text
    scene.operator.control.clear_failures()
    assert scene.now()[1] == "new"
    go_on(scene)


@pytest.mark.slow
@pytest.mark.parametrize("answer", [401, 429, 503, "html", "cut"])
def test_platform_that_answers_badly(scene: Scene, answer: Any) -> None:
    scene.operator.control.fail(answer, service="scalingo", times=None)
    ran = scene.roll_back()
    scene.operator.control.clear_failures()
    check_refused(scene, ran, "Next: ")
    assert "<html" not in ran.text.casefold()


def outside(operator: Operator, home: Path, **changes: str | None) -> subprocess.CompletedProcess[str]:
    """The rollback of production's own inventory, on this machine without its credentials."""
    env = {
        name: value for name, value in operator.env.items() if not name.startswith(("SCALINGO", "SANDBOX"))
    }
    env |= {"HOME": str(home), "AUTH_FILE": str(home / "auth"), "CONFIG_FILE_PATH": str(home / "config")}
    env |= {name: value for name, value in changes.items() if value is not None}
    return subprocess.run(
        [str(Path(sys.executable).parent / "pyinfra"), "inventories/prod.py", "deploys/rollback.py", "-y"],
        cwd=ROOT, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_without_credentials_or_network(preprod: Operator, tmp_path: Path) -> None:
    without = outside(preprod, tmp_path)
    assert without.returncode != 0
    assert "SCALINGO_API_TOKEN" in without.stderr
    assert "Traceback" not in without.stderr + without.stdout

    dead = {f"{scheme}_proxy": "http://127.0.0.1:9" for scheme in ("http", "https", "HTTP", "HTTPS")}
    offline = outside(preprod, tmp_path, SCALINGO_API_TOKEN="tk-us-nobody", **dead)
    assert offline.returncode != 0
    assert "Traceback" not in offline.stderr + offline.stdout
    assert "Next: " in offline.stderr


@pytest.mark.slow
def test_sandbox_down(preprod: Operator, tmp_path: Path) -> None:
    done = subprocess.run(
        preprod.command("rollback", tag="v1.0.0", backup="latest"),
        cwd=ROOT, env={**preprod.env, "SANDBOX_STATE": str(tmp_path)}, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "python -m sandbox up" in done.stderr + done.stdout
    assert "Traceback" not in done.stderr + done.stdout


def test_two_people_at_once(scene: Scene) -> None:
    first = scene.start()
    first.see("Step: restore the backup")
    second = scene.roll_back()
    assert second.code == 4, second.text
    assert "holds it since" in second.text
    assert first.end() == 0, first.text
    assert scene.now() == ("new", "new")


@pytest.mark.slow
def test_two_people_at_the_same_moment(scene: Scene) -> None:
    both = [scene.start(), scene.start()]
    codes = sorted(one.end() for one in both)
    assert codes == [0, 4], "\n".join(one.text for one in both)
    assert scene.now() == ("new", "new")
    told = next(one.text for one in both if "holds it since" in one.text)
    assert "@" in told


@pytest.mark.slow
def test_long_transaction_in_the_way_of_the_swap(scene: Scene) -> None:
    """Nobody waits longer than a moment for the swap; the swap says for whom it waits."""
    command = scene.start()
    command.see("Step: push")
    with psycopg.connect(scene.operator.control.database(scene.operator.app)["url"]) as reader:
        reader.execute("select count(*) from public.places_place")
        command.see("The swap waits for")
        assert set(scene.operator.pages().values()) == {200}
        reader.rollback()
    assert command.end() == 0, command.text
    assert scene.now() == ("new", "new")
