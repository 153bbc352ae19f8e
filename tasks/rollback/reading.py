"""Reading the situation: platform, source, database and journal, without a write anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from tasks.core.concurrent import side_by_side
from tasks.core.errors import OpsError
from tasks.core.journal import Record
from tasks.postgres import lock
from tasks.postgres.connection import Target, connect
from tasks.postgres.live import LiveFacts, read_live
from tasks.rollback import expected
from tasks.rollback.application import Application
from tasks.rollback.choices import BackupOption, Deployed
from tasks.rollback.expected import Expected
from tasks.rollback.intent import Deploy, Intent, new_run
from tasks.rollback.situation import Moving, Platform
from tasks.scalingo.models import Backup, Deployment

_DEPLOYMENTS_READ = 50


def read_platform(app: Application, *, backups: bool) -> Platform:
    """What the platform says of deployments and, where data is concerned, of backups."""
    deployments, (kept, hours) = side_by_side(
        lambda: app.client.deployments.newest(app.name, _DEPLOYMENTS_READ),
        lambda: _read_backups(app) if backups else ([], []),
    )
    return Platform(
        successes=tuple(_deployed(one) for one in deployments if one.succeeded),
        moving=tuple(_moving(one) for one in deployments if not one.finished),
        backups=tuple(_option(backup) for backup in kept),
        backup_hours=tuple(hours),
    )


def _read_backups(app: Application) -> tuple[list[Backup], list[int]]:
    kept, database = side_by_side(
        lambda: app.client.databases.backups(app.name, app.addon.id),
        lambda: app.client.databases.get(app.name, app.addon.id),
    )
    hours = database.periodic_backups_scheduled_at if database.periodic_backups_enabled else []
    return kept, hours


def read_source(app: Application) -> str:
    """Make the mirror current; gives why that was not possible, else an empty text.

    What was fetched before stays readable, so that GitHub's outage is not ours.
    """
    try:
        app.mirror.update()
    except OpsError as error:
        if app.mirror.updated_at is None:
            raise
        return f"{error} (the copy is of {app.mirror.updated_at:%Y-%m-%d %H:%M} UTC)".splitlines()[0]
    return ""


def read_database(target: Target) -> tuple[LiveFacts, str | None]:
    """What is in the database, and who holds its lock, through a session that can only read."""
    with connect(target, new_run(), "read plan", read_only=True) as connection:
        return read_live(connection, target), lock.holder(connection)


def read_github(app: Application, intent: Intent) -> tuple[str | None, str]:
    """The commit that the tag means on GitHub, and why it is not known."""
    if intent.target is None or intent.target.tag is None:
        return None, ""
    try:
        return app.github.tag_commit(intent.target.tag), ""
    except OpsError as error:
        return None, str(error).splitlines()[0]


def find_rehearsal(app: Application, intent: Intent, now: datetime) -> Record | None:
    """The newest rehearsal that counts: the same deploy and commit, with data where this has any, in time."""
    where = app.declared.rehearse_in
    if where is None or intent.deploy is Deploy.UNDO:
        return None
    commit = intent.target.commit if intent.target else None
    since = now - timedelta(hours=app.declared.rehearsal_hours)
    found = None
    for record in app.journal.of(where).records():
        if record.get("deploy") != intent.deploy.value or record.get("result") != "succeeded":
            continue
        if record.get("commit") == commit and record.at >= since and _as_much_data(record, intent):
            found = record
    return found


def expect(
    app: Application,
    backup: BackupOption | None,
    size: int | None,
    deployed: Sequence[Deployed] = (),
    *,
    dropping: bool = False,
) -> Expected:
    """How long it will take, from the journals in this folder and the platform's deployments.

    + backup: what is to be restored; None where nothing is
    + size: of its archive, where that is here and read already
    + dropping: whether it is restored in the place of what is live
    + deployed: the deployments to judge the next one by, the newest first; none where there is none to come
    """
    deploy = expected.from_deployments(deployed)
    if backup is None:
        return Expected(deploy=deploy)
    records = app.journal.of_all()
    of = size or backup.size
    fetch = None if size else expected.from_the_past(of, expected.samples(records, "fetched"))
    if dropping:
        drop = expected.from_the_past(of, expected.samples(records, "dropped"))
        return Expected(fetch=fetch, drop=drop, deploy=deploy)
    restore = expected.from_the_past(of, expected.samples(records, "restored"))
    return Expected(fetch=fetch, restore=restore or expected.from_the_benchmarks(of), deploy=deploy)


def _as_much_data(record: Record, intent: Intent) -> bool:
    return intent.backup is None or record.get("backup") is not None


def _deployed(deployment: Deployment) -> Deployed:
    return Deployed(
        commit=deployment.git_ref,
        started=_utc(deployment.created_at),
        finished=_utc(deployment.finished_at or deployment.created_at),
        pusher=deployment.pusher.username,
    )


def _moving(deployment: Deployment) -> Moving:
    return Moving(
        deployment.git_ref, deployment.status, _utc(deployment.created_at), deployment.pusher.username
    )


def _option(backup: Backup) -> BackupOption:
    began = _utc(backup.started_at or backup.created_at)
    return BackupOption(backup.id, backup.name, began, backup.size, backup.status)


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
