"""What a plan says of the rows, asked of a real server with both sides on it."""

from __future__ import annotations

import pytest

from tasks.core.errors import Refused
from tasks.postgres.bring_back.chosen import Keys

ODD = 'Odd "na.me'


def sentences(report):
    return [problem.sentence for problem in report.problems()]


def test_rows_that_are_only_there_come_back_with_those_that_they_need(visitors):
    report = visitors.plan(tables=(ODD,))
    assert report.problems() == []
    assert report.counts() == {ODD: 3, "place": 1, "auth_user": 1}
    assert visitors.table(report, "place").along.examples == ("201",)
    assert visitors.table(report, ODD).equal == 400


def test_nothing_is_written_where_all_is_live(visitors):
    assert visitors.plan(tables=("noprimary", "empty_one", "django_migrations")).nothing


def test_rows_live_with_other_values_are_conflicts_named_by_key_and_columns(swapped):
    back = swapped("update public.place set doc = '{}', n = 7 where id in (3, 4)")
    (sentence,) = sentences(back.plan(tables=("place",)))
    assert sentence == "place: 2 rows are live with other values: 3 (n, doc), 4 (n, doc)"
    kept = back.plan(tables=("place",), conflicts="keep")
    assert kept.nothing
    assert back.plan(tables=("place",), conflicts="replace").replaced() == {"place": 2}


def test_a_letter_case_is_a_difference(swapped):
    back = swapped("update public.auth_user set email = upper(email) where id = 1")
    assert "auth_user: 1 row is live with other values: 1 (email)" in sentences(
        back.plan(tables=("auth_user",))
    )


def test_a_unique_value_that_another_live_row_has_is_a_conflict(swapped):
    back = swapped(
        "insert into public.auth_user(username, password) values ('ada', 'x')",
        "insert into public.auth_user(username, password) values ('filler', 'x'), ('ada', 'new account')",
    )
    (sentence,) = sentences(back.plan(tables=("auth_user",)))
    assert "another live row has the value of 1 row in the unique auth_user_username_key" in sentence
    assert "21 / 23" in sentence
    kept = back.plan(tables=("auth_user",), conflicts="keep")
    assert kept.nothing
    assert back.table(kept, "auth_user").kept_out == 1


def test_rows_that_need_one_which_a_conflict_keeps_behind_are_named(swapped):
    back = swapped(
        "insert into public.auth_user(username, password) values ('ada', 'x');"
        'insert into public."Odd ""na.me"(place_id, author_id) values (1, 21)',
        "insert into public.auth_user(username, password) values ('filler', 'x'), ('ada', 'new account')",
    )
    (sentence,) = sentences(back.plan(tables=(ODD,), conflicts="keep"))
    assert '1 row needs by Odd "na.me_author_id_fkey a row that is neither live nor set aside' in sentence
    assert "or one that a conflict keeps behind: 401 (author_id 21)" in sentence


@pytest.mark.parametrize(
    ("index", "values", "taken"),
    [
        ("unique index on public.u (lower(name))", ("('ADA', 1)", "('ada', 2)"), True),
        ("unique index on public.u (name) where n > 0", ("('ada', 1)", "('ada', 2)"), True),
        ("unique index on public.u (name) where n > 0", ("('ada', 1)", "('ada', -2)"), False),
        ("unique index on public.u (name, n)", ("('ada', null)", "('ada', null)"), False),
        ("unique index on public.u (name, n) nulls not distinct", ("('ada', null)", "('ada', null)"), True),
    ],
    ids=["expression", "partial", "outside of a partial one", "nulls differ", "nulls are the same"],
)
def test_every_kind_of_unique_index_is_looked_at(swapped, site, index, values, taken):
    site.do(f"create table public.u (id serial primary key, name text, n int); create {index}")
    site.backup()
    back = swapped(
        f"insert into public.u(name, n) values {values[0]}",
        f"select nextval('public.u_id_seq'); insert into public.u(name, n) values {values[1]}",
    )
    found = sentences(back.plan(tables=("u",)))
    assert ("another live row has the value" in " ".join(found)) is taken
    if not taken:
        back.write(tables=("u",))


def test_a_type_of_an_extension_is_compared_as_its_index_does(swapped, site):
    with site.superuser() as connection:
        connection.execute("create extension citext schema public")
    site.do("create table public.u (id serial primary key, name public.citext unique)")
    site.backup()
    back = swapped(
        "insert into public.u(name) values ('Ada')",
        "select nextval('public.u_id_seq'); insert into public.u(name) values ('ADA')",
    )
    (sentence,) = sentences(back.plan(tables=("u",)))
    assert "u_name_key (set aside / live): 1 / 3" in sentence


