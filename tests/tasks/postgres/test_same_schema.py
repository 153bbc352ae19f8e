"""After a swap the live schema's definitions are the archive's own, line by line, and its rows too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tasks.core.secrets import Secret
from tasks.postgres import swap
from tasks.postgres.archive import Archive, check
from tasks.postgres.assess import assess
from tasks.postgres.connection import Target
from tests.tasks.postgres.servers import ROLE_PASSWORD, Database, Server
from tests.tasks.postgres.sites import Site, make_trap

_KINDS = Path(__file__).with_name("kinds_schema.sql")
_NEVER = ("-N", "before_*", "-N", "after_*", "-N", "audit")


class Copy(Site):
    """A database that was made elsewhere, and its archive."""

    def __init__(self, server: Server, folder: Path, database: Database) -> None:
        self.server = server
        self.folder = folder
        self.database = database
        self.role = database.role
        self.target = Target(
            "127.0.0.1", server.port, database.name, database.role, Secret("DATABASE_URL", ROLE_PASSWORD)
        )
        self.backup()

    def backup(self) -> None:
        path = self.server.dump(self.database, self.folder / "copy.dump", *_NEVER)
        self.archive = Archive.open(path)
        self.contents = check(self.archive, progress=lambda done, total: None, stop=lambda: False)

    def archived_lines(self) -> list[str]:
        """What the archive says, by the server's own pg_restore, which would fill materialized views too."""
        archive = str(self.folder / "copy.dump")
        listed = self.folder / "copy.list"
        entries = self.server.run("pg_restore", "-l", archive).stdout.splitlines()
        listed.write_text("\n".join(line for line in entries if " MATERIALIZED VIEW DATA " not in line))
        arguments = ("--schema-only", "--no-privileges", "-L", str(listed), "-f", "-", archive)
        return _lines(self.server.run("pg_restore", *arguments).stdout)

    def live_lines(self) -> list[str]:
        """What is live, by the server's own pg_dump."""
        arguments = ("--schema-only", "--no-privileges", *_NEVER, "-d", self.database.superuser_conninfo)
        return _lines(self.server.run("pg_dump", *arguments).stdout)

    def drop(self) -> None:
        self.server.drop_database(self.database)


def _lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.startswith(("\\restrict", "\\unrestrict"))]


def _comes_back_the_same(copy: Copy, drift: str) -> swap.Swapped:
    wanted, rows = copy.archived_lines(), copy.sums()
    assert copy.live_lines() == wanted
    with copy.connect() as connection:
        connection.execute(drift)
    drifted, other_rows = copy.live_lines(), copy.sums()
    assert drifted != wanted
    assert [refusal.sentence for refusal in assess(copy.archive, copy.contents, copy.live())] == []
    swapped = copy.swap(copy.stage("r1"))
    assert copy.live_lines() == wanted
    assert copy.sums() == rows
    swap.take_back(copy.target, "r2")
    assert copy.live_lines() == drifted
    assert copy.sums() == other_rows
    return swapped


@pytest.fixture(params=["server", "packaged_server", "installed_server"])
def each_server(request: pytest.FixtureRequest) -> Server:
    found: Server = request.getfixturevalue(request.param)
    return found


def _has_extension(server: Server, name: str) -> bool:
    with psycopg.connect(server.superuser_conninfo) as connection:
        found = connection.execute("select from pg_available_extensions where name = %s", [name])
        return found.fetchone() is not None


@pytest.fixture
def kinds(each_server: Server, tmp_path: Path) -> Iterator[Copy]:
    """Every kind of object that a plain role can make."""
    if not _has_extension(each_server, "citext"):
        pytest.skip("this server's package lacks the extensions of the trap database")
    database = make_trap(each_server, tmp_path).database
    with database.connect() as connection:
        connection.execute(_KINDS.read_text())
    made = Copy(each_server, tmp_path, database)
    yield made
    made.drop()


DRIFT = """
drop view v_simple cascade;
drop table below;
drop table new_x cascade; drop view upwards;
alter table t_child drop column number cascade;
alter table forms add more integer, drop constraint forms_apart;
drop rule keep on typed;
alter type mood add value 'x';
create type later as enum ('a');
create function later() returns later language sql as 'select null::public.later';
create table later_table (l later default public.later());
create view later_view as select * from later_table;
comment on table t_parent is 'another';
drop policy "own rows" on forms;
drop trigger off on forms;
alter table "é à" rename to renamed;
delete from keys where id > 150;
update t_parent set label = 'changed';
"""


