from __future__ import annotations

from dataclasses import replace

import psycopg
import pytest

from tasks.core.errors import Interrupted, OpsError, Refused
from tasks.postgres import stage as staging
from tasks.postgres import swap
from tasks.postgres.connection import connect


def test_a_stage_holds_what_the_backup_holds(site):
    before = site.sums()
    staged = site.stage("r1", workers=2)
    assert staged.rows["place"] == 200
    assert staged.rows == {
        entry.name: site.contents.rows[entry.dump_id]
        for entry in site.archive.table_data()
        if entry.schema == "public"
    }, "as many tables as were read, those without rows too"
    assert 0 in staged.rows.values()
    assert site.sums("new_r1") == before
    assert site.sums() == before
    (mark,) = site.state().stages
    assert (mark.state, mark.backup, mark.sha256) == ("proved", "nightly", site.contents.sha256)


def test_big_tables_load_frozen_with_indexes_beside_each_other(site, monkeypatch):
    monkeypatch.setattr("tasks.postgres.stage_plan.BIG_ROWS", 50)
    before = site.sums()
    site.stage("r1", workers=3)
    assert site.sums("new_r1") == before
    assert site.one("select count(*) from pg_constraint where contype = 'f' and not convalidated") == 0
    with site.superuser() as connection:
        connection.execute("create extension if not exists pg_visibility")
        rows = connection.execute("select all_visible from pg_visibility('new_r1.place')").fetchall()
    assert rows and all(visible for (visible,) in rows)


def test_declared_tables_come_back_empty(site):
    staged = site.stage("r1", empty=frozenset({"django_session"}))
    assert staged.rows["django_session"] == 0
    assert site.one("select count(*) from new_r1.django_session") == 0
    assert site.one("select count(*) from public.django_session") == 20


def test_rows_that_are_not_those_of_the_archive_drop_the_stage(site):
    entry = next(e for e in site.archive.table_data() if e.name == "place")
    wrong = {**site.contents.rows, entry.dump_id: 199}
    with pytest.raises(OpsError, match="200 rows were loaded, the archive has 199") as caught:
        site.stage("r1", rows=wrong)
    assert "the incomplete stage was dropped" in str(caught.value)
    assert site.schemas() == set()


def test_a_stop_leaves_nothing_behind(site):
    asked = iter([False, True])
    with pytest.raises(Interrupted, match="stopped on request"):
        staging.stage(site.target, site.request("r1"), site.live(), stop=lambda: next(asked, True))
    assert site.schemas() == set()


def test_a_database_that_grows_beyond_its_limit_drops_the_stage(site):
    with pytest.raises(Refused, match="more than the declared limit of 1,000"):
        site.stage("r1", size_limit=1000)
    assert site.schemas() == set()


def test_a_cut_connection_leaves_a_stage_that_the_next_run_recognises(site, wire):
    wire.cut_at = 40_000
    far = replace(site.target, port=wire.port)
    with pytest.raises(OpsError) as caught:
        staging.stage(far, site.request("r1"), site.live())
    assert "cut" in str(caught.value)
    assert "the live data is untouched" in str(caught.value)
    (mark,) = site.state().incomplete
    assert mark.schema == "new_r1"
    assert site.state().stage_of(site.contents.sha256) is None


def test_the_error_of_one_worker_ends_the_others(site):
    site.do(
        "create function public.slow(int) returns boolean language plpgsql immutable as "
        "'begin perform pg_sleep(30); return true; end'"
    )
    site.do("create table public.bad(n int); insert into public.bad values (1)")
    site.backup()
    entry = next(e for e in site.archive.table_data() if e.name == "bad")
    with pytest.raises(OpsError, match="Loading bad"):
        site.stage("r1", rows={**site.contents.rows, entry.dump_id: 2})
    assert site.one("select count(*) from pg_stat_activity where application_name like 'ops/r1/%'") == 0


def test_what_a_text_body_computed_is_refused_after_staging(site):
    """The table of contents doesn't tell when the function is in a schema that is not restored."""
    with site.superuser() as connection:
        connection.execute(f"create schema other authorization {site.role}")
    site.do("create function other.f(int) returns boolean language sql immutable as 'select $1 > 0'")
    site.do("create table public.checked(n int check (other.f(n))); insert into public.checked values (1)")
    site.backup()
    with pytest.raises(Refused, match=r"table new_r1\.checked was filled through function other\.f"):
        site.stage("r1")
    assert "new_r1" not in site.schemas()


def test_the_stage_is_hidden_until_the_swap(site):
    site.stage("r1")
    with site.as_reader() as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("select count(*) from new_r1.place")


def test_another_run_adopts_a_proved_stage(site):
    staged = site.stage("r1")
    with connect(site.target, "r2") as connection:
        mine = swap.adopt(connection, staged.mark, "r2", fence=7)
    assert mine.schema == "new_r2"
    (mark,) = site.state().stages
    assert (mark.run, mark.fence, mark.state, mark.details["staged_by"]) == ("r2", 7, "proved", "r1")
    assert site.schemas() == {"new_r2"}


def test_workers_leave_connections_to_the_application():
    assert staging.workers_for(2) == 1
    assert staging.workers_for(5) == 2
    assert staging.workers_for(100) == 4
