"""The restored schema is a declared one: with a name that has to be quoted, from staging to dropping."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.postgres import drop, forget, loss, swap
from tasks.postgres.assess import assess
from tasks.postgres.connection import connect
from tasks.postgres.sql import ident
from tasks.postgres.ties.settle import analyse, check_keys
from tasks.postgres.tools import Tool
from tests.tasks.postgres.sites import Site

SCHEMAS = ('Odd "sch\'ema" $1.%s', "new_r1x", "données", "back\\slash", "select")


class ElsewhereSite(Site):
    """An application whose objects are in another schema than public."""

    def __init__(self, server, folder: Path, schema: str) -> None:
        super().__init__(server, folder)
        self.schema = schema
        with self.superuser() as connection:
            connection.execute(f"alter schema public rename to {ident(schema)}")
            connection.execute("create schema public; alter extension pg_trgm set schema public")
            connection.execute(f"grant usage on schema public to {self.role}")
            connection.execute(f"create schema audit authorization {self.role}")
        self.do(
            f"create table audit.log(place int references {ident(schema)}.place);"
            f"insert into audit.log values (1), (2);"
            f"create view audit.v as select * from {ident(schema)}.place;"
            f"create publication own for table {ident(schema)}.tag (label)"
        )
        self.target = replace(self.target, schema=schema)
        self.backup()

    def dumped_schema(self) -> str:
        answer = self.server.run(
            "pg_dump", "--schema-only", "--no-privileges", "-N", "before_*", "-N", "after_*", "-N", "drop_*",
            "-d", self.database.superuser_conninfo,
        )  # fmt: skip
        return "\n".join(line for line in answer.stdout.splitlines() if not line.startswith("\\"))

    def sums(self, schema: str | None = None) -> dict[str, str]:
        """A checksum of each table's rows."""
        schema = schema or self.schema
        with self.connect() as connection:
            tables = connection.execute(
                "select relname from pg_class where relkind in ('r', 'm') and relnamespace = "
                "(select oid from pg_namespace where nspname = %s)",
                (schema,),
            ).fetchall()
            return {
                table: connection.execute(
                    "select md5(string_agg(t::text, chr(10) order by t::text)) "
                    f"from {ident(schema)}.{ident(table)} t"
                ).fetchone()[0]
                for (table,) in tables
            }


@pytest.fixture(params=SCHEMAS)
def elsewhere(request: pytest.FixtureRequest, server, tmp_path: Path) -> Iterator[ElsewhereSite]:
    made = ElsewhereSite(server, tmp_path, request.param)
    yield made
    made.drop()


def test_it_is_staged_swapped_undone_and_forgotten(elsewhere):
    site, schema = elsewhere, ident(elsewhere.schema)
    before, definitions = site.sums(), site.dumped_schema()
    assert site.live().migrations == (("places", "0001_initial"),)
    assert assess(site.archive, site.contents, site.live()) == []
    site.do(f"insert into {schema}.place(name) values ('later'); insert into audit.log values (201)")
    original = site.sums()

    staged = site.stage("r1")
    with connect(site.target, "r1", read_only=True) as connection:
        lost = loss.compute(connection, site.schema, staged.schema)
    assert lost.counts() == {"place": 1}
    assert site.swap(staged).locked is not None
    with connect(site.target, "r1") as connection:
        (orphans,) = check_keys(connection).orphans
        assert orphans.examples == ("place 201",)
        assert analyse(connection, site.schema).left == ()
    assert site.sums() == before
    assert site.one("select count(*) from audit.v") == 200
    assert site.one(f"insert into {schema}.place(name) values ('x') returning id") == 202

    swap.take_back(site.target, "r2")
    with connect(site.target, "r2") as connection:
        assert check_keys(connection).orphans == ()
    assert site.sums() == original
    assert site.dumped_schema() == definitions
    with connect(site.target, "r3") as connection:
        assert forget.drop_schema(connection, "after_r1") > 0
    assert site.schemas() - {site.schema} == {"audit"}


def test_it_is_restored_by_dropping(elsewhere):
    site, schema = elsewhere, ident(elsewhere.schema)
    site.do("drop table audit.log; drop view audit.v; drop publication own")
    before, definitions = site.sums(), site.dumped_schema()
    site.backup()
    site.do(f"insert into {schema}.place(name) values ('later')")
    tool = Tool(site.server.bin / "pg_restore", site.server.version)
    request = drop.DropRequest("r1", site.archive, site.contents, tool, "nightly")
    assert drop.obstacles(site.archive, site.contents, site.live()) == []
    drop.replace_live(site.target, request)
    assert site.sums() == before
    assert site.dumped_schema() == definitions
