"""What pg_dump is told, which one is taken, and what it can't read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from tasks.core.errors import NotConfigured, OpsError
from tasks.core.secrets import Secret
from tasks.postgres.archive import Archive, check
from tasks.postgres.connection import Target, connect
from tasks.postgres.pg_dump import pg_dump_command, read_extent, run_pg_dump
from tasks.postgres.tools import Tool, choose_pg_dump, environment, find_pg_dump
from tests.tasks.postgres.servers import ROLE_PASSWORD, Database, Server


def target_of(server: Server, database: Database) -> Target:
    return Target(
        "127.0.0.1", server.port, database.name, database.role, Secret("DATABASE_URL", ROLE_PASSWORD)
    )


@pytest.fixture
def filled(server: Server, database: Database) -> Iterator[Target]:
    with database.connect() as connection:
        connection.execute("create table place as select n, md5(n::text) from generate_series(1, 5000) n")
        connection.execute("create schema before_x create table place (n int)")
    yield target_of(server, database)


@pytest.mark.parametrize(
    ("there", "server", "chosen"),
    [([15, 18], 15, 15), ([15, 18], 16, 18), ([18, 17], 16, 17), ([15], 16, None), ([], 16, None)],
)
def test_the_servers_own_version_or_the_nearest_newer(
    there: list[int], server: int, chosen: int | None
) -> None:
    found = choose_pg_dump([Tool(Path(f"/{major}/pg_dump"), major) for major in there], server)
    assert (found.major if found else None) == chosen


def test_none_that_is_new_enough_is_said() -> None:
    with pytest.raises(NotConfigured, match=r"none dumps a server of version 99: .*pg_dump \(\d+\)"):
        find_pg_dump(99)


def test_the_password_is_in_no_argument_and_none_of_the_users_settings_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PGSERVICE", "prod")
    target = Target("127.0.0.1", 5432, "db", "role", Secret("DATABASE_URL", "s3cret-of-a-test"))
    command = pg_dump_command(Tool(Path("/bin/pg_dump"), 18), target, ('pub"lic',), Path("/x.dump"))
    assert not [part for part in command if "s3cret" in part]
    assert '--schema="pub""lic"' in command
    told = environment(target, "run", "pg_dump")
    assert told["PGPASSWORD"] == "s3cret-of-a-test"
    assert told["PGSERVICE"] is None


def test_the_schema_alone_is_dumped_and_progress_ends_at_the_whole(
    filled: Target, server: Server, tmp_path: Path
) -> None:
    to = tmp_path / "x.dump"
    os.close(os.open(to, os.O_CREAT, 0o600))
    with closing(connect(filled, "run", read_only=True)) as connection:
        extent = read_extent(connection, ("public",))
    seen: list[tuple[int, int | None]] = []
    tool = find_pg_dump(server.version, server.bin)
    run_pg_dump(filled, "run", tool, ("public",), extent, to, lambda *at: seen.append(at), lambda: False)
    archive = Archive.open(to)
    contents = check(archive, progress=lambda done, total: None, stop=lambda: False)
    assert [(e.schema, e.name) for e in archive.table_data()] == [("public", "place")]
    assert list(contents.rows.values()) == [5000]
    assert seen[-1] == (extent.bytes, extent.bytes)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert to.stat().st_mode & 0o777 == 0o600


def test_what_the_role_may_not_read_is_named_before(
    filled: Target, server: Server, database: Database, tmp_path: Path
) -> None:
    with psycopg.connect(database.superuser_conninfo, autocommit=True) as connection:
        connection.execute("create table alien (n int); create sequence hidden")
    with closing(connect(filled, "run", read_only=True)) as connection:
        extent = read_extent(connection, ("public",))
    assert extent.unreadable == ("public.alien", "public.hidden")
    tool = find_pg_dump(server.version, server.bin)
    with pytest.raises(OpsError, match="permission denied for table alien"):
        run_pg_dump(filled, "run", tool, ("public",), extent, tmp_path / "x", lambda *_: None, lambda: False)
