"""Is what was staged whole, and does it stand on its own? Conditions that hold before a stage may go live."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from tasks.core.errors import Refused
from tasks.core.wording import number_of
from tasks.postgres.connection import Connection, results
from tasks.postgres.dependencies import Edge, Thing, edges_of, edges_query
from tasks.postgres.load import loaded_rows
from tasks.postgres.sql import ident, literal
from tasks.postgres.stage_plan import StagePlan

# Objects by kind, as a table of contents counts them; not an extension's, nor the parts of a range type.
_COUNTS: Final = """
with member as (select classid, objid from pg_depend where deptype = 'e'
                union all select classid, objid from pg_depend
                 where deptype = 'i' and classid = 'pg_proc'::regclass and refclassid = 'pg_type'::regclass),
relation as (select oid, relkind from pg_class c where relnamespace = {namespace}::regnamespace
             and not exists (select from member where classid = 'pg_class'::regclass and objid = c.oid))
select case relkind when 'v' then 'VIEW' when 'm' then 'MATERIALIZED VIEW' when 'S' then 'SEQUENCE'
                    else 'TABLE' end, count(*)
  from relation where relkind in ('r', 'p', 'v', 'm', 'S') group by 1
union all select case typtype when 'd' then 'DOMAIN' else 'TYPE' end, count(*) from pg_type t
 where typnamespace = {namespace}::regnamespace
   and (typtype in ('e', 'd', 'r') or (typtype = 'c' and exists (
        select from pg_class c where c.oid = t.typrelid and c.relkind = 'c')))
   and not exists (select from member where classid = 'pg_type'::regclass and objid = t.oid) group by 1
union all select case prokind when 'p' then 'PROCEDURE' when 'a' then 'AGGREGATE' else 'FUNCTION' end,
       count(*)
  from pg_proc p where pronamespace = {namespace}::regnamespace
   and not exists (select from member where classid = 'pg_proc'::regclass and objid = p.oid) group by 1
union all select case contype when 'f' then 'FK CONSTRAINT' else 'CONSTRAINT' end, count(*)
  from pg_constraint k join relation r on r.oid = k.conrelid
 where contype in ('p', 'u', 'x') or (contype = 'f' and conparentid = 0) group by 1
union all select 'INDEX', count(*) from pg_index i join relation r on r.oid = i.indrelid
 where not exists (select from pg_constraint k where k.conindid = i.indexrelid
                      and k.contype in ('p', 'u', 'x'))
union all select 'TRIGGER', count(*) from pg_trigger t join relation r on r.oid = t.tgrelid
 where not t.tgisinternal and coalesce(to_jsonb(t) ->> 'tgparentid', '0') = '0'
union all select 'POLICY', count(*) from pg_policy p join relation r on r.oid = p.polrelid
union all select 'STATISTICS', count(*) from pg_statistic_ext where stxnamespace = {namespace}::regnamespace
"""

_UNFIT: Final = """
select 'index ' || i.indexrelid::regclass::text || ' is not valid' from pg_index i
  join pg_class c on c.oid = i.indexrelid
 where c.relnamespace = {namespace}::regnamespace and not (i.indisvalid and i.indisready)
"""

# Functions whose body is text: the server doesn't know what they read.
_STRING_BODIES: Final = """
select p.oid::int8 from (select * from pg_proc where oid >= 16384 offset 0) p
  join pg_language l on l.oid = p.prolang
 where l.lanname not in ('c', 'internal') and (to_jsonb(p) ->> 'prosqlbody') is null
   and not exists (select from pg_depend e where e.classid = 'pg_proc'::regclass and e.objid = p.oid
                      and e.deptype = 'e')
