"""Can this archive be restored beside these live objects? If not, why, by name, before anything is touched.

Pure: facts in, refusals out. What can't be told from the table of contents is proved after staging
(prove.py), when nothing has been swapped yet either.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from tasks.core.wording import number_of
from tasks.postgres.archive import Archive, Contents, Entry
from tasks.postgres.archive.definitions import Treatment, extension_data, names_in, verdicts
from tasks.postgres.inventory import MOVABLE, LiveObject
from tasks.postgres.lexer import Kind, Token, tokens
from tasks.postgres.live import LiveFacts
from tasks.postgres.ties.model import DROP_IT

# Locks that a swap and the stage's definitions hold at once, for each table of either side: the table, its
# sequence, its TOAST table, its keys.
_LOCKS_PER_TABLE: Final = 4
# Connections that a run needs at the least: its lock, the builder, a loader, one to read the state.
_FEWEST_SLOTS: Final = 4
# What COPY text takes once it is in tables with their indexes, on the large side.
_BYTES_PER_TEXT_BYTE: Final = 2.0

_DROP: Final = "restore with strategy=drop"


@dataclass(frozen=True, slots=True)
class Refusal:
    """One reason why the archive can't be restored beside the live objects.

    + kind, name: of the object, as a person knows it
    + why: the reason
    + way_out: what to do about it
    """

    kind: str
    name: str
    why: str
    way_out: str

    @property
    def sentence(self) -> str:
        """All of it in one line."""
        return f"{self.kind} {self.name}: {self.why} (way out: {self.way_out})"


def assess(
    archive: Archive,
    contents: Contents,
    live: LiveFacts,
    *,
    empty: Collection[str] = (),
    room_bytes: int | None = None,
) -> list[Refusal]:
    """Every reason against restoring this archive beside, the gravest kinds first; empty when there is none.

    + contents: what reading the archive to its end has found
    + empty: tables declared to come back empty
    + room_bytes: bytes that the database may grow to, where that was declared
    """
    schema = live.inventory.schema
    return [
        *_of_rights(live),
        *_of_versions(archive, live),
        *_of_entries(archive.entries, schema),
        *_of_large_objects(contents),
        *_of_live_objects(live),
        *_of_ties(archive.entries, live),
        *_of_other_owners(archive.entries, live),
        *_of_text_bodies(archive.entries, schema),
        *_of_extensions(archive.entries, live),
        *_of_column_grants(archive.entries, live),
        *_of_room(archive, contents, live, empty, room_bytes),
    ]


def assess_copy(
    archive: Archive, contents: Contents, live: LiveFacts, *, room_bytes: int | None = None
) -> list[Refusal]:
    """Every reason against a copy of this archive's schema beside others, which is never swapped in.

    What is live there stays as it is, so that nothing depends on what it is.
    """
    schema = live.inventory.schema
    return [
        *_of_rights(live),
        *_of_versions(archive, live),
        *_of_entries(archive.entries, schema),
        *_of_large_objects(contents),
        *_of_text_bodies(archive.entries, schema),
        *_of_extensions(archive.entries, live),
        *_of_room(archive, contents, live, (), room_bytes),
    ]


def notes(archive: Archive, contents: Contents, live: LiveFacts) -> list[str]:
    """What a restore beside leaves as it is, or takes away without a row being lost, in sentences."""
    schema = live.inventory.schema
    found = [
        f"{verdict.entry.title} stays as it is live: {verdict.reason}"
        for verdict in verdicts(archive.entries, schema)
        if verdict.treatment is Treatment.LEAVE
        and verdict.entry.schema not in (None, schema)
        and verdict.entry.section != "none"
    ]
    found += [
        f"{number_of(contents.rows[entry.dump_id], 'row is', 'rows are')} not restored: an extension owns "
        f"the table {entry.name}"
        for entry in extension_data(archive.entries)
        if contents.rows.get(entry.dump_id)
    ]
    theirs = {
        (entry.name[: -len(name) - 1], name)
        for entry in archive.entries
        if entry.kind == "POLICY" and entry.schema == schema
        for name in [entry.name.rpartition(" ")[2]]
    }
    found += [
        f"policy {policy} on {table} is lost: the backup lacks it"
        for table, policy in live.policies
        if (table, policy) not in theirs
    ]
    there = names_in(archive.entries, schema)
    found += live.ties.notes
    found += [
        f"{tie.title}: it goes on listing the one that is set aside, since the backup lacks the table"
        for tie in live.ties.ties
        if tie.of and tie.of not in there
    ]
    found += [
        f"{grant.title} is lost: the backup lacks the object"
        for grant in live.grants
        if grant.kind in ("TABLE", "SEQUENCE") and grant.name not in there
    ]
    return found


def _of_rights(live: LiveFacts) -> Iterator[Refusal]:
    if not live.may_create_schema:
        yield Refusal(
            "role",
            live.role,
            "it may not create a schema in this database",
            f"have the administrator run GRANT CREATE ON DATABASE ... TO {live.role}",
        )
    if not live.may_use_schema:
        yield Refusal(
            "role",
            live.role,
            f"it may not create objects in the schema {live.inventory.schema}",
            f"have the administrator run GRANT ALL ON SCHEMA {live.inventory.schema} TO {live.role}",
        )
    if live.free_slots < _FEWEST_SLOTS:
        yield Refusal(
            "server",
            "connections",
            f"{live.free_slots} are free, a restore needs {_FEWEST_SLOTS}",
            "stop a worker or a session of the application",
        )


def _of_versions(archive: Archive, live: LiveFacts) -> Iterator[Refusal]:
    made_by = (archive.header.server_version or "").partition(".")[0]
    ours = live.version // 10000
    if made_by.isdigit() and int(made_by) > ours:
        yield Refusal(
            "archive",
            archive.path.name,
            f"it was made from PostgreSQL {made_by}, this server is {ours}",
            "restore it to a server of that version",
        )


def _of_entries(entries: Sequence[Entry], schema: str) -> Iterator[Refusal]:
    for verdict in verdicts(entries, schema):
        if verdict.treatment is Treatment.REFUSE:
            entry = verdict.entry
            name = f"{entry.schema}.{entry.name}" if entry.schema else entry.name
            yield Refusal(entry.kind.lower(), name, verdict.reason, _DROP)


def _of_large_objects(contents: Contents) -> Iterator[Refusal]:
    if contents.large_objects:
        yield Refusal(
            "large objects",
            f"{contents.large_objects:,} of them",
            "they are in no schema, so there can't be two of them side by side",
            _DROP,
        )


def _of_live_objects(live: LiveFacts) -> Iterator[Refusal]:
    unmovable = {item.thing.key: item for item in live.inventory.moved if _unmovable(item)}
    for item in unmovable.values():
        yield Refusal(item.kind, item.thing.identity, _unmovable(item), "drop it first, or " + _DROP)
    for found in live.ties.obstacles:
        yield Refusal(found.kind, found.name, found.why, found.way_out)


def _of_ties(entries: Sequence[Entry], live: LiveFacts) -> Iterator[Refusal]:
    """What the archive can't give to those outside who need it; more is known once it is staged."""
    schema = live.inventory.schema
    brought = names_in(entries, schema)
    words = _words_of_relations(entries, schema)
    for need in live.ties.needs:
        gone = [name for name in need.columns if need.relation in words and name not in words[need.relation]]
        if need.relation not in brought:
            why = f"it needs {schema}.{need.relation}, which the backup lacks"
        elif gone:
            why = f"it needs {', '.join(gone)} of {schema}.{need.relation}, which the backup lacks"
        else:
            continue
        yield Refusal(need.kind, need.title, why, DROP_IT)


