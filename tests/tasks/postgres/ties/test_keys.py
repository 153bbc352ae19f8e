from __future__ import annotations

import threading
import time

import psycopg
import pytest

from tasks.core.errors import Refused
from tasks.postgres import forget, swap
from tasks.postgres.assess import assess
from tasks.postgres.connection import connect
from tasks.postgres.ties.settle import check_keys

KEYS = """
select conrelid::regclass::text || '.' || conname || ' -> ' || confrelid::regclass::text
       || case when convalidated then '' else ' not valid' end
  from pg_constraint where contype = 'f' and conparentid = 0
   and 'audit'::regnamespace in ((select relnamespace from pg_class where oid = conrelid),
                                 (select relnamespace from pg_class where oid = confrelid))
 order by 1
"""


def keys(site):
    with site.connect() as connection:
        connection.execute("set search_path = ''")
        return [key for (key,) in connection.execute(KEYS)]


def refused(site):
    return {(found.kind, found.name): found.why for found in assess(site.archive, site.contents, site.live())}


def check(site):
    with connect(site.target, "r9") as connection:
        return check_keys(connection)


@pytest.fixture
def logged(tied):
    """A log in another schema that refers to places, among them one that the backup lacks."""
    tied.do(
        "create table audit.log(id int primary key, place int,"
        " constraint log_place foreign key (place) references public.place"
        " on delete set null deferrable initially deferred)"
    )
    tied.do("comment on constraint log_place on audit.log is 'where it''s'")
    tied.do("insert into audit.log select n, n from generate_series(1, 200) n")
    return tied


def test_a_key_of_another_schema_follows_the_name_and_comes_back(logged):
    before = logged.outside()
    assert refused(logged) == {}
    logged.swap(logged.stage("r1"))
    assert keys(logged) == ["audit.log.log_place -> public.place not valid"]
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        logged.do("insert into audit.log values (1000, 4242)")
    settled = check(logged)
    assert (settled.checked, settled.orphans) == (("audit.log.log_place",), ())
    assert logged.outside() == before
    swap.take_back(logged.target, "r2")
    assert check(logged).checked == ("audit.log.log_place",)
    with connect(logged.target, "r3") as connection:
        forget.drop_schema(connection, "after_r1")
    assert logged.outside() == before


def test_orphans_are_named_and_are_no_failure(logged):
    logged.do("insert into public.place(name) select 'later' from generate_series(1, 7)")
    logged.do("insert into audit.log select n, n from generate_series(201, 207) n")
    swapped = logged.swap(logged.stage("r1"))
    assert swapped.locked is not None
    (orphans,) = check(logged).orphans
    assert orphans.sentence == (
        "audit.log.log_place: 7 rows refer to nothing in public.place "
        "(place 201, place 202, place 203, place 204, place 205, ...)"
    )
    assert keys(logged) == ["audit.log.log_place -> public.place not valid"]
    assert check(logged).orphans == (orphans,), "asked again, it says the same"

    swap.take_back(logged.target, "r2")
    assert check(logged).checked == ("audit.log.log_place",), "whoever was valid becomes so again"
    assert keys(logged) == ["audit.log.log_place -> public.place"]


def test_a_key_that_was_never_checked_stays_so(logged):
    logged.do("alter table audit.log drop constraint log_place")
    logged.do("insert into audit.log values (999, 999)")
    logged.do(
        "alter table audit.log add constraint odd foreign key (place) references public.place not valid"
    )
    logged.swap(logged.stage("r1"))
    assert check(logged).checked == ()
    assert keys(logged) == ["audit.log.odd -> public.place not valid"]


def test_what_is_set_aside_is_referred_to_by_nobody_and_can_go(logged):
    logged.swap(logged.stage("r1"))
    with connect(logged.target, "r2") as connection:
        assert forget.drop_schema(connection, "before_r1") > 0
    assert keys(logged) == ["audit.log.log_place -> public.place not valid"]


def test_a_key_to_a_table_that_the_backup_lacks_is_refused_before_anything(tied):
    tied.do("create table public.later(id int primary key)")
    tied.do("create table audit.log(later int references public.later)")
    assert refused(tied) == {("table", "audit.log"): "it needs public.later, which the backup lacks"}


def test_a_key_to_a_column_that_the_backup_lacks_is_refused_before_anything(tied):
    tied.do("alter table public.place add code int unique")
    tied.do("create table audit.log(code int references public.place(code))")
    assert refused(tied) == {("table", "audit.log"): "it needs code of public.place, which the backup lacks"}


def test_a_key_that_does_not_fit_the_restored_table_is_refused_before_the_swap(logged):
    logged.do("alter table public.tag add unique (label)")
    logged.do("create table audit.tagged(label text references public.tag(label))")
    assert refused(logged) == {}, "the table of contents does not tell"
    with pytest.raises(Refused, match=r"table audit\.tagged: .*no unique constraint matching") as caught:
        logged.stage("r1")
    assert "was dropped" in str(caught.value)
    assert logged.schemas() == {"audit"}


