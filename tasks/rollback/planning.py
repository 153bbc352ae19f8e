"""From a situation to a plan: pure. What a person reads before anything happens."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.core.plan import Change, Plan
from tasks.core.screen import amount_text
from tasks.core.wording import number_of
from tasks.git.mirror import Commit
from tasks.rollback.choices import age_text
from tasks.rollback.gates import gates
from tasks.rollback.intent import Deploy
from tasks.rollback.setting_aside import described
from tasks.rollback.situation import Situation

_TITLES = {
    Deploy.ROLLBACK: "Roll back",
    Deploy.RESTORE: "Restore the data of",
    Deploy.UNDO: "Undo the last run on",
}
_ROWS_SHOWN = 200


def plan(app: str, situation: Situation) -> Plan:
    """The plan of the situation's intent."""
    intent = situation.intent
    changes = [change for change in (_code(app, situation), _data(app, situation)) if change]
    return Plan(
        title=f"{_TITLES[intent.deploy]} {app} ({situation.declared.environment})",
        changes=tuple(changes),
        gates=gates(situation),
        steps=tuple(_steps(situation)),
        notes=tuple(_notes(situation)),
    )


def _code(app: str, situation: Situation) -> Change | None:
    target, push = situation.intent.target, situation.push
    if target is None or push is None or push.way == "nothing":
        return None
    running = push.running[:8] if push.running else "nothing"
    details = [f"lost: {_commit(commit)}" for commit in push.lost]
    details += [f"regained: {_commit(commit)}" for commit in push.regained]
    if not push.comparable and push.running:
        details.append(f"the running commit {running} is not in the repository: what is lost is not known")
    if situation.postdeploy:
        details.append(f"its postdeploy command: {situation.postdeploy}")
    if push.needs_archive:
        details.append("the platform's branch is there already: it goes as an archive deployment")
    lost = number_of(len(push.lost), "commit of code goes", "commits of code go")
    lost += f", {len(push.regained)} come back"
    return Change(
        f"code of {app}",
        running,
        f"{target.title} {target.subject}".strip(),
        destroys=lost if push.lost or not push.comparable else "",
        details=tuple(details),
    )


def _commit(commit: Commit) -> str:
    return f"{commit.sha[:8]} {commit.date:%Y-%m-%d} {commit.author}: {commit.subject}"


def _data(app: str, situation: Situation) -> Change | None:
    intent = situation.intent
    if not intent.moves_data or situation.swapped_by:
        return None
    after = intent.data_title
    if intent.backup:
        after += f", {age_text(situation.now - intent.backup.began)} old"
    kept = "set aside, not dropped: deploys/undo.py brings it back"
    if intent.strategy == "drop":
        kept = "dropped, after a fresh backup has been fetched and read"
    return Change(
        f"data of {app}",
        _live_size(situation),
        after,
        f"rows written since; they are listed before the swap and {kept}",
        (*_rows(situation), *situation.left_as_it_is),
    )


def _live_size(situation: Situation) -> str:
    if situation.live is None:
        return "live"
    return f"live, {amount_text(situation.live.database_bytes, 'bytes')}"


def _rows(situation: Situation) -> list[str]:
    """Rows by table on both sides, as far as they are known: exact in the archive, estimated live."""
    if situation.live is None or situation.fetched is None:
        return []
    live = situation.live.rows
    archive = situation.fetched.rows
    lines = []
    for table in sorted({*live, *archive})[:_ROWS_SHOWN]:
        if table in situation.declared.empty_tables:
            lines.append(f"{table}: comes back empty, as declared")
        elif table not in archive:
            lines.append(f"{table}: about {number_of(live[table], 'row')}; not in the backup, it goes")
        elif table not in live:
            lines.append(f"{table}: comes back with {number_of(archive[table], 'row')}")
        else:
            lines.append(f"{table}: about {number_of(live[table], 'row')}, {archive[table]:,} in the backup")
    return lines


def _steps(situation: Situation) -> list[str]:
    intent = situation.intent
    steps = ["tell the team's channel"]
    if intent.backup and intent.strategy == "beside":
        steps += [
            f"restore {intent.data_title} beside the live data and prove it",
            "compute what is lost; the data administrator signs off",
        ]
    elif intent.backup:
        steps += [
            "the data administrator signs off; stop the containers: the pages go down",
            "take a fresh backup and read it to its end, drop what is live, restore",
        ]
    elif intent.set_aside:
        steps.append("compute what is lost; the data administrator signs off")
    if intent.target:
        when = " between its build and its boot" if intent.before_boot else ""
        swap = f", the data swapped{when}" if intent.moves_data and intent.before_boot else ""
        steps.append(f"push {intent.target.title}{swap}, follow the deployment to its end")
    if intent.moves_data and intent.strategy == "beside" and not (intent.target and intent.before_boot):
        steps.append("swap the data, in one transaction")
    if intent.catch_up and not intent.target:
        steps.append("run the postdeploy command and restart")
    return [*steps, "verify the pages", "tell the channel, write the journal"]


def _along(titles: Sequence[str]) -> list[str]:
    """What of other schemas the swap points at what comes in; an undo points it back."""
    shown = [f"Goes along with the swap: {title}" for title in titles[:_ROWS_SHOWN]]
    more = len(titles) - len(shown)
    return [*shown, f"and {more} more"] if more else shown


def _notes(situation: Situation) -> list[str]:
    notes = list(situation.expected.lines)
    declared = situation.declared
    if situation.live:
        for kept in situation.live.generations:
            notes.append(f"Kept: {described(kept.mark, situation.now, kept.bytes)}")
        if situation.intent.moves_data and situation.intent.strategy == "beside":
            notes += _along(situation.live.ties.titles)
    if mark := situation.swapped_by:
        notes.append(
            f"Goes on after the swap of {mark.created:%Y-%m-%d %H:%M} UTC, which nothing has confirmed yet."
        )
    if situation.intent.moves_data and situation.live and situation.live.state.stages:
        staged = [mark.schema for mark in situation.live.state.proved]
        if staged and situation.intent.run in staged[-1]:
            notes.append(f"Goes on from {staged[-1]}, which an earlier run restored and proved.")
    if situation.stopped:
        notes.append(
            f"An earlier run has stopped {situation.stopped}: the pages are down until this one ends."
        )
    if declared.protected:
        notes.append(f"{declared.environment} is protected: its name is asked for, or --data confirm=...")
    if situation.source_problem:
        notes.append(f"The repository could not be read anew: {situation.source_problem}")
    return notes
