"""PostgreSQL servers of the tests, each a child of the test run, and databases on them."""

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
from psycopg import sql
from psycopg.conninfo import make_conninfo

ROLE_PASSWORD = "owner-of-a-test"
"""Of the plain role that owns a database."""
_SUPERUSER_PASSWORD = "superuser-of-a-test"
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
                sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(role), ROLE_PASSWORD)
            )
            connection.execute(
                sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0").format(
                    sql.Identifier(name), sql.Identifier(role)
                )
            )
        return Database(
            name=name,
            role=role,
            conninfo=make_conninfo(self.superuser_conninfo, dbname=name, user=role, password=ROLE_PASSWORD),
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
