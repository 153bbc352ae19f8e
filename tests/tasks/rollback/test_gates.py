"""For each gate: it lets a good situation through, and refuses a bad one in words that say what to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tasks.core.journal import Record
from tasks.core.plan import Gate
from tasks.django.migrations import Verdict
from tasks.postgres.live import LiveFacts, LongTransaction
from tasks.rollback.choices import BackupOption
from tasks.rollback.gates import gates, next_backup
from tasks.rollback.inputs import Inputs
from tasks.rollback.intent import Target
from tasks.rollback.situation import Fetched, Moving, Situation

Make = Callable[..., Situation]
NOW = datetime(2026, 1, 31, 4, 0, tzinfo=UTC)
GOOD, BAD = "a" * 40, "b" * 40


def gate(situation: Situation, name: str) -> Gate:
    return next(found for found in gates(situation) if found.name == name)


def test_nothing_refuses_when_all_is_well(situation: Make) -> None:
    assert [found.name for found in gates(situation()) if found.refuses] == []


def test_archive_that_was_not_fetched_is_said_with_its_size(situation: Make) -> None:
    found = gate(situation(), "archive")
    assert found.holds is None
    assert "305.0 MB" in found.sentence


def test_archive_that_was_read(situation: Make) -> None:
    fetched = Fetched(Path("x"), "0" * 64, 1, {"a": 2, "b": 3}, None)
    assert gate(situation(fetched=fetched), "archive").sentence == "read to its end: 2 tables, 5 rows"


def spoiled(name: str, words: str, **changes: Any) -> Any:
    return pytest.param(name, words, changes, id=name)


LONG = LongTransaction(77, "reporting", "metabase", "active", NOW - timedelta(minutes=5))


@pytest.mark.parametrize(
    ("name", "words", "changes"),
    [
        spoiled("lock", "bob@laptop", lock_holder="bob@laptop holds it since 03:59"),
        spoiled("github", "no tag v1.0.0", github_commit=None),
        spoiled("github", "it moved", github_commit=BAD),
        spoiled("github", "GitHub did not answer", source_problem="GitHub did not answer"),
        spoiled("room", "50.0 MB", declared={"room_bytes": 50_000_000}),
        spoiled("migrations", "places.0002_x", migrations=Verdict("ahead", extra=(("places", "0002_x"),))),
        spoiled("rehearsal", "inventories/preprod.py", declared={"rehearse_in": "preprod"}),
    ],
)
def test_refuses_in_words(situation: Make, name: str, words: str, changes: dict[str, Any]) -> None:
    found = gate(situation(**changes), name)
    assert found.refuses
    assert words in f"{found.sentence} {found.next_step}"
    assert found.next_step


def test_few_connections_and_long_transactions_refuse(situation: Make, live: LiveFacts) -> None:
    assert "1 free connection," in gate(situation(live=replace(live, free_slots=1)), "room").sentence
    waiting = situation(live=replace(live, long_transactions=(LONG,)))
    assert "metabase, pid 77" in gate(waiting, "transactions").sentence
    assert gate(waiting, "transactions").refuses


def test_somebody_elses_deployment_refuses_and_the_wanted_one_does_not(situation: Make) -> None:
    fine = situation()
    other = Moving("c" * 40, "building", NOW, "bob")
    same = Moving(GOOD, "building", NOW, "ada")
    assert gate(replace(fine, platform=replace(fine.platform, moving=(other,))), "deployment").refuses
    assert not gate(replace(fine, platform=replace(fine.platform, moving=(same,))), "deployment").refuses


def test_running_and_due_backups_refuse(situation: Make) -> None:
    fine = situation()
    running = BackupOption("b2", "now", NOW, None, "running")
    assert gate(replace(fine, platform=replace(fine.platform, backups=(running,))), "backups").refuses
    due = replace(fine, now=NOW.replace(hour=23, minute=55))
    assert "00:00" in gate(due, "backups").sentence


def test_behind_is_fine_with_data_and_refused_without(situation: Make) -> None:
    behind = Verdict("behind", missing=(("places", "0002_x"),))
    assert not gate(situation(migrations=behind), "migrations").refuses
    fine = situation(migrations=behind)
    code_alone = replace(fine, intent=replace(fine.intent, backup=None))
    assert "would change live data" in gate(code_alone, "migrations").sentence


def test_full_commit_needs_no_tag(situation: Make) -> None:
    fine = situation(github_commit=None)
    found = gate(replace(fine, intent=replace(fine.intent, target=Target(GOOD, None))), "github")
    assert found.holds


def test_rehearsal_that_succeeded(situation: Make) -> None:
    record = Record({"at": (NOW - timedelta(hours=2)).isoformat(), "who": "ada@laptop"}, "", "")
    found = gate(situation(declared={"rehearse_in": "preprod"}, rehearsal=record), "rehearsal")
    assert found.holds
    assert found.sentence == "succeeded in preprod 2.0 h ago, by ada@laptop"


def test_reason_stands_in_for_a_gate(situation: Make) -> None:
    inputs = Inputs(skips={"rehearsal": "preprod is down"})
    found = gate(situation(declared={"rehearse_in": "preprod"}, inputs=inputs), "rehearsal")
    assert found.holds is False
    assert not found.refuses


def test_next_backup_by_the_schedule() -> None:
    assert next_backup(NOW, ()) is None
    assert next_backup(NOW, (0, 12)) == datetime(2026, 1, 31, 12, tzinfo=UTC)
    assert next_backup(datetime(2026, 1, 31, 23, 59, tzinfo=UTC), (0,)) == datetime(2026, 2, 1, tzinfo=UTC)


def archive_of(database: str, *tables: str) -> Fetched:
    return Fetched(Path("x"), "0" * 64, 1, dict.fromkeys(tables, 1), None, database)


@pytest.mark.parametrize(
    ("database", "tables", "holds"),
    [
        ("demo_1", ["places"], True),
        ("demo_1", ["none", "of", "them"], True),  # the live schema was destroyed
        ("preprod_1", ["places", "gone"], True),
        ("preprod_1", ["places"], True),
        ("preprod_1", ["places", "new", "newer", "newest"], False),
        ("shop", ["carts", "orders"], False),
        ("", [], False),
    ],
)
def test_origin(situation: Make, live: LiveFacts, database: str, tables: list[str], holds: bool) -> None:
    fetched = archive_of(database, *tables)
    found = gate(situation(fetched=fetched, live=replace(live, database="demo_1")), "origin")
    assert found.holds is holds, found.sentence
    if not holds:
        assert "another application's" in found.sentence


def test_origin_can_be_vouched_for(situation: Make, live: LiveFacts) -> None:
    inputs = Inputs(skips={"origin": "renamed tables in the last release"})
    found = gate(situation(fetched=archive_of("shop", "carts"), live=live, inputs=inputs), "origin")
    assert found.skipped == "renamed tables in the last release"
