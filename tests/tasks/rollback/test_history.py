"""What the platform, the database and the journal tell of the past, taken together."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from tasks.core.journal import Record
from tasks.postgres.marks import DataState, Mark
from tasks.rollback.choices import Deployed
from tasks.rollback.history import History, RolledBack

DAY = datetime(2026, 1, 31, tzinfo=UTC)
OLD, GOOD, BAD, FIXED = (letter * 40 for letter in "0abf")


def at(hour: float) -> datetime:
    return DAY + timedelta(hours=hour)


def deployed(*commits_by_hour: tuple[str, float]) -> tuple[Deployed, ...]:
    """Given oldest first, as people tell it; newest first, as the platform does."""
    return tuple(Deployed(commit, at(hour), at(hour + 0.1), "ada") for commit, hour in commits_by_hour[::-1])


def mark(kind: Any, hour: float, **more: Any) -> Mark:
    state = {"new": "proved", "drop": "restored"}.get(kind, "swapped")
    known: dict[str, Any] = {"run": f"run{hour}", "state": state, "created": at(hour), "number": int(hour)}
    return Mark(kind, **{**known, "backup": "b1", "release": GOOD, **more})


def record(hour: float, **body: Any) -> Record:
    known = {"deploy": "rollback", "result": "succeeded", "moved": True, "data": None, "who": "ada@laptop"}
    return Record({"at": at(hour).isoformat(), **known, **body}, "", "")


def left_behind(hour: float = 13) -> Record:
    """A rollback from the faulty release to the good one."""
    return record(hour, commit=GOOD, commit_before=BAD)


TWO_RELEASES = deployed((GOOD, 6), (BAD, 12))
ROLLED_BACK = deployed((GOOD, 6), (BAD, 12), (GOOD, 13))


# --- runs that did not end ---


def test_swap_that_nobody_confirmed_comes_before_a_drop_and_a_stage() -> None:
    swap, drop, stage = mark("before", 13), mark("drop", 14), mark("new", 15)
    assert History(TWO_RELEASES, DataState((stage,), (swap,), drop)).unfinished == swap
    assert History(TWO_RELEASES, DataState((stage,), (), drop)).unfinished == drop
    assert History(TWO_RELEASES, DataState((stage,))).unfinished == stage


def test_what_was_confirmed_has_ended() -> None:
    ended = DataState((), (mark("before", 13, confirmed=True),), dropping=mark("drop", 14, confirmed=True))
    assert History(TWO_RELEASES, ended).unfinished is None


def test_data_brought_back_by_an_undo_is_no_unfinished_rollback() -> None:
    assert History(TWO_RELEASES, DataState((), (mark("after", 14),))).unfinished is None


def test_undo_that_has_swapped_is_unfinished_until_it_is_confirmed() -> None:
    undone = mark("after", 14, details={"deploy": "undo"})
    assert History(TWO_RELEASES, DataState((), (undone,))).unfinished_undo == undone
    ended = mark("after", 14, details={"deploy": "undo"}, confirmed=True)
    assert History(TWO_RELEASES, DataState((), (ended,))).unfinished_undo is None
    put_back = mark("after", 14, details={"deploy": "rollback", "taken_back": True})
    assert History(TWO_RELEASES, DataState((), (put_back,))).unfinished_undo is None
    assert History(TWO_RELEASES, DataState((), (mark("before", 14),))).unfinished_undo is None


def test_stage_of_before_the_last_deployment_is_of_another_night() -> None:
    assert History(TWO_RELEASES, DataState((mark("new", 11),))).unfinished is None
    assert History((), DataState((mark("new", 11),))).unfinished is not None


def test_stage_that_was_not_proved_is_nothing_to_go_on_from() -> None:
    history = History(TWO_RELEASES, DataState((mark("new", 15, state="loading"),)))
    assert history.unfinished is None
    assert history.resumable(GOOD, "b1") is None


def test_only_the_same_release_and_backup_are_gone_on_with() -> None:
    older, newer = mark("new", 14), mark("new", 15)
    history = History(TWO_RELEASES, DataState((older, newer)))
    assert history.resumable(GOOD, "b1") == newer
    assert history.resumable(OLD, "b1") is None
    assert history.resumable(GOOD, "b2") is None
    assert history.resumable("", "b1") is None, "a restore of data alone is another run"


def test_unconfirmed_swap_is_gone_on_with_before_a_stage() -> None:
    swap = mark("before", 13)
    history = History(TWO_RELEASES, DataState((mark("new", 15),), (swap,)))
    assert history.resumable(GOOD, "b1") == swap
    confirmed = History(TWO_RELEASES, DataState((), (mark("before", 13, confirmed=True),)))
    assert confirmed.resumable(GOOD, "b1") is None


# --- rollbacks that ended ---


def test_rollback_known_by_its_mark_from_any_laptop() -> None:
    data = DataState((), (mark("before", 13, confirmed=True),))
    assert History(ROLLED_BACK, data).rolled_back == RolledBack(at(13), GOOD, "b1", "")


def test_rollback_is_over_once_something_else_is_deployed() -> None:
    data = DataState((), (mark("before", 13, confirmed=True),))
    since = (*deployed((FIXED, 20)), *ROLLED_BACK)
    assert History(since, data).rolled_back is None
    assert History(since, DataState(), (left_behind(),)).rolled_back is None


def test_rollback_that_was_not_confirmed_is_not_how_things_are() -> None:
    assert History(ROLLED_BACK, DataState((), (mark("before", 13),))).rolled_back is None


def test_rollback_of_code_alone_known_by_the_journal() -> None:
    found = History(ROLLED_BACK, DataState(), (left_behind(),)).rolled_back
    assert found == RolledBack(at(13), GOOD, "", "ada@laptop")


def test_failed_or_refused_runs_have_rolled_nothing_back() -> None:
    failed = record(13, commit=GOOD, commit_before=BAD, result="failed")
    refused = record(14, commit=GOOD, commit_before=BAD, result="refused", moved=False)
    assert History(ROLLED_BACK, DataState(), (failed, refused)).rolled_back is None


def test_undo_after_the_rollback_is_what_counts() -> None:
    undone = record(14, deploy="undo", commit=BAD, commit_before=GOOD)
    history = History((*deployed((BAD, 14)), *ROLLED_BACK), DataState(), (left_behind(), undone))
    assert history.rolled_back is None
    assert history.last_change == undone


# --- the same again ---


def test_same_backup_or_the_same_words_are_settled() -> None:
    data = DataState((), (mark("before", 13, confirmed=True, details={"asked": "latest"}),))
    history = History(ROLLED_BACK, data)
    assert history.settled(GOOD, "b1", None)
    assert history.settled(GOOD, "b2", "latest"), "a newer backup does not make it another question"
    assert not history.settled(GOOD, "b2", "id:b2")
    assert not history.settled(OLD, "b1", None)


def test_nothing_is_settled_where_another_release_runs_or_nobody_confirmed() -> None:
    confirmed = DataState((), (mark("before", 13, confirmed=True),))
    assert not History(TWO_RELEASES, confirmed).settled(GOOD, "b1", None)
    assert not History(ROLLED_BACK, DataState((), (mark("before", 13),))).settled(GOOD, "b1", None)


def test_restored_by_dropping_is_settled_too() -> None:
    data = DataState(dropping=mark("drop", 13, confirmed=True))
    assert History(ROLLED_BACK, data).settled(GOOD, "b1", None)


def test_release_whose_verification_failed_was_not_seen_to_pass() -> None:
    failed = record(13, commit=GOOD, result="failed")
    assert not History(ROLLED_BACK, DataState(), (failed,)).seen_to_pass(GOOD)
    assert History(ROLLED_BACK, DataState(), (failed, record(14, commit=GOOD))).seen_to_pass(GOOD)
    assert History(ROLLED_BACK, DataState()).seen_to_pass(GOOD), "deployed by other means"


# --- what an undo reverses ---


def test_undo_takes_the_newest_of_swap_drop_and_code_alone() -> None:
    swap, drop = mark("before", 13), mark("drop", 14)
    before, after = record(12, commit=GOOD), record(15, commit=GOOD)
    assert History(ROLLED_BACK, DataState((), (swap,), drop)).last_change == drop
    assert History(ROLLED_BACK, DataState((), (swap,)), (before,)).last_change == swap
    assert History(ROLLED_BACK, DataState((), (swap,), drop), (before, after)).last_change == after
    assert History(ROLLED_BACK, DataState()).last_change is None


def test_records_of_runs_that_moved_data_or_nothing_are_no_change_of_code_alone() -> None:
    with_data = record(15, commit=GOOD, data="backup b1")
    refused = record(16, commit=GOOD, moved=False)
    swap = mark("before", 13)
    assert History(ROLLED_BACK, DataState((), (swap,)), (with_data,)).last_change == swap
    assert History(ROLLED_BACK, DataState(), (refused,)).last_change is None


def test_code_alone_that_failed_its_verification_can_be_undone() -> None:
    failed = record(15, commit=GOOD, commit_before=BAD, result="failed")
    assert History(ROLLED_BACK, DataState(), (failed,)).last_change == failed


# --- releases that are not gone back to ---


def test_release_that_a_rollback_left_is_left() -> None:
    assert History(ROLLED_BACK, DataState(), (left_behind(),)).left == {BAD}


def test_release_deployed_again_since_is_not_left() -> None:
    again = (*deployed((BAD, 20)), *ROLLED_BACK)
    assert History(again, DataState(), (left_behind(),)).left == frozenset()
    assert History(again, DataState(), (left_behind(), left_behind(21))).left == {BAD}


def test_runs_that_went_on_from_a_landed_push_or_moved_nothing_left_no_release() -> None:
    went_on = record(14, commit=GOOD, commit_before=GOOD)
    refused = record(13, commit=GOOD, commit_before=BAD, moved=False)
    undone = record(13, deploy="undo", commit=BAD, commit_before=GOOD)
    assert History(ROLLED_BACK, DataState(), (went_on, refused, undone)).left == frozenset()


def test_no_run_goes_on_from_the_copy_of_a_drill() -> None:
    copy = Mark("new", "run", "proved", backup="b1", details={"drill": True})
    history = History((), DataState(stages=(copy,)))
    assert history.unfinished is None
    assert history.resumable("", "b1") is None
