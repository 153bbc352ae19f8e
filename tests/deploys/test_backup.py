"""Backups as a person makes them, against the live sandbox; restores that check themselves against them."""

from __future__ import annotations

import hashlib
import json
import signal
from pathlib import Path
from typing import Any

import pytest

Operator = Any


def of_the_platform(operator: Operator) -> dict[str, str]:
    """The state of each backup by its id."""
    client = operator.sandbox.database_client(operator.app)
    found = client.get(f"/api/databases/{client.addon_id}/backups").json()["database_backups"]
    return {one["id"]: one["status"] for one in found}


def archives(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.dump"))


@pytest.fixture(scope="module")
def archive(operators: dict[str, Operator], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of our own of the unprotected app."""
    folder = tmp_path_factory.mktemp("archives")
    operators["sandbox-demo-preprod"].bring("v1.0.0")
    made = operators["sandbox-demo-preprod"].run("backup", to=str(folder))
    assert made.code == 0, made.text
    (path,) = archives(folder)
    return path


def test_the_platform_makes_one_and_it_is_followed_to_its_end(preprod: Operator) -> None:
    before = of_the_platform(preprod)
    made = preprod.run("backup", reason="avant la mise à jour")
    assert made.code == 0, made.text
    ((new, status),) = [one for one in of_the_platform(preprod).items() if one[0] not in before]
    assert status == "done"
    assert f"backup=id:{new}" in made.text
    record = preprod.journal()[-1]
    assert (record["deploy"], record["result"], record["made"]) == ("backup", "succeeded", f"id:{new}")
    assert record["steps"][0]["seconds"] > 0
    told = preprod.control.messages()[-1]["message"]
    assert "Sauvegarde de `sandbox-demo-preprod` (sandbox_preprod) : réussie" in told
    assert "avant la mise à jour" in told


@pytest.mark.slow
def test_one_that_fails_on_the_platform_is_said(preprod: Operator) -> None:
    preprod.control.scenario(preprod.app, backup_fail=True)
    failed = preprod.run("backup")
    assert failed.code == 1
    assert "the platform says error" in failed.text
    assert preprod.journal()[-1]["result"] == "failed"
    assert ": échec" in preprod.control.messages()[-1]["message"]


def test_an_archive_of_our_own_is_private_counted_and_described(preprod: Operator, archive: Path) -> None:
    said = json.loads(archive.with_name(f"{archive.name}.json").read_text())
    assert said["sha256"] == hashlib.sha256(archive.read_bytes()).hexdigest()
    assert said["size"] == archive.stat().st_size
    assert said["rows"]["public.places_place"] == preprod.sql("select count(*) from public.places_place")
    assert said["release"] == preprod.release()
    assert ["places", "0001_initial"] in said["migrations"]
    assert (said["app"], said["environment"]) == (preprod.app, preprod.environment)
    assert [oct(path.stat().st_mode & 0o777) for path in archive.parent.iterdir()] == ["0o600"] * 2


@pytest.mark.slow
def test_a_restore_checks_itself_against_the_manifest(preprod: Operator, archive: Path) -> None:
    done = preprod.run("restore", backup=f"file:{archive}")
    assert done.code == 0, done.text
    assert f"its manifest agrees: {preprod.app} ({preprod.environment}, release" in done.text
    record = preprod.journal()[-1]
    for part in ("fetched", "restored"):
        assert record[part]["bytes"] == archive.stat().st_size
        assert record[part]["seconds"] > 0


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"sha256": "0" * 64}, "its manifest says 000000000000..."),
        pytest.param(
            {"rows": {"public.places_place": 7}}, "public.places_place has ", marks=pytest.mark.slow
        ),
        pytest.param({"size": 7}, "its manifest says 7", marks=pytest.mark.slow),
        pytest.param(
            {"migrations": []}, "its migrations are others: admin.0001_initial", marks=pytest.mark.slow
        ),
        ({"sha256": "?"}, "sha256: String should match pattern"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_an_archive_that_is_not_its_manifests_is_refused(
    preprod: Operator, archive: Path, tmp_path: Path, change: dict[str, Any], sentence: str
) -> None:
    copy = tmp_path / "copy.dump"
    copy.write_bytes(archive.read_bytes())
    said = json.loads(archive.with_name(f"{archive.name}.json").read_text())
    said["rows"] |= change.pop("rows", {})
    (tmp_path / "copy.dump.json").write_text(json.dumps(said | change))
    refused = preprod.run("restore", backup=f"file:{copy}")
    assert refused.code == 3, refused.text
    assert sentence in refused.text
    assert preprod.schemas("new") == []


@pytest.mark.slow
def test_a_manifest_that_is_changed_later_is_refused_before_anything_else(
    preprod: Operator, archive: Path, tmp_path: Path
) -> None:
    copy, manifest = tmp_path / "copy.dump", tmp_path / "copy.dump.json"
    copy.write_bytes(archive.read_bytes())
    manifest.write_text(archive.with_name(f"{archive.name}.json").read_text())
    assert preprod.run("restore", backup=f"file:{copy}").code == 0
    assert preprod.run("undo").code == 0
    manifest.write_text(manifest.read_text().replace('"public.places_place": ', '"public.places_place": 1'))
    refused = preprod.run("restore", "--dry", yes=False, backup=f"file:{copy}")
    assert "Comparing copy.dump with its manifest" in refused.text
    assert refused.code == 3


@pytest.mark.parametrize("where", ["", "folder"])
def test_dry_writes_nothing(preprod: Operator, tmp_path: Path, where: str) -> None:
    inputs = {"to": str(tmp_path)} if where else {}
    with preprod.control.no_writes() as violations:
        shown = preprod.run("backup", "--dry", "--diff", yes=False, **inputs)
    assert shown.code == 0, shown.text
    assert violations == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("deploy", "inputs", "sentence"),
    [
        ("backup", {"tag": "v1.0.0"}, "this deploy does not take it"),
        ("rollback", {"to": "/tmp", "tag": "v1.0.0", "backup": "latest"}, "this deploy does not take it"),
        ("backup", {"to": "/nowhere/at/all"}, "mkdir -m 700 /nowhere/at/all"),
        ("backup", {"skip_lock": "parce que"}, "no gate of that name can be skipped"),
    ],
)
def test_what_is_misapplied_is_refused(
    preprod: Operator, deploy: str, inputs: dict[str, str], sentence: str
) -> None:
    refused = preprod.run(deploy, **inputs)
    assert refused.code == 3
    assert sentence in refused.text


@pytest.mark.slow
def test_a_protected_environment_wants_its_name(protected: Operator) -> None:
    assert protected.run("backup", confirm="prod").code == 3


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "killed"])
def test_nothing_is_kept_of_a_dump_that_was_stopped(
    preprod: Operator, tmp_path: Path, number: signal.Signals
) -> None:
    preprod.control.slow_tunnels(200)
    stopped = preprod.run_until("backup", "Step: dump the database", number, to=str(tmp_path))
    preprod.control.slow_tunnels(0)
    assert stopped.code != 0
    assert archives(tmp_path) == []
    if number is signal.SIGINT:
        assert "stopped as asked" in stopped.text
        assert list(tmp_path.iterdir()) == []
    made = preprod.run("backup", to=str(tmp_path))
    assert made.code == 0, made.text
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".dump", ".json"], "and no leftover"
    assert preprod.sessions() == 0
