from __future__ import annotations

import pytest

from tasks.core.errors import Interrupted, Refused
from tasks.postgres import forget
from tasks.postgres.connection import connect


def test_forgetting_drops_what_was_set_aside_and_nothing_else(site, monkeypatch):
    monkeypatch.setattr(forget, "OBJECTS_PER_TRANSACTION", 3)
    site.swap(site.stage("r1"))
    live = site.sums()
    with connect(site.target, "r2") as connection:
        assert forget.forget(connection, site.state().live) == 8
    assert site.schemas() == set()
    assert site.sums() == live
    assert site.state().live is None


def test_what_somebody_else_needs_is_not_dropped(site):
    site.swap(site.stage("r1"))
    with site.superuser() as connection:
        connection.execute("create view public.theirs as select * from before_r1.place")
    before = site.sums("before_r1")
    with connect(site.target, "r2") as connection:
        with pytest.raises(Refused, match=r"it is needed by view public\.theirs"):
            forget.forget(connection, site.state().live)
        assert connection.execute("select 1").fetchone() == (1,)
    assert site.sums("before_r1") == before


def test_a_stop_between_two_transactions_is_gone_on_from(site, monkeypatch):
    monkeypatch.setattr(forget, "OBJECTS_PER_TRANSACTION", 3)
    site.swap(site.stage("r1"))
    asked = iter([False, False])
    with connect(site.target, "r2") as connection:
        with pytest.raises(Interrupted):
            forget.forget(connection, site.state().live, stop=lambda: next(asked, True))
        assert site.schemas() == {"before_r1"}
        forget.forget(connection, site.state().live)
    assert site.schemas() == set()


def test_views_upon_views_partitions_and_mutual_keys_go_in_order(site):
    site.do(
        """create schema new_x;
        create table new_x.a(id int primary key, b int);
        create table new_x.b(id int primary key, a int references new_x.a);
        alter table new_x.a add foreign key (b) references new_x.b;
        create view new_x.v as select * from new_x.a;
        create materialized view new_x.m as select * from new_x.v;
        create view new_x.w as select * from new_x.m;
        create table new_x.p(id int, d date) partition by range (d);
        create table new_x.p1 partition of new_x.p for values from ('2020-01-01') to ('2021-01-01');
        create type new_x.e as enum ('x'); create table new_x.c(e new_x.e);
        create function new_x.f(new_x.e) returns int language sql return 1;
        create aggregate new_x.total(int) (sfunc = int4pl, stype = int);
        create type new_x.r as range (subtype = int4)"""
    )
    with connect(site.target, "r1") as connection:
        assert forget.drop_schema(connection, "new_x") == 5
    assert site.schemas() == set()


def test_a_schema_that_is_not_there_is_dropped_already(site):
    with connect(site.target, "r1") as connection:
        assert forget.drop_schema(connection, "before_nobody") == 0
