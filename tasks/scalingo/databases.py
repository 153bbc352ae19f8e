"""Add-ons, the database behind one, and its backups (developers.scalingo.com, pages of those names).

The database API knows a database by the add-on's id, and a backup by its own id alone.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import quote

from tasks.core.download import Progress, download
from tasks.core.endpoints import check_loopback
from tasks.core.errors import OpsError
from tasks.core.secrets import Secret
from tasks.scalingo.models import Addon, Backup, Database
from tasks.scalingo.polling import Stop, poll
from tasks.scalingo.session import Service, Session, app_path, parse, parse_list

POLL_EVERY: Final = 3.0
LONGEST_BACKUP: Final = 4 * 3600.0


class Addons:
    """An application's add-ons."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def list(self, app: str) -> list[Addon]:
        """All add-ons of an application."""
        reply = self._session.call("GET", f"{app_path(app)}/addons", doing=f"Listing {app}'s add-ons")
        return parse_list(Addon, reply, "addons")

    def find(self, app: str, provider: str = "postgresql") -> Addon:
        """The one add-on of a kind; raises OpsError when there is none, or more than one."""
        addons = self.list(app)
        found = [addon for addon in addons if provider in (addon.provider.id, addon.id)]
        if len(found) == 1:
            return found[0]
        has = ", ".join(f"{addon.provider.id} {addon.id}" for addon in addons) or "none"
        raise OpsError(
            f"Looking for the {provider} add-on of {app}",
            f"there are {len(found)}" if found else "there is none",
            state=f"its add-ons: {has}",
            next_step="name the add-on by its id" if found else "check the application's name",
        )


class Databases:
    """One add-on's database and its backups."""

    def __init__(self, session: Session, *, sandbox: bool) -> None:
        self._session = session
        self._sandbox = sandbox

    def get(self, app: str, addon: str) -> Database:
        """The database's state, version, features and address."""
        reply = self._session.call(
            "GET",
            self._path(addon),
            service=Service.DATABASE,
            addon=(app, addon),
            doing=f"Reading {app}'s database",
        )
        return parse(Database, reply, "database")

    def backups(self, app: str, addon: str) -> list[Backup]:
        """All backups that the platform keeps, newest first."""
        reply = self._session.call(
            "GET",
            f"{self._path(addon)}/backups",
            service=Service.DATABASE,
            addon=(app, addon),
            doing=f"Listing {app}'s backups",
        )
        backups = parse_list(Backup, reply, "database_backups")
        return sorted(backups, key=lambda backup: backup.created_at, reverse=True)

    def backup(self, app: str, addon: str, backup: str) -> Backup:
        """One backup by its id."""
        reply = self._session.call(
            "GET",
            f"/backups/{quote(backup, safe='')}",
            service=Service.DATABASE,
            addon=(app, addon),
            doing=f"Reading a backup of {app}",
        )
        return parse(Backup, reply, "database_backup")

    def create_backup(self, app: str, addon: str) -> Backup:
        """Have the platform begin a backup; `follow_backup` waits for it."""
        reply = self._session.call(
            "POST",
            f"{self._path(addon)}/backups",
            service=Service.DATABASE,
            addon=(app, addon),
            expect=(201,),
            doing=f"Beginning a backup of {app}",
        )
        return parse(Backup, reply, "database_backup")

    def follow_backup(
        self,
        app: str,
        addon: str,
        backup: str,
        *,
        on_status: Callable[[Backup], None] | None = None,
        stop: Stop | None = None,
        every: float = POLL_EVERY,
        limit: float = LONGEST_BACKUP,
    ) -> Backup:
        """Wait for a backup to be done; raises OpsError when it failed, Interrupted, Unreachable.

        + on_status: called with the backup at each new status
        """
        doing = f"Waiting for a backup of {app}"
        seen: list[str] = []

        def note(found: Backup) -> None:
            if on_status is not None and seen[-1:] != [found.status]:
                seen.append(found.status)
                on_status(found)

        ended = poll(
            lambda: self.backup(app, addon, backup),
            lambda found: found.finished,
            doing=doing,
            every=every,
            limit=limit,
            stop=stop,
            on_read=note,
        )
        if not ended.usable:
            raise OpsError(
                doing,
                f"the platform says {ended.status}",
                next_step="begin another one; if that fails too, ask Scalingo's support",
            )
        return ended

    def download_url(self, app: str, addon: str, backup: str) -> Secret:
        """A signed address for a backup's archive, good for a while and for anybody who has it."""
        reply = self._session.call(
            "GET",
            f"{self._path(addon)}/backups/{quote(backup, safe='')}/archive",
            service=Service.DATABASE,
            addon=(app, addon),
            doing=f"Asking for a backup of {app}",
        )
        url = reply.json.get("download_url") if isinstance(reply.json, dict) else None
        if not isinstance(url, str) or not url:
            raise OpsError(reply.call, "the platform gave no address for it", next_step="is the backup done?")
        check_loopback([url], sandbox=self._sandbox)
        return Secret("download address", url)

    def download(
        self,
        app: str,
        addon: str,
        backup: Backup,
        to: Path,
        *,
        progress: Progress | None = None,
        stop: Stop | None = None,
    ) -> Path:
        """Fetch a backup's .tar.gz with resume; see `tasks.core.download` for the errors.

        The size that the platform states is not required of the archive: whether it is that of the archive
        or of the dump inside is not documented.
        """
        return download(
            lambda: self.download_url(app, addon, backup.id).reveal(),
            to,
            progress=progress,
            stop=stop,
            name=f"backup {backup.name or backup.id} of {app}",
        )

    def _path(self, addon: str) -> str:
        return f"/databases/{quote(addon, safe='')}"
