"""Backups fetched into a private cache and read to their end once; a plan then knows what is in them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tasks.core import paths
from tasks.core.screen import Screen
from tasks.postgres.archive import Archive, Contents, applied, manifest, open_checked, stamp
from tasks.rollback.application import Application
from tasks.rollback.choices import BackupOption
from tasks.rollback.situation import Fetched

_KEPT: Final = 3


@dataclass(frozen=True)
class OpenBackup:
    """A backup that is here and sound."""

    archive: Archive
    contents: Contents
    fetched: Fetched


class Backups:
    """The cache of one application's backups."""

    def __init__(self, app: Application, screen: Screen) -> None:
        self._app = app
        self._screen = screen
        self._folder = paths.cache("backups", app.declared.environment, app.name)
        self._in_use: set[Path] = set()

    def cached(self, backup: BackupOption) -> OpenBackup | None:
        """The backup if it has been fetched and read before; sends nothing.

        Raises `Refused` where a manifest lies beside a file and says otherwise.
        """
        folder = self._of(backup)
        try:
            known = json.loads((folder / "contents.json").read_text(encoding="utf-8"))
            path = Path(known["path"])
            stat = path.stat()
            if [stat.st_size, stat.st_mtime_ns] != known["file"]:
                return None
            contents = Contents(
                rows={int(key): value for key, value in known["rows"].items()},
                text_bytes={int(key): value for key, value in known["text_bytes"].items()},
                large_objects=known["large_objects"],
                bytes=known["bytes"],
                sha256=known["sha256"],
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None
        self._use(folder)
        return self._opened(backup, Archive.open(path), contents)

    def fetch(self, backup: BackupOption, stop: Callable[[], bool]) -> OpenBackup:
        """Fetch what is missing, read the archive to its last block, and count its rows.

        Raises an `OpsError` that names what is wrong with it; nothing but the cache has been touched then.
        """
        if known := self.cached(backup):
            return known
        folder = paths.private(self._of(backup))
        source = backup.path or folder / "download.tar.gz"
        if backup.path is not None:
            manifest.refuse_another_size(manifest.read_beside(source), source)
        if backup.path is None:
            self._app.client.databases.download(
                self._app.name,
                self._app.addon.id,
                self._app.client.databases.backup(self._app.name, self._app.addon.id, backup.id),
                source,
                progress=self._screen.progress("Fetching the backup"),
                stop=stop,
            )
        archive, contents = open_checked(
            source, folder, progress=self._screen.progress("Reading the backup to its end"), stop=stop
        )
        if backup.path is None and archive.path != source:
            source.unlink(missing_ok=True)
        self._remember(folder, archive, contents)
        self._use(folder)
        self._forget_old_ones()
        return self._opened(backup, archive, contents)

    def _of(self, backup: BackupOption) -> Path:
        identity = backup.id
        if backup.path is not None:
            size, written = stamp(backup.path)
            identity = f"{backup.path}:{size}:{written}"
        return self._folder / hashlib.sha256(identity.encode()).hexdigest()[:24]

    def _opened(self, backup: BackupOption, archive: Archive, contents: Contents) -> OpenBackup:
        said = manifest.read_beside(backup.path) if backup.path is not None else None
        manifest.refuse_another(said, archive, contents)
        schema = self._app.declared.database_schema
        rows = {
            entry.name: contents.rows.get(entry.dump_id, 0)
            for entry in archive.table_data()
            if entry.schema == schema
        }
        found = applied(archive, schema)
        migrations = None if found is None else tuple((row.app, row.name) for row in found)
        fetched = Fetched(
            archive.path, contents.sha256, contents.bytes, rows, migrations, archive.header.database, said
        )
        return OpenBackup(archive, contents, fetched)

    def _remember(self, folder: Path, archive: Archive, contents: Contents) -> None:
        stat = archive.path.stat()
        known: dict[str, Any] = {
            "path": str(archive.path),
            "file": [stat.st_size, stat.st_mtime_ns],
            "rows": contents.rows,
            "text_bytes": contents.text_bytes,
            "large_objects": contents.large_objects,
            "bytes": contents.bytes,
            "sha256": contents.sha256,
        }
        beside = folder / "contents.json.part"
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(known, file)
        beside.replace(folder / "contents.json")

    def _use(self, folder: Path) -> None:
        """This run may need it to its end; and what was used last is forgotten last."""
        self._in_use.add(folder)
        with contextlib.suppress(OSError):
            os.utime(folder)

    def _forget_old_ones(self) -> None:
        """Archives are large: those used last stay, for a run that is repeated."""
        folders = sorted(
            (folder for folder in self._folder.iterdir() if folder.is_dir()), key=lambda f: f.stat().st_mtime
        )
        for folder in folders[:-_KEPT]:
            if folder not in self._in_use:
                with contextlib.suppress(OSError):
                    shutil.rmtree(folder)
