"""What an add-on is inside the server: a database of the platform's, the application's role, a reader.

Rights are those that the platform documents: the application's role is no superuser and doesn't own its
database; it has ALL on it and CREATE on the schema `public`. Extensions belong to the platform.
"""

from __future__ import annotations

from typing import Final

import psycopg
from psycopg import sql

from sandbox.database.server import PostgresServer
from sandbox.platform.model import DatabaseState

EXTENSIONS: Final = ("pg_stat_statements", "pg_trgm", "unaccent", "fuzzystrmatch", "uuid-ossp", "postgis")
"""Made by the superuser in every database, in `public`, where the server has them."""
CONNECTION_LIMIT: Final = 30
"""Connections of one application's role, as on a small plan."""
READONLY_CONNECTION_LIMIT: Final = 5


def provision(server: PostgresServer, database: DatabaseState) -> None:
    """Make the add-on's database and roles, or bring them to what they must be; again changes nothing."""
    name, role, reader = (
        sql.Identifier(text) for text in (database.name, database.role, database.readonly_role)
    )
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        _role(connection, database.role, database.password, CONNECTION_LIMIT)
        _role(connection, database.readonly_role, database.readonly_password, READONLY_CONNECTION_LIMIT)
        known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database.name]).fetchone()
        if not known:
            connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(name))
        connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(name))
        connection.execute(sql.SQL("GRANT ALL ON DATABASE {} TO {}").format(name, role))
        connection.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(name, reader))
        available = {row[0] for row in connection.execute("SELECT name FROM pg_available_extensions")}
    with psycopg.connect(server.dsn(database.name), autocommit=True) as connection:
        for extension in EXTENSIONS:
            if extension in available:
                connection.execute(
                    sql.SQL("CREATE EXTENSION IF NOT EXISTS {} SCHEMA public").format(
                        sql.Identifier(extension)
                    )
                )
        connection.execute(sql.SQL("GRANT USAGE, CREATE ON SCHEMA public TO {}").format(role))
        connection.execute(sql.SQL("GRANT USAGE ON SCHEMA public TO {}").format(reader))
        for kind in ("TABLES", "SEQUENCES"):
            connection.execute(
                sql.SQL(
                    "ALTER DEFAULT PRIVILEGES FOR ROLE {} IN SCHEMA public GRANT SELECT ON {} TO {}"
                ).format(role, sql.SQL(kind), reader)
            )


def remove(server: PostgresServer, database: DatabaseState) -> None:
    """Drop the add-on's database with the sessions on it, then its roles."""
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute(
            sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database.name))
        )
        for role in (database.role, database.readonly_role):
            connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(role)))


def size(server: PostgresServer, database: DatabaseState) -> int:
    """Bytes that the database takes on disk."""
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        row = connection.execute("SELECT pg_database_size(%s)", [database.name]).fetchone()
        assert row is not None
        return int(row[0])


def _role(connection: psycopg.Connection, name: str, password: str, limit: int) -> None:
    # Hashed here: the server's log and pg_stat_statements never see the password itself.
    hashed = connection.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256").decode()
    known = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [name]).fetchone()
    connection.execute(
        sql.SQL(
            "{} ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION"
            " CONNECTION LIMIT {} PASSWORD {}"
        ).format(
            sql.SQL("ALTER" if known else "CREATE"),
            sql.Identifier(name),
            sql.Literal(limit),
            sql.Literal(hashed),
        )
    )
