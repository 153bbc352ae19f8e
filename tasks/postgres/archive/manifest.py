"""What was true of an archive of our own when it was made, in a file beside it, for a later restore to check.

`NAME.dump.json` beside `NAME.dump`: a person can read it, and a restore refuses an archive that is not what
its manifest says.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tasks.core.errors import OpsError, Refused
from tasks.core.wording import number_of
from tasks.postgres.archive.archive import Archive
from tasks.postgres.archive.check import Contents
from tasks.postgres.archive.migrations import applied

_LARGEST: Final = 32 << 20
_SHOWN: Final = 5


class Manifest(BaseModel):
    """One archive's manifest.

    + sha256, size: of the archive, in bytes
    + rows: by `schema.table`
    + migrations: (app, name) that were applied in the application's schema; None where it has no such table
    + schema_name, schemas: the application's, and all that were dumped
    + database, server_version, tool_version, archive_version: where and what it was made with
    + extensions: version by name, as the database had them; they are not in the archive
    + app, environment, release: whose data it is, and the commit that ran on it
    + began, made_by: from when its data is, and who had it made
    """

    model_config = ConfigDict(frozen=True)

    operations: Literal[1] = 1
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int = Field(ge=0)
    rows: Mapping[str, int]
    migrations: tuple[tuple[str, str], ...] | None
    schema_name: str
    schemas: tuple[str, ...]
    database: str
    server_version: str
    tool_version: str
    archive_version: str
    extensions: Mapping[str, str]
    app: str
    environment: str
    release: str | None
    began: datetime
    made_by: str

    @property
    def origin(self) -> str:
        """Whose data it is, from when, by whom, in words."""
        release = f", release {self.release[:8]}" if self.release else ""
        return (
            f"{self.app} ({self.environment}{release}) of {self.began:%Y-%m-%d %H:%M} UTC, by {self.made_by}"
        )

    def write(self, archive: Path) -> Path:
        """Write it beside its archive, private and whole or not at all. Raises `OpsError`."""
        path = path_of(archive)
        part = path.with_name(f".{path.name}.part")
        text = json.dumps(self.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n"
        try:
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            raise OpsError(f"Writing {path}", error.strerror or str(error)) from None
        return path


def path_of(archive: Path) -> Path:
    """Where an archive's manifest is, if it has one."""
    return archive.with_name(f"{archive.name}.json")


def read_beside(archive: Path) -> Manifest | None:
    """The manifest of an archive; None where it has none.

    Raises `Refused` where there is one that can't be read: what it said of the archive is then not known.
    """
    path = path_of(archive)
    try:
        with path.open("rb") as file:
            text = file.read(_LARGEST + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unreadable(path, error.strerror or "it can't be read") from None
    if len(text) > _LARGEST:
        raise _unreadable(path, "it is far too large")
    try:
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise _unreadable(path, f"{where}: {first['msg']}" if where else first["msg"]) from None


def _unreadable(path: Path, why: str) -> Refused:
    return Refused(
        f"Reading the manifest {path.name}",
        why,
        state="nothing was changed",
        next_step="fetch archive and manifest again from where they are kept; without a manifest beside it "
        "an archive is taken for what it is",
    )


def rows_by_table(archive: Archive, contents: Contents) -> dict[str, int]:
    """Rows by `schema.table`, as they were counted."""
    return {
        f"{entry.schema}.{entry.name}": contents.rows.get(entry.dump_id, 0) for entry in archive.table_data()
    }


def refuse_another_size(manifest: Manifest | None, archive: Path) -> None:
    """Raise `Refused` where the file's size alone says that it is not the one; before all of it is read."""
    size = archive.stat().st_size
    if manifest is not None and manifest.size != size:
        raise _refused(archive, [f"it has {size:,} bytes, its manifest says {manifest.size:,}"])


def refuse_another(manifest: Manifest | None, archive: Archive, contents: Contents) -> None:
    """Raise `Refused`, saying what differs, where an archive is not the one that its manifest is of."""
    if manifest is not None and (problems := mismatches(manifest, archive, contents)):
        raise _refused(archive.path, problems)


def mismatches(manifest: Manifest, archive: Archive, contents: Contents) -> list[str]:
    """In what an archive differs from its manifest, in sentences; the checksum first."""
    problems = []
    if contents.sha256 != manifest.sha256:
        problems.append(
            f"its checksum is {contents.sha256[:12]}..., its manifest says {manifest.sha256[:12]}..."
        )
    if contents.bytes != manifest.size:
        problems.append(f"it has {contents.bytes:,} bytes, its manifest says {manifest.size:,}")
    problems += _different_rows(rows_by_table(archive, contents), manifest.rows)
    found = applied(archive, manifest.schema_name)
    now = None if found is None else {(row.app, row.name) for row in found}
    then = None if manifest.migrations is None else set(manifest.migrations)
    if now != then:
        differing = sorted((now or set()) ^ (then or set()))
        problems.append(f"its migrations are others: {_first([f'{app}.{name}' for app, name in differing])}")
    return problems


def _different_rows(rows: Mapping[str, int], said: Mapping[str, int]) -> list[str]:
    differing = [
        f"{table} has {number_of(rows[table], 'row') if table in rows else 'no data'}, "
        f"its manifest says {said.get(table, 'nothing of it')}"
        for table in sorted({*rows, *said})
        if rows.get(table) != said.get(table)
    ]
    return [_first(differing)] if differing else []


def _first(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
    return ", ".join(texts[:_SHOWN]) + more


def _refused(archive: Path, problems: Sequence[str]) -> Refused:
    return Refused(
        f"Comparing {archive.name} with its manifest",
        "; ".join(problems),
        state="nothing was changed",
        next_step="this is not the archive that was made: fetch both again from where they are kept, "
        "or take another backup",
    )
