"""What the entries of an archive are for a restore of one schema: built, left alone, or a reason to refuse.

The kinds are those that pg_dump 9.0 to 18 write; one that is not listed refuses the archive before anything
is touched, because nobody has thought about it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto
from itertools import pairwise
from typing import Final

from tasks.postgres.archive.toc import Entry
from tasks.postgres.lexer import meaningful_tokens


class Treatment(Enum):
    """What a restore beside the live schema does with an entry."""

    BUILD = auto()
    LEAVE = auto()
    REFUSE = auto()


@dataclass(frozen=True, slots=True)
class Verdict:
    """An entry's treatment, and for those not built the reason in words for the plan."""

    entry: Entry
    treatment: Treatment
    reason: str = ""


_BUILT: Final = frozenset(
    {
        "AGGREGATE", "CHECK CONSTRAINT", "COLLATION", "COMMENT", "CONSTRAINT", "CONVERSION", "DEFAULT",
        "DOMAIN", "FK CONSTRAINT", "FOREIGN TABLE", "FUNCTION", "INDEX", "INDEX ATTACH", "MATERIALIZED VIEW",
        "MATERIALIZED VIEW DATA", "OPERATOR", "POLICY", "PROCEDURE", "ROW SECURITY", "RULE", "SEQUENCE",
        "SEQUENCE OWNED BY", "SEQUENCE SET", "STATISTICS", "TABLE", "TABLE ATTACH", "TABLE DATA",
        "TEXT SEARCH CONFIGURATION", "TEXT SEARCH DICTIONARY", "TRIGGER", "TYPE", "VIEW",
    }
)  # fmt: skip

_IN_NO_SCHEMA: Final = "belongs to the database, not to a schema: the live one stays"
_LEFT: Final = {
    "ENCODING": "a setting of the archive itself",
    "STDSTRINGS": "a setting of the archive itself",
    "SEARCHPATH": "a setting of the archive itself",
    "DATABASE": "the live database stays",
    "DATABASE PROPERTIES": "the live database stays",
    "SCHEMA": "the live schema stays",
    "EXTENSION": "extensions stay as the live database has them",
    "PROCEDURAL LANGUAGE": "languages stay as the live database has them",
    "ACCESS METHOD": "access methods stay as the live database has them",
    "ACL": "grants stay as the live objects have them",
    "ACL LANGUAGE": "grants stay as the live objects have them",
    "DEFAULT ACL": "default privileges stay as the live schema has them",
    "SECURITY LABEL": "security labels are not restored",
    "STATISTICS DATA": "statistics are computed anew",
    "FOREIGN DATA WRAPPER": _IN_NO_SCHEMA,
    "SERVER": _IN_NO_SCHEMA,
    "USER MAPPING": _IN_NO_SCHEMA,
    "PUBLICATION": _IN_NO_SCHEMA,
    "PUBLICATION TABLE": _IN_NO_SCHEMA,
    "PUBLICATION TABLES IN SCHEMA": _IN_NO_SCHEMA,
    "SUBSCRIPTION": _IN_NO_SCHEMA,
    "SUBSCRIPTION TABLE": _IN_NO_SCHEMA,
    "EVENT TRIGGER": _IN_NO_SCHEMA,
}

_REFUSED: Final = {
    "BLOB": "large objects are in no schema, so there can't be two of them side by side",
    "BLOBS": "large objects are in no schema, so there can't be two of them side by side",
    "BLOB METADATA": "large objects are in no schema, so there can't be two of them side by side",
    "BLOB COMMENTS": "large objects are in no schema, so there can't be two of them side by side",
    "CAST": "a cast is in no schema: the live one would go on naming the types that are set aside",
    "TRANSFORM": "a transform is in no schema: the live one would go on naming the types that are set aside",
    "OPERATOR CLASS": "only a superuser may create it",
    "OPERATOR FAMILY": "only a superuser may create it",
    "TEXT SEARCH PARSER": "only a superuser may create it",
    "TEXT SEARCH TEMPLATE": "only a superuser may create it",
    "SHELL TYPE": "only a superuser may create a base type",
}

# Types whose values are names, looked up as rows are loaded, and the kinds of entries that they may name.
_NAMED_BY_VALUES: Final = {
    "regclass": frozenset({"TABLE", "VIEW", "MATERIALIZED VIEW", "SEQUENCE", "INDEX", "FOREIGN TABLE"}),
    "regtype": frozenset({"TABLE", "VIEW", "MATERIALIZED VIEW", "TYPE", "DOMAIN", "FOREIGN TABLE"}),
    "regproc": frozenset({"FUNCTION", "PROCEDURE", "AGGREGATE"}),
    "regprocedure": frozenset({"FUNCTION", "PROCEDURE", "AGGREGATE"}),
    "regoper": frozenset({"OPERATOR"}),
    "regoperator": frozenset({"OPERATOR"}),
    "regcollation": frozenset({"COLLATION"}),
    "regconfig": frozenset({"TEXT SEARCH CONFIGURATION"}),
    "regdictionary": frozenset({"TEXT SEARCH DICTIONARY"}),
}

# Entries whose tag is the name of an object of the schema, as the server has it.
_NAMED_BY_TAG: Final = frozenset(
    {
        "COLLATION", "CONVERSION", "DOMAIN", "FOREIGN TABLE", "INDEX", "MATERIALIZED VIEW", "OPERATOR",
        "OPERATOR CLASS", "OPERATOR FAMILY", "SEQUENCE", "SHELL TYPE", "STATISTICS", "TABLE",
        "TEXT SEARCH CONFIGURATION", "TEXT SEARCH DICTIONARY", "TEXT SEARCH PARSER", "TEXT SEARCH TEMPLATE",
        "TYPE", "VIEW",
    }
)  # fmt: skip
_NAMED_IN_DEFINITION: Final = frozenset({"AGGREGATE", "FUNCTION", "PROCEDURE"})