def _unmovable(item: LiveObject) -> str:
    if item.typtype in ("r", "m"):
        return "a range type's constructor functions can't be moved to another schema"
    return "" if item.kind in MOVABLE else "objects of this kind can't be moved to another schema"


def _of_other_owners(entries: Sequence[Entry], live: LiveFacts) -> Iterator[Refusal]:
    brought = names_in(entries, live.inventory.schema)
    for item in live.inventory.staying:
        if item.name in brought:
            yield Refusal(
                item.kind,
                item.thing.identity,
                f"it belongs to {item.thing.owner} and stays; the backup brings an object of that name",
                f"have it given to {live.role}, or drop it first",
            )


def _of_extensions(entries: Iterable[Entry], live: LiveFacts) -> Iterator[Refusal]:
    for entry in entries:
        if entry.kind == "EXTENSION" and entry.name not in live.extensions:
            yield Refusal(
                "extension",
                entry.name,
                "the backup needs it, the live database does not have it",
                f"CREATE EXTENSION {entry.name}, or enable it on the platform",
            )


def _words_of_relations(entries: Iterable[Entry], schema: str) -> dict[str, set[str | None]]:
    """Every name in each relation's definition, by relation: a column that is not among them is gone.

    Without those that have columns from a parent or a type, which their definitions don't repeat.
    """
    words = {
        entry.name: {token.name for token in tokens(entry.definition)}
        for entry in entries
        if entry.kind in ("TABLE", "VIEW", "MATERIALIZED VIEW") and entry.schema == schema
    }
    return {name: found for name, found in words.items() if found.isdisjoint({"inherits", "of"})}


