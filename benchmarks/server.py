"""The PostgreSQL that both sides of a pair work on: the embedded one, with its own programs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final, Self

import psycopg
from psycopg import sql

from benchmarks import schema
from sandbox.database.data_folder import clean_up_after_a_kill
from sandbox.database.server import PostgresServer
from sandbox.ports import free_port

ROLE: Final = "application"
_MEMORY: Final = Path("/dev/shm")
_ROOM: Final = 6 << 30


class MeasureError(Exception):
    """Something could not be measured; the text says what came instead."""


@dataclass(frozen=True)
class Database:
    """A database whose objects belong to a plain role, as a platform gives it.

    + server: where it is
    + name: its name
    """

    server: BenchServer
    name: str

    def environment(self, port: int | None = None) -> dict[str, str]:
        """For psql and pg_restore: the password in a variable, never in an argument."""
        return {
            "PATH": f"{self.server.programs}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "HOME": str(self.server.folder),
            "LC_ALL": "C.UTF-8",
            "PGPASSWORD": self.server.password,
            "DATABASE_URL": f"postgresql://{ROLE}@127.0.0.1:{port or self.server.port}/{self.name}",
        }

    def connect(self, **options: Any) -> psycopg.Connection[tuple[Any, ...]]:
        """A session as the application's role, in autocommit mode."""
        return psycopg.connect(
            host="127.0.0.1",
            port=self.server.port,
            user=ROLE,
            password=self.server.password,
            dbname=self.name,
            autocommit=True,
            **options,
        )

    def contents(self) -> dict[str, int]:
        """Rows, tables, indexes, constraints and views in `public`: equal on both sides of a fair pair."""
        with self.connect() as connection:
            names = [
                name
                for (name,) in connection.execute(
                    "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
                ).fetchall()
            ]
            rows = 0
            for name in names:
                query = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier("public", name))
                rows += _one(connection, query)
            return {
                "rows": rows,
                "tables": len(names),
                "indexes": _one(connection, "SELECT count(*) FROM pg_indexes WHERE schemaname = 'public'"),
                "constraints": _one(
                    connection,
                    "SELECT count(*) FROM pg_constraint WHERE connamespace = 'public'::regnamespace"
                    " AND contype IN ('p', 'u', 'f', 'c') AND convalidated",
                ),
                "views": _one(connection, "SELECT count(*) FROM pg_views WHERE schemaname = 'public'"),
            }


