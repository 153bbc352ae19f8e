"""Inputs are refused where they could mean something else than was meant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tasks.core.errors import Refused
from tasks.rollback.inputs import BackupWanted, parse

SKIPPABLE = frozenset({"rehearsal", "github"})


def test_nothing_given() -> None:
    inputs = parse({}, SKIPPABLE)
    assert inputs.tag is None
    assert inputs.backup is None
    assert inputs.strategy == "beside"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("latest", BackupWanted("latest")),
        ("none", BackupWanted("none")),
        ("id:60f", BackupWanted("id", "60f")),
        ("before:2026-01-31T04:00", BackupWanted("before", "2026-01-31T04:00")),
    ],
)
def test_backup_words(text: str, wanted: BackupWanted) -> None:
    assert parse({"backup": text}, SKIPPABLE).backup == wanted


def test_backup_file_is_resolved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.tar.gz").touch()
    monkeypatch.chdir(tmp_path)
    backup = parse({"backup": "file:a.tar.gz"}, SKIPPABLE).backup
    assert backup == BackupWanted("file", str(tmp_path / "a.tar.gz"))


def test_time_without_offset_is_utc() -> None:
    assert BackupWanted("before", "2026-01-31T04:00").time.isoformat() == "2026-01-31T04:00:00+00:00"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"backup": "yesterday"}, "latest, before:TIME"),
        ({"backup": "before:noon"}, "no time"),
        ({"backup": "file:/nowhere/at/all"}, "no file"),
        ({"backup": "latest:1"}, "not understood"),
        ({"tag": 1.5}, "quote it twice"),
        ({"tag": True}, "quote it twice"),
        ({"strategy": "fast"}, "one of beside, drop"),
        ({"skip_rehearsal": True}, "takes a reason"),
        ({"skip_rehearsal": "x"}, "takes a reason"),
        ({"skip_lock": "please"}, "no gate of that name"),
    ],
)
def test_refused_in_words(data: dict[str, Any], words: str) -> None:
    with pytest.raises(Refused, match=words):
        parse(data, SKIPPABLE)


def test_skip_with_a_reason() -> None:
    assert parse({"skip_rehearsal": "preprod is down"}, SKIPPABLE).skips == {"rehearsal": "preprod is down"}
