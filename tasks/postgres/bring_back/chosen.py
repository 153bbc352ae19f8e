"""Which rows are wanted, and what both sides' shapes mean for them. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, Literal

from tasks.core.errors import Refused
from tasks.postgres.bring_back.facts import Facts, ForeignKey, Table, UniqueKey
from tasks.postgres.sql import ident

Conflicts = Literal["stop", "keep", "replace"]
_NOTHING_CHANGED: Final = "nothing was changed"


@dataclass(frozen=True)
class Keys:
    """Rows named by their keys.

    + columns: the names at hand; rows: their values as text, in the same order
    + origin: where they were read, for messages
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    origin: str = ""


@dataclass(frozen=True)
class Wanted:
    """What is to come back.

    + tables: as a whole; keys: of some rows alone, by table
    + without: columns (`column` or `table.column`) whose values may be left behind
    + conflicts: what becomes of live rows that differ: "stop" the run, "keep" them, "replace" their values
    """

    tables: tuple[str, ...] = ()
    keys: Mapping[str, Keys] = field(default_factory=dict)
    without: frozenset[str] = frozenset()
    conflicts: Conflicts = "stop"


@dataclass(frozen=True)
class Part:
    """One table's part.

    + number: stands for the table in the queries
    + key: what tells its rows apart on both sides; None where nothing does
    + carried: columns whose values come over, with the expression over alias `a`
    + computed: generated columns of the live table, with their expressions
    + wanted: "all", "keys", or "" where its rows only come along
    + problems: what its shape means for rows that come, in words; with `without` it would do for those in
      `remedies`
    """

    number: int
    table: Table
    key: UniqueKey | None
    carried: Mapping[str, str]
    computed: Mapping[str, str]
    wanted: str
    keys: Keys | None = None
    problems: tuple[str, ...] = ()
    remedies: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.table.name

    @property
    def columns(self) -> frozenset[str]:
        """The columns whose live values are known before they are written."""
        return frozenset([*self.carried, *self.computed])

    @cached_property
    def compared(self) -> tuple[str, ...]:
        """The columns that make two rows of the same key differ."""
        key = self.key.columns if self.key else ()
        return tuple(name for name in self.carried if name not in key)

    @cached_property
    def other_keys(self) -> tuple[UniqueKey, ...]:
        """The unique indexes of the live table, but its key, that can be looked at beforehand."""
        return tuple(one for one in self.table.keys if one is not self.key and one.needs <= self.columns)

    def unique_there(self, key: UniqueKey) -> bool:
        """Whether what was set aside held to this key too, so that its rows can't meet each other in it."""
        plain = bool(key.columns) and all(self.table.ways.get(name) == "same" for name in key.columns)
        return plain and any(
            one.columns == key.columns and not one.condition for one in self.table.aside_keys
        )


@dataclass(frozen=True)
class Scope:
    """Everything that the queries are made from.

    + parts: the wanted tables, then those whose rows may come along, by number
    + links: the foreign keys of their live tables that both columns of are known
    """

    facts: Facts
    parts: tuple[Part, ...]
    links: tuple[ForeignKey, ...]
    conflicts: Conflicts

    def part(self, table: str) -> Part | None:
        """The part of a table."""
        return next((part for part in self.parts if part.name == table), None)

    def parent(self, link: ForeignKey) -> Part | None:
        """The part whose rows a foreign key's may come along from; None where nothing was set aside."""
        if link.parent_schema != self.facts.schema:
            return None
        part = self.part(link.parent)
        known = part is not None and set(link.parent_columns) <= part.columns
        return part if known else None


def scope(facts: Facts, wanted: Wanted) -> Scope:
    """What the wanted rows touch.

    Raises `Refused` naming tables that either side lacks, and keys that don't tell its rows apart.
    """
    names = list(dict.fromkeys([*wanted.tables, *wanted.keys]))
    for name in names:
        _check_there(facts, name)
    _check_without(facts, wanted.without)
    parts: list[Part] = []
    links: list[ForeignKey] = []
    while len(parts) < len(names):
        name = names[len(parts)]
        part = _part(facts, wanted, len(parts), name)
        parts.append(part)
        for link in facts.foreign_keys:
            if (link.schema, link.table) != (facts.schema, name) or not set(link.columns) <= part.columns:
                continue
            links.append(link)
            there = facts.tables.get(link.parent) if link.parent_schema == facts.schema else None
            if there is not None and there.aside and there.live and link.parent not in names:
                names.append(link.parent)
    return Scope(facts, tuple(parts), tuple(links), wanted.conflicts)


