from __future__ import annotations

import json

import pytest

from tasks.postgres import marks
from tasks.postgres.connection import connect
from tasks.postgres.marks import Mark, parse


def test_a_mark_reads_back_as_it_was_written():
    mark = Mark(
        kind="before", run="r1", state="swapped", number=3, backup="nightly", sha256="ab", release="c0ffee",
        fence=12, confirmed=True, loss="12345678", details={"rows": {"it's": 1}},
    )  # fmt: skip
    read = parse("before_r1", mark.text())
    assert read is not None
    assert read.text() == mark.text()


@pytest.mark.parametrize(
    ("schema", "comment"),
    [
        ("new_year", "what marketing planned"),
        ("new_year", '{"a": 1}'),
        ("new_year", "[1]"),
        ("public", '{"operations": 1, "kind": "new", "state": "proved"}'),
        ("new_", '{"operations": 1}'),
    ],
)
def test_a_schema_without_our_comment_is_not_ours(schema, comment):
    assert parse(schema, comment) is None


@pytest.mark.parametrize(
    "comment",
    [
        '{"operations": 1}',
        '{"operations": 99, "kind": "new", "state": "proved"}',
        '{"operations": 1, "kind": "before", "state": "proved"}',
        '{"operations": 1, "kind": "new", "state": ["proved"], "number": "x", "created": 5, "details": 7}',
    ],
)
def test_a_comment_that_makes_no_sense_is_a_state_not_known(comment):
    mark = parse("new_r1", comment)
    assert mark is not None
    assert (mark.state, mark.number, mark.details) == ("unknown", 0, {})


def test_marks_that_can_not_be_trusted_are_never_swapped(site):
    site.do("create schema new_r1; create schema new_year")
    site.do(f"comment on schema new_r1 is '{json.dumps({'operations': 1, 'sha256': 'abc'})}'")
    site.do("comment on schema new_year is 'what marketing planned'")
    state = site.state()
    assert [mark.schema for mark in state.incomplete] == ["new_r1"]
    assert state.stage_of("abc") is None


def test_a_swap_is_confirmed_in_the_database(site):
    site.swap(site.stage("r1"))
    with connect(site.target, "r1") as connection:
        marks.confirm(connection, site.state().live)
    assert site.state().live.confirmed
    assert site.state().next_number == 2
