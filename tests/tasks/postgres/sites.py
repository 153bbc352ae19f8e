"""Databases as applications have them: one with every trap of a dump, one with a backup to restore."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from tasks.core.secrets import Secret
from tasks.postgres.archive import Archive, check
from tasks.postgres.connection import Target, connect
from tasks.postgres.live import LiveFacts, read_live
from tasks.postgres.marks import DataState, read
from tasks.postgres.stage import Staged, StageRequest, stage
from tasks.postgres.swap import Swapped, swap
from tests.tasks.postgres.servers import ROLE_PASSWORD, Database, Server

_TRAP_SCHEMA = Path(__file__).with_name("trap_schema.sql")
_TRAP_EXTENSIONS = ("citext", "hstore", "pg_trgm")


@dataclass
class Trap:
    """A database made of trap_schema.sql, owned by a plain role, and its dump."""

    server: Server
    database: Database
    dump: Path


def make_trap(server: Server, folder: Path) -> Trap:
    """Make the trap database on a server and dump it into the folder."""
    database = server.create_database()
    with psycopg.connect(database.superuser_conninfo, autocommit=True) as connection:
        for extension in _TRAP_EXTENSIONS:
            connection.execute(f"CREATE EXTENSION {extension} SCHEMA public")
        connection.execute("CREATE SCHEMA audit")
        connection.execute("CREATE TABLE audit.log (id integer)")
    with database.connect() as connection:
        connection.execute(_TRAP_SCHEMA.read_text())
    return Trap(server, database, server.dump(database, folder / "trap.dump"))


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
            extensions = connection.execute("SELECT name FROM pg_available_extensions").fetchall()
            extension = "pg_trgm" if ("pg_trgm",) in extensions else "vector"
            connection.execute(f"CREATE EXTENSION {extension} SCHEMA public")
            connection.execute(f"CREATE ROLE {self.reader} LOGIN PASSWORD '{ROLE_PASSWORD}'")
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
            "127.0.0.1", server.port, self.database.name, self.role, Secret("DATABASE_URL", ROLE_PASSWORD)
        )
        self.backup()

    def connect(self) -> psycopg.Connection:
        """As the application's role, in autocommit."""
        return self.database.connect()

    def superuser(self) -> psycopg.Connection:
        return psycopg.connect(self.database.superuser_conninfo, autocommit=True)

    def as_reader(self) -> psycopg.Connection:
        conninfo = make_conninfo(self.database.conninfo, user=self.reader, password=ROLE_PASSWORD)
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
                "select quote_ident(relname) from pg_class where relkind in ('r', 'm') and relispopulated "
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
