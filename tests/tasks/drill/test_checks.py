"""What a drill says of what it found."""

from __future__ import annotations

from tasks.django.migrations import Verdict
from tasks.drill import checks
from tasks.drill.checks import ForeignKey, Newest, Statement


def test_migrations_that_the_release_does_not_know_fail_and_those_it_brings_do_not() -> None:
    same = checks.of_migrations(Verdict("unknown", unjudged=("auth",)), "a" * 40)
    assert (same.holds, "has the migrations of the release aaaaaaaa" in same.sentence) == (True, True)
    behind = checks.of_migrations(Verdict("unknown", missing=(("places", "0002"),)), "a" * 40)
    assert (behind.holds, "places.0002" in behind.sentence) == (True, True)
    ahead = checks.of_migrations(Verdict("ahead", extra=(("places", "0009"),)), "a" * 40)
    assert (ahead.holds, "places.0009" in ahead.sentence) == (False, True)
    assert checks.of_migrations(None, "a" * 40).holds
    assert "no release is known" in checks.of_migrations(Verdict("same"), None).sentence


def test_rows_that_are_not_the_archives_are_named() -> None:
    assert (
        checks.of_rows({"a": 1, "b": 0}, {"a": 1, "b": 0}).sentence == "1 row in 2 tables, as in the archive"
    )
    found = checks.of_rows({"a": 2, "b": 0}, {"a": 1})
    assert (found.holds, found.sentence) == (False, "a has 1 of 2, b has 0 of 0")


def test_keys_with_orphans_are_named() -> None:
    found = checks.of_foreign_keys([ForeignKey("k", "t", 2), ForeignKey("ok", "t", 0)])
    assert (found.holds, found.sentence) == (False, "refer to nothing: 2 rows of t by k")


def test_a_newest_row_is_young_enough_or_not() -> None:
    found = list(
        checks.of_newest([Newest("t.at", 1, 3600.0), Newest("t.at", 1, 3601.0), Newest("t.at", 1, None)])
    )
    assert [one.holds for one in found] == [True, False, False]


def test_a_statement_holds_when_it_gives_true_and_never_shows_a_value() -> None:
    found = list(checks.of_statements([Statement("a", True), Statement("b", 1), Statement("c", "secret")]))
    assert [one.holds for one in found] == [True, False, False]
    assert not [one for one in found if "secret" in one.sentence]
