"""The journal keeps what happened, privately, and shows when somebody changed it."""

from __future__ import annotations

import json
import stat
from pathlib import Path

from tasks.core.journal import Journal
from tasks.core.secrets import Secret


def test_records_come_back_in_order_with_who_and_when(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal", "prod")
    journal.append(deploy="rollback", result="succeeded", commit="a")
    journal.append(deploy="rollback", result="failed", commit="b")
    records = list(journal.records())
    assert [record.get("commit") for record in records] == ["a", "b"]
    assert "@" in records[0].get("who")
    assert journal.broken_links() == []


def test_newest_looks_for_all_values(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "prod")
    journal.append(deploy="rollback", result="succeeded", commit="a", run="1")
    journal.append(deploy="rollback", result="succeeded", commit="a", run="2")
    journal.append(deploy="rollback", result="failed", commit="a", run="3")
    found = journal.newest(deploy="rollback", result="succeeded", commit="a")
    assert found is not None
    assert found.get("run") == "2"
    assert journal.newest(commit="c") is None


def test_edited_record_shows(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "prod")
    for result in ("failed", "succeeded", "succeeded"):
        journal.append(result=result)
    journal.path.write_text(journal.path.read_text().replace("failed", "succeeded"))
    assert ["edited" in fault for fault in journal.broken_links()] == [True]


def test_removed_record_shows(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "prod")
    for number in range(3):
        journal.append(number=number)
    lines = journal.path.read_text().splitlines(keepends=True)
    journal.path.write_text(lines[0] + lines[2])
    assert len(journal.broken_links()) == 1


def test_torn_last_line_neither_hides_the_rest_nor_stops_the_next(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "prod")
    journal.append(number=1)
    with journal.path.open("a") as file:
        file.write('{"at": "2026-')
    journal.append(number=2)
    assert [record.get("number") for record in journal.records()] == [1, 2]
    assert journal.broken_links() == []


def test_private_and_without_secrets(tmp_path: Path) -> None:
    secret = Secret("DATABASE_PASSWORD", "canary-of-the-journal")
    journal = Journal(tmp_path / "journal", "prod")
    journal.append(error=f"could not connect with {secret.reveal()}")
    assert stat.S_IMODE(journal.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(journal.folder.stat().st_mode) == 0o700
    assert "canary-of-the-journal" not in journal.path.read_text()
    json.loads(journal.path.read_text())
