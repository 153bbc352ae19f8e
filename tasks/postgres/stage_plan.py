"""What to do to build an archive's objects in a schema of their own: a pure function of its contents.

The order is that of the archive within each part. Parts that can go side by side are grouped by table,
because statements on one table in two transactions deadlock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from tasks.core.errors import Refused
from tasks.postgres.archive import Entry, Treatment
from tasks.postgres.archive.definitions import names_in, verdicts
from tasks.postgres.lexer import Kind, Token, meaningful_tokens, tokens
from tasks.postgres.rename import rename, string_value
from tasks.postgres.ties.model import Key

_OF_A_TABLE: Final = frozenset({"CONSTRAINT", "CHECK CONSTRAINT", "INDEX", "STATISTICS"})
_RELATIONS: Final = frozenset({"TABLE", "MATERIALIZED VIEW"})

BIG_ROWS: Final = 20_000
BIG_BYTES: Final = 1 << 20


@dataclass(frozen=True)
class TableLoad:
    """One table's part of the load.

    + entry: its TABLE DATA entry; None where there is nothing to copy
    + name: the table
    + copy: `COPY "new_X".t (...) FROM stdin`
    + rows: as counted in the archive; the load must give the same
    + weight: roughly its bytes, to start the longest first
    + frozen: its rows can be written as if vacuumed already; those of a partitioned table can't
    + indexes: statements that may go side by side on this table
    + constraints: statements that lock it, in one transaction after those
    """

    entry: Entry | None
    name: str
    copy: str
    rows: int
    weight: int
    frozen: bool = True
    indexes: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()

    @property
    def big(self) -> bool:
        """Worth a job of its own."""
        return self.rows >= BIG_ROWS or self.weight >= BIG_BYTES


@dataclass(frozen=True)
class ForeignKey:
    """A foreign key; on a big table it is added unchecked, then checked beside others."""

    table: str
    add: str
    validate: str


@dataclass(frozen=True)
class StagePlan:
    """Everything that staging executes, in order, already renamed.

    + expected: objects by kind that must be there afterwards
    + not_loaded: tables whose rows were declared to be left out
    + attachments: statements that make indexes of partitions parts of their table's; a foreign key to a
      partitioned table needs them
    + outward: foreign keys to tables that stay; they come with the swap, since one on the stage would stop
      the application from deleting what it refers to
    """

    schema: str
    pre_data: tuple[str, ...]
    tables: tuple[TableLoad, ...]
    foreign_keys: tuple[ForeignKey, ...]
    sequence_values: tuple[str, ...]
    last: tuple[str, ...]
    refreshes: tuple[str, ...]
    after_refresh: tuple[str, ...]
    expected: Mapping[str, int]
    not_loaded: tuple[str, ...]
    outward: tuple[Key, ...] = ()
    attachments: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """How many rows are loaded."""
        return sum(table.rows for table in self.tables)


def plan_stage(
    entries: Sequence[Entry],
    rows: Mapping[int, int],
    *,
    source: str,
    schema: str,
    empty: frozenset[str] = frozenset(),
) -> StagePlan:
    """Plan the build of `source`'s objects in `schema`.

    + entries: the archive's
    + rows: rows by the dump_id of their TABLE DATA entry, as counted when the archive was read
    + empty: tables declared to come back empty

    Raises Refused for entries that can't be built beside; `assess` names them earlier.
    """
    judged = verdicts(entries, source)
    refused = [verdict for verdict in judged if verdict.treatment is Treatment.REFUSE]
    if refused:
        raise Refused(
            "Planning the restore",
            "; ".join(f"{verdict.entry.title}: {verdict.reason}" for verdict in refused),
            next_step="restore with strategy=drop",
        )
    mine = [verdict.entry for verdict in judged if verdict.treatment is Treatment.BUILD]
    relations = {entry.dump_id: entry for entry in mine if entry.kind in _RELATIONS}
    names = names_in(entries, source)

    def renamed(text: str) -> str:
        return rename(text, names=names, source=source, target=schema)

    of_table: dict[str, list[Entry]] = {}
    of_view: list[Entry] = []
    last: list[Entry] = []
    comments: list[Entry] = []
    parts: dict[str, list[Entry]] = {"pre": [], "fk": [], "set": [], "refresh": [], "attach": []}
    data: dict[str, Entry] = {}
    for entry in mine:
        relation = next((relations[d] for d in entry.dependencies if d in relations), None)
        if entry.kind == "TABLE DATA":
            data[entry.name] = entry
        elif entry.kind == "SEQUENCE SET":
            parts["set"].append(entry)
        elif entry.kind == "FK CONSTRAINT":
            parts["fk"].append(entry)
        elif entry.kind == "MATERIALIZED VIEW DATA":
            parts["refresh"].append(entry)
        elif entry.kind == "INDEX ATTACH":
            parts["attach"].append(entry)
        elif entry.kind == "COMMENT":
            comments.append(entry)
        elif entry.kind in _OF_A_TABLE and relation is not None:
            if relation.kind == "TABLE":
                of_table.setdefault(relation.name, []).append(entry)
            else:
                of_view.append(entry)
        elif entry.section == "pre-data":
            parts["pre"].append(entry)
        else:
            last.append(entry)
    weights = block_sizes(entries)
    tables = []
    for entry in mine:
        if entry.kind == "TABLE":
            rest = of_table.get(entry.name, [])
            tables.append(_table(entry, data.get(entry.name), rest, rows, weights, renamed, empty))
    by_name = {table.name: table for table in tables}
    outward = {entry.dump_id for entry in parts["fk"] if _refers_out(entry, source, names)}
    held = dict.fromkeys(outward, "")
    for entry in comments:
        for dump_id in outward.intersection(entry.dependencies):
            held[dump_id] = _comment(entry)
    comments = [entry for entry in comments if outward.isdisjoint(entry.dependencies)]
    return StagePlan(
        schema=schema,
        pre_data=tuple(renamed(entry.definition) for entry in parts["pre"]),
        tables=tuple(tables),
        foreign_keys=tuple(
            _foreign_key(entry, relations, by_name, renamed)
            for entry in parts["fk"]
            if entry.dump_id not in outward
        ),
        sequence_values=tuple(renamed(entry.definition) for entry in parts["set"]),
        last=tuple(renamed(entry.definition) for entry in last),
        refreshes=tuple(renamed(entry.definition) for entry in parts["refresh"]),
        after_refresh=tuple(renamed(entry.definition) for entry in [*of_view, *comments]),
        expected=expected_counts(entry for entry in mine if entry.dump_id not in outward),
        not_loaded=tuple(sorted(name for name in data if name in empty)),
        attachments=tuple(renamed(entry.definition) for entry in parts["attach"]),
        outward=tuple(
            _outward(entry, relations, source, held[entry.dump_id])
            for entry in parts["fk"]
            if entry.dump_id in outward
        ),
    )


def _table(
    table: Entry,
    data: Entry | None,
    rest: Sequence[Entry],
    rows: Mapping[int, int],
    weights: Mapping[int, int],
    renamed: Callable[[str], str],
    empty: frozenset[str],
) -> TableLoad:
    indexes: list[str] = []
    constraints: list[str] = []
    for entry in rest:
        parallel = entry.kind == "INDEX" and "ALTER " not in entry.definition
        (indexes if parallel else constraints).append(renamed(entry.definition))
    count = rows.get(data.dump_id, 0) if data is not None and table.name not in empty else 0
    copied = data if count else None
    return TableLoad(
        entry=copied,
        name=table.name,
        copy=renamed(copied.copy_statement or "").strip().removesuffix(";") if copied else "",
        rows=count,
        weight=weights.get(copied.dump_id, count * 100) if copied else 0,
        frozen=not _partitioned(table),
        indexes=tuple(indexes),
        constraints=tuple(constraints),
    )


def _partitioned(table: Entry) -> bool:
    if "partition" not in table.definition.lower():
        return False
    words = (token.name for token in tokens(table.definition) if token.means_something)
    return ("partition", "by") in pairwise(words)


def _foreign_key(
    entry: Entry,
    relations: Mapping[int, Entry],
    tables: Mapping[str, TableLoad],
    renamed: Callable[[str], str],
) -> ForeignKey:
    table = _table_of(entry, relations)
    text = renamed(entry.definition).strip().removesuffix(";").rstrip()
    load = tables.get(table)
    if load is None or not load.big:
        return ForeignKey(table, text, "")
    meaningful = [token for token in tokens(text) if token.means_something]
    words = [token.name for token in meaningful]
    unchecked = words[-2:] in (["not", "valid"], ["not", "enforced"])
    if unchecked:
        return ForeignKey(table, text, "")
    at = next(n for n, pair in enumerate(pairwise(words)) if pair == ("add", "constraint"))
    name = text[meaningful[at + 2].start : meaningful[at + 2].end]
    validate = f"{text[: meaningful[at].start]}VALIDATE CONSTRAINT {name}"
    return ForeignKey(table, f"{text} NOT VALID", validate)


def _table_of(entry: Entry, relations: Mapping[int, Entry]) -> str:
    """The table that has a key: the one whose name begins the entry's tag."""
    owners = [
        relations[d].name
        for d in entry.dependencies
        if d in relations and entry.name.startswith(relations[d].name + " ")
    ]
    return max(owners, key=len, default=entry.name.partition(" ")[0])


