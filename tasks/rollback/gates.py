"""The gates of a rollback: each a pure question to the situation, answered in a sentence.

They are asked when planning, so that they are seen, and again when executing, so that they hold.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from tasks.core.plan import Gate
from tasks.core.screen import amount_text
from tasks.core.wording import number_of
from tasks.rollback.intent import Deploy
from tasks.rollback.situation import Situation

SKIPPABLE: Final = frozenset(
    {"github", "backups", "rehearsal", "room", "transactions", "origin", "migrations", "signoff"}
)
_BACKUP_DUE_WITHIN: Final = timedelta(minutes=10)
_SLOTS_OF_A_RUN: Final = 3
_ROOM_FACTOR: Final = 2.0
_ALIKE: Final = 0.5
"""Of all tables on both sides: two releases of one application share more, two applications less."""


def gates(situation: Situation) -> tuple[Gate, ...]:
    """Every gate of this run, in the order in which a person wants to read them."""
    found = [_lock(situation), _deployment(situation)]
    if situation.intent.target and situation.intent.deploy is not Deploy.UNDO:
        found.append(_github(situation))
    if situation.intent.moves_data:
        found += [_backups(situation), _transactions(situation)]
    if situation.intent.backup:
        found += [_room(situation), _archive(situation), _origin(situation)]
    if situation.intent.set_aside is None:
        found.append(_migrations(situation))
    elif situation.refusals:
        found.append(_other_schemas(situation))
    if situation.declared.rehearse_in and situation.intent.deploy is not Deploy.UNDO:
        found.append(_rehearsal(situation))
    return tuple(_with_skip(gate, situation) for gate in found)


def _with_skip(gate: Gate, situation: Situation) -> Gate:
    if gate.name not in SKIPPABLE:
        return gate
    reason = situation.inputs.skips.get(gate.name)
    return Gate(gate.name, gate.holds, gate.sentence, gate.next_step, skip=True, skipped=reason)


def _lock(situation: Situation) -> Gate:
    holder = situation.lock_holder
    return Gate(
        "lock",
        holder is None,
        "nobody else is at work here" if holder is None else holder,
        "wait for that run, or talk to them.",
    )


def _deployment(situation: Situation) -> Gate:
    moving = [one for one in situation.moving if one.commit != situation.target_commit]
    if not moving:
        ours = " (the deployment under way is of the wanted release)" if situation.moving else ""
        return Gate("deployment", True, f"no other deployment is running{ours}")
    one = moving[0]
    return Gate(
        "deployment",
        False,
        f"{one.pusher or 'somebody'} is deploying {one.commit[:8]} since {one.started:%H:%M} UTC",
        "wait until it has ended, then run the same command again.",
    )


def _github(situation: Situation) -> Gate:
    target = situation.intent.target
    if target is None or target.tag is None:
        return Gate("github", True, "a commit was given, so there is no tag to compare")
    if situation.source_problem:
        return Gate("github", False, situation.source_problem, "try again.")
    if situation.github_commit is None:
        return Gate(
            "github", False, f"GitHub has no tag {target.tag}", "take a tag of the repository's release page."
        )
    if situation.github_commit != target.commit:
        return Gate(
            "github",
            False,
            f"{target.tag} is {target.commit[:8]} here and {situation.github_commit[:8]} on GitHub: it moved",
            "find out who moved it; a full commit is unmistakable.",
        )
    return Gate("github", True, f"{target.tag} is {target.commit[:8]} on GitHub too")


def _backups(situation: Situation) -> Gate:
    if situation.backups_running:
        return Gate(
            "backups",
            False,
            f"the platform is making the backup {situation.backups_running[0]}, and would see both sides",
            "wait until it is done.",
        )
    due = next_backup(situation.now, situation.backup_hours)
    if due and due - situation.now < _BACKUP_DUE_WITHIN:
        return Gate(
            "backups", False, f"the platform begins a backup at {due:%H:%M} UTC", "wait until it is done."
        )
    return Gate("backups", True, "no platform backup is running or due")


def next_backup(now: datetime, hours: tuple[int, ...]) -> datetime | None:
    """When the platform begins its next periodic backup, by its scheduled UTC hours."""
    if not hours:
        return None
    hour = now.replace(minute=0, second=0, microsecond=0)
    return min(
        moment
        for moment in (hour + timedelta(hours=ahead) for ahead in range(25))
        if moment.hour in hours and moment >= now
    )


def _transactions(situation: Situation) -> Gate:
    long = situation.live.long_transactions if situation.live else ()
    if not long:
        return Gate("transactions", True, "no session holds a long transaction")
    one = long[0]
    return Gate(
        "transactions",
        False,
        f"{one.user} ({one.application or 'no name'}, pid {one.pid}) has a transaction open since "
        f"{one.since:%H:%M:%S} UTC; the swap would wait for it",
        "let it end, or end it.",
    )


def _room(situation: Situation) -> Gate:
    live = situation.live
    if live is None:
        return Gate("room", None, "the database was not read")
    if live.free_slots < _SLOTS_OF_A_RUN:
        return Gate(
            "room",
            False,
            f"the server has {number_of(live.free_slots, 'free connection')}, "
            f"a restore needs {_SLOTS_OF_A_RUN}",
            "scale a worker down for the time of the restore.",
        )
    needed = int(live.database_bytes * _ROOM_FACTOR)
    limit = situation.declared.room_bytes
    both = f"two copies need about {amount_text(needed, 'bytes')}"
    if limit is None:
        return Gate(
            "room", True, f"{number_of(live.free_slots, 'free connection')}; {both}, no limit is declared"
        )
    if needed > limit and situation.intent.strategy == "beside":
        return Gate(
            "room",
            False,
            f"{both}, the plan holds {amount_text(limit, 'bytes')}",
            "forget what was set aside before, take a larger plan, or --data strategy=drop.",
        )
    return Gate(
        "room",
        True,
        f"{number_of(live.free_slots, 'free connection')}; {both} of {amount_text(limit, 'bytes')}",
    )


def _archive(situation: Situation) -> Gate:
    backup = situation.intent.backup
    fetched = situation.fetched
    if fetched is None:
        size = f", {amount_text(backup.size, 'bytes')}" if backup and backup.size else ""
        return Gate(
            "archive", None, f"not fetched yet{size}; it is read to its end before anything is touched"
        )
    if situation.refusals:
        dropping = situation.intent.strategy == "drop"
        listed = "; ".join(refusal.sentence for refusal in situation.refusals[:5])
        more = f" and {len(situation.refusals) - 5} more" if len(situation.refusals) > 5 else ""
        how = "by dropping" if dropping else "beside the live data"
        way_out = "mend what is named." if dropping else "--data strategy=drop, or mend what is named."
        return Gate("archive", False, f"can't be restored {how}: {listed}{more}", way_out)
    return Gate(
        "archive",
        True,
        f"read to its end: {number_of(len(fetched.rows), 'table')}, "
        f"{number_of(sum(fetched.rows.values()), 'row')}"
        + (f"; its manifest agrees: {fetched.manifest.origin}" if fetched.manifest else ""),
    )


def _origin(situation: Situation) -> Gate:
    """Whether the archive is of this application: made from this very database, or of its shape."""
    fetched, live = situation.fetched, situation.live
    if fetched is None or live is None:
        return Gate("origin", None, "compared with the live database once the archive is read")
    made_from = f"made from the database {fetched.database or '?'}"
    if fetched.database and fetched.database == live.database:
        return Gate("origin", True, f"{made_from}, which is this one")
    ours, theirs = set(live.rows), set(fetched.rows)
    both = len(ours & theirs)
    share = f"{both} of {number_of(len(theirs), 'table')} are here too, {len(ours - theirs)} only here"
    if both and both >= _ALIKE * len(ours | theirs):
        return Gate("origin", True, f"{made_from}; {share}")
    return Gate(
        "origin",
        False,
        f"{made_from}, this is {live.database or '?'}; {share}: it looks like another application's",
        "choose a backup of this application; where it is one, say why: skip_origin=...",
    )


def _other_schemas(situation: Situation) -> Gate:
    """Only where something there can't go back along with the data that comes back."""
    listed = "; ".join(refusal.sentence for refusal in situation.refusals)
    return Gate("other schemas", False, listed, "mend what is named.")


