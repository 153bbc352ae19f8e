"""The queries that find which rows come back, those that come along, and what stands in their way. Pure.

A row that was set aside is known by its table's number and its place (tableoid and ctid), so that tables
without a key have one too; nobody writes there. All is one statement, so that all of it is of one moment and
no row travels to this side but a few examples.
"""

# ruff: noqa: S608  (names and values are quoted by tasks.postgres.sql)

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from tasks.postgres.bring_back.chosen import Part, Scope
from tasks.postgres.bring_back.facts import ForeignKey, UniqueKey, column_of
from tasks.postgres.sql import ident, literal, qualified

EXAMPLES: Final = 20
FOUND: Final = 'pg_temp."ops found"'
# Types of which two values are equal exactly when they are the same value; others are compared as text.
_EXACT: Final = frozenset(
    {
        "smallint", "integer", "bigint", "boolean", "uuid", "bytea", "date",
        "timestamp with time zone", "timestamp without time zone",
    }
)  # fmt: skip


def row_query(scope: Scope, part: Part) -> str:
    """The rows that were set aside as the live table would have them, each with its place (o, r)."""
    values = ", ".join(f"{value} AS {ident(name)}" for name, value in part.carried.items())
    rows = (
        f'SELECT a.tableoid AS "ops o", a.ctid AS "ops r"{", " if values else ""}{values} '
        f"FROM {scope.facts.aside_source(part.name)} a"
    )
    if not part.computed:
        return rows
    more = ", ".join(f"({value}) AS {ident(name)}" for name, value in part.computed.items())
    return f"SELECT b.*, {more} FROM ({rows}) b"


def row_names(scope: Scope, parts: Iterable[Part]) -> list[str]:
    """`row_0 AS (...)` for each part."""
    return [f"row_{part.number} AS NOT MATERIALIZED ({row_query(scope, part)})" for part in parts]


def same_key(part: Part, live: str = "l", row: str = "a") -> str:
    """The condition that a live row and one that was set aside have the same key."""
    if part.key is None:
        return "false"
    return " AND ".join(
        f"{column_of(live, name)} {operator} {column_of(row, name)}"
        for name, operator in zip(part.key.columns, part.key.operators, strict=True)
    )


def at_place(part: Part, found: str = "f", row: str = "a") -> str:
    """The condition that a row is at the place of one that was found."""
    place = f'{row}."ops r" = {found}.r'
    return f'{place} AND {row}."ops o" = {found}.o' if part.table.aside_parts else place


def key_text(part: Part, row: str) -> str:
    """A row's key for a person; never another value, which may be private."""
    if part.key is None:
        return literal("a row")
    return "concat_ws(' ', " + ", ".join(f"{column_of(row, name)}::text" for name in part.key.columns) + ")"


def array(values: Iterable[str]) -> str:
    """Texts as one literal of an array."""
    quoted = ",".join('"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"' for value in values)
    return f"{literal('{' + quoted + '}')}::text[]"


def wanted_names(parts: Iterable[Part]) -> list[str]:
    """`wanted_0(column, ...) AS (...)` for each part whose rows are named by keys."""
    found = []
    for part in parts:
        if part.keys is None:
            continue
        kinds = [part.table.live[name].kind for name in part.keys.columns]
        columns = ", ".join(ident(name) for name in part.keys.columns)
        casts = ", ".join(f"u.k{at}::{kind}" for at, kind in enumerate(kinds))
        lists = ", ".join(array(row[at] for row in part.keys.rows) for at in range(len(kinds)))
        names = ", ".join(f"k{at}" for at in range(len(kinds)))
        found.append(
            f"wanted_{part.number}({columns}) AS MATERIALIZED "
            f"(SELECT DISTINCT {casts} FROM unnest({lists}) u({names}))"
        )
    return found


def _candidates(part: Part) -> str:
    """The wanted rows of a part, as alias `a`."""
    if part.keys is None:
        return f"row_{part.number} a"
    assert part.key is not None
    same = " AND ".join(
        f"w.{ident(name)} {operator} {column_of('a', name)}"
        for name, operator in zip(part.key.columns, part.key.operators, strict=True)
    )
    return f"wanted_{part.number} w JOIN row_{part.number} a ON {same}"


def differs(kind: str, one: str, other: str) -> str:
    """Whether two values of a type are not the same."""
    if kind not in _EXACT:  # bytes: a collation may take two texts for the same
        one, other = f'({one})::text COLLATE "C"', f'({other})::text COLLATE "C"'
    return f"{one} IS DISTINCT FROM {other}"