def test_a_key_of_another_owner_or_of_a_partitioned_table_is_refused(tied):
    with tied.superuser() as connection:
        connection.execute("create table audit.theirs(place int references public.place)")
    tied.do("create table audit.parted(place int references public.place) partition by range (place)")
    found = refused(tied)
    assert "belongs to superuser" in found["table", "audit.theirs"]
    assert "partitioned" in found["table", "audit.parted"]
    assert set(found) == {("table", "audit.theirs"), ("table", "audit.parted")}


@pytest.fixture
def outward(tied):
    """Tables of the restored schema that refer to another."""
    tied.do(
        "create table audit.country(code text primary key); insert into audit.country values ('fr'), ('be')"
    )
    tied.do(
        'create table public."In side"(id int primary key, country text,'
        ' constraint "its ""country" foreign key (country) references audit.country on delete cascade)'
    )
    tied.do('comment on constraint "its ""country" on public."In side" is \'a\\b \'\'c\'')
    tied.do("insert into public.\"In side\" values (1, 'fr'), (2, 'be'), (3, null)")
    tied.backup()
    return tied


def test_a_key_to_another_schema_is_on_the_live_table_alone(outward):
    before, inside = outward.outside(), outward.dumped_schema()
    assert refused(outward) == {}
    staged = outward.stage("r1")
    assert keys(outward) == ['public."In side".its "country -> audit.country']
    outward.swap(staged)
    assert check(outward).checked == ('public.In side.its "country',)
    assert outward.dumped_schema() == inside
    outward.do("delete from audit.country where code = 'be'")
    assert outward.one('select count(*) from public."In side"') == 2, "its cascade works"
    assert outward.one('select count(*) from before_r1."In side"') == 3, "and leaves what is set aside"

    outward.do("insert into audit.country values ('be')")
    swap.take_back(outward.target, "r2")
    check(outward)
    assert outward.dumped_schema() == inside
    with connect(outward.target, "r3") as connection:
        forget.drop_schema(connection, "after_r1")
    assert outward.outside() == before


def test_orphans_of_a_restored_table_are_named(outward):
    outward.do("delete from public.\"In side\"; delete from audit.country where code = 'fr'")
    outward.swap(outward.stage("r1"))
    (orphans,) = check(outward).orphans
    assert (orphans.refers_to, orphans.rows, orphans.examples) == ("audit.country", 1, ("country fr",))


def test_a_key_to_a_table_that_is_gone_is_refused_before_the_swap(outward):
    outward.do('alter table public."In side" drop constraint "its ""country"; drop table audit.country')
    with pytest.raises(Refused, match=r'foreign key its "country .* "audit\.country" does not exist'):
        outward.stage("r1")


def test_a_big_key_is_checked_while_others_write(tied):
    """Its rows are read after the swap, not under its locks: the time of those does not depend on them."""
    tied.do(
        "create table audit.big(id int primary key, place int references public.place);"
        "insert into audit.big select n, 1 + n % 200 from generate_series(1, 400000) n"
    )
    staged = tied.stage("r1")
    slowest, stop = [0.0], threading.Event()

    def write() -> None:
        with tied.connect() as connection:
            n = 1_000_000
            while not stop.is_set():
                n += 1
                began = time.monotonic()
                connection.execute("insert into audit.big values (%s, 7)", (n,))
                connection.execute("update public.place set name = name where id = 7")
                slowest[0] = max(slowest[0], time.monotonic() - began)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        swapped = tied.swap(staged)
        settled = check(tied)
    finally:
        stop.set()
        writer.join()
    assert settled.checked == ("audit.big.big_place_fkey",)
    assert swapped.locked is not None
    assert swapped.locked < 0.1
    assert slowest[0] < 0.5


def test_a_key_to_a_partitioned_table_goes_along(tied):
    tied.do(
        "create table public.parted(n int primary key) partition by range (n);"
        "create table public.parted_1 partition of public.parted for values from (0) to (1000);"
        "insert into public.parted select generate_series(1, 9)"
    )
    tied.backup()
    tied.do("create table audit.log(n int references public.parted); insert into audit.log values (9)")
    before = tied.outside()
    tied.swap(tied.stage("r1"))
    assert check(tied).checked == ("audit.log.log_n_fkey",)
    assert tied.outside() == before
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        tied.do("delete from public.parted_1")
    swap.take_back(tied.target, "r2")
    assert check(tied).checked == ("audit.log.log_n_fkey",)
    with connect(tied.target, "r3") as connection:
        forget.drop_schema(connection, "after_r1")
    assert tied.outside() == before
