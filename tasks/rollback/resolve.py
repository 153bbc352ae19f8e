"""From what was asked to an intent: a commit, a backup, or what was set aside; asking where it is missing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from tasks.core.errors import Refused
from tasks.core.journal import Record
from tasks.core.prompts import choose
from tasks.postgres.archive import manifest, stamp
from tasks.postgres.marks import DataState, Mark
from tasks.rollback.application import Application
from tasks.rollback.choices import (
    BackupOption,
    ReleaseOption,
    backup_rows,
    find_backup,
    live_window,
    release_rows,
    suggested_backup,
    suggested_commit,
)
from tasks.rollback.history import History, RolledBack
from tasks.rollback.inputs import NONE, BackupWanted, Inputs
from tasks.rollback.intent import Deploy, Intent, SetAside, Target, new_run
from tasks.rollback.situation import Platform

_RELEASES_SHOWN = 12
_BACKUPS_SHOWN = 12


@dataclass(frozen=True)
class Done:
    """There is nothing to do, and why."""

    sentence: str


def rollback(app: Application, inputs: Inputs, platform: Platform, history: History) -> Intent | Done:
    """The intent of a rollback. Raises `Refused` with the lists where something is missing."""
    if inputs.tag is None and history.unfinished is None and (there := history.rolled_back):
        return _rolled_back_already(there, platform)
    tag = inputs.tag or _ask_release(app, platform, history)
    target = None if tag == NONE else pinned(app, tag)
    backup = _backup(inputs, platform, history, target)
    if target is None and backup is None:
        raise Refused(
            "Rolling back", "neither a release nor a backup is wanted", next_step="give one of them"
        )
    if done := _same_again(inputs, history, target, backup):
        return done
    return _intent(Deploy.ROLLBACK, inputs, target, backup, history)


def restore(inputs: Inputs, platform: Platform, history: History) -> Intent | Done:
    """The intent of a restore of data alone."""
    backup = _backup(inputs, platform, history, None)
    if backup is None:
        raise Refused("Restoring the data", "backup=none", next_step="choose a backup")
    if done := _same_again(inputs, history, None, backup):
        return done
    return _intent(Deploy.RESTORE, inputs, None, backup, history)


def undo(app: Application, history: History) -> Intent | Done:
    """The intent that reverses the last cut-over and push, read from the database's marks and the journal."""
    change = history.last_change
    match change:
        case None:
            return Done("Nothing to undo: no data is set aside, and the journal knows of no rollback.")
        case Record():
            return _undo_of_code(app, change, history)
        case Mark(kind="drop"):
            raise Refused(
                f"Undoing the last run on {app.name}",
                "it dropped what was live (strategy=drop), so there is nothing to swap back",
                state="nothing was changed",
                next_step=f"restore the fresh backup that it took first: {undo_of_drop(app, change)}",
            )
        case Mark():
            return _undo_of_swap(app, change, history)


def _undo_of_code(app: Application, record: Record, history: History) -> Intent | Done:
    """The release that ran before a change of code alone, unless somebody has deployed since."""
    before = record.get("commit_before")
    if before is None or before == history.running:
        return Done("Nothing to undo: the code that ran before is running.")
    _refuse_after_another_deployment(app, str(record.get("commit")), str(before), history)
    return Intent(Deploy.UNDO, new_run(), named(app, str(before)))


def _undo_of_swap(app: Application, mark: Mark, history: History) -> Intent | Done:
    """The swap backwards, with the code that goes with it, unless somebody has deployed since.

    Where an undo has swapped and did not come to its end, the same undo: never the reverse of it.
    """
    if mark.details.get("taken_back"):
        return Done("Nothing to undo: the last run failed and has put everything back by itself.")
    went_on = history.unfinished_undo == mark
    back = (mark.kind == "before") != went_on  # to what was live at first; else to what was restored
    code = [mark.details.get("code_before"), mark.details.get("code_after")]
    wanted, left = code if back else reversed(code)
    if left is not None:
        _refuse_after_another_deployment(app, str(left), str(wanted), history)
    moves_code = wanted is not None and wanted != history.running
    return Intent(
        Deploy.UNDO,
        mark.run,
        named(app, str(wanted)) if moves_code else None,
        set_aside=SetAside(
            f"{'before' if back else 'after'}_{mark.run}",
            mark.created,
            mark.run,
            str(wanted) if wanted else None,
        ),
    )


