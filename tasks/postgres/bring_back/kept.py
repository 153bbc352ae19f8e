"""What a run keeps of the rows that it has written, so that they can be taken back.

For each table the keys of the rows and a print of each as it then was: enough to find them again and to see
whether anybody has changed them since, and none of their values.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from tasks.core.errors import OpsError
from tasks.postgres.connection import Connection

_MANIFEST: Final = "manifest.json"


@dataclass(frozen=True)
class Written:
    """One table's part of what was written.

    + key: columns by which a row is found again; empty where its print alone tells it
    + columns: those that its print is of, in order
    + inserted, replaced: numbers of rows
    + file, sha256: keys and prints, as CSV
    + before: the whole rows that were written over, as CSV; "" where there are none
    """

    table: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    inserted: int
    replaced: int
    file: str
    sha256: str
    before: str = ""


@dataclass(frozen=True)
class Manifest:
    """What a run has written, beside the files of its keys."""

    run: str
    schema: str
    aside: str
    tables: tuple[Written, ...]

    def text(self) -> str:
        """As it is kept."""
        return json.dumps(
            {
                "run": self.run,
                "schema": self.schema,
                "aside": self.aside,
                "tables": [
                    {**asdict(table), "key": list(table.key), "columns": list(table.columns)}
                    for table in self.tables
                ],
            },
            ensure_ascii=False,
            indent=1,
        )

    def write(self, folder: Path) -> None:
        """Keep it in the folder."""
        descriptor = os.open(folder / _MANIFEST, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(self.text())
            file.flush()
            os.fsync(file.fileno())

    @classmethod
    def read(cls, folder: Path) -> Manifest | None:
        """Of a folder; None where there is none. Raises OpsError for one that can't be read."""
        try:
            values = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
            tables = tuple(
                Written(**{**one, "key": tuple(one["key"]), "columns": tuple(one["columns"])})
                for one in values["tables"]
            )
            return cls(str(values["run"]), str(values["schema"]), str(values["aside"]), tables)
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise OpsError(
                f"Reading {folder / _MANIFEST}",
                f"it is not as it was written ({type(error).__name__})",
                next_step="bring back that folder from a copy of the journal",
            ) from None


def file_name(table: str) -> str:
    """A table's name as a file's."""
    return "".join(letter if letter.isalnum() or letter in "_-" else "_" for letter in table)


def copy_out(connection: Connection, query: str, path: Path) -> str:
    """The rows of a query as a private CSV file with a heading; gives its SHA-256."""
    digest = hashlib.sha256()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with (
        os.fdopen(descriptor, "wb") as file,
        connection.cursor() as cursor,
        cursor.copy(f"COPY ({query}) TO STDOUT (FORMAT csv, HEADER)".encode()) as rows,
    ):
        for block in rows:
            digest.update(block)
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()