"""


@dataclass(frozen=True)
class Findings:
    """What the catalog says of a stage."""

    counts: Mapping[str, int]
    unfit: tuple[str, ...]
    edges: tuple[Edge, ...]
    string_bodies: frozenset[int]


def read_findings(connection: Connection, schema: str) -> Findings:
    """Read what the proofs need, in one message."""
    namespace = literal(ident(schema))
    counts, unfit, edges, bodies = results(
        connection,
        ";".join(
            [
                _COUNTS.format(namespace=namespace),
                _UNFIT.format(namespace=namespace),
                edges_query([schema]),
                _STRING_BODIES,
            ]
        ),
    )
    return Findings(
        {str(kind): int(count) for kind, count in counts},
        tuple(str(text) for (text,) in unfit),
        edges_of(edges),
        frozenset(int(oid) for (oid,) in bodies),
    )


def prove(connection: Connection, source: str, plan: StagePlan, loaded: Mapping[str, int]) -> None:
    """Raise Refused naming everything that is not as the archive says; nothing else is a proof."""
    findings = read_findings(connection, plan.schema)
    problems = [
        *row_problems(plan, loaded),
        *count_problems(plan.expected, findings.counts),
        *findings.unfit,
        *back_references(findings.edges, plan.schema, source),
        *(
            f"{thing.title} was filled through {function.title}, whose body is text and may read live data"
            for thing, function in filled_through_text(findings.edges, findings.string_bodies)
        ),
    ]
    if problems:
        raise Refused(
            "Proving the staged data",
            "; ".join(problems),
            next_step="restore with strategy=drop, or report this with the backup's name",
        )


def row_problems(plan: StagePlan, loaded: Mapping[str, int]) -> list[str]:
    """Tables whose rows are not those of the archive."""
    expected = loaded_rows(plan.tables)
    return [
        f"{name} has {number_of(loaded.get(name, 0), 'row')}, the archive {expected.get(name, 0):,}"
        for name in sorted(expected.keys() | loaded.keys())
        if loaded.get(name, 0) != expected.get(name, 0)
    ]


def count_problems(expected: Mapping[str, int], counted: Mapping[str, int]) -> list[str]:
    """Kinds of objects of which there are more or fewer than the archive has."""
    return [
        f"{number_of(counted.get(kind, 0), 'object')} of kind {kind}, the archive has {number:,}"
        for kind, number in expected.items()
        if counted.get(kind, 0) != number
    ]


def back_references(edges: Iterable[Edge], schema: str, source: str) -> list[str]:
    """What in the stage depends on something live that is not an extension's."""
    return sorted(
        {
            f"{edge.dependent.title} refers to the live {edge.referenced.title}"
            for edge in edges
            if edge.dependent.schema == schema
            and edge.referenced.schema == source
            and not edge.referenced.extension
        }
    )


def filled_through_text(edges: Collection[Edge], string_bodies: frozenset[int]) -> list[tuple[Thing, Thing]]:
    """Objects whose content was computed, while staging, by a function whose body is text.

    Such a body names live tables: what it read then was live data, and the server records no dependency. It
    reaches through views, and through functions whose own body is known to the server.
    """
    tainted: dict[tuple[str, int], Thing] = {
        edge.referenced.key: edge.referenced
        for edge in edges
        if edge.referenced.catalog == "pg_proc"
        and edge.referenced.oid in string_bodies
        and not edge.referenced.extension
    }
    while True:
        reached = {
            edge.dependent.key: tainted[edge.referenced.key]
            for edge in edges
            if edge.referenced.key in tainted
            and edge.dependent.key not in tainted
            and (edge.dependent.kind == "view" or (edge.dependent.catalog == "pg_proc" and edge.via == ""))
        }
        if not reached:
            break
        tainted |= reached
    found = {
        (edge.dependent, tainted[edge.referenced.key])
        for edge in edges
        if edge.referenced.key in tainted
        and (
            edge.via in ("check", "generated column", "index")
            or (edge.via == "rule" and edge.dependent.kind == "materialized view")
        )
    }
    return sorted(found, key=lambda pair: pair[0].identity)