def test_rows_that_would_meet_in_a_new_unique_index_are_named(swapped):
    back = swapped(
        "insert into public.place(name) values ('twice'), ('twice')",
        "create unique index place_name on public.place(name)",
    )
    (sentence,) = sentences(back.plan(tables=("place",)))
    assert sentence == ("place: rows that would come have the same value in the unique place_name: 201, 202")


def test_columns_that_live_lacks_are_named_and_may_stay_behind(swapped, site):
    back = swapped(
        "alter table public.place add phone text; insert into public.place(name, phone) values ('new', '12')"
    )
    (problem,) = back.plan(tables=("place",)).problems()
    assert problem.sentence == "place: the live table has no column phone: its values would stay behind"
    assert problem.way_out == "--data without=phone leaves them behind"
    assert back.plan(tables=("place",), without=frozenset({"place.phone"})).counts() == {"place": 1}
    with pytest.raises(Refused, match="is phone meant"):
        back.plan(tables=("place",), without=frozenset({"fone"}))


def test_a_live_column_that_needs_a_value_which_was_not_set_aside_is_named(swapped):
    back = swapped(
        "insert into public.tag values (1, 'new', null)",
        "alter table public.tag add more int; update public.tag set more = 1;"
        "alter table public.tag alter more set not null, add extra int not null default 5",
    )
    (sentence,) = sentences(back.plan(tables=("tag",)))
    assert sentence == "tag: column more needs a value, and none was set aside"


def test_values_that_live_does_not_take_empty_are_named(swapped):
    back = swapped(
        "insert into public.tag values (1, 'new', null), (2, 'new', 3)",
        "update public.tag set parent_id = 0 where parent_id is null;"
        "alter table public.tag alter parent_id set not null",
    )
    (sentence,) = sentences(back.plan(tables=("tag",)))
    assert sentence == "tag: column parent_id needs a value, and 1 row has none: 1 new"


def test_a_type_that_nothing_turns_into_the_other_is_named(swapped):
    back = swapped(
        "insert into public.place(name, doc) values ('new', '{}')",
        "drop index public.place_doc; alter table public.place alter doc drop default;"
        "alter table public.place alter doc type int using 1",
    )
    assert "place: column doc was jsonb and is integer: its values can't be carried over" in sentences(
        back.plan(tables=("place",))
    )


def test_rows_whose_parent_nobody_has_are_named(swapped):
    back = swapped(
        "alter table public.tag drop constraint tag_place_id_fkey;insert into public.tag values (999, 'lost')"
    )
    (sentence,) = sentences(back.plan(tables=("tag",)))
    assert "1 row needs by tag_place_id_fkey a row that is neither live nor set aside: 999 lost" in sentence


def test_keys_choose_rows(visitors):
    keys = Keys(("name", "id"), (("x", "202"), ("y", "203"), ("y", "203"), ("z", "5")), "place.csv")
    report = visitors.plan(keys={"place": keys})
    assert report.problems() == []
    assert report.counts() == {"place": 2}
    assert visitors.table(report, "place").equal == 1


def test_keys_that_were_not_set_aside_are_named(visitors):
    (sentence,) = sentences(visitors.plan(keys={"place": Keys(("id",), (("202",), ("9999",)))}))
    assert sentence == "place: 1 key asked for was not set aside: 9999"


@pytest.mark.parametrize(
    ("table", "keys", "reason"),
    [
        ("place", Keys(("id",), (("1.0E+5",),)), "no value of its column"),
        ("place", Keys(("name",), (("x",),)), "there is no column id, which tells its rows apart"),
        ("noprimary", Keys(("a",), (("1",),)), "has no key"),
        ("places", Keys(("a",), (("1",),)), "holds no such table"),
    ],
)
def test_keys_that_choose_nothing_are_refused(visitors, table, keys, reason):
    with pytest.raises(Refused, match=reason):
        visitors.plan(keys={table: keys})


def test_a_table_that_live_lacks_is_refused(swapped):
    back = swapped("create table public.later(id int primary key); insert into public.later values (1)")
    with pytest.raises(Refused, match="the live data has no such table"):
        back.plan(tables=("later",))
