"""What was asked for on the command line, checked before anything else happens."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from tasks.core.errors import Refused

NONE: Final = "none"
STRATEGIES: Final = ("beside", "drop")
WORDS: Final = ("tag", "backup", "strategy", "confirm", "signoff", "loss", "reason", "to")


@dataclass(frozen=True)
class BackupWanted:
    """Which backup: `latest`, `before:TIME`, `id:ID`, `file:PATH` or `none`."""

    kind: str
    value: str = ""

    @property
    def time(self) -> datetime:
        """The moment of `before:TIME`; taken as UTC where no offset is given."""
        moment = datetime.fromisoformat(self.value)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)

    def __str__(self) -> str:
        return f"{self.kind}:{self.value}" if self.value else self.kind


@dataclass(frozen=True)
class Inputs:
    """The inputs of one run, from `--data NAME=VALUE`; None where not given.

    + tag: a release's tag, a full commit, or `none`
    + confirm: the environment's name, typed out
    + signoff, loss: the data administrator's name, and the token of the list that was signed
    + reason: why, for the channel and the journal
    + to: where a backup of our own goes; None has the platform make one
    + skips: gate by gate, the reason that stands in for it
    """

    tag: str | None = None
    backup: BackupWanted | None = None
    strategy: str = "beside"
    confirm: str | None = None
    signoff: str | None = None
    loss: str | None = None
    reason: str | None = None
    to: str | None = None
    skips: Mapping[str, str] = field(default_factory=dict)


def parse(
    data: Mapping[str, Any],
    skippable: frozenset[str],
    *,
    takes: frozenset[str] = frozenset(WORDS),
    given: Collection[str] = (),
) -> Inputs:
    """The inputs out of pyinfra's host data.

    + takes: the words that this deploy understands
    + given: the names on the command line, among which a misspelled one is looked for

    Raises `Refused` for a value that pyinfra read as something else than text, an unknown word in a
    value, or a skip of a gate that can't be skipped or without a reason.
    """
    _check_words(data, takes, given)
    texts = {word: _text(word, data[word]) for word in WORDS if data.get(word) is not None}
    backup = _backup(texts.pop("backup")) if "backup" in texts else None
    if texts.get("strategy", "beside") not in STRATEGIES:
        raise Refused(
            f"strategy={texts['strategy']}", "no such strategy", next_step=f"one of {', '.join(STRATEGIES)}"
        )
    return Inputs(backup=backup, skips=_skips(data, skippable), **texts)


def _check_words(data: Mapping[str, Any], takes: frozenset[str], given: Collection[str]) -> None:
    for word in WORDS:
        if data.get(word) is not None and word not in takes:
            raise Refused(
                f"--data {word}=...",
                "this deploy does not take it, and would not heed it",
                state="nothing was changed",
                next_step=f"leave it out; it takes {', '.join(sorted(takes))}",
            )
    known = {*WORDS, "skip_rehearsal"}
    for name in given:
        near = difflib.get_close_matches(name.replace("-", "_"), known, n=1, cutoff=0.75)
        if near and name not in known and not name.startswith("skip_"):
            raise Refused(
                f"--data {name}=...",
                "nothing is called so",
                state="nothing was changed",
                next_step=f"is {near[0]} meant?",
            )


def _text(word: str, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise Refused(
            f"--data {word}=...",
            f"the command line read it as {type(value).__name__} {value!r}, not as text",
            next_step=f"quote it twice: --data '{word}=\"...\"'",
        )
    return str(value).strip()


def _backup(text: str) -> BackupWanted:
    kind, _, value = text.partition(":")
    problem = ""
    if kind in ("latest", NONE) and not value:
        return BackupWanted(kind)
    if kind == "before":
        try:
            return _checked(BackupWanted(kind, value))
        except ValueError:
            problem = f"{value!r} is no time; write 2026-01-31T04:00 (UTC) or with an offset"
    elif kind == "file":
        path = Path(value).expanduser()
        if path.is_file() or path.is_dir():
            return BackupWanted(kind, str(path.resolve()))
        problem = f"there is no file or folder {value!r}"
    elif kind == "id" and value:
        return BackupWanted(kind, value)
    raise Refused(
        f"backup={text}",
        problem or "not understood",
        next_step="write latest, before:TIME, id:ID, file:PATH or none",
    )


def _checked(wanted: BackupWanted) -> BackupWanted:
    _ = wanted.time
    return wanted


def _skips(data: Mapping[str, Any], skippable: frozenset[str]) -> dict[str, str]:
    skips = {}
    for key, value in data.items():
        if not key.startswith("skip_"):
            continue
        gate = key.removeprefix("skip_")
        if gate not in skippable:
            raise Refused(
                f"--data {key}=...",
                "no gate of that name can be skipped",
                next_step=f"those that can: {', '.join(sorted(skippable))}",
            )
        if not isinstance(value, str) or len(value.strip()) < 3:
            raise Refused(
                f"--data {key}=...",
                "skipping a gate takes a reason",
                next_step=f'say why, for the team and the journal: --data {key}="..."',
            )
        skips[gate] = value.strip()
    return skips
