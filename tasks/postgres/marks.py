"""What state the data is in, written in the database itself: a comment on each schema of ours.

A mark is written in the transaction of what it describes, so that after any crash the database says what
happened. `new_RUN` is a stage, `before_RUN` what was live before a swap, `after_RUN` what was live before
that swap was taken back. A schema that merely has such a name and no comment of ours is somebody else's.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final, Literal, cast

from tasks.postgres.connection import Connection, check_run
from tasks.postgres.sql import ident, literal

FORMAT: Final = 1
DRILL: Final = "drill"
"""The detail that marks a stage which is never to be swapped in."""
Kind = Literal["new", "before", "after", "drop"]
_KINDS: Final = ("new", "before", "after", "drop")
StageState = Literal["loading", "proved", "swapped", "dropping", "restored", "unknown"]
_STATES: Final = ("loading", "proved", "swapped", "dropping", "restored")


@dataclass(frozen=True)
class Mark:
    """What a schema of ours is.

    + kind: "new" a stage; "before" and "after" data set aside; "drop" a restore by dropping that has begun
    + run: the run that made it
    + state: "loading" or "proved" of a stage, "swapped" of set-aside data, "dropping" or "restored" of a
      drop, "unknown" for what can't be read
    + number: swaps are counted; the greatest is the last one
    + backup, sha256, release: what the data on the other side was restored from, and for which commit
    + created: when, in UTC
    + fence: the fencing number of the lock under which it was made; a later holder's is greater
    + confirmed: somebody or some check has said that the swap was right
    + loss: token of the loss list that was signed, "" before
    + details: more, kept as it is
    """

    kind: Kind
    run: str
    state: StageState
    number: int = 0
    backup: str = ""
    sha256: str = ""
    release: str = ""
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    fence: int = 0
    confirmed: bool = False
    loss: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def of_a_drill(self) -> bool:
        """Whether it is a copy that was only to be looked at: no run goes on from it."""
        return self.details.get(DRILL) is True

    @property
    def schema(self) -> str:
        """The schema that carries it."""
        return f"{self.kind}_{self.run}"

    def text(self) -> str:
        """The comment."""
        return json.dumps(
            {
                "operations": FORMAT,
                "kind": self.kind,
                "run": self.run,
                "state": self.state,
                "number": self.number,
                "backup": self.backup,
                "sha256": self.sha256,
                "release": self.release,
                "created": self.created.isoformat(timespec="seconds"),
                "fence": self.fence,
                "confirmed": self.confirmed,
                "loss": self.loss,
                "details": dict(self.details),
            },
            ensure_ascii=False,
        )

    def statement(self) -> str:
        """The statement that writes it."""
        return f"COMMENT ON SCHEMA {ident(self.schema)} IS {literal(self.text())}"


@dataclass(frozen=True)
class DataState:
    """What the database says of itself.

    + stages: restored beside, not live; the newest last
    + set_aside: earlier live data, kept until `forget`; the newest last
    + live: the mark of the last swap that can still be taken back; None where none was made or all is
      forgotten. Its kind says what users see: "before" the restored data, "after" what a swap had replaced
    + dropping: a restore by dropping that has begun; its state says whether it ended
    """

    stages: tuple[Mark, ...] = ()
    set_aside: tuple[Mark, ...] = ()
    dropping: Mark | None = None

    @property
    def live(self) -> Mark | None:
        """The mark of the last swap."""
        return max(self.set_aside, key=lambda mark: mark.number, default=None)

    @property
    def next_number(self) -> int:
        """The number of the next swap."""
        return max((mark.number for mark in self.set_aside), default=0) + 1

    def stage_of(self, sha256: str) -> Mark | None:
        """The newest proved stage of this archive."""
        found = [mark for mark in self.proved if mark.sha256 == sha256]
        return found[-1] if found else None

    @property
    def proved(self) -> tuple[Mark, ...]:
        """Stages that a run can go on from; the newest last."""
        return tuple(mark for mark in self.stages if mark.state == "proved" and not mark.of_a_drill)

    @property
    def incomplete(self) -> tuple[Mark, ...]:
        """Stages that a run did not finish, or whose comment can't be read: to be dropped."""
        return tuple(mark for mark in self.stages if mark.state != "proved")


def stage_schema(run: str) -> str:
    """`new_RUN`."""
    return f"new_{check_run(run)}"


def parse(schema: str, comment: str) -> Mark | None:
    """The mark that a schema's comment holds; None where it is no schema of ours.

    A comment of ours with values missing or of the wrong type gives what can be read, with the state
    "unknown" when that is what is missing.
    """
    kind, _, run = schema.partition("_")
    if kind not in _KINDS or not run:
        return None
    try:
        values = json.loads(comment)
    except ValueError:
        return None
    if not isinstance(values, dict) or "operations" not in values:
        return None
    state = values.get("state")
    if values["operations"] != FORMAT or values.get("kind") != kind or state not in _STATES:
        state = "unknown"
    return Mark(
        kind=cast(Kind, kind),
        run=run,
        state=cast(StageState, state),
        number=_integer(values.get("number")),
        backup=_text(values.get("backup")),
        sha256=_text(values.get("sha256")),
        release=_text(values.get("release")),
        created=_time(values.get("created")),
        fence=_integer(values.get("fence")),
        confirmed=values.get("confirmed") is True,
        loss=_text(values.get("loss")),
        details=values["details"] if isinstance(values.get("details"), dict) else {},
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _integer(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _time(value: object) -> datetime:
    try:
        moment = datetime.fromisoformat(_text(value))
    except ValueError:
        return datetime.fromtimestamp(0, UTC)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


QUERY: Final = r"""
select n.nspname, d.description from pg_namespace n
  join pg_description d on d.classoid = 'pg_namespace'::regclass and d.objoid = n.oid and d.objsubid = 0
 where n.nspname ~ '^(new|before|after|drop)_' and pg_has_role(n.nspowner, 'USAGE')
"""


def state_of(rows: Iterable[tuple[Any, ...]]) -> DataState:
    """The state that schemas and their comments tell."""
    marks = [mark for schema, comment in rows if (mark := parse(str(schema), str(comment))) is not None]
    marks.sort(key=lambda mark: (mark.created, mark.number))
    aside = sorted((mark for mark in marks if mark.kind in ("before", "after")), key=lambda mark: mark.number)
    drops = [mark for mark in marks if mark.kind == "drop"]
    return DataState(
        stages=tuple(mark for mark in marks if mark.kind == "new"),
        set_aside=tuple(aside),
        dropping=drops[-1] if drops else None,
    )


def read(connection: Connection) -> DataState:
    """What state the data is in, from the marks."""
    return state_of(connection.execute(QUERY.encode()).fetchall())


def confirm(connection: Connection, mark: Mark) -> Mark:
    """Record on the last swap's mark that it was right; a run that dies before is asked about."""
    return write(connection, replace(mark, confirmed=True))


def write(connection: Connection, mark: Mark) -> Mark:
    """Write a mark as it is now."""
    connection.execute(mark.statement().encode())
    return mark
