"""What comes back is what went, with its identifiers, in one transaction."""

from __future__ import annotations

import psycopg
import pytest

from tasks.core.errors import Interrupted, OpsError, Refused
from tasks.postgres.bring_back.chosen import Wanted
from tasks.postgres.bring_back.write import write

ODD = 'Odd "na.me'


def all_of(back, table, schema="public"):
    return back.one(f"select string_agg(x::text, '|' order by x::text) from {schema}.{table} x")


def test_rows_come_back_whole_with_their_identifiers_and_parents(visitors):
    went = all_of(visitors, '"Odd ""na.me"', "before_r1")
    visitors.write(tables=(ODD,))
    assert all_of(visitors, '"Odd ""na.me"') == went
    assert visitors.one("select name from public.place where id = 201") == "new 1"
    assert visitors.one("select count(*) from public.place") == 201
    assert visitors.one("select username from public.auth_user where id = 21") == "ada"
    assert visitors.plan(tables=(ODD,)).nothing


def test_every_table_comes_back_as_it_was(visitors):
    before = visitors.site.sums("before_r1")
    tables = tuple(name for name in before if name != "m_count")
    plain = tuple(name.strip('"').replace('""', '"') for name in tables)
    visitors.write(tables=plain)
    assert {name: visitors.site.sums()[name] for name in tables} == {name: before[name] for name in tables}


def test_new_rows_get_numbers_that_nobody_had(visitors):
    visitors.do("select setval('public.place_id_seq', 5)")
    visitors.write(tables=("place",))
    assert visitors.one("insert into public.place(name) values ('later') returning id") == 204


def test_sequences_never_go_back(visitors):
    visitors.do("select setval('public.place_id_seq', 5000)")
    visitors.write(tables=("place",))
    assert visitors.one("insert into public.place(name) values ('later') returning id") == 5001


def test_rows_without_a_key_come_back_as_often_as_they_lack(swapped):
    back = swapped("insert into public.noprimary values (1, 'x'), (9, 'y'), (9, 'y'), (null, null)")
    back.write(tables=("noprimary",))
    assert all_of(back, "noprimary") == all_of(back, "noprimary", "before_r1")
    assert back.plan(tables=("noprimary",)).nothing


def test_rows_that_need_each_other_come_together(swapped, site):
    site.do(
        """create table public.person (id int primary key, boss int references public.person, home int);
        create table public.home (id int primary key, owner int not null references public.person,
                                  city int, country text);
        create table public.city (id int, country text, primary key (country, id));
        alter table public.person add foreign key (home) references public.home;
        alter table public.home add foreign key (country, city) references public.city (country, id)"""
    )
    site.backup()
    back = swapped(
        """insert into public.city values (7, 'fr'), (8, 'fr');
        insert into public.person values (1, null, null), (2, 1, null), (3, 2, null), (4, 4, null),
          (5, null, null);
        insert into public.home values (1, 1, 7, 'fr'), (2, 5, null, 'fr');
        update public.person set home = 1 where id = 3"""
    )
    report, _ = back.write(tables=("person",))
    assert report.counts() == {"person": 5, "home": 1, "city": 1}
    assert back.one("select count(*) from public.person where boss is not null") == 3
    assert all_of(back, "city") == "(7,fr)"


def test_partitions_are_filled_through_their_table(swapped, site):
    site.do(
        """create table public.visit (id int, at date, primary key (id, at)) partition by range (at);
        create table public.visit_1 partition of public.visit for values
          from ('2020-01-01') to ('2021-01-01');
        create table public.visit_2 partition of public.visit for values
          from ('2021-01-01') to ('2022-01-01');
        create table public.note (id int primary key, visit int, at date)"""
    )
    site.backup()
    key = "alter table public.note add foreign key (visit, at) references public.visit"
    back = swapped(
        """insert into public.visit values (1, '2020-05-05'), (1, '2021-05-05'), (2, '2021-06-06');
        insert into public.note values (1, 1, '2021-05-05'), (2, 2, '2021-06-06')""",
        key,
    )
    report, _ = back.write(tables=("note",))
    assert report.counts() == {"note": 2, "visit": 2}
    assert all_of(back, "visit") == "(1,2021-05-05)|(2,2021-06-06)"
    back.write("r3", tables=("visit",))
    assert all_of(back, "visit") == all_of(back, "visit", "before_r1")


def test_names_as_hostile_as_they_come(swapped, site):
    site.do(
        """create table public."per%cent ""\\ '';--" ("a b%s" int primary key, "o""p's" text unique,
           key int, o int, r int, t int, "select" int default 3)"""
    )
    site.backup()
    back = swapped("""insert into public."per%cent ""\\ '';--" values (1, 'x', 2, 3, 4, 5, 6)""")
    name = """per%cent "\\ '';--"""
    report, _ = back.write(tables=(name,))
    assert report.counts() == {name: 1}
    assert all_of(back, '"per%cent ""\\ \'\';--"') == "(1,x,2,3,4,5,6)"


def test_columns_and_types_that_have_changed_since(swapped):
    back = swapped(
        "alter table public.place add phone text;"
        "insert into public.place(name, phone, n) values ('new', '12', 5)",
        "alter table public.place add more int not null default 42;"
        "alter table public.place alter n type bigint",
    )
    back.write(tables=("place",), without=frozenset({"phone"}))
    assert back.one("select n || ' ' || more || ' ' || slug from public.place where id = 201") == "5 42 new"