def _refuse_after_another_deployment(app: Application, after: str, before: str, history: History) -> None:
    if history.running not in (after, before):
        raise Refused(
            f"Undoing the last run on {app.name}",
            f"it left {after[:8]}, and {(history.running or 'nothing')[:8]} has been deployed since",
            state="nothing was changed",
            next_step=f"go back to {after[:8]} first (deploys/rollback.py --data tag={after} "
            "--data backup=none), or roll back to what is wanted",
        )


def undo_of_drop(app: Application, drop: Mark) -> str:
    """The command that brings back what a strategy=drop has dropped, from its fresh backup."""
    command = f"pyinfra inventories/{app.declared.environment}.py deploys/"
    backup = f"--data backup=id:{drop.details.get('safety')}"
    before = drop.details.get("code_before")
    return f"{command}rollback.py --data tag={before} {backup}" if before else f"{command}restore.py {backup}"


def pinned(app: Application, ref: str) -> Target:
    """A tag or a full commit as a target. Raises `Refused` for anything that can move or is ambiguous."""
    found = app.mirror.resolve(ref)
    if found.kind == "branch":
        raise Refused(f"tag={ref}", "that is a branch, which moves", next_step="give a tag or a full commit")
    if found.kind == "commit" and found.commit != ref:
        raise Refused(
            f"tag={ref}",
            "that is the beginning of a commit, which others may share",
            next_step=f"if it is the one, give all of it: {found.commit}",
        )
    tag = ref if found.kind == "tag" else None
    return Target(found.commit, tag, app.mirror.commit(found.commit).subject)


def named(app: Application, commit: str) -> Target:
    """A commit as a target, under its newest tag's name where it has one."""
    tag = next((tag.name for tag in app.mirror.tags() if tag.commit == commit), None)
    return Target(commit, tag, app.mirror.commit(commit).subject)


def _intent(
    deploy: Deploy, inputs: Inputs, target: Target | None, backup: BackupOption | None, history: History
) -> Intent:
    begun = history.resumable(target.commit if target else "", backup.id) if backup is not None else None
    return Intent(deploy, begun.run if begun else new_run(), target, backup, strategy=inputs.strategy)


def _rolled_back_already(there: RolledBack, platform: Platform) -> Done:
    to = there.commit[:8]
    if there.backup:
        name = next((b.name for b in platform.backups if b.id == there.backup), there.backup)
        to += f" and {name}"
    by = f" by {there.who}" if there.who else ""
    return Done(
        f"Rolled back already, at {there.at:%Y-%m-%d %H:%M} UTC{by}, to {to}. {_offer()} {_further()}"
    )


def _same_again(
    inputs: Inputs, history: History, target: Target | None, backup: BackupOption | None
) -> Done | None:
    """Whether exactly this is how things are, by the mark that the last run confirmed."""
    if backup is None:
        # One that runs and that nobody has seen pass is still to be verified.
        if target is None or history.running != target.commit or not history.seen_to_pass(target.commit):
            return None
        return Done(f"{target.title} is running already. {_offer()}")
    asked = str(inputs.backup) if inputs.backup else None
    mark = history.settled(target.commit if target else "", backup.id, asked)
    if mark is None:
        return None
    return Done(f"That is how things are since {mark.created:%Y-%m-%d %H:%M} UTC. {_offer()}")


def _offer() -> str:
    return "To take it back: deploys/undo.py with this inventory."


def _further() -> str:
    return "To go further back, say to what: --data tag=TAG --data backup=id:ID."


