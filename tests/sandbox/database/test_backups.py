"""Backups through the database API: states, archive, download, and what pg_restore says of it."""

from __future__ import annotations

import io
import subprocess
import tarfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests

from sandbox.database.programs import embedded_binaries

APP = "sandbox-demo-preprod"


@pytest.fixture
def database(sandbox: Any) -> Iterator[Any]:
    url = sandbox.control.database(APP)["url"]
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE backup_test AS SELECT n, repeat(md5(n::text), 20) FROM generate_series(1, 20000) n"
        )
    yield sandbox.database_client(APP)
    sandbox.control.scenario(APP, reset=True)
    sandbox.control.clear_failures()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP TABLE backup_test")


def wait_for(client: Any, backup: str) -> dict[str, Any]:
    while True:
        found: dict[str, Any] = client.get(f"/api/backups/{backup}").json()["database_backup"]
        if found["status"] not in ("scheduled", "running"):
            return found
        time.sleep(0.05)


def address(client: Any, backup: str) -> str:
    answer = client.get(f"/api/databases/{client.addon_id}/backups/{backup}/archive")
    return str(answer.json()["download_url"])


def test_a_manual_backup_goes_through_its_states_and_is_a_real_archive(
    sandbox: Any, database: Any, tmp_path: Path
) -> None:
    sandbox.control.scenario(APP, backup_seconds=0.3)
    made = database.post(f"/api/databases/{database.addon_id}/backups", json={})
    assert made.status_code == 201
    backup = made.json()["database_backup"]
    assert (backup["status"], backup["method"], backup["size"]) == ("scheduled", "manual", None)
    early = database.get(f"/api/databases/{database.addon_id}/backups/{backup['id']}/archive")
    assert (early.status_code, list(early.json())) == (400, ["error"])
    time.sleep(0.25)
    running = database.get(f"/api/backups/{backup['id']}").json()["database_backup"]
    assert (running["status"], running["size"], bool(running["started_at"])) == ("running", None, True)
    done = wait_for(database, backup["id"])
    assert done["status"] == "done"
    assert "ended_at" not in done
    assert (
        done["name"]
        == f"{datetime.fromisoformat(done['created_at']):%Y%m%d%H%M%S}_{sandbox.addon(APP)['resource_id']}"
    )

    answer = requests.get(address(database, backup["id"]), timeout=30)
    assert answer.status_code == 200
    assert int(answer.headers["Content-Length"]) == len(answer.content) == done["size"]
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as tar:
        folder, dump = tar.getmembers()
        assert folder.isdir()
        assert Path(dump.name).parent.name == folder.name == done["name"]
        tar.extract(dump, tmp_path)
    listed = subprocess.run(
        [embedded_binaries() / "pg_restore", "-l", tmp_path / dump.name],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "TABLE DATA public backup_test" in listed
    assert "Format: CUSTOM" in listed


def test_a_nightly_backup_claims_its_time_and_lists_are_newest_first(sandbox: Any, database: Any) -> None:
    night = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=9)
    nightly = sandbox.control.backup(APP, at=night)
    manual = sandbox.control.backup(APP)
    assert (nightly["status"], nightly["method"], manual["method"]) == ("done", "periodic", "manual")
    assert datetime.fromisoformat(nightly["created_at"]) == night
    listed = database.get(f"/api/databases/{database.addon_id}/backups").json()["database_backups"]
    identifiers = [item["id"] for item in listed]
    assert identifiers.index(manual["id"]) < identifiers.index(nightly["id"])
    assert [item["created_at"] for item in listed] == sorted(
        (item["created_at"] for item in listed), reverse=True
    )


def test_a_backup_fails_when_told_to(sandbox: Any, database: Any) -> None:
    sandbox.control.scenario(APP, backup_fail=True)
    failed = sandbox.control.backup(APP)
    assert (failed["status"], failed["size"]) == ("error", None)


def test_a_download_resumes_where_it_was_cut(sandbox: Any, database: Any) -> None:
    backup = sandbox.control.backup(APP)
    where = address(database, backup["id"])
    whole = requests.get(where, timeout=30).content
    cut_at = len(whole) // 3
    sandbox.control.fail("cut", path="^/backups/", after_bytes=cut_at)
    received = b""
    with pytest.raises(requests.RequestException), requests.get(where, stream=True, timeout=30) as answer:
        for chunk in answer.iter_content(1024):
            received += chunk
    assert 0 < len(received) <= cut_at
    rest = requests.get(where, headers={"Range": f"bytes={len(received)}-"}, timeout=30)
    assert rest.status_code == 206
    assert rest.headers["Content-Range"] == f"bytes {len(received)}-{len(whole) - 1}/{len(whole)}"
    assert received + rest.content == whole
    beyond = requests.get(where, headers={"Range": f"bytes={len(whole)}-"}, timeout=30)
    assert (beyond.status_code, beyond.headers["Content-Range"]) == (416, f"bytes */{len(whole)}")
    other = {"Range": "bytes=5-", "If-Range": '"another"'}
    assert requests.get(where, headers=other, timeout=30).status_code == 200


def test_a_slow_download_takes_its_time(sandbox: Any, database: Any) -> None:
    backup = sandbox.control.backup(APP)
    sandbox.control.fail("slow", path="^/backups/", bytes_per_second=backup["size"] * 2)
    began = time.monotonic()
    assert len(requests.get(address(database, backup["id"]), timeout=30).content) == backup["size"]
    assert time.monotonic() - began > 0.35


def test_an_address_opens_nothing_else(sandbox: Any, database: Any) -> None:
    first, second = sandbox.control.backup(APP), sandbox.control.backup("sandbox-demo")
    where = address(database, first["id"])
    assert requests.get(where + "0", timeout=30).status_code == 403
    other = where.replace(first["id"], second["id"])
    assert requests.get(other, timeout=30).status_code == 403
    foreign = database.get(f"/api/backups/{second['id']}")
    assert (foreign.status_code, foreign.json()["resource"]) == (404, "backup")


def test_the_database_api_wants_an_addons_token(sandbox: Any, database: Any) -> None:
    path = f"/api/databases/{database.addon_id}"
    assert database.get(path).json()["database"]["type_name"] == "postgresql"
    for client in (sandbox.client(), sandbox.anonymous()):
        answer = client.get(path)
        assert (answer.status_code, answer.json()) == (400, {"error": "unauthorized"})
    assert sandbox.database_client("sandbox-demo").get(path).status_code == 404
