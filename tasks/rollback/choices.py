"""Which releases and backups there are to choose from, and which is suggested. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from tasks.core.errors import Refused
from tasks.core.prompts import Choice
from tasks.core.screen import amount_text
from tasks.rollback.inputs import BackupWanted


@dataclass(frozen=True)
class Deployed:
    """A deployment that ended in success: its commit was what users saw from `until` on backwards."""

    commit: str
    started: datetime
    finished: datetime
    pusher: str


@dataclass(frozen=True)
class ReleaseOption:
    """A release that could run."""

    tag: str
    commit: str
    date: datetime
    author: str
    commits_between: int
    running: bool


@dataclass(frozen=True)
class BackupOption:
    """A backup of the platform, or a file: its origin, time, size and state."""

    id: str
    name: str
    began: datetime
    size: int | None
    status: str
    path: Path | None = None

    @property
    def complete(self) -> bool:
        return self.status == "done"


def suggested_commit(successes: Sequence[Deployed], left: Collection[str] = ()) -> str | None:
    """The commit of the last successful deployment before the running one; None where there is none.

    + successes: newest first
    + left: commits that a rollback has left, which are not gone back to
    """
    running = successes[0].commit if successes else None
    return next((one.commit for one in successes if one.commit != running and one.commit not in left), None)


def live_window(successes: Sequence[Deployed], commit: str) -> tuple[datetime, datetime | None] | None:
    """From when until when a commit was last live, before the running one took over; None if it never was.

    The end is where the next deployment *began*: its release may have changed data from then on.
    """
    for newer, one in zip([None, *successes], successes, strict=False):
        if one.commit == commit:
            return one.finished, newer.started if newer else None
    return None


def suggested_backup(
    backups: Sequence[BackupOption], window: tuple[datetime, datetime | None] | None
) -> tuple[BackupOption | None, bool]:
    """The newest complete backup that began while the release was live, else the newest before it.

    The second value says whether it is behind, that is from before the release was live.
    """
    complete = sorted((b for b in backups if b.complete), key=lambda b: b.began, reverse=True)
    if window is None:
        return None, False
    start, end = window
    inside = [b for b in complete if b.began >= start and (end is None or b.began < end)]
    if inside:
        return inside[0], False
    before = [b for b in complete if b.began < start]
    return (before[0], True) if before else (None, False)


def find_backup(backups: Sequence[BackupOption], wanted: BackupWanted) -> BackupOption:
    """The backup that `latest`, `before:TIME` or `id:ID` means.

    Raises `Refused` with what there is instead.
    """
    complete = sorted((b for b in backups if b.complete), key=lambda b: b.began, reverse=True)
    if wanted.kind == "latest":
        found = complete[:1]
    elif wanted.kind == "before":
        found = [b for b in complete if b.began < wanted.time][:1]
    else:
        found = [b for b in backups if wanted.value in (b.id, b.name)]
    if not found:
        raise Refused(
            f"backup={wanted}", "there is no such complete backup", next_step=_what_there_is(complete)
        )
    if not found[0].complete:
        raise Refused(
            f"backup={wanted}",
            f"{found[0].name} is {found[0].status}, not done",
            next_step="wait until it is done, or " + _what_there_is(complete),
        )
    return found[0]


def _what_there_is(complete: Sequence[BackupOption]) -> str:
    if not complete:
        return "have the platform make one (its dashboard, or `scalingo backups-create`), or give file:PATH"
    return "choose one of " + ", ".join(f"id:{b.id} ({b.began:%Y-%m-%d %H:%M} UTC)" for b in complete[:5])


def release_rows(options: Sequence[ReleaseOption]) -> list[Choice]:
    """Releases as rows: tag, date, author, commits between it and the running one."""
    return [
        Choice(
            option.tag,
            (
                option.tag,
                option.commit[:8],
                f"{option.date:%Y-%m-%d %H:%M}",
                option.author,
                str(option.commits_between),
            ),
            "running" if option.running else "",
        )
        for option in options
    ]


def backup_rows(options: Sequence[BackupOption], now: datetime) -> list[Choice]:
    """Backups as rows: name, time, age, size, state."""
    return [
        Choice(
            f"id:{option.id}",
            (
                option.name,
                f"{option.began:%Y-%m-%d %H:%M}",
                age_text(now - option.began),
                amount_text(option.size, "bytes") if option.size else "?",
                option.status,
            ),
        )
        for option in options
    ]


def age_text(age: timedelta) -> str:
    """How long ago, in the largest unit that says enough."""
    minutes = int(age.total_seconds() // 60)
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 48 * 60 else f"{minutes // (24 * 60)} days"