def _ask_release(app: Application, platform: Platform, history: History) -> str:
    options = [
        _release_option(app, tag.name, tag.commit, platform) for tag in app.mirror.tags()[:_RELEASES_SHOWN]
    ]
    unfinished = history.unfinished
    wanted = (unfinished.release if unfinished else "") or suggested_commit(platform.successes, history.left)
    if wanted and app.mirror.has(wanted) and all(option.commit != wanted for option in options):
        options.append(_release_option(app, wanted, wanted, platform))  # deployed without a tag
    preselected = next((option.tag for option in options if option.commit == wanted), "")
    return choose(
        "Release to roll back to (number, tag, or none for the data alone)",
        ("tag", "commit", "date", "author", "commits between"),
        release_rows(options),
        preselected=preselected,
        option="--data tag=TAG",
    )


def _release_option(app: Application, tag: str, commit: str, platform: Platform) -> ReleaseOption:
    running = platform.running
    between = 0
    if running and running != commit and app.mirror.has(running):
        between = len(app.mirror.commits(commit, running)) + len(app.mirror.commits(running, commit))
    found = app.mirror.commit(commit)
    return ReleaseOption(tag, commit, found.date, found.author, between, running == commit)


def _backup(
    inputs: Inputs, platform: Platform, history: History, target: Target | None
) -> BackupOption | None:
    options = _without_safety_backups(platform, history.data)
    unfinished = history.unfinished
    if inputs.backup and unfinished and _asked_the_same(inputs.backup, unfinished, target):
        return _of_the_unfinished(platform, unfinished)
    wanted = inputs.backup or _ask_backup(replace(platform, backups=options), target, unfinished)
    if wanted.kind == NONE:
        return None
    if wanted.kind == "file":
        return file_backup(Path(wanted.value))
    return find_backup(platform.backups if wanted.kind == "id" else options, wanted)


def file_backup(path: Path) -> BackupOption:
    """A file as a backup, from when its manifest says, else from when it was written.

    Raises `Refused` where its manifest can't be read.
    """
    size, written = stamp(path)
    said = manifest.read_beside(path)
    moment = said.began.astimezone(UTC) if said else datetime.fromtimestamp(written / 1e9, UTC)
    return BackupOption(f"file:{path.name}:{size}", path.name, moment, size, "done", path)


def _asked_the_same(wanted: BackupWanted, unfinished: Mark, target: Target | None) -> bool:
    """Whether this is the command of a run that did not end: `latest` then means what it meant to it."""
    same_release = unfinished.release == (target.commit if target else "")
    return (
        wanted.kind in ("latest", "before")
        and same_release
        and unfinished.details.get("asked") == str(wanted)
    )


def _of_the_unfinished(platform: Platform, unfinished: Mark) -> BackupOption:
    """The backup of the run that did not end, also where the platform does not keep it any more."""
    known = (backup for backup in platform.backups if backup.id == unfinished.backup)
    return next(known, None) or BackupOption(
        unfinished.backup, unfinished.backup, unfinished.created, None, "done"
    )


def _without_safety_backups(platform: Platform, data: DataState) -> tuple[BackupOption, ...]:
    """What `latest` and the suggestion choose from: not the backup of what a drop was about to drop."""
    safety = data.dropping.details.get("safety") if data.dropping else None
    return tuple(backup for backup in platform.backups if backup.id != safety)


def _ask_backup(platform: Platform, target: Target | None, unfinished: Mark | None) -> BackupWanted:
    commit = target.commit if target else platform.running
    window = live_window(platform.successes, commit) if commit else None
    found, behind = suggested_backup(platform.backups, window)
    suggested = unfinished.backup if unfinished else found.id if found else ""
    shown = [
        backup
        for number, backup in enumerate(platform.backups)
        if number < _BACKUPS_SHOWN or backup.id == suggested
    ]
    preselected = next((f"id:{backup.id}" for backup in shown if backup.id == suggested), "")
    question = "Backup to restore (number, or none for the code alone)"
    if behind:
        question += "; the suggested one is from before that release was live"
    answer = choose(
        question,
        ("name", "began (UTC)", "age", "size", "state"),
        backup_rows(shown, datetime.now(UTC)),
        preselected=preselected,
        option="--data backup=latest (or before:TIME, id:ID, file:PATH, none)",
    )
    kind, _, value = answer.partition(":")
    return BackupWanted(kind, value)
