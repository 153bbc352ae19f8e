from __future__ import annotations

import re

import pytest

from tasks.core.errors import Refused
from tasks.postgres import forget, swap
from tasks.postgres.assess import assess, notes
from tasks.postgres.connection import connect

# Statements, then a query whose answer must be that of the restored data: 200 places, 20 users.
VIEWS = {
    "plain": ("create view audit.v as select id, name from public.place", "select count(*) from audit.v"),
    "with a column of a restored enum": (
        "create view audit.v as select * from public.place where mood = 'calm' or mood = 'cross'",
        "select count(*) from audit.v",
    ),
    "chain over a restored enum": (
        "create view audit.v as select * from public.place;"
        "create view audit.a_over as select mood, id from audit.v;"
        "create view audit.over_that as select count(*) n, max(a.mood)"
        " from audit.a_over a join audit.v using (id)",
        "select n from audit.over_that",
    ),
    "chain in place": (
        "create view audit.v as select id from public.place;"
        "create view audit.over as select count(*) n from audit.v",
        "select n from audit.over",
    ),
    "options": (
        "create view audit.v with (security_barrier) as select id, name from public.place where id > 0"
        " with local check option",
        "select count(*) from audit.v",
    ),
    "options of one made again": (
        "create view audit.v with (security_barrier, check_option=cascaded) as select * from public.place",
        "select count(*) from audit.v",
    ),
    "invoker's rights": (
        "create view audit.v with (security_invoker=true) as select mood from public.place",
        "select count(*) from audit.v",
    ),
    "rules, comments and grants": (
        "create view audit.v as select id, name from public.place;"
        "create rule \"its ins\" as on insert to audit.v do instead"
        " insert into public.place(name) values (new.name) returning id, name;"
        "comment on view audit.v is 'it''s'; comment on column audit.v.name is 'e\\f';"
        "comment on rule \"its ins\" on audit.v is 'rule';"
        "grant select on audit.v to READER; grant update (name) on audit.v to READER with grant option;"
        "alter view audit.v alter column name set default 'public.place'",
        "select count(*) from audit.v",
    ),
    "the same of one made again": (
        "alter default privileges in schema audit grant select on tables to public;"
        "create view audit.v as select id, name, mood from public.place;"
        "create rule \"its ins\" as on insert to audit.v do instead"
        " insert into public.place(name, mood) values (new.name, new.mood) returning id, name, mood;"
        "comment on view audit.v is 'it''s'; comment on column audit.v.name is 'e\\f';"
        "comment on rule \"its ins\" on audit.v is 'rule';"
        "revoke all on audit.v from public;"
        "grant select on audit.v to READER; grant update (name) on audit.v to READER with grant option;"
        "alter view audit.v alter column mood set default 'cross'",
        "select count(*) from audit.v",
    ),
    "instead of trigger": (
        "create view audit.v as select id, name, mood from public.place;"
        "create trigger \"its tr\" instead of update on audit.v for each row execute function public.touch();"
        "comment on trigger \"its tr\" on audit.v is 'tr'",
        "select count(*) from audit.v",
    ),
    "instead of trigger in place": (
        "create view audit.v as select id, name from public.place;"
        "create trigger \"its tr\" instead of update on audit.v for each row execute function public.touch();"
        "comment on trigger \"its tr\" on audit.v is 'tr'",
        "select count(*) from audit.v",
    ),
    "hostile names": (
        'create view audit."pub""lic.place" as select p."public.place" as "a.b", p.id'
        ' from public."Odd ""na.me" p',
        'select count(*) / 2 from audit."pub""lic.place"',
    ),
    "functions, sequences and grouping by a key": (
        "create table audit.log(id int primary key, place int, what text);"
        "insert into audit.log select n, n, 'x' from generate_series(1, 300) n;"
        "create view audit.v as select l.id, l.what, count(*) n, public.add(1, 2) three,"
        " 'public.ticket'::regclass::text t from audit.log l join public.place p on p.id = l.place"
        " group by l.id",
        "select count(*) from audit.v",
    ),
    "recursive": (
        "create view audit.v as with recursive public(id) as (select min(id) from public.place union all"
        " select id + 1 from public where id < (select max(id) from public.place)) select * from public",
        "select count(*) from audit.v",
    ),
    "rule of a table": (
        "create table audit.log(id int); create rule also as on insert to audit.log do also"
        " update public.place set n = 7 where place.id = new.id",
        "with i as (select 200 n) select n from i",
    ),
    "trigger of a table": (
        "create table audit.log(id int, name text); create trigger t before update on audit.log for each row"
        " when (new.id > 1) execute function public.touch(); alter table audit.log disable trigger t;"
        "comment on trigger t on audit.log is 'c'",
        "select 200",
    ),
    "default of a table": (
        "create table audit.log(id int default nextval('public.ticket'), three int default public.add(1, 2))",
        "select 200",
    ),
}  # fmt: skip


def left_behind(site, schema):
    """What outside still depends on what is set aside."""
    with site.connect() as connection:
        return [edge.dependent.title for edge in forget.read_removal(connection, schema).outside]