def test_live_rows_are_never_written_over_unless_it_is_said(swapped):
    back = swapped(
        "update public.place set name = 'theirs' where id in (3, 4);"
        "insert into public.place(name) values ('n')",
        "update public.place set name = 'ours' where id = 3",
    )
    with pytest.raises(Refused, match="2 rows are live with other values"):
        back.write(tables=("place",))
    assert back.one("select count(*) from public.place") == 200
    back.write("r2", tables=("place",), conflicts="keep")
    assert back.one("select count(*) from public.place") == 201
    assert back.one("select name from public.place where id = 3") == "ours"
    _, manifest = back.write("r3", tables=("place",), conflicts="replace")
    assert back.one("select name from public.place where id = 3") == "theirs"
    (table,) = manifest.tables
    assert (table.inserted, table.replaced) == (0, 2)
    assert "ours" in (back.folder / "r3_private" / "000_place.before.csv").read_text()


def test_triggers_fire_as_for_any_insert(swapped, site):
    site.do(
        """create table public.log (what text);
        create function public.noted() returns trigger language plpgsql as
          $$begin insert into public.log values (new.name); return new; end$$;
        create trigger noted after insert on public.place for each row execute function public.noted()"""
    )
    site.backup()
    back = swapped("insert into public.place(name) values ('new')", "delete from public.log")
    back.write(tables=("place",))
    assert all_of(back, "log") == "(new)"


def test_a_trigger_that_keeps_rows_out_stops_everything(swapped):
    back = swapped(
        "insert into public.place(name) values ('new'), ('not this one')",
        """create function public.refuse() returns trigger language plpgsql as
          $$begin if new.name like 'not%' then return null; end if; return new; end$$;
        create trigger refuse before insert on public.place for each row execute function public.refuse()""",
    )
    with pytest.raises(OpsError, match="2 rows were to be written and 1 were"):
        back.write(tables=("place",))
    assert back.one("select count(*) from public.place") == 200


def test_a_check_that_live_has_since_stops_everything(swapped):
    back = swapped(
        "insert into public.place(name) values ('new'), ('no')",
        "alter table public.place add constraint long_enough check (length(name) > 2)",
    )
    with pytest.raises(OpsError, match="long_enough") as raised:
        back.write(tables=("place",))
    assert raised.value.state == "nothing was changed"
    assert back.one("select count(*) from public.place") == 200


def test_what_comes_up_after_the_plan_is_not_done_unseen(visitors):
    shown = visitors.plan(tables=("place",))
    visitors.do("delete from public.place where id = 7 and not exists (select) or id = 7 and false")
    visitors.do("update public.place set name = 'changed' where id = 8")
    with pytest.raises(Refused, match="1 row is live with other values"):
        visitors.write(shown=shown, tables=("place",))
    visitors.do("update public.place set name = 'Place 8' where id = 8")
    visitors.do(
        'delete from public.tag where place_id = 9; delete from public."Odd ""na.me" where place_id = 9'
    )
    visitors.do("delete from public.place where id = 9")
    with pytest.raises(Refused, match="1 more row in place"):
        visitors.write(shown=shown, tables=("place",))
    assert visitors.one("select count(*) from public.place") == 199


def test_a_stop_before_the_commit_changes_nothing(visitors):
    shown = visitors.plan(tables=(ODD,))
    asked = iter([False, False])
    with pytest.raises(Interrupted):
        write(
            visitors.site.target, "r2", "before_r1", Wanted((ODD,)), shown, "r2", visitors.folder / "r2",
            visitors.folder / "p", stop=lambda: next(asked, True),
        )  # fmt: skip
    assert visitors.plan(tables=(ODD,)).counts() == shown.counts()


def test_a_lost_lock_changes_nothing(visitors):
    def lost():
        raise OpsError("Checking the environment's lock", "it is lost")

    shown = visitors.plan(tables=(ODD,))
    with pytest.raises(OpsError, match="it is lost"):
        write(
            visitors.site.target, "r2", "before_r1", Wanted((ODD,)), shown, "r2", visitors.folder / "r2",
            visitors.folder / "p", check_lock=lost,
        )  # fmt: skip
    assert visitors.plan(tables=(ODD,)).counts() == shown.counts()


@pytest.mark.parametrize("arrives", [True, False], ids=["the commit arrived", "the commit was lost"])
def test_a_connection_cut_at_the_commit_is_read_from_the_server(visitors, monkeypatch, arrives):
    def cut(connection, statement, *arguments, **options):
        if isinstance(statement, bytes) and statement.endswith(b"COMMIT"):
            if arrives:
                plain(connection, statement)
            connection.close()
            raise psycopg.OperationalError("the connection is lost")
        return plain(connection, statement, *arguments, **options)

    shown = visitors.plan(tables=(ODD,))
    plain = psycopg.Connection.execute
    monkeypatch.setattr(psycopg.Connection, "execute", cut)
    if arrives:
        visitors.write(shown=shown, tables=(ODD,))
    else:
        with pytest.raises(OpsError, match="the connection to the database was cut") as raised:
            visitors.write(shown=shown, tables=(ODD,))
        assert raised.value.state == "nothing was changed"
    monkeypatch.undo()
    assert visitors.plan(tables=(ODD,)).nothing is arrives