def test_every_kind_of_object_is_the_archives_own(kinds):
    _comes_back_the_same(kinds, DRIFT)


TABLES, INDEXES, KEYS, UNIQUE, CHECKS, IDENTITIES, VIEWS = 66, 134, 84, 44, 7, 57, 5


def _real_size(place: str, point: str, using: str) -> str:
    """A schema of the size and kinds of a real application's.

    + place, point, using: a type for places, an expression of n that makes one, its kind of index
    """
    made, keys, indexes = [], 0, 0
    for t in range(TABLES):
        identity = "generated by default as identity" if t < IDENTITIES else "default 0"
        columns = [
            f"id bigint {identity} not null",
            "name varchar(255) not null default 'public.app_t1'",
            "body text not null default ''",
            "created timestamptz not null default now()",
            "facts jsonb not null default '{}'",
            "a bigint",
            "b bigint",
            f"at {place}",
        ]
        if t < CHECKS:
            columns.append(f'constraint "app_t{t}_size_check" check (length(name) < 200)')
        made.append(f"create table app_t{t} ({', '.join(columns)})")
        made.append(f"alter table app_t{t} add constraint app_t{t}_pkey primary key (id)")
        if t < UNIQUE:
            made.append(f"alter table app_t{t} add constraint app_t{t}_name_uniq unique (name, id)")
    for t in range(TABLES):
        for kind in (f"{using} (at)", "btree (name varchar_pattern_ops)", "gin (facts)")[: 2 + (t < 2)]:
            made.append(f"create index app_t{t}_ix{indexes} on app_t{t} using {kind}")
            indexes += 1
    for column in ("a", "b"):
        for t in range(TABLES):
            if keys < KEYS:
                made.append(
                    f"alter table app_t{t} add constraint app_t{t}_{column}_fk foreign key ({column}) "
                    f"references app_t{(t * 7 + 3) % TABLES} deferrable initially deferred"
                )
                keys += 1
    made += [
        f"create view app_v{v} as select t.id, t.name, t.at, count(u.id) as n from app_t{v} t "
        f"left join app_t{v + 1} u on u.a = t.id group by t.id"
        for v in range(VIEWS)
    ]
    made += [
        f"insert into app_t{t} (id, name, at) select n, 'Name ' || n, {point} from generate_series(1, 40) n"
        for t in range(TABLES)
    ]
    return "; ".join(made)


PLACES = {
    "plain": ("point", "point(n, n)", "gist"),
    "PostGIS": ("public.geometry(Point,4326)", "public.st_setsrid(public.st_makepoint(n, n), 4326)", "gist"),
}


@pytest.mark.parametrize("places", PLACES)
def test_a_schema_of_real_size_is_the_archives_own(each_server, places, tmp_path):
    database = each_server.create_database()
    try:
        with psycopg.connect(database.superuser_conninfo, autocommit=True) as connection:
            if places == "PostGIS":
                if not _has_extension(each_server, "postgis"):
                    pytest.skip("PostGIS is not installed for this server")
                connection.execute("create extension postgis schema public")
        with database.connect() as connection:
            connection.execute(_real_size(*PLACES[places]))
        copy = Copy(each_server, tmp_path, database)
        _counts_are_those_of_a_real_schema(copy)
        _comes_back_the_same(
            copy,
            "drop table app_t9 cascade; alter table app_t3 add more text;"
            "create table app_later(id int primary key);"
            "drop view app_v4; create view app_v4 as select 1 as n; delete from app_t20 where id > 9",
        )
    finally:
        each_server.drop_database(database)


def _counts_are_those_of_a_real_schema(copy: Copy) -> None:
    counted: dict[str, int] = {}
    for entry in copy.archive.entries:
        if entry.schema == "public":
            counted[entry.kind] = counted.get(entry.kind, 0) + 1
    assert counted["TABLE"] == TABLES
    assert counted["INDEX"] == INDEXES
    assert counted["CONSTRAINT"] == TABLES + UNIQUE
    assert counted["FK CONSTRAINT"] == KEYS
    assert counted["SEQUENCE"] == counted["SEQUENCE SET"] == IDENTITIES
    assert counted["VIEW"] == VIEWS
