"""Making a backup: the platform's, followed to its end; or an archive of our own, read to its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from tasks.backup.destination import Destination
from tasks.backup.outlook import Outlook, dumped_schemas
from tasks.core.errors import OpsError
from tasks.core.journal import who
from tasks.core.parts import Parts
from tasks.core.screen import Screen, amount_text
from tasks.core.wording import number_of
from tasks.postgres import pg_dump
from tasks.postgres.archive import Archive, Contents, applied, open_checked
from tasks.postgres.archive.manifest import Manifest, rows_by_table
from tasks.postgres.connection import Target
from tasks.rollback.application import Application
from tasks.scalingo.models import Backup

_POLL_SECONDS: Final = 1.0


@dataclass(frozen=True)
class Made:
    """A backup that is there.

    + wanted: what `backup=` takes to restore it
    + title, in_french: what it is, in words
    + size: in bytes
    + rows, sha256: of an archive that was read; None of a platform's
    """

    wanted: str
    title: str
    in_french: str
    size: int
    rows: int | None = None
    sha256: str | None = None


def by_the_platform(app: Application, parts: Parts, screen: Screen, stop: Callable[[], bool]) -> Made:
    """Have the platform make one now and follow it. Raises as `Databases.follow_backup`.

    Stopped, it leaves the platform at work: a backup that has begun can't be called back.
    """
    databases, addon = app.client.databases, app.addon.id

    def say(found: Backup) -> None:
        screen.line(f"The platform says: {found.status}")

    with parts.part("have the platform make a backup"):
        begun = databases.create_backup(app.name, addon)
        ended = databases.follow_backup(
            app.name, addon, begun.id, on_status=say, stop=stop, every=_POLL_SECONDS
        )
    size = ended.size or 0
    return Made(
        f"id:{ended.id}",
        f"{ended.name or ended.id}, {amount_text(size, 'bytes')}",
        f"Sauvegarde de la plateforme `{ended.name or ended.id}`",
        size,
    )


def of_our_own(
    app: Application,
    outlook: Outlook,
    destination: Destination,
    database: Target,
    parts: Parts,
    screen: Screen,
    stop: Callable[[], bool],
) -> Made:
    """Dump the application's schemas, read the archive to its end, and keep it with its manifest.

    Nothing is kept where it fails. Raises as `run_pg_dump` and `open_checked`.
    """
    if outlook.tool is None:
        raise OpsError(f"Dumping {app.name}", outlook.tool_problem, state="nothing was changed")
    prefix = f"{app.name}_{outlook.environment}_"
    name = f"{prefix}{outlook.run}.dump"
    part = destination.begin(prefix, name)
    began = datetime.now(UTC)
    try:
        with parts.part("dump the database"):
            pg_dump.run_pg_dump(
                database,
                outlook.run,
                outlook.tool,
                dumped_schemas(database),
                outlook.extent,
                part,
                screen.progress("Dumping"),
                stop,
            )
        with parts.part("read the archive to its end"):
            archive, contents = open_checked(
                part, part.parent, progress=screen.progress("Reading"), stop=stop
            )
        manifest = manifest_of(archive, contents, outlook, database, began)
        wanted = destination.keep(name, part, manifest)
    finally:
        destination.abandon(part)
    rows = sum(contents.rows.values())
    return Made(
        wanted,
        f"{name}: {number_of(len(manifest.rows), 'table')}, {number_of(rows, 'row')}, "
        f"{amount_text(contents.bytes, 'bytes')}, sha256 {contents.sha256}",
        f"Archive `{name}`",
        contents.bytes,
        rows,
        contents.sha256,
    )


def manifest_of(
    archive: Archive, contents: Contents, outlook: Outlook, database: Target, began: datetime
) -> Manifest:
    """What a later restore checks the archive by."""
    found = applied(archive, database.schema)
    header = archive.header
    return Manifest(
        sha256=contents.sha256,
        size=contents.bytes,
        rows=rows_by_table(archive, contents),
        migrations=None if found is None else tuple((row.app, row.name) for row in found),
        schema_name=database.schema,
        schemas=dumped_schemas(database),
        database=header.database,
        server_version=header.server_version or "",
        tool_version=header.dump_version or "",
        archive_version=".".join(str(part) for part in header.version),
        extensions=outlook.live.extensions,
        app=outlook.app,
        environment=outlook.environment,
        release=outlook.platform.running,
        began=began.replace(microsecond=0),
        made_by=who(),
    )