def names_in(entries: Iterable[Entry], schema: str) -> frozenset[str]:
    """The names of all objects that the archive itself puts into the schema: those that `rename` may rename.

    Relations, indexes (those of constraints too), types, functions, operators; not what extensions bring.
    """
    names: set[str] = set()
    for entry in entries:
        if entry.schema != schema:
            continue
        if entry.kind in _NAMED_BY_TAG:
            names.add(entry.name)
        if entry.kind in _NAMED_IN_DEFINITION:
            names.update(_first_qualified_name(entry.definition, schema))
        elif entry.kind == "CONSTRAINT":
            names.update(_constraint_name(entry.definition))
        elif entry.kind == "TYPE":
            names.update(_multirange_name(entry.definition))
    return frozenset(names)


def extension_data(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """The rows whose table the archive does not create: an extension does (`spatial_ref_sys` of PostGIS).

    In an archive of rows alone, which creates no table at all, that is every entry of rows.
    """
    entries = tuple(entries)
    created = {(entry.schema, entry.name) for entry in entries if entry.kind in ("TABLE", "FOREIGN TABLE")}
    return tuple(
        entry for entry in entries if entry.kind == "TABLE DATA" and (entry.schema, entry.name) not in created
    )


def verdicts(entries: Iterable[Entry], schema: str) -> tuple[Verdict, ...]:
    """What a restore of this schema does with each entry, in the archive's order."""
    entries = tuple(entries)
    around = _Around(
        schema=schema,
        kinds=frozenset(entry.kind for entry in entries if entry.schema == schema),
        extension_rows=frozenset(entry.dump_id for entry in extension_data(entries)),
    )
    return tuple(_verdict(entry, around) for entry in entries)


@dataclass(frozen=True, slots=True)
class _Around:
    """What an entry's verdict depends on besides the entry."""

    schema: str
    kinds: frozenset[str]
    extension_rows: frozenset[int]


def _verdict(entry: Entry, around: _Around) -> Verdict:
    if entry.kind in _REFUSED:
        return Verdict(entry, Treatment.REFUSE, _REFUSED[entry.kind])
    if entry.kind in _LEFT:
        return Verdict(entry, Treatment.LEAVE, _LEFT[entry.kind])
    if entry.kind not in _BUILT:
        return Verdict(entry, Treatment.REFUSE, f"{entry.kind} is a kind of entry that is not known here")
    if entry.schema is None:
        return Verdict(entry, Treatment.LEAVE, _IN_NO_SCHEMA)
    if entry.schema != around.schema:
        return Verdict(entry, Treatment.LEAVE, f"is in schema {entry.schema}, which is not restored")
    problem = (
        _rows_problem(entry, around) if entry.kind == "TABLE DATA" else _definition_problem(entry, around)
    )
    if problem:
        return Verdict(entry, Treatment.REFUSE, problem)
    if entry.dump_id in around.extension_rows:
        return Verdict(entry, Treatment.LEAVE, "rows of an extension's own table stay as they are live")
    return Verdict(entry, Treatment.BUILD)


def _rows_problem(entry: Entry, around: _Around) -> str:
    if "TABLE" not in around.kinds:
        return "the archive holds rows without their tables (pg_dump --data-only)"
    if entry.has_data and entry.copy_statement is None:
        return "its rows are INSERT statements (pg_dump --inserts)"
    return ""


def _definition_problem(entry: Entry, around: _Around) -> str:
    """Why an entry of a kind that is built can't be made beside the live schema; "" when it can."""
    if entry.kind not in ("TABLE", "TYPE", "DOMAIN"):
        return ""
    found = meaningful_tokens(entry.definition)
    if entry.kind == "TYPE":
        # CREATE TYPE schema.name AS RANGE (...), CREATE TYPE schema.name (INPUT = ...)
        after_name = [token.text.lower() for token in found[5:7]]
        if after_name == ["as", "range"]:
            return "the constructor functions of a range type can't be moved to another schema"
        if after_name[:1] == ["("]:
            return "only a superuser may create a base type"
    for column, type_name in pairwise(found):
        named = _NAMED_BY_VALUES.get(type_name.name or "")
        if named is not None and column.name is not None and not named.isdisjoint(around.kinds):
            of_what = "" if entry.kind == "DOMAIN" else f" ({column.name})"
            return f"values of type {type_name.name}{of_what} would name the live objects"
    return ""


def _first_qualified_name(definition: str, schema: str) -> set[str]:
    """The name after the first `schema.`: the object's own, since CREATE names it first."""
    found = meaningful_tokens(definition)
    for first, point, last in zip(found, found[1:], found[2:], strict=False):
        if first.name == schema and point.text == "." and last.name is not None:
            return {last.name}
    return set()


def _constraint_name(definition: str) -> set[str]:
    """The name in `ADD CONSTRAINT name`: a key's index has it."""
    found = meaningful_tokens(definition)
    for add, constraint, name in zip(found, found[1:], found[2:], strict=False):
        if add.name == "add" and constraint.name == "constraint" and name.name is not None:
            return {name.name}
    return set()


def _multirange_name(definition: str) -> set[str]:
    found = meaningful_tokens(definition)
    for index, token in enumerate(found):
        if token.name == "multirange_type_name" and index + 4 < len(found):
            name = found[index + 4].name if found[index + 3].text == "." else found[index + 2].name
            return {name} if name is not None else set()
    return set()