class BenchServer:
    """A server in a temporary folder, from `with` to its end; databases are made and dropped on it.

    Its write-ahead log is on disk, so that commits cost what they cost. Its data files are in memory where
    the machine has room for them, because to make and remove tens of thousands of files is what file systems
    are worst at, and no two alike: ext4 without a journal passes over each recently removed one to make one.
    """

    def __init__(self) -> None:
        self.in_memory = _has_room_in_memory()
        self._place = _MEMORY if self.in_memory else Path(tempfile.gettempdir())
        self.folder = Path(tempfile.mkdtemp(prefix="operations-bench-", dir=self._place))
        self._log_folder = Path(tempfile.mkdtemp(prefix="operations-bench-log-"))
        self.password = secrets.token_urlsafe(12)
        self._superuser_password = secrets.token_urlsafe(12)
        self._names = count(1)
        self._runner = asyncio.Runner()
        self._server = self._new_server()

    def __enter__(self) -> Self:
        try:
            with _temporary_files_in(self._place):  # where a server goes whose folder only root can read
                self._runner.run(self._server.start())
                if self.in_memory:
                    self._runner.run(self._server.stop())
                    self._move_log()
                    self._server = self._new_server()
                    self._runner.run(self._server.start())
            with self._superuser() as connection:
                connection.execute(
                    sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(ROLE), self.password)
                )
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._server.stop())
        self._runner.close()
        clean_up_after_a_kill(self.folder / "postgres")
        for folder in (self.folder, self._log_folder):
            shutil.rmtree(folder, ignore_errors=True)

    def _new_server(self) -> PostgresServer:
        return PostgresServer(self.folder / "postgres", free_port(), self._superuser_password)

    def _move_log(self) -> None:
        inside, outside = self.folder / "postgres" / "data" / "pg_wal", self._log_folder / "pg_wal"
        owner = inside.stat()
        os.chown(self._log_folder, owner.st_uid, owner.st_gid)
        shutil.copytree(inside, outside)
        for path in (outside, *outside.rglob("*")):
            os.chown(path, owner.st_uid, owner.st_gid)
        shutil.rmtree(inside)
        inside.symlink_to(outside)

    @property
    def port(self) -> int:
        return self._server.port

    @property
    def version(self) -> str:
        """Of the server and its programs, as `18.6`."""
        return self._server.version

    @property
    def programs(self) -> Path:
        return self._server.binaries

    def filled(self, rows: int) -> Database:
        """A new database with the schema of `schema.py` and about so many rows."""
        database = self.empty()
        with database.connect() as connection:
            for statement in schema.statements(rows):
                connection.execute(statement.encode())
        return database

    def empty(self) -> Database:
        """A new empty database."""
        return self._create("template0")

    def copy(self, of: Database) -> Database:
        """A new database that is the same as another, which nobody may be using."""
        return self._create(of.name)

    def drop(self, database: Database) -> None:
        """Remove it; sessions on it are ended."""
        with self._superuser() as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(database.name)))

    def settle(self) -> None:
        """Write out what earlier measures left in memory, so that the next does not pay for it."""
        with self._superuser() as connection:
            connection.execute("CHECKPOINT")

    def backup(self, database: Database, name: str) -> Path:
        """A `.tar.gz` with one custom-format archive in it, as the platform's backups are."""
        dump = self.folder / f"{name}.dump"
        self.run(database, ["pg_dump", "-Fc", "-d", "$DATABASE_URL", "-f", str(dump)])
        packed = self.folder / f"{name}.tar.gz"
        with tarfile.open(packed, "w:gz", compresslevel=6) as archive:
            archive.add(dump, arcname=f"{name}.dump")
        return packed

    def run(self, database: Database, argv: Sequence[str], accepted: Sequence[int] = (0,)) -> str:
        """Run one of the server's programs on a database; what it said. Raises MeasureError."""
        environment = database.environment()
        done = subprocess.run(
            [environment["DATABASE_URL"] if word == "$DATABASE_URL" else word for word in argv],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
        if done.returncode not in accepted:
            raise MeasureError(f"{argv[0]} ended with {done.returncode}: {done.stdout.strip()[-400:]}")
        return done.stdout

    def _create(self, template: str) -> Database:
        database = Database(self, f"bench_{next(self._names)}")
        with self._superuser() as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                    sql.Identifier(database.name), sql.Identifier(template)
                )
            )
            connection.execute(
                sql.SQL("GRANT ALL ON DATABASE {} TO {}").format(
                    sql.Identifier(database.name), sql.Identifier(ROLE)
                )
            )
        with self._superuser(database.name) as connection:
            connection.execute(sql.SQL("GRANT ALL ON SCHEMA public TO {}").format(sql.Identifier(ROLE)))
        return database

    def _superuser(self, database: str = "postgres") -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(self._server.dsn(database), autocommit=True)


def _one(connection: psycopg.Connection[tuple[Any, ...]], query: str | sql.Composed) -> int:
    row = connection.execute(query.encode() if isinstance(query, str) else query).fetchone()
    return int(row[0]) if row else 0


def _has_room_in_memory() -> bool:
    """Whether memory is mounted as a folder, and both the mount and the machine have room."""
    if not (_MEMORY.is_dir() and os.access(_MEMORY, os.W_OK)):
        return False
    available = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(shutil.disk_usage(_MEMORY).free, available) >= _ROOM


@contextlib.contextmanager
def _temporary_files_in(place: Path) -> Iterator[None]:
    before, tempfile.tempdir = tempfile.tempdir, str(place)
    try:
        yield
    finally:
        tempfile.tempdir = before
