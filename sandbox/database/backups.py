"""Logical backups as the platform makes them: real pg_dump archives in a .tar.gz, with documented states."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tarfile
import tempfile
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from sandbox.database.data_folder import SUPERUSER
from sandbox.database.server import PostgresServer
from sandbox.platform.model import Addon, Backup, Scenario, new_object_id, now
from sandbox.platform.store import Store

MANUAL_KEPT: Final = 10
"""Manual backups that a starter plan keeps."""
PERIODIC_KEPT_DAYS: Final = 7


class Backups:
    """Makes, lists and forgets backups; their files lie in one private folder."""

    def __init__(self, store: Store, server: PostgresServer, folder: Path) -> None:
        self._store = store
        self._server = server
        self.folder = folder
        self._running: set[asyncio.Task[None]] = set()
        self._dumps: set[asyncio.subprocess.Process] = set()

    def start(self) -> None:
        """What was under way when a predecessor ended has failed."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for backup in self._store.state.backups.values():
            if backup.status in ("scheduled", "running"):
                backup.status = "error"
        for leftover in self.folder.glob(".*"):
            shutil.rmtree(leftover, ignore_errors=True) if leftover.is_dir() else leftover.unlink()
        self._store.save()

    async def stop(self) -> None:
        """End those under way."""
        for task in list(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def of(self, addon: Addon) -> list[Backup]:
        """The add-on's backups, newest first."""
        mine = [backup for backup in self._store.state.backups.values() if backup.addon_id == addon.id]
        return sorted(mine, key=lambda backup: (backup.created_at, backup.name), reverse=True)

    def schedule(self, addon: Addon, scenario: Scenario, method: str, at: datetime | None = None) -> Backup:
        """Begin a backup; returns at once, with the backup in state `scheduled`.

        + at: the moment that its name and times claim (a nightly backup taken for a test); now when not
          given. What it holds is always what the database holds now.
        """
        created = at or now()
        backup = Backup(
            id=new_object_id(),
            addon_id=addon.id,
            name=f"{created:%Y%m%d%H%M%S}_{addon.resource_id}",
            created_at=created,
            method=method,
        )
        self._store.state.backups[backup.id] = backup
        self._store.save()
        task = asyncio.create_task(self._run(backup, addon, scenario, at), name=f"backup {backup.name}")
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return backup

    async def wait_for(self, backup: Backup) -> Backup:
        """Until it is done or failed."""
        while backup.status in ("scheduled", "running"):
            await asyncio.sleep(0.05)
        return backup

    def remove_of(self, addon: Addon) -> None:
        """Forget all backups of an add-on that is removed, with their files."""
        for backup in self.of(addon):
            self._remove(backup)
        self._store.save()

    async def _run(self, backup: Backup, addon: Addon, scenario: Scenario, at: datetime | None) -> None:
        await asyncio.sleep(0.05)
        backup.started_at = at + timedelta(seconds=1) if at else now()
        backup.status = "running"
        self._store.save()
        work = Path(tempfile.mkdtemp(prefix=".making-", dir=self.folder))
        try:
            dump = work / f"{backup.name}.pgsql"
            await self._dump(addon, dump)
            await asyncio.sleep(scenario.backup_seconds)
            if scenario.backup_fail:
                backup.status = "error"
                return
            packed = work / "packed.tar.gz"
            await asyncio.to_thread(_pack, dump, backup.name, packed)
            path = self.folder / f"{backup.id}.tar.gz"
            packed.replace(path)
            backup.path = str(path)
            backup.size = path.stat().st_size
            backup.status = "done"
            self._retain(addon)
        except DumpFailed:
            backup.status = "error"
        except BaseException:
            backup.status = "error"
            raise
        finally:
            shutil.rmtree(work, ignore_errors=True)
            self._store.save()

    async def _dump(self, addon: Addon, to: Path) -> None:
        handle = os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            process = await asyncio.create_subprocess_exec(
                self._server.program("pg_dump"), "--format=custom", "--host=127.0.0.1",
                f"--port={self._server.port}", f"--username={SUPERUSER}", "--no-password",
                addon.database.name,
                stdin=asyncio.subprocess.DEVNULL, stdout=handle, stderr=asyncio.subprocess.PIPE,
                env={"PATH": os.defpath, "LC_ALL": "C.UTF-8", "PGPASSWORD": self._server.password,
                     "PGAPPNAME": "sandbox backup"},
                start_new_session=True,
            )  # fmt: skip
        finally:
            os.close(handle)
        try:
            _, said = await process.communicate()
        except asyncio.CancelledError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            raise
        if process.returncode:
            raise DumpFailed(said.decode(errors="replace").strip())

    def _retain(self, addon: Addon) -> None:
        done = [backup for backup in self.of(addon) if backup.status == "done"]
        manual = [backup for backup in done if backup.method == "manual"]
        old = [
            backup
            for backup in done
            if backup.method == "periodic" and now() - backup.created_at > timedelta(days=PERIODIC_KEPT_DAYS)
        ]
        for backup in [*manual[MANUAL_KEPT:], *old]:
            self._remove(backup)

    def _remove(self, backup: Backup) -> None:
        if backup.path:
            Path(backup.path).unlink(missing_ok=True)
        self._store.state.backups.pop(backup.id, None)


class DumpFailed(Exception):
    """pg_dump ended with an error; the text is what it said."""


def _pack(dump: Path, name: str, to: Path) -> None:
    # The archive inside is compressed already.
    with tarfile.open(to, "w:gz", compresslevel=1) as tar:
        folder = tarfile.TarInfo(name)
        folder.type, folder.mode = tarfile.DIRTYPE, 0o755
        folder.mtime = int(dump.stat().st_mtime)
        tar.addfile(folder)
        tar.add(dump, arcname=f"{name}/{dump.name}", filter=_anonymous)


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    entry.mode = 0o644
    return entry
