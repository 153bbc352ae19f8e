"""The append-only record of what was run, by whom, on what, with what result; chained by hash."""

from __future__ import annotations

import fcntl
import getpass
import hashlib
import json
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from tasks.core import paths
from tasks.core.errors import OpsError
from tasks.core.secrets import redact

_FIRST: Final = "0" * 64


@dataclass(frozen=True)
class Record:
    """One run as the journal keeps it; `body` is everything but the chain."""

    body: dict[str, Any]
    previous: str
    digest: str

    @property
    def at(self) -> datetime:
        return datetime.fromisoformat(self.body["at"])

    def get(self, key: str, default: Any = None) -> Any:
        return self.body.get(key, default)


class Journal:
    """The journal of one environment: a file of JSON lines in a declared folder.

    + folder: shared by all environments, so that a rehearsal is found
    + environment: the inventory's word for itself
    """

    def __init__(self, folder: Path, environment: str) -> None:
        self.folder = paths.private(folder)
        self.environment = environment
        self.path = folder / f"{environment}.jsonl"

    def of(self, environment: str) -> Journal:
        """The journal of another environment in the same folder."""
        return Journal(self.folder, environment)

    def append(self, **body: Any) -> Record:
        """Add a record; who and when are filled in. Secrets that this process knows are redacted.

        Raises `OpsError` when the file can't be written.
        """
        body = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "who": who(), **body}
        body["environment"] = self.environment
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            with os.fdopen(descriptor, "r+", encoding="utf-8") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                text = file.read()
                previous = _last_digest(text)
                record = _record(json.loads(redact(json.dumps(body, default=str))), previous)
                line = json.dumps({**record.body, "previous": previous, "digest": record.digest}) + "\n"
                file.write("" if not text or text.endswith("\n") else "\n")
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise OpsError(
                f"Writing the journal {self.path}",
                error.strerror or str(error),
                next_step="make room or declare another folder as `journal`; the run itself is not recorded",
            ) from error
        return record

    def records(self) -> Iterator[Record]:
        """Every record, oldest first. A torn last line (a crash while writing) is left out."""
        try:
            lines = self.path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return
        for line in lines:
            try:
                body = json.loads(line)
                previous, digest = body.pop("previous"), body.pop("digest")
            except (ValueError, KeyError, AttributeError):
                continue
            yield Record(body, previous, digest)

    def of_all(self) -> tuple[Record, ...]:
        """The records of every environment whose journal is in the same folder, oldest first."""
        found = (Journal(self.folder, path.stem).records() for path in self.folder.glob("*.jsonl"))
        return tuple(sorted((record for records in found for record in records), key=lambda one: one.at))

    def of_app(self, app: str) -> tuple[Record, ...]:
        """The records of one application, oldest first."""
        return tuple(record for record in self.records() if record.get("app") == app)

    def newest(self, **equal: Any) -> Record | None:
        """The newest record whose values equal all that are given, or None."""
        found = None
        for record in self.records():
            if all(record.get(key) == value for key, value in equal.items()):
                found = record
        return found

    def broken_links(self) -> list[str]:
        """A sentence for each place where a record was edited or removed."""
        faults, expected = [], _FIRST
        for number, record in enumerate(self.records(), 1):
            if record.previous != expected:
                faults.append(
                    f"{self.path.name}, record {number}: the record before it was removed or edited"
                )
            if _record(record.body, record.previous).digest != record.digest:
                faults.append(f"{self.path.name}, record {number} ({record.get('at')}): it was edited")
            expected = record.digest
        return faults


def who() -> str:
    """The person at the keyboard, as `user@machine`."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def _record(body: dict[str, Any], previous: str) -> Record:
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return Record(body, previous, hashlib.sha256(f"{previous}{text}".encode()).hexdigest())


def _last_digest(text: str) -> str:
    for line in reversed(text.splitlines()):
        try:
            return str(json.loads(line)["digest"])
        except (ValueError, KeyError, TypeError):
            continue
    return _FIRST