def _migrations(situation: Situation) -> Gate:
    verdict = situation.migrations
    if verdict is None and situation.intent.backup and situation.fetched is None:
        return Gate("migrations", None, "compared with the release's once the archive is read")
    if verdict is None:
        return Gate(
            "migrations", True, "unknown: no table of Django's migrations, or the commit is not known"
        )
    sentence = verdict.sentence("the archive" if situation.intent.backup else "the database")
    if verdict.fit in ("ahead", "diverged"):
        return Gate(
            "migrations",
            False,
            sentence,
            "choose a backup of that release's time, or the release that goes with this backup.",
        )
    if verdict.missing and not situation.intent.moves_data:
        return Gate(
            "migrations",
            False,
            f"{sentence}: its postdeploy command would change live data",
            "roll the data back too, or say why this is right.",
        )
    return Gate("migrations", True, sentence)


def _rehearsal(situation: Situation) -> Gate:
    where = situation.declared.rehearse_in
    found = situation.rehearsal
    if found is not None:
        hours = (situation.now - found.at).total_seconds() / 3600
        return Gate("rehearsal", True, f"succeeded in {where} {hours:.1f} h ago, by {found.get('who')}")
    what = situation.intent.target.title if situation.intent.target else "such a restore"
    return Gate(
        "rehearsal",
        False,
        f"{what} has not succeeded in {where} within {situation.declared.rehearsal_hours} h",
        f"run it there first: pyinfra inventories/{where}.py deploys/{situation.intent.deploy.value}.py",
    )