def _check_there(facts: Facts, name: str) -> None:
    table = facts.tables.get(name)
    if table is None or not table.aside:
        there = sorted(one.name for one in facts.tables.values() if one.aside)
        near = difflib.get_close_matches(name, there, n=3, cutoff=0.5)
        raise Refused(
            f"Bringing back {name}",
            f"{facts.aside} holds no such table",
            state=_NOTHING_CHANGED,
            next_step=f"is {' or '.join(near)} meant?" if near else f"one of {', '.join(there)}",
        )
    if not table.live:
        raise Refused(
            f"Bringing back {name}",
            "the live data has no such table",
            state=_NOTHING_CHANGED,
            next_step="bring the release that has it, or deploys/undo.py brings all of the old data back",
        )


def _check_without(facts: Facts, without: Collection[str]) -> None:
    known = {
        word
        for table in facts.tables.values()
        for column in table.aside
        for word in (column, f"{table.name}.{column}")
    }
    for word in sorted(without):
        if word not in known:
            near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
            raise Refused(
                f"--data without={word}",
                f"{facts.aside} holds no such column",
                state=_NOTHING_CHANGED,
                next_step=f"is {near[0]} meant?" if near else "name a column, or TABLE.COLUMN",
            )


def _part(facts: Facts, wanted: Wanted, number: int, name: str) -> Part:
    table = facts.tables[name]
    left = {word for word in table.aside if word in wanted.without or f"{name}.{word}" in wanted.without}
    carried = {
        column.name: _carried(facts, table, column.name)
        for column in table.live.values()
        if column.name in table.ways and column.name not in left and not column.generated
    }
    computed = {column.name: column.generated for column in table.live.values() if column.generated}
    problems, remedies = _problems(table, carried, left)
    key = _key(table, carried)
    chosen = "all" if name in wanted.tables else "keys" if name in wanted.keys else ""
    keys = wanted.keys.get(name) if chosen == "keys" else None
    if keys is not None:
        keys = _checked(table, key, keys)
    return Part(number, table, key, carried, computed, chosen, keys, problems, remedies)


def _carried(facts: Facts, table: Table, name: str) -> str:
    value, kind = f"a.{ident(name)}", table.live[name].kind
    match table.ways[name]:
        case "same":
            return value
        case "text":
            return f"{value}::text::{kind}"
        case "cast":
            return f"{value}::{kind}"


def _problems(
    table: Table, carried: Mapping[str, str], left: Collection[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    problems, remedies = [], []
    for name, kind in table.aside.items():
        column = table.live.get(name)
        if name in left or name in carried or (column is not None and column.generated):
            continue
        remedies.append(name)
        problems.append(
            f"the live table has no column {name}: its values would stay behind"
            if column is None
            else f"column {name} was {kind} and is {column.kind}: its values can't be carried over"
        )
    problems += [
        f"column {column.name} needs a value, and none was set aside"
        for column in table.live.values()
        if column.required and not column.filled and not column.generated and column.name not in carried
    ]
    if not carried:
        problems.append("both sides have no column in common")
    return tuple(problems), tuple(remedies)


def _key(table: Table, carried: Mapping[str, str]) -> UniqueKey | None:
    """The primary key, else another over columns that are never NULL; unique on both sides."""
    there = {one.columns for one in table.aside_keys if not one.condition}
    for one in table.keys:
        if not one.columns or one.condition or one.columns not in there:
            continue
        if all(name in carried and table.live[name].required for name in one.columns):
            return one
    return None


def _checked(table: Table, key: UniqueKey | None, keys: Keys) -> Keys:
    """The keys' columns alone, in the key's own order. Raises `Refused` where some are not there."""
    attempted = f"Bringing back rows of {table.name}" + (f" by {keys.origin}" if keys.origin else "")
    if key is None:
        raise Refused(
            attempted,
            "the table has no key that tells its rows apart on both sides",
            state=_NOTHING_CHANGED,
            next_step=f"bring all of it back: --data tables={table.name}",
        )
    missing = [name for name in key.columns if name not in keys.columns]
    if missing:
        raise Refused(
            attempted,
            f"there is no column {', '.join(missing)}, which tells its rows apart; there are "
            + ", ".join(keys.columns),
            state=_NOTHING_CHANGED,
            next_step="keep the first line with the names of the columns, and the columns of the key",
        )
    places = [keys.columns.index(name) for name in key.columns]
    rows: Sequence[tuple[str, ...]] = [tuple(row[place] for place in places) for row in keys.rows]
    return Keys(key.columns, tuple(dict.fromkeys(rows)), keys.origin)
