from __future__ import annotations

from dataclasses import replace

import pytest

from tasks.postgres.assess import assess, notes

TEXT_BODY = "create function public.f(int) returns int language sql immutable as 'select $1 + 1';"

CASES = {
    "range type": ("create type public.span as range (subtype = int4)", "type", "public.span"),
    "check over a text body": (
        TEXT_BODY + "create table public.t(n int check (public.f(n) > 0))", "table", "public.t",
    ),
    "generated column over a text body": (
        TEXT_BODY + "create table public.t(n int, m int generated always as (public.f(n)) stored)",
        "table", "public.t",
    ),
    "index over a text body": (
        TEXT_BODY + "create table public.t(n int); create index ix on public.t(public.f(n))",
        "index", "public.ix",
    ),
    "materialized view over a text body": (
        TEXT_BODY + "create materialized view public.m as select public.f(1)",
        "materialized view", "public.m",
    ),
    "materialized view over a view over a text body": (
        TEXT_BODY + "create view public.v as select public.f(1) n;"
        "create materialized view public.m as select * from public.v", "materialized view", "public.m",
    ),
    "index over a body that calls a text body": (
        TEXT_BODY + "create function public.g(int) returns int language sql immutable return public.f($1);"
        "create table public.t(n int); create index ix on public.t(public.g(n))", "index", "public.ix",
    ),
    "large object": ("select lo_create(4242)", "large objects", "1 of them"),
    "cast": (
        "create type public.a as (n int); create type public.b as (n int);"
        "create function public.c(public.a) returns public.b language sql return row($1.n)::public.b;"
        "create cast (public.a as public.b) with function public.c", "cast", "CAST (public.a AS public.b)",
    ),
}  # fmt: skip

FINE = {
    "default over a text body": TEXT_BODY + "create table public.t(n int default public.f(1))",
    "view over a text body": TEXT_BODY + "create view public.v as select public.f(1)",
    "trigger function": "create table public.t(n int); create trigger t before update on public.t "
    "for each row execute function public.touch()",
    "index over a parsed body": "create function public.g(int) returns int language sql immutable "
    "return $1 + 1;"
    "create table public.t(n int); create index on public.t(public.g(n))",
    "partitioned table": "create table public.p(id int, d date) partition by range (d);"
    "create table public.p1 partition of public.p for values from ('2020-01-01') to ('2021-01-01');"
    "insert into public.p values (1, '2020-02-02'); create index on public.p(id)",
    "procedure": "create procedure public.do_it() language sql as 'select 1'",
    "policy": "create policy own on public.place using (true);"
    "alter table public.place enable row level security",
}


def refused(site, **options):
    return {(found.kind, found.name) for found in assess(site.archive, site.contents, site.live(), **options)}


def test_what_an_application_has_is_not_refused(site):
    assert assess(site.archive, site.contents, site.live(), room_bytes=10**9) == []
    assert notes(site.archive, site.contents, site.live()) == []


@pytest.mark.parametrize("case", CASES)
def test_what_can_not_be_restored_beside_is_named(site, case):
    statements, kind, name = CASES[case]
    with site.connect() as connection:
        connection.execute(statements)
    site.backup()
    with site.connect() as connection:
        connection.execute("drop table if exists public.t cascade")
    assert (kind, name) in refused(site)


@pytest.mark.parametrize("case", FINE)
def test_what_can_be_restored_beside_comes_back_the_same(site, case):
    site.do(FINE[case])
    site.backup()
    before = site.dumped_schema()
    rows = site.sums()
    assert refused(site) == set()
    site.swap(site.stage())
    assert site.dumped_schema() == before
    assert site.sums() == rows


def test_the_live_side_is_judged_too(site):
    with site.superuser() as connection:
        connection.execute(f"create schema audit authorization {site.role}")
        connection.execute("create publication lists_it for table public.place")
        connection.execute("create view public.theirs as select * from public.tag")
    site.do("create table audit.log(id int primary key, place int references public.place)")
    site.do("create table public.inside(log int references audit.log)")
    site.do("create table public.parted(log int references audit.log) partition by range (log)")
    assert refused(site) == {
        ("publication", "lists_it"),
        ("view", "public.theirs"),
        ("table", "public.parted"),
    }


def test_an_object_of_another_owner_with_a_name_of_the_backup_is_refused(site):
    with site.superuser() as connection:
        connection.execute("alter table public.noprimary owner to superuser")
    assert refused(site) == {("table", "public.noprimary")}


def test_a_grant_on_a_column_that_is_gone_is_refused(site):
    site.do("alter table public.auth_user add phone text")
    site.do(f"grant select (phone) on public.auth_user to {site.reader}")
    assert refused(site) == {("grant", f"SELECT on auth_user.phone to {site.reader}")}


def test_a_missing_extension_is_refused(site):
    with site.superuser() as connection:
        connection.execute("drop extension pg_trgm")
    assert refused(site) == {("extension", "pg_trgm")}


def test_room_slots_locks_and_rights_are_counted(site):
    live = site.live()

    def of(**changes):
        found = assess(site.archive, site.contents, replace(live, **changes))
        return {(refusal.kind, refusal.name) for refusal in found}

    assert refused(site, room_bytes=live.database_bytes) == {("database", "size")}
    assert of(free_slots=2) == {("server", "connections")}
    assert of(lock_capacity=10) == {("server", "lock table")}
    assert of(may_create_schema=False) == {("role", live.role)}
    assert of(version=150018) == ({("archive", "site.dump")} if live.version >= 160000 else set())


def test_what_is_lost_without_a_row_is_noted(site):
    site.do("create table public.later(id int); create policy own on public.place using (true)")
    found = notes(site.archive, site.contents, site.live())
    assert "policy own on place is lost: the backup lacks it" in found
    assert f"SELECT on later to {site.reader} is lost: the backup lacks the object" in found
