"""What was asked for on the command line, checked before anything else happens."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast, get_args

from tasks.core.errors import Refused
from tasks.postgres.bring_back.chosen import Conflicts
from tasks.rollback import inputs as of_rollback

WORDS: Final = ("set_aside", "tables", "keys", "without", "conflicts", "undo", "reason", "confirm")
_OF_UNDO: Final = frozenset({"undo", "conflicts", "reason", "confirm"})
_NOTHING_CHANGED: Final = "nothing was changed"
_RUN: Final = re.compile(r"(\d{8})_?(\d{6})_?([0-9a-f]{4})")


@dataclass(frozen=True)
class Inputs:
    """The inputs of one run, from `--data NAME=VALUE`; None or empty where not given.

    + set_aside: the schema to take from
    + tables: to bring back as a whole; keys: files of rows
    + without: columns that may stay behind
    + conflicts: stop, keep or replace
    + undo: the run whose rows are to go again
    """

    set_aside: str | None = None
    tables: tuple[str, ...] = ()
    keys: tuple[Path, ...] = ()
    without: frozenset[str] = frozenset()
    conflicts: Conflicts = "stop"
    undo: str | None = None
    reason: str | None = None
    confirm: str | None = None


def parse(data: Mapping[str, Any], given: Collection[str]) -> Inputs:
    """The inputs out of pyinfra's host data.

    + given: the names on the command line, among which misspelled and misapplied ones are looked for

    Raises `Refused` for them, and for a value that can't be what it should.
    """
    _check_words(given)
    texts = {word: _text(word, data[word]) for word in WORDS if data.get(word) is not None}
    if "undo" in texts and (more := [word for word in texts if word not in _OF_UNDO]):
        raise Refused(
            f"--data {more[0]}=...",
            "an undo takes back what that run wrote, and nothing else",
            state=_NOTHING_CHANGED,
            next_step=f"leave it out; undo takes {', '.join(sorted(_OF_UNDO - {'undo'}))}",
        )
    return Inputs(
        set_aside=texts.get("set_aside"),
        tables=tuple(dict.fromkeys(_list(texts.get("tables", "")))),
        keys=tuple(_file(name) for name in _list(texts.get("keys", ""))),
        without=frozenset(_list(texts.get("without", ""))),
        conflicts=_conflicts(texts.get("conflicts", "stop")),
        undo=_run(texts["undo"]) if "undo" in texts else None,
        reason=texts.get("reason"),
        confirm=texts.get("confirm"),
    )


def _check_words(given: Collection[str]) -> None:
    of_others = {*of_rollback.WORDS, *(name for name in given if name.startswith("skip_"))} - {*WORDS}
    for name in given:
        if name in of_others:
            raise Refused(
                f"--data {name}=...",
                "this deploy does not take it, and would not heed it",
                state=_NOTHING_CHANGED,
                next_step=f"leave it out; it takes {', '.join(WORDS)}",
            )
        near = difflib.get_close_matches(name.replace("-", "_"), WORDS, n=1, cutoff=0.75)
        if near and name not in WORDS:
            raise Refused(
                f"--data {name}=...",
                "nothing is called so",
                state=_NOTHING_CHANGED,
                next_step=f"is {near[0]} meant?",
            )


def _text(word: str, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise Refused(
            f"--data {word}=...",
            f"the command line read it as {type(value).__name__} {value!r}, not as text",
            state=_NOTHING_CHANGED,
            next_step=f"quote it twice: --data '{word}=\"...\"'",
        )
    return str(value).strip()


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _file(name: str) -> Path:
    path = Path(name).expanduser()
    if not path.is_file():
        raise Refused(
            f"--data keys={name}",
            "there is no such file",
            state=_NOTHING_CHANGED,
            next_step="give the files that the list of losses was exported to, or copies of them",
        )
    return path


def _conflicts(text: str) -> Conflicts:
    if text not in get_args(Conflicts):
        raise Refused(
            f"--data conflicts={text}",
            "not understood",
            state=_NOTHING_CHANGED,
            next_step=f"one of {', '.join(get_args(Conflicts))}",
        )
    return cast(Conflicts, text)


def _run(text: str) -> str:
    """A run's identifier; the command line reads one of digits alone as a number, without its underscores."""
    found = _RUN.fullmatch(text)
    if found is None:
        raise Refused(
            f"--data undo={text}",
            "that is no run",
            state=_NOTHING_CHANGED,
            next_step="give it as the run itself said at its end, or as the journal has it",
        )
    return "_".join(found.groups())
