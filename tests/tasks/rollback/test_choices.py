"""What is suggested: the release before the running one, and the backup of its time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tasks.core.errors import Refused
from tasks.rollback.choices import (
    BackupOption,
    Deployed,
    age_text,
    find_backup,
    live_window,
    suggested_backup,
    suggested_commit,
)
from tasks.rollback.inputs import BackupWanted

DAY = datetime(2026, 1, 31, tzinfo=UTC)


def at(hour: int) -> datetime:
    return DAY + timedelta(hours=hour)


def deployed(commit: str, hour: int) -> Deployed:
    return Deployed(commit, at(hour), at(hour) + timedelta(minutes=5), "ada")


def backup(hour: int, status: str = "done") -> BackupOption:
    return BackupOption(f"b{hour}", f"name{hour}", at(hour), 1000, status)


def test_release_of_the_last_success_before_the_running_one() -> None:
    assert suggested_commit([deployed("bad", 12), deployed("good", 6), deployed("old", 1)]) == "good"


def test_same_release_deployed_twice_is_still_the_running_one() -> None:
    assert suggested_commit([deployed("bad", 13), deployed("bad", 12), deployed("good", 6)]) == "good"


def test_nothing_before_the_first_release() -> None:
    assert suggested_commit([deployed("only", 1)]) is None
    assert suggested_commit([]) is None


def test_backup_that_began_while_the_release_was_live() -> None:
    successes = [deployed("bad", 12), deployed("good", 6)]
    window = live_window(successes, "good")
    found, behind = suggested_backup([backup(13), backup(11), backup(7), backup(3)], window)
    assert (found, behind) == (backup(11), False)


def test_backup_begun_during_the_next_deployment_is_not_of_that_time() -> None:
    successes = [deployed("bad", 12), deployed("good", 6)]
    during = BackupOption("b", "b", at(12) + timedelta(minutes=2), 1, "done")
    found, _ = suggested_backup([during, backup(8)], live_window(successes, "good"))
    assert found == backup(8)


def test_older_backup_is_suggested_as_behind() -> None:
    found, behind = suggested_backup(
        [backup(13), backup(3), backup(2)], live_window([deployed("bad", 12), deployed("good", 6)], "good")
    )
    assert (found, behind) == (backup(3), True)


def test_unfinished_backups_are_never_suggested() -> None:
    window = live_window([deployed("bad", 12), deployed("good", 6)], "good")
    assert suggested_backup([backup(11, "running"), backup(10, "error")], window) == (None, False)


def test_latest_is_the_newest_complete_one() -> None:
    assert find_backup([backup(3), backup(13), backup(14, "running")], BackupWanted("latest")) == backup(13)


def test_before_a_time() -> None:
    wanted = BackupWanted("before", at(12).isoformat())
    assert find_backup([backup(13), backup(11), backup(3)], wanted) == backup(11)


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (BackupWanted("id", "nope"), "choose one of id:b13"),
        (BackupWanted("id", "b14"), "is running, not done"),
        (BackupWanted("before", "2020-01-01"), "no such complete backup"),
    ],
)
def test_refusals_name_what_there_is(wanted: BackupWanted, words: str) -> None:
    with pytest.raises(Refused, match=words):
        find_backup([backup(13), backup(14, "running")], wanted)


def test_ages() -> None:
    ages = [timedelta(minutes=90), timedelta(hours=30), timedelta(days=3)]
    assert [age_text(age) for age in ages] == ["90 min", "30 h", "3 days"]
