"""What the application's role may do and not do: the rights that the platform documents."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

APP = "sandbox-demo-preprod"


@pytest.fixture
def connection(sandbox: Any) -> Any:
    with psycopg.connect(sandbox.control.database(APP)["url"], autocommit=True) as connection:
        yield connection


def test_it_is_no_superuser_and_does_not_own_its_database(connection: Any) -> None:
    row = connection.execute(
        "SELECT rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls, rolconnlimit"
        " FROM pg_roles WHERE rolname = current_user"
    ).fetchone()
    assert row[:5] == (False,) * 5
    assert 5 <= row[5] <= 50
    owner = connection.execute(
        "SELECT datdba::regrole::text, current_user FROM pg_database WHERE datname = current_database()"
    ).fetchone()
    assert owner[0] == "postgres"
    assert owner[1] != "postgres"


def test_it_creates_schemas_tables_and_trusted_extensions(connection: Any) -> None:
    with connection.transaction(force_rollback=True):
        connection.execute("CREATE SCHEMA beside")
        connection.execute("CREATE TABLE beside.t (a int)")
        connection.execute("ALTER TABLE beside.t SET SCHEMA public")
        connection.execute("CREATE EXTENSION citext")


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE DATABASE other",
        "CREATE ROLE other",
        "CREATE EXTENSION postgres_fdw",
        "DROP EXTENSION pg_trgm",
        "COPY (SELECT 1) TO PROGRAM 'true'",
        "SELECT pg_read_file('postgresql.conf')",
        "ALTER SYSTEM SET work_mem = '1MB'",
        "CREATE EVENT TRIGGER x ON ddl_command_start EXECUTE FUNCTION now()",
    ],
)
def test_what_it_may_not(connection: Any, statement: str) -> None:
    with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.InvalidObjectDefinition)):
        connection.execute(statement)


def test_extensions_belong_to_the_platform(connection: Any) -> None:
    rows = connection.execute(
        "SELECT extname, extowner::regrole::text, extnamespace::regnamespace::text FROM pg_extension"
    ).fetchall()
    found = {name: (owner, schema) for name, owner, schema in rows}
    for name in ("pg_trgm", "unaccent", "fuzzystrmatch", "pg_stat_statements"):
        assert found[name] == ("postgres", "public")


def test_the_reader_reads_what_the_application_makes_and_no_more(sandbox: Any, connection: Any) -> None:
    known = sandbox.control.database(APP)
    connection.execute("CREATE TABLE reader_test (a int GENERATED ALWAYS AS IDENTITY)")
    try:
        with psycopg.connect(
            known["url"], user=known["readonly_role"], password=known["readonly_password"], autocommit=True
        ) as reader:
            assert reader.execute("SELECT count(*) FROM reader_test").fetchone() == (0,)
            for statement in ("INSERT INTO reader_test DEFAULT VALUES", "CREATE TABLE x (a int)"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    reader.execute(statement)
    finally:
        connection.execute("DROP TABLE reader_test")


def test_nobody_gets_into_another_apps_database(sandbox: Any) -> None:
    mine, other = sandbox.control.database(APP), sandbox.control.database("sandbox-demo")
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(mine["url"], dbname=other["name"])
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(mine["url"], password="wrong")


def test_the_tunnels_name_resolves_nowhere_else(sandbox: Any) -> None:
    with pytest.raises(psycopg.OperationalError, match=r"resolve|not known"):
        psycopg.connect(sandbox.control.database(APP)["tunnel_url"], connect_timeout=5)