def _twins(scope: Scope, part: Part) -> str:
    """Wanted rows whose key is live with other values: place, key, and which columns differ."""
    tests = [
        (name, differs(part.table.live[name].kind, column_of("a", name), column_of("l", name)))
        for name in part.compared
    ]
    names = ", ".join(f"CASE WHEN {test} THEN {literal(name)} END" for name, test in tests)
    condition = " OR ".join(test for _, test in tests) or "false"
    return (
        f'SELECT a."ops o" AS o, a."ops r" AS r, {key_text(part, "a")} AS key, '
        f"array_to_string(ARRAY[{names}]::text[], ', ') AS columns "
        f"FROM {_candidates(part)} JOIN {scope.facts.live_source(part.name)} l ON {same_key(part)} "
        f"WHERE {condition}"
    )


def _new(scope: Scope, part: Part) -> str:
    """Wanted rows that are only there. Without a key: as many of each as live has fewer."""
    live = scope.facts.live_source(part.name)
    if part.key is not None:
        return (
            f'SELECT {part.number} AS t, a."ops o" AS o, a."ops r" AS r FROM {_candidates(part)} '
            f"WHERE NOT EXISTS (SELECT FROM {live} l WHERE {same_key(part)})"
        )
    names = list(part.carried)
    here = ", ".join(column_of("a", name) for name in names)
    there = ", ".join(column_of("l", name) for name in names)
    return (
        f"SELECT {part.number} AS t, n.o, n.r FROM "
        f'(SELECT a."ops o" AS o, a."ops r" AS r, ROW({here})::text AS whole, '
        f"row_number() OVER (PARTITION BY ROW({here})::text) AS place FROM row_{part.number} a) n "
        f"LEFT JOIN (SELECT ROW({there})::text AS whole, count(*) AS number FROM {live} l GROUP BY 1) h "
        "USING (whole) WHERE n.place > coalesce(h.number, 0)"
    )


def _points_to(link: ForeignKey, parent: str, child: str, *, expressions: Sequence[str] = ()) -> str:
    values = expressions or [column_of(child, name) for name in link.columns]
    return " AND ".join(
        f"{column_of(parent, name)} {operator} {value}"
        for name, operator, value in zip(link.parent_columns, link.operators, values, strict=True)
    )


def _not_live(scope: Scope, link: ForeignKey) -> str:
    """That a row `a` points somewhere, and live has no row there."""
    somewhere = " AND ".join(f"{column_of('a', name)} IS NOT NULL" for name in link.columns)
    source = scope.facts.any_source(link.parent_schema, link.parent)
    return f"{somewhere} AND NOT EXISTS (SELECT FROM {source} l WHERE {_points_to(link, 'l', 'a')})"


def _along(scope: Scope, link: ForeignKey) -> str | None:
    """The rows that a row `c` needs by one foreign key: live lacks them and they were set aside."""
    child, parent = scope.part(link.table), scope.parent(link)
    if child is None or parent is None:
        return None
    return (
        f'SELECT {parent.number} AS t, p."ops o" AS o, p."ops r" AS r '
        f"FROM row_{child.number} a JOIN row_{parent.number} p ON {_points_to(link, 'p', 'a')} "
        f"WHERE c.t = {child.number} AND {at_place(child, 'c')} AND {_not_live(scope, link)}"
    )


def taken(scope: Scope, part: Part, key: UniqueKey, found: str, *, origins: str) -> str:
    """Rows that come whose value another live row has in a unique index: place, key, the live row's key."""
    names, columns = _named(key)
    condition = f" WHERE {key.condition}" if key.condition else ""
    equal = " AND ".join(
        f"(h.{name} {operator} n.{name}"
        + (f" OR (h.{name} IS NULL AND n.{name} IS NULL))" if key.nulls_equal else ")")
        for name, operator in zip(columns, key.operators, strict=True)
    )
    another = f"NOT ({same_key(part, 'h', 'n')})" if part.key else "true"
    own = "".join(f"{ident(name)}, " for name in part.key.columns) if part.key else ""
    return (
        f'SELECT n."ops o" AS o, n."ops r" AS r, {key_text(part, "n")} AS key, '
        f"{key_text(part, 'h')} AS other "
        f'FROM {found} f JOIN (SELECT "ops o", "ops r", {own}{names} FROM row_{part.number}{condition}) n '
        f"ON {at_place(part, row='n')} "
        f"JOIN (SELECT {own}{names} FROM {scope.facts.live_source(part.name)} l{condition}) h "
        f"ON {equal} AND {another} WHERE f.t = {part.number} AND f.origin IN ({origins})"
    )