@pytest.mark.parametrize("case", VIEWS)
def test_it_shows_the_restored_data_and_the_other_again_after_an_undo(tied, case):
    statements, query = VIEWS[case]
    tied.do(statements.replace("READER", tied.reader))
    tied.do("insert into public.place(name) values ('later')")
    tied.do('insert into public."Odd ""na.me"(place_id) values (201), (201)')
    live, before = tied.one(query), tied.outside()
    assert assess(tied.archive, tied.contents, tied.live()) == []

    tied.swap(tied.stage("r1"))
    assert tied.one(query) == 200
    assert tied.outside() == before
    assert left_behind(tied, "before_r1") == []

    swap.take_back(tied.target, "r2")
    assert tied.one(query) == live
    assert tied.outside() == before
    with connect(tied.target, "r3") as connection:
        forget.drop_schema(connection, "after_r1")
    assert tied.one(query) == live


def test_a_view_of_a_role_that_we_are_a_member_of_keeps_its_owner(tied):
    with tied.superuser() as connection:
        connection.execute("drop role if exists report_owner")
        connection.execute(f"create role report_owner; grant report_owner to {tied.role}")
        connection.execute("grant usage, create on schema audit to report_owner")
    try:
        tied.do(
            "create view audit.v as select id, mood from public.place;"
            "alter view audit.v owner to report_owner"
        )
        before = tied.outside()
        tied.swap(tied.stage("r1"))
        assert tied.outside() == before
    finally:
        with tied.superuser() as connection:
            connection.execute("drop owned by report_owner cascade; drop role report_owner")


REFUSED = {
    "of another owner": (
        "", "create view audit.v as select id from public.place", "view", r"belongs to superuser, depends on",
    ),
    "materialized": (
        "create materialized view audit.v as select id from public.place", "", "materialized view",
        "is filled from table public.place",
    ),
    "made again under a materialized view": (
        "create view audit.v as select * from public.place;"
        "create materialized view audit.m as select id from audit.v", "", "view",
        r"materialized view audit\.m needs it",
    ),
    "made again under a function": (
        "create view audit.v as select * from public.place;"
        "create function audit.f(audit.v) returns int language sql as 'select 1'", "", "view",
        r"function audit\.f\(audit\.v\) needs it",
    ),
    "table with a column of a restored type": (
        "create table audit.v(mood public.mood)", "", "table", "a column's type",
    ),
    "check with a restored function": (
        "create table audit.v(n int check (public.add(n, 1) > 0))", "", "table", r"\(check\)",
    ),
    "over a table that the backup lacks": (
        "create table public.later(id int); create view audit.v as select id from public.later", "", "view",
        r"needs public\.later, which the backup lacks",
    ),
    "over a column that the backup lacks": (
        "alter table public.place add colour text;create view audit.v as select colour from public.place", "",
        "view", r"needs colour of public\.place, which the backup lacks",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_can_not_go_along_is_refused_by_name_before_anything(tied, case):
    ours, theirs, kind, why = REFUSED[case]
    if ours:
        tied.do(ours)
    if theirs:
        with tied.superuser() as connection:
            connection.execute(theirs)
    found = assess(tied.archive, tied.contents, tied.live())
    assert [(refusal.kind, refusal.name) for refusal in found] == [(kind, "audit.v")]
    assert re.search(why, found[0].why), found[0].why
    assert found[0].way_out


CHANGED = {
    "type of its column": (
        "alter table public.tag alter label type varchar(9);"
        "create view audit.v as select label from public.tag",
        "label of type varchar would be label of type text",
    ),
    "what it computes": (
        "alter table public.tag alter label type int using 1;"
        "create view audit.v as select label + 1 as n from public.tag",
        "operator does not exist",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CHANGED)
def test_what_only_the_stage_shows_is_refused_before_the_swap(tied, case):
    statements, why = CHANGED[case]
    tied.do(statements)
    before = tied.outside()
    with pytest.raises(Refused, match=why) as caught:
        tied.stage("r1")
    assert "view audit.v" in str(caught.value)
    assert "was dropped" in str(caught.value)
    assert (tied.schemas(), tied.outside()) == ({"audit"}, before)


def test_a_view_made_after_staging_is_tried_at_the_swap(tied):
    staged = tied.stage("r1")
    tied.do("alter table public.tag add more int; create view audit.v as select more from public.tag")
    with pytest.raises(Refused, match=r"view audit\.v: with the restored objects it can't be: column"):
        tied.swap(staged)
    assert tied.state().live is None


def test_a_materialized_view_over_a_view_is_noted(tied):
    tied.do(
        "create view audit.v as select id from public.place;"
        "create materialized view audit.m as select count(*) n from audit.v"
    )
    assert assess(tied.archive, tied.contents, tied.live()) == []
    (note,) = notes(tied.archive, tied.contents, tied.live())
    assert note == "materialized view audit.m holds what view audit.v showed before, until it is refreshed"
    tied.do("insert into public.place(name) values ('later'); refresh materialized view audit.m")
    tied.swap(tied.stage("r1"))
    assert tied.one("select n from audit.m") == 201
    tied.do("refresh materialized view audit.m")
    assert tied.one("select n from audit.m") == 200


def test_columns_that_a_definition_does_not_repeat_are_not_missed(tied):
    tied.do("create type public.pair as (x int, y int); create table public.typed of public.pair")
    tied.do("create table public.child (more int) inherits (public.place)")
    tied.do("insert into public.child(name) values ('c')")
    tied.do(f"grant select (slug) on public.child to {tied.reader}")
    tied.backup()
    tied.do("create view audit.v as select c.slug, t.x from public.child c left join public.typed t on true")
    assert assess(tied.archive, tied.contents, tied.live()) == []
    tied.do("delete from public.child")
    tied.swap(tied.stage("r1"))
    assert tied.one("select slug from audit.v") == "c"
