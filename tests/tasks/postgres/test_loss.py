from __future__ import annotations

import csv
import stat

import pytest

from tasks.core.errors import OpsError
from tasks.postgres import loss
from tasks.postgres.connection import connect


def compute(site, **options):
    with connect(site.target, "r1", read_only=True) as connection:
        return loss.compute(connection, "public", "new_r1", **options)


def test_nothing_written_since_is_nothing_lost(site):
    site.stage("r1")
    found = compute(site)
    assert found.nothing
    assert found.counts() == {}


def test_rows_are_counted_exactly_by_table(site):
    site.do("insert into public.place(name) select 'new' from generate_series(1, 7)")
    site.do("update public.place set doc = '{\"k\": 0}' where id <= 3")
    site.do("update public.place set raw = '{\"a\":2}' where id = 4")
    site.do("delete from public.tag where place_id <= 5")
    site.do("insert into public.noprimary values (1, 'x'), (9, 'only live')")
    site.do("create table public.later(id int primary key); insert into public.later values (1), (2)")
    site.stage("r1")
    found = {table.table: (table.lost, table.differ, table.back) for table in compute(site).tables}
    assert found["place"] == (7, 4, 0)
    assert found["tag"] == (0, 0, 5)
    assert found["noprimary"] == (2, 0, 0)
    assert found["later"] == (2, 0, 0)
    assert found["auth_user"] == (0, 0, 0)


def test_case_and_blanks_count_as_changes(site):
    site.do("update public.auth_user set email = upper(email) where id = 1")
    site.do("update public.auth_user set email = null where false")
    site.do("update public.auth_user set last_login = now() where id = 2")
    site.stage("r1")
    assert compute(site).counts() == {"auth_user": 2}


def test_a_token_is_the_same_for_the_same_list_and_no_other(site):
    site.do("insert into public.place(name) values ('new')")
    site.stage("r1")
    first, second = compute(site), compute(site)
    assert first.token == second.token
    signed = first.counts()
    assert loss.grown(signed, second) == {}
    site.do("insert into public.place(name) values ('newer')")
    third = compute(site)
    assert third.token != first.token
    assert loss.grown(signed, third) == {"place": 1}


def test_the_newest_rows_are_shown_by_key_and_time_alone(site):
    site.do("insert into public.place(name, created_at) values ('secret name', '2031-05-01')")
    site.stage("r1")
    (place,) = compute(site).counting
    assert place.newest[0].startswith("201 2031-05-01")
    assert "secret name" not in "\n".join(compute(site).lines())


def test_accounts_changed_since_are_named_without_their_passwords(site):
    site.do("update public.auth_user set is_superuser = true where id = 3")
    site.backup()
    site.do("update public.auth_user set is_active = false where id = 1")
    site.do("update public.auth_user set password = 'pbkdf2-new' where id = 2")
    site.do("update public.auth_user set is_superuser = false where id = 3")
    site.stage("r1")
    text = "\n".join(compute(site).accounts)
    assert "user1: disabled" in text
    assert "user2: password" in text
    assert "user3: demoted" in text
    assert "pbkdf2" not in text


def test_tables_declared_empty_are_not_missed(site):
    site.do("insert into public.django_session values ('later', 'x', now())")
    site.stage("r1", empty=frozenset({"django_session"}))
    assert compute(site, without={"django_session"}).nothing
    assert compute(site).counts() == {"django_session": 21}


def test_a_changed_key_is_compared_as_a_bag_of_rows(site):
    site.do("alter table public.place add more int; alter table public.tag add primary key (place_id, label)")
    site.do("insert into public.tag values (1, 'new')")
    site.stage("r1")
    found = {table.table: table for table in compute(site).tables}
    assert found["tag"].lost == 1
    assert found["place"].columns == ("more",)


def test_a_table_without_key_may_hold_types_without_equality(site, tmp_path):
    site.do("create table public.notes(at json, feeling public.mood)")
    site.do("insert into public.notes values ('{}', 'calm')")
    site.backup()
    site.do("insert into public.notes values ('[]', 'cross')")
    site.stage("r1")
    with connect(site.target, "r1", read_only=True) as connection:
        found = loss.compute(connection, "public", "new_r1")
        (path,) = loss.export_csv(connection, "public", "new_r1", found, tmp_path)
    assert found.counts() == {"notes": 1}
    assert path.read_text().splitlines() == ["at,feeling", "[],cross"]


def test_the_export_is_private_and_holds_the_live_values(site, tmp_path):
    site.do("insert into public.place(name) values ('new')")
    site.do("update public.place set name = 'changed' where id = 1")
    site.do("insert into public.noprimary values (9, 'only live')")
    site.stage("r1")
    with connect(site.target, "r1", read_only=True) as connection:
        found = loss.compute(connection, "public", "new_r1")
        files = loss.export_csv(connection, "public", "new_r1", found, tmp_path / "lost")
    assert {path.name for path in files} == {"place.csv", "noprimary.csv"}
    for path in files:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with (tmp_path / "lost" / "place.csv").open() as file:
        assert {row["name"] for row in csv.DictReader(file)} == {"new", "changed"}


def test_rows_that_a_policy_hides_are_an_error_and_never_missed(site):
    site.do("insert into public.place(name) values ('new')")
    site.stage("r1")
    site.do("alter table public.place enable row level security, force row level security")
    with pytest.raises(OpsError, match='row-level security policy for table "place"'):
        compute(site)
