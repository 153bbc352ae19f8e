"""What is counted in a copy: orphans by each kind of key, and nothing that is live."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import psycopg
import pytest

from tasks.core.secrets import Secret
from tasks.drill import findings
from tasks.drill.checks import Statement
from tasks.postgres.connection import Connection, Target, connect
from tests.tasks.postgres.servers import ROLE_PASSWORD, Database, Server

# Keys that the server holds for valid can't have orphans; these are not validated, as a dump may have them.
_COPY = """
create schema new_x;
create table new_x."Odd ""p" (a int, b int, "Key" int primary key, unique (a, b));
create table new_x.child (id int primary key, parent int, a int, b int, f_a int, f_b int);
insert into new_x."Odd ""p" values (1, 1, 1), (2, 2, 2);
insert into new_x.child values (1, 1, 1, 1, 1, 1), (2, 7, 9, null, 1, null), (3, null, 1, 2, null, null);
alter table new_x.child add constraint one foreign key (parent) references new_x."Odd ""p" not valid;
alter table new_x.child add constraint "simple two" foreign key (a, b) references new_x."Odd ""p" (a, b)
  not valid;
alter table new_x.child add constraint full_two foreign key (f_a, f_b) references new_x."Odd ""p" (a, b)
  match full not valid;
create table new_x.child_heir () inherits (new_x.child);
insert into new_x.child_heir values (9, 99, 9, 9, 9, 9);
create table new_x.parted (id int, day date, parent int) partition by range (day);
create table new_x.parted_1 partition of new_x.parted for values from ('2026-01-01') to ('2027-01-01');
insert into new_x.parted values (1, '2026-05-05', 1);
alter table new_x.parted add constraint of_parted foreign key (parent) references new_x."Odd ""p";
create table new_x.base (n int); create table new_x.heir () inherits (new_x.base);
insert into new_x.base values (1); insert into new_x.heir values (2), (3);
create table public.live_only (n int); create view public.seen as select 1 as n;
create function new_x.sly() returns boolean language sql as 'select exists (select from public.live_only)';
"""


@pytest.fixture
def copy(server: Server, database: Database) -> Iterator[Connection]:
    with psycopg.connect(database.superuser_conninfo, autocommit=True) as connection:
        connection.execute("create extension pg_trgm schema public")  # so that public is looked into
    with database.connect() as connection:
        connection.execute(_COPY)
    secret = Secret("DATABASE_URL", ROLE_PASSWORD)
    target = Target("127.0.0.1", server.port, database.name, database.role, secret)
    with closing(connect(target, "run", "check", read_only=True)) as connection:
        yield connection


def test_orphans_are_counted_by_each_key(copy: Connection) -> None:
    found = {key.name: (key.table, key.orphans) for key in findings.foreign_keys(copy, "new_x")}
    assert found == {
        "one": ("child", 1),
        "simple two": ("child", 1),
        "full_two": ("child", 1),
        "of_parted": ("parted", 0),
    }


def test_rows_are_a_tables_own(copy: Connection) -> None:
    assert findings.count_rows(copy, "new_x", ["base", "heir", 'Odd "p']) == {
        "base": 1,
        "heir": 2,
        'Odd "p': 2,
    }
    assert findings.count_rows(copy, "new_x", []) == {}
    assert findings.stored_bytes(copy, "new_x") > 0


@pytest.mark.parametrize(
    ("query", "answer", "problem"),
    [
        ("select count(*) = 4 from child", True, ""),
        ("select exists (select from live_only)", None, "what is live there"),
        ("select sly()", None, "what is live there"),
        ("select n = 1 from seen", None, "what is live there"),
        ("select similarity('a', 'a') = 1", True, ""),
        ("select false", False, ""),
        ("create table x ()", None, "read-only transaction"),
        ("not even sql", None, "syntax error"),
    ],
)
def test_a_declared_statement_sees_the_copy_alone(
    copy: Connection, query: str, answer: object, problem: str
) -> None:
    copy.execute("set search_path = ''")
    (found,) = findings.statements(copy, "new_x", "public", {"it": query})
    assert isinstance(found, Statement)
    assert found.answer is answer
    assert problem in found.problem
    assert bool(problem) == bool(found.problem)


def test_the_age_of_the_newest_row(copy: Connection) -> None:
    young, none, unknown = findings.newest(
        copy, "new_x", {"parted.day": 24, "nosuch.day": 1, "child.nosuch": 1}
    )
    assert young.seconds is not None and not young.problem
    assert 'relation "new_x.nosuch" does not exist' in none.problem
    assert 'column "nosuch" does not exist' in unknown.problem