def _named(key: UniqueKey) -> tuple[str, list[str]]:
    """What a unique index is over as a list to select, and the names that it has there."""
    names = [f'"ops u{number}"' for number in range(len(key.expressions))]
    values = zip(key.expressions, names, strict=True)
    return ", ".join(f"{value} AS {name}" for value, name in values), names


def found_names(scope: Scope) -> list[str]:
    """The names of a WITH RECURSIVE, the last of which is `found(t, o, r, origin)`.

    origin: 'new' wanted and only there; 'changed' differs, to be written over the live row; 'along' needed by
    another; 'kept' stays behind, since another live row has its place in a unique index.
    """
    chosen = [part for part in scope.parts if part.wanted]
    new = " UNION ALL ".join(_new(scope, part) for part in chosen)
    names = [*row_names(scope, scope.parts), *wanted_names(scope.parts)]
    names += [
        f"twin_{part.number} AS MATERIALIZED ({_twins(scope, part)})"
        for part in chosen
        if part.key is not None
    ]
    changed = [
        f"SELECT {part.number} AS t, o, r, 'changed' AS origin FROM twin_{part.number}"
        for part in chosen
        if part.key is not None and scope.conflicts == "replace"
    ]
    roots = " UNION ALL ".join([f"SELECT t, o, r, 'new' AS origin FROM ({new}) n", *changed])
    names.append(f"root AS MATERIALIZED ({roots})")
    along = [query for link in scope.links if (query := _along(scope, link)) is not None]
    if along:
        step = " UNION ALL ".join(along)
        names.append(
            f"coming(t, o, r) AS (SELECT t, o, r FROM root UNION "
            f"SELECT p.t, p.o, p.r FROM coming c CROSS JOIN LATERAL ({step}) p)"
        )
    else:
        names.append("coming(t, o, r) AS (SELECT t, o, r FROM root)")
    names.append(
        "every AS MATERIALIZED (SELECT t, o, r, coalesce(root.origin, 'along') AS origin "
        "FROM coming LEFT JOIN root USING (t, o, r))"
    )
    kept = _kept(scope) if scope.conflicts == "keep" else ""
    if kept:
        names.append(f"kept AS MATERIALIZED ({kept})")
        names.append(
            "found AS MATERIALIZED (SELECT t, o, r, CASE WHEN kept.o IS NULL THEN origin ELSE 'kept' END "
            "AS origin FROM every LEFT JOIN kept USING (t, o, r))"
        )
    else:
        names.append("found AS MATERIALIZED (SELECT t, o, r, origin FROM every)")
    return names


def _kept(scope: Scope) -> str:
    return " UNION ".join(
        f"SELECT {part.number} AS t, o, r FROM ({taken(scope, part, key, 'every', origins=ALL_COMING)}) x"
        for part in scope.parts
        for key in part.other_keys
    )


ALL_COMING: Final = "'new', 'along', 'changed', 'kept'"
WRITTEN: Final = "'new', 'along', 'changed'"


def keep_query(scope: Scope) -> str:
    """The statement that keeps what was found for the rest of the transaction."""
    return (
        f"CREATE TEMPORARY TABLE {FOUND} ON COMMIT DROP AS "
        f"WITH RECURSIVE {', '.join(found_names(scope))} SELECT t, o, r, origin FROM found"
    )


def report_query(scope: Scope, *, kept: bool = False) -> str:
    """Everything that a plan says of the rows: `what, table's number, name, count, examples`.

    + kept: from what `keep_query` has kept, instead of finding it anew
    """
    if kept:
        chosen = [part for part in scope.parts if part.wanted and part.key is not None]
        names = [*row_names(scope, scope.parts), *wanted_names(scope.parts)]
        names += [f"twin_{part.number} AS MATERIALIZED ({_twins(scope, part)})" for part in chosen]
        names.append(f"found AS NOT MATERIALIZED (SELECT t, o, r, origin FROM {FOUND})")
    else:
        names = found_names(scope)
    answers = ["SELECT 'found ' || origin, t, '', count(*), NULL::text[] FROM found GROUP BY origin, t"]
    for number, (what, part, name, query) in enumerate(_checks(scope)):
        names.append(f"check_{number} AS MATERIALIZED ({query})")
        answers.append(
            f"SELECT {literal(what)}, {part.number}, {literal(name)}, "
            f"(SELECT count(*) FROM check_{number}), "
            f"ARRAY(SELECT example FROM check_{number} ORDER BY length(example), example LIMIT {EXAMPLES})"
        )
    for part in scope.parts:
        if part.wanted:
            answers.append(
                f"SELECT 'wanted', {part.number}, '', (SELECT count(*) FROM {_candidates(part)}), NULL"
            )
    return f"WITH RECURSIVE {', '.join(names)} {' UNION ALL '.join(answers)}"