def _of_column_grants(entries: Iterable[Entry], live: LiveFacts) -> Iterator[Refusal]:
    schema = live.inventory.schema
    words = _words_of_relations(entries, schema)
    for grant in live.grants:
        if grant.column and grant.name in words and grant.column not in words[grant.name]:
            yield Refusal(
                "grant",
                grant.title,
                "the column is not in the backup, so the right could not be the same afterwards",
                "revoke it first",
            )


def _of_room(
    archive: Archive,
    contents: Contents,
    live: LiveFacts,
    empty: Collection[str],
    room_bytes: int | None,
) -> Iterator[Refusal]:
    schema = live.inventory.schema
    tables = sum(entry.kind == "TABLE" and entry.schema == schema for entry in archive.entries)
    locks = _LOCKS_PER_TABLE * (tables + len(live.inventory.tables))
    if locks > live.lock_capacity:
        yield Refusal(
            "server",
            "lock table",
            f"about {locks:,} locks are needed at once, it holds {live.lock_capacity:,}",
            "raise max_locks_per_transaction, or " + _DROP,
        )
    if room_bytes is None:
        return
    names = {entry.dump_id: entry.name for entry in archive.entries if entry.schema == schema}
    text = sum(
        size for number, size in contents.text_bytes.items() if names.get(number, "") not in {"", *empty}
    )
    needed = live.database_bytes + int(_BYTES_PER_TEXT_BYTE * text)
    if needed > room_bytes:
        yield Refusal(
            "database",
            "size",
            f"with both copies it would be about {needed:,} bytes, the declared limit is {room_bytes:,}",
            "forget what is set aside, take a larger plan, or " + _DROP,
        )


def _of_text_bodies(entries: Sequence[Entry], schema: str) -> Iterator[Refusal]:
    """What would be computed, while staging, by a function whose body is text: it names live tables."""
    tainted = {
        entry.dump_id: entry
        for entry in entries
        if entry.kind in ("FUNCTION", "PROCEDURE") and entry.schema == schema and _has_text_body(entry)
    }
    for entry in entries:  # in restore order: what an entry needs comes before it
        through = next((tainted[number] for number in entry.dependencies if number in tainted), None)
        if through is None or entry.dump_id in tainted:
            continue
        if _computes(entry):
            yield Refusal(
                entry.kind.lower(),
                f"{entry.schema}.{entry.name}",
                f"it is computed by the function {through.name}, whose body is text and may read live tables",
                _DROP,
            )
        elif entry.kind in ("VIEW", "FUNCTION", "PROCEDURE", "AGGREGATE", "OPERATOR"):
            tainted[entry.dump_id] = through


def _meaningful(entry: Entry) -> list[Token]:
    return [token for token in tokens(entry.definition) if token.means_something]


def _has_text_body(entry: Entry) -> bool:
    """`AS '...'` or `AS $$...$$`; not `RETURN ...`, `BEGIN ATOMIC ... END`, nor a function written in C."""
    found = _meaningful(entry)
    languages = {after.name for before, after in pairwise(found) if before.name == "language"}
    if languages & {"c", "internal"}:
        return False
    return any(
        before.name == "as" and after.kind in (Kind.STRING, Kind.DOLLAR_STRING)
        for before, after in pairwise(found)
    )


def _computes(entry: Entry) -> bool:
    """Whether the entry's content is computed when it is built: not a default, a trigger or a policy."""
    if entry.kind in ("MATERIALIZED VIEW", "INDEX", "CHECK CONSTRAINT", "CONSTRAINT", "STATISTICS"):
        return True
    if entry.kind not in ("TABLE", "DOMAIN"):
        return False
    found = [token.name for token in _meaningful(entry)]
    return "check" in found or any(pair == ("always", "as") for pair in pairwise(found))