def _refers_out(entry: Entry, source: str, names: Collection[str]) -> bool:
    """Whether a foreign key refers to a table that the archive does not bring into this schema."""
    found = meaningful_tokens(entry.definition)
    at = next(n for n, token in enumerate(found) if token.name == "references")
    return found[at + 1].name != source or found[at + 3].name not in names


def _outward(entry: Entry, relations: Mapping[int, Entry], source: str, comment: str) -> Key:
    text = entry.definition.strip().removesuffix(";").rstrip()
    found = meaningful_tokens(text)
    at = next(n for n, pair in enumerate(pairwise(found)) if _add_constraint(pair))
    definition = text[found[at + 3].start :]
    return Key(
        source,
        _table_of(entry, relations),
        found[at + 2].name or "",
        definition.removesuffix(" NOT VALID"),
        valid=not definition.endswith(" NOT VALID"),
        enforced=not definition.endswith(" NOT ENFORCED"),
        comment=comment,
    )


def _add_constraint(pair: tuple[Token, Token]) -> bool:
    return (pair[0].name, pair[1].name) == ("add", "constraint")


def _comment(entry: Entry) -> str:
    """What a COMMENT entry says."""
    text = next(t.text for t in reversed(meaningful_tokens(entry.definition)) if t.kind is Kind.STRING)
    return string_value(text) or ""


def block_sizes(entries: Iterable[Entry]) -> dict[int, int]:
    """Compressed bytes by dump_id, as far as the archive knows where its blocks begin."""
    known = sorted((entry.offset, entry.dump_id) for entry in entries if entry.offset is not None)
    return {
        dump_id: after - offset
        for (offset, dump_id), (after, _) in pairwise(known)
        if offset is not None and after is not None
    }


def expected_counts(mine: Iterable[Entry]) -> dict[str, int]:
    """Objects by kind that the schema must hold in the end, as far as the table of contents tells."""
    counted = Counter(entry.kind for entry in mine)
    kinds = (
        "TABLE", "VIEW", "MATERIALIZED VIEW", "SEQUENCE", "TYPE", "DOMAIN", "FUNCTION", "PROCEDURE",
        "AGGREGATE", "CONSTRAINT", "FK CONSTRAINT", "INDEX", "TRIGGER", "POLICY", "STATISTICS",
    )  # fmt: skip
    return {kind: counted[kind] for kind in kinds}