def _checks(scope: Scope) -> list[tuple[str, Part, str, str]]:
    """What is looked at: its word, the table, what it is called, and a query for its examples."""
    found: list[tuple[str, Part, str, str]] = []
    for part in scope.parts:
        if part.wanted and part.key is not None:
            twins = f"SELECT key || ' (' || columns || ')' AS example FROM twin_{part.number}"
            found.append(("differs", part, part.key.name, twins))
        if part.keys is not None:
            found.append(("unknown", part, "", _unknown(part)))
        along = (
            f"SELECT {key_text(part, 'a')} AS example FROM found f JOIN row_{part.number} a "
            f"ON {at_place(part)} WHERE f.t = {part.number} AND f.origin = 'along'"
        )
        found.append(("along", part, "", along))
        for key in part.other_keys:
            query = taken(scope, part, key, "found", origins=ALL_COMING)
            found.append(
                ("taken", part, key.name, f"SELECT key || ' / ' || other AS example FROM ({query}) x")
            )
            if not part.unique_there(key):
                found.append(("meet", part, key.name, _meet(part, key)))
        found += [
            ("empty", part, name, _empty(part, name))
            for name in part.carried
            if part.table.live[name].required and name in part.table.may_be_null
        ]
    for link in scope.links:
        child = scope.part(link.table)
        if child is not None:
            found.append(("orphan", child, link.name, _orphans(scope, link, child)))
    return found


def _unknown(part: Part) -> str:
    assert part.key is not None
    text = "concat_ws(' ', " + ", ".join(f"w.{ident(name)}::text" for name in part.key.columns) + ")"
    return (
        f"SELECT {text} AS example FROM wanted_{part.number} w WHERE NOT EXISTS "
        f"(SELECT FROM row_{part.number} a WHERE {same_key(part, 'w')})"
    )


def _meet(part: Part, key: UniqueKey) -> str:
    """Values of a unique index that several rows that come have."""
    names, columns = _named(key)
    there = "".join(f" AND n.{name} IS NOT NULL" for name in columns)
    condition = f" WHERE {key.condition}" if key.condition else ""
    own = key_text(part, "a")
    return (
        "SELECT string_agg(key, ', ') AS example FROM "
        f'(SELECT "ops o" AS o, "ops r" AS r, {own} AS key, {names} FROM row_{part.number} a{condition}) n '
        f"JOIN found f ON n.o = f.o AND n.r = f.r WHERE f.t = {part.number} AND f.origin IN ({WRITTEN})"
        f"{'' if key.nulls_equal else there} GROUP BY {', '.join(columns)} HAVING count(*) > 1"
    )


def _coming(part: Part) -> str:
    return (
        f"found f JOIN row_{part.number} a ON {at_place(part)} "
        f"WHERE f.t = {part.number} AND f.origin IN ({WRITTEN})"
    )


def _empty(part: Part, name: str) -> str:
    return f"SELECT {key_text(part, 'a')} AS example FROM {_coming(part)} AND {column_of('a', name)} IS NULL"


def _orphans(scope: Scope, link: ForeignKey, child: Part) -> str:
    """Rows that come and point to a row that is neither live nor among those that come."""
    value = "concat_ws(' ', " + ", ".join(f"{column_of('a', name)}::text" for name in link.columns) + ")"
    query = (
        f"SELECT {key_text(child, 'a')} || {literal(' (' + ', '.join(link.columns) + ' ')} || {value} || ')' "
        f"AS example FROM {_coming(child)} AND {_not_live(scope, link)}"
    )
    parent = scope.parent(link)
    if parent is None:
        return query
    # What was set aside comes along, but for what is kept behind. NOT IN, since it is hashed: found is a
    # result without statistics, and a join with it may be planned as one row after the other.
    behind = (
        f' AND (p."ops o", p."ops r") NOT IN '
        f"(SELECT g.o, g.r FROM found g WHERE g.t = {parent.number} AND g.origin = 'kept')"
        if scope.conflicts == "keep"
        else ""
    )
    return query + (
        f" AND NOT EXISTS (SELECT FROM row_{parent.number} p WHERE {_points_to(link, 'p', 'a')}{behind})"
    )


def live_table(scope: Scope, part: Part) -> str:
    """The live table's name, for writing."""
    return qualified(scope.facts.schema, part.name)
