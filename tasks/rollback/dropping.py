"""strategy=drop: a fresh backup of what is live, and the backup restored in its place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from tasks.core.wording import number_of
from tasks.postgres import drop
from tasks.postgres.tools import find_pg_restore
from tasks.rollback.choices import BackupOption
from tasks.rollback.work import Work

_POLL_SECONDS: Final = 1.0


class Dropping:
    """Exchanging data where there is no room for both, for one run."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def take_safety_backup(self, stop: Callable[[], bool]) -> str:
        """Have the platform make a backup now, fetch it and read it to its end; gives its id.

        Raises an `OpsError` where that fails; nothing has been dropped then.
        """
        found = self._work.marks().dropping
        if found is not None and found.state == "dropping" and "safety" in found.details:
            return str(found.details["safety"])  # of the run that died: what is live now is half a database
        app, databases = self._work.app, self._work.app.client.databases
        self._work.screen.line("Taking a fresh backup of what is live, so that this can be undone.")
        made = databases.create_backup(app.name, app.addon.id)
        ended = databases.follow_backup(app.name, app.addon.id, made.id, stop=stop, every=_POLL_SECONDS)
        began = ended.started_at or ended.created_at
        option = BackupOption(ended.id, ended.name, began, ended.size, ended.status)
        opened = self._work.backups.fetch(option, stop)
        rows = sum(opened.fetched.rows.values())
        self._work.screen.good(
            f"Fresh backup {ended.name}: {number_of(rows, 'row')}, read to its end, in the cache"
        )
        return ended.id

    def stopped_containers(self) -> list[dict[str, Any]]:
        """What the mark of a drop that nobody has confirmed says was stopped for it."""
        found = self._work.marks().dropping if self._work.intent.backup else None
        if found is None or found.confirmed or found.run != self._work.intent.run:
            return []
        kept = found.details.get("formation")
        return kept if isinstance(kept, list) else []

    def replace_live(self, safety: str, formation: list[dict[str, Any]], stop: Callable[[], bool]) -> None:
        """Drop what is live and restore the backup in its place. Raises as `tasks.postgres.drop`."""
        work, backup, live = self._work, self._work.opened, self._work.live
        tool = find_pg_restore(
            backup.archive.header.version[:2], live.version // 10000, work.app.declared.pg_restore
        )
        request = drop.DropRequest(
            run=work.intent.run,
            archive=backup.archive,
            contents=backup.contents,
            tool=tool,
            backup=work.intent.backup.id if work.intent.backup else "",
            fence=work.lock.fence,
            release=work.intent.target.commit if work.intent.target else "",
            details={**work.what_undo_needs({}), "safety": safety, "formation": formation},
            empty=frozenset(work.app.declared.empty_tables),
            jobs=min(2, work.app.declared.workers),
        )
        drop.replace_live(
            work.database, request, progress=work.screen.progress("Restoring", "objects"), stop=stop
        )
        work.screen.good("Dropped, restored and proved.")
