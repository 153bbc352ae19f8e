from __future__ import annotations

import pytest

from tasks.core.errors import Interrupted
from tasks.postgres.connection import connect
from tasks.postgres.ties.settle import analyse, check_keys

BUCKETS = (
    "select cardinality(histogram_bounds) from pg_stats where schemaname = 'public' and tablename = 'place'"
    " and attname = 'name'"
)
NEVER = (
    "select string_agg(relname, ', ' order by relname) from pg_class c"
    " where relnamespace = 'public'::regnamespace"
    " and relkind in ('r', 'p', 'm') and not exists"
    " (select from pg_stats s where s.schemaname = 'public' and s.tablename = c.relname)"
    " and pg_relation_size(c.oid) > 0"
)


@pytest.fixture
def parted(tied):
    """With a partitioned table, which no autovacuum analyses, and rows enough for full statistics."""
    tied.do(
        "create table public.parted(n int, t text) partition by range (n);"
        "create table public.parted_1 partition of public.parted for values from (0) to (1000);"
        "insert into public.parted select n, 't' from generate_series(0, 900) n;"
        "insert into public.place(name) select 'P ' || n from generate_series(1, 2000) n"
    )
    tied.backup()
    return tied


def test_statistics_are_cheap_before_the_swap_and_full_after_it(parted):
    parted.swap(parted.stage("r1"))
    assert parted.one(BUCKETS) == 11
    assert parted.one("select count(*) from pg_stats where tablename = 'parted'") == 0
    with connect(parted.target, "r2") as connection:
        done = analyse(connection, "public")
    assert done.left == ()
    assert done.analysed == 11
    assert parted.one(BUCKETS) == 101
    assert parted.one("select count(*) from pg_stats where tablename = 'parted'") == 2
    assert parted.one(NEVER) is None


def test_a_table_that_somebody_locks_is_left_and_named(parted, monkeypatch):
    monkeypatch.setattr("tasks.postgres.ties.settle._PATIENCE", "50ms")
    parted.swap(parted.stage("r1"))
    with parted.connect() as slow, connect(parted.target, "r2") as connection:
        slow.execute("begin; lock table public.tag in share update exclusive mode")
        assert analyse(connection, "public").left == ("tag",)


def test_a_key_whose_table_is_locked_is_left_named_and_checked_later(tied, monkeypatch):
    monkeypatch.setattr("tasks.postgres.ties.settle._PATIENCE", "50ms")
    tied.do("create table audit.log(place int references public.place)")
    tied.swap(tied.stage("r1"))
    with tied.connect() as slow, connect(tied.target, "r2") as connection:
        slow.execute("begin; lock table audit.log in share update exclusive mode")
        found = check_keys(connection)
        assert found.left == ("audit.log.log_place_fkey (canceling statement due to lock timeout)",)
        slow.execute("commit")
        assert check_keys(connection).checked == ("audit.log.log_place_fkey",)
        assert check_keys(connection).checked == ()


def test_a_key_that_was_dropped_since_is_forgotten(tied):
    tied.do("create table audit.log(place int references public.place)")
    tied.swap(tied.stage("r1"))
    tied.do("drop table audit.log")
    with connect(tied.target, "r2") as connection:
        found = check_keys(connection)
    assert (found.checked, found.orphans, found.left) == ((), (), ())


def test_a_stop_is_heeded_between_tables(tied):
    tied.swap(tied.stage("r1"))
    with connect(tied.target, "r2") as connection, pytest.raises(Interrupted):
        analyse(connection, "public", stop=lambda: True)
