"""Whether an app's rows are those of its newest backup, judged by PostgreSQL's own tools."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg
from psycopg import sql

from sandbox.control import Control
from sandbox.database.programs import embedded_binaries
from sandbox.incident import IncidentError

CHANGING: Final = frozenset({"django_session", "django_cache", "places_heartbeat"})
"""Tables that the application writes to by itself, or that come back empty; a login's time changes too."""


@dataclass(frozen=True)
class Comparison:
    """Rows by table on both sides, as multisets.

    + equal: rows that are in the backup and live
    + added: rows live and not in the backup, by table: what was written since
    + missing: rows of the backup that are not live, by table
    """

    tables: int
    equal: int
    added: dict[str, int]
    missing: dict[str, int]

    @property
    def sentence(self) -> str:
        """The comparison in words."""
        text = f"{self.equal:,} rows in {self.tables} tables are equal to the backup's"
        since = ", ".join(f"{count} in {table}" for table, count in self.added.items())
        return f"{text}; written since: {since}." if since else f"{text}."


def compare(control: Control, app: str) -> Comparison:
    """Restore the newest complete nightly backup into a scratch database and compare row by row."""
    database = control.database(app)
    archive = _newest(control.state.folder / "backups", database["name"])
    if archive is None:
        raise IncidentError(f"{app} has no backup to compare with.")
    scratch = f"{database['name']}_compared"
    admin = database["superuser_dsn"]
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(scratch)))
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(scratch)))
    try:
        wanted_dsn = psycopg.conninfo.make_conninfo(admin, dbname=scratch)
        _restore(archive, wanted_dsn)
        wanted, live = _rows(wanted_dsn), _rows(database["url"])
    finally:
        with psycopg.connect(admin, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(scratch)))
    equal = sum((wanted[table] & live.get(table, Counter())).total() for table in wanted)
    return Comparison(
        tables=len(wanted),
        equal=equal,
        added=_more(live, wanted),
        missing=_more(wanted, live),
    )


def _newest(folder: Path, resource: str) -> Path | None:
    """The newest backup of a database: a backup's own name, which begins with its time, is inside."""
    found: list[tuple[str, Path]] = []
    for path in folder.glob("*.tar.gz"):
        with tarfile.open(path) as tar:
            name = tar.getnames()[0].split("/")[0]
        if name.endswith(f"_{resource}"):
            found.append((name, path))
    return max(found)[1] if found else None


def _restore(archive: Path, dsn: str) -> None:
    """With the database's own pg_restore; the password goes by its environment."""
    parameters = psycopg.conninfo.conninfo_to_dict(dsn)
    password = str(parameters.pop("password"))
    where = psycopg.conninfo.make_conninfo("", **{key: str(value) for key, value in parameters.items()})
    with tempfile.TemporaryDirectory() as folder, tarfile.open(archive) as tar:
        member = next(item for item in tar if item.isfile())
        content = tar.extractfile(member)
        if content is None:
            raise IncidentError(f"{archive.name} holds no dump.")
        dump = Path(folder) / "archive.dump"
        with content, dump.open("wb") as file:
            shutil.copyfileobj(content, file)
        subprocess.run(
            [embedded_binaries() / "pg_restore", "--no-owner", "--no-privileges", f"--dbname={where}", dump],
            env=os.environ | {"PGPASSWORD": password},
            check=False,
            capture_output=True,
        )


def _rows(dsn: str) -> dict[str, Counter[str]]:
    with psycopg.connect(dsn) as connection:
        tables = [
            name
            for (name,) in connection.execute(
                "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
            )
            if name not in CHANGING
        ]
        return {
            table: Counter(
                row
                for (row,) in connection.execute(
                    sql.SQL("SELECT md5((to_jsonb(t) - 'last_login')::text) FROM {} t").format(
                        sql.Identifier("public", table)
                    )
                )
            )
            for table in tables
        }


def _more(one: dict[str, Counter[str]], other: dict[str, Counter[str]]) -> dict[str, int]:
    found = {table: (rows - other.get(table, Counter())).total() for table, rows in one.items()}
    return {table: count for table, count in found.items() if count}
