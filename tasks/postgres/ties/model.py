"""A tie as data: between what moves and what stays."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from tasks.postgres.sql import ident, literal, qualified

DROP_IT: Final = "drop it first and make it again afterwards"
UNVALIDATED: Final = "unvalidated"
"""Under which a mark's details keep the keys that are to be checked once the swap has happened."""
OUTWARD: Final = "outward"
"""Under which they keep the keys that the schema's own tables get when they go live."""


@dataclass(frozen=True, slots=True)
class Key:
    """A foreign key across the border.

    + schema, table, name: of the table that has it, and its own
    + definition: `FOREIGN KEY ... REFERENCES ...`, without NOT VALID
    + valid: its rows have been checked, or are to be
    + enforced: False for one that the server never checks (PostgreSQL 18)
    + comment: its comment, "" for none
    """

    schema: str
    table: str
    name: str
    definition: str
    valid: bool = True
    enforced: bool = True
    comment: str = ""

    @property
    def title(self) -> str:
        """How a person is told of it."""
        return f"{self.schema}.{self.table}.{self.name}"

    @property
    def on(self) -> str:
        """Its table in a statement."""
        return qualified(self.schema, self.table)

    @property
    def drop(self) -> str:
        """The statement that drops it."""
        return f"ALTER TABLE {self.on} DROP CONSTRAINT {ident(self.name)}"

    @property
    def make(self) -> tuple[str, ...]:
        """The statements that add it for new rows alone: nothing is read, so nobody waits."""
        unchecked = " NOT VALID" if self.enforced else ""
        add = f"ALTER TABLE {self.on} ADD CONSTRAINT {ident(self.name)} {self.definition}{unchecked}"
        if not self.comment:
            return (add,)
        return add, f"COMMENT ON CONSTRAINT {ident(self.name)} ON {self.on} IS {literal(self.comment)}"

    @property
    def validate(self) -> str:
        """The statement that checks the rows that are there; it blocks neither readers nor writers."""
        return f"ALTER TABLE {self.on} VALIDATE CONSTRAINT {ident(self.name)}"

    def as_json(self) -> dict[str, Any]:
        """For a mark."""
        return {
            "schema": self.schema,
            "table": self.table,
            "name": self.name,
            "definition": self.definition,
            "valid": self.valid,
            "enforced": self.enforced,
            "comment": self.comment,
        }


def keys_in(details: Mapping[str, Any], what: str) -> tuple[Key, ...]:
    """The keys that a mark keeps under `OUTWARD` or `UNVALIDATED`; what can't be read is left out."""
    found = details.get(what)
    keys = []
    for values in found if isinstance(found, list) else ():
        try:
            keys.append(Key(**values))
        except TypeError:
            continue
    return tuple(keys)


@dataclass(frozen=True, slots=True)
class Tie:
    """Something outside that depends on what moves, and how it goes with what comes in.

    + kind, schema, name: of the relation outside that has it, or of the publication (whose schema is "")
    + title: how a person is told of it
    + lock: statements that lock it, or drop it, before any table is locked
    + untie: statements while the live objects are still in place
    + tie: statements once the others have taken it
    + key: the foreign key, which is checked afterwards
    + lockable: a table, to be locked with the others
    + shape: of a view, its columns: name, schema and name of the type, modifier, collation
    + of: of a publication, the table that it lists; where none of that name comes in, it keeps the old one
    """

    kind: str
    schema: str
    name: str
    title: str
    lock: tuple[str, ...] = ()
    untie: tuple[str, ...] = ()
    tie: tuple[str, ...] = ()
    key: Key | None = None
    lockable: bool = False
    shape: tuple[tuple[Any, ...], ...] = ()
    of: str = ""


@dataclass(frozen=True, slots=True)
class Obstacle:
    """A tie that can't be taken up: what, why, and what to do about it."""

    kind: str
    name: str
    why: str
    way_out: str

    @property
    def sentence(self) -> str:
        """In one line."""
        return f"{self.kind} {self.name}: {self.why}"


@dataclass(frozen=True)
class Need:
    """A relation of the schema that something outside needs, with the columns that it names."""

    kind: str
    title: str
    relation: str
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ties:
    """All ties of a schema's moved objects.

    + ties: in the order in which they can be tied; untied in the reverse
    + outward: foreign keys of the moved tables to tables that stay
    + outward_locks: those tables, as far as the role may lock them
    + obstacles: what can't be taken up
    + needs: what the ties need of what comes in
    + notes: what is as it was and may surprise
    """

    ties: tuple[Tie, ...] = ()
    outward: tuple[Key, ...] = ()
    outward_locks: tuple[str, ...] = ()
    obstacles: tuple[Obstacle, ...] = ()
    needs: tuple[Need, ...] = ()
    notes: tuple[str, ...] = ()

    def among(self, names: Collection[str]) -> Ties:
        """Without publications of tables that have no successor of their name: those keep the old table."""
        return replace(self, ties=tuple(tie for tie in self.ties if not tie.of or tie.of in names))

    def with_valid(self, titles: Collection[str]) -> Ties:
        """With these keys to be checked again: an earlier swap has left them unchecked, nobody else."""

        def valid(key: Key) -> Key:
            return replace(key, valid=True) if key.title in titles else key

        return replace(
            self,
            ties=tuple(replace(tie, key=valid(tie.key)) if tie.key else tie for tie in self.ties),
            outward=tuple(valid(key) for key in self.outward),
        )

    @property
    def titles(self) -> tuple[str, ...]:
        """What is taken up, as a person is told."""
        return tuple(tie.title for tie in self.ties) + tuple(
            f"foreign key {key.title}, which refers to another schema" for key in self.outward
        )

    @property
    def first(self) -> tuple[str, ...]:
        """Statements before any table is locked."""
        return tuple(statement for tie in reversed(self.ties) for statement in tie.lock)

    @property
    def tables(self) -> tuple[str, ...]:
        """Tables outside to lock with those that move, as in a statement."""
        found = {qualified(tie.schema, tie.name) for tie in self.ties if tie.lockable}
        return tuple(sorted(found | set(self.outward_locks)))

    @property
    def untying(self) -> tuple[str, ...]:
        """Statements before the live objects move out."""
        return tuple(s for tie in reversed(self.ties) for s in tie.untie) + tuple(
            key.drop for key in self.outward
        )

    def tying(self, outward: Iterable[Key]) -> tuple[str, ...]:
        """Statements after the others have moved in, with the keys that those get."""
        return tuple(s for tie in self.ties for s in tie.tie) + tuple(s for key in outward for s in key.make)

    def to_check(self, outward: Iterable[Key]) -> tuple[Key, ...]:
        """The keys whose rows are to be checked afterwards."""
        keys = [tie.key for tie in self.ties if tie.key is not None] + list(outward)
        return tuple(key for key in keys if key.valid and key.enforced)


NO_TIES: Final = Ties()
