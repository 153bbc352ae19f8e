"""What both sides are: tables with their columns, unique keys, foreign keys and sequences. One message."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tasks.postgres.connection import Connection, results
from tasks.postgres.sql import ident, literal, qualified

Way = Literal["same", "text", "cast"]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a live table.

    + kind: its type, as `integer`
    + required: it takes no NULL
    + filled: it has a default or an identity of its own
    + generated: its expression, where it is computed; "" elsewhere
    """

    name: str
    kind: str
    required: bool = False
    filled: bool = False
    generated: str = ""


@dataclass(frozen=True, slots=True)
class UniqueKey:
    """A unique index.

    + expressions: what it is over, as SQL with bare column names; operators: what equals means for each
    + columns: the columns where it is over columns alone; empty with an expression among them
    + needs: every column that it reads
    + condition: of a partial one; "" of another
    + nulls_equal: two NULLs are the same
    """

    name: str
    primary: bool
    expressions: tuple[str, ...]
    operators: tuple[str, ...]
    columns: tuple[str, ...]
    needs: frozenset[str]
    condition: str = ""
    nulls_equal: bool = False


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """A foreign key between tables, one of which is live.

    + operators: what equals means: referenced column first
    + on_delete: as in pg_constraint ("a" no action, "c" cascade, "n" set null ...)
    """

    name: str
    schema: str
    table: str
    columns: tuple[str, ...]
    parent_schema: str
    parent: str
    parent_columns: tuple[str, ...]
    operators: tuple[str, ...]
    on_delete: str = "a"


@dataclass(frozen=True, slots=True)
class Numbering:
    """A sequence that fills a live column."""

    table: str
    column: str
    sequence: str
    increment: int


@dataclass(frozen=True)
class Table:
    """A table of either side.

    + live: its columns; empty where live has no such table
    + aside: the types of its set-aside columns; empty where nothing of it was set aside
    + may_be_null: set-aside columns that take NULL
    + ways: how a value becomes one of the live column's type: as it is, through text, by a cast; a column
      of both sides that is not here can't be carried over
    + keys, aside_keys: unique indexes of each side
    + live_parts, aside_parts: it is partitioned there
    """

    name: str
    live: Mapping[str, Column]
    aside: Mapping[str, str]
    may_be_null: frozenset[str]
    ways: Mapping[str, Way]
    keys: tuple[UniqueKey, ...] = ()
    aside_keys: tuple[UniqueKey, ...] = ()
    live_parts: bool = False
    aside_parts: bool = False


@dataclass(frozen=True)
class Facts:
    """Both sides.

    + schema, aside: the live schema's name and that of what was set aside
    + tables: by name
    + foreign_keys: of live tables, and of others to live tables
    + numberings: sequences of live tables
    """

    schema: str
    aside: str
    tables: Mapping[str, Table]
    foreign_keys: tuple[ForeignKey, ...] = ()
    numberings: tuple[Numbering, ...] = ()

    def live_source(self, table: str) -> str:
        """The live rows of a table, for FROM: a partitioned one with its parts, another without heirs."""
        return _source(self.schema, table, self.tables[table].live_parts)

    def aside_source(self, table: str) -> str:
        """The same of what was set aside."""
        return _source(self.aside, table, self.tables[table].aside_parts)

    def any_source(self, schema: str, table: str) -> str:
        """The rows of a table of this schema or another."""
        if schema == self.schema and table in self.tables:
            return self.live_source(table)
        return qualified(schema, table)


def _source(schema: str, table: str, parts: bool) -> str:
    return qualified(schema, table) if parts else f"ONLY {qualified(schema, table)}"


_COLUMNS = """
with side as (
  select n.nspname, c.relname, c.relkind, a.attname, a.attnum, a.atttypid,
         format_type(a.atttypid, null) as kind, a.attnotnull, a.atthasdef or a.attidentity <> '' as filled,
         case when a.attgenerated <> '' then pg_get_expr(d.adbin, d.adrelid) else '' end as generated,
         t.typname, tn.nspname as type_schema, coalesce(nullif(t.typbasetype, 0), t.oid) as base
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    join pg_type t on t.oid = a.atttypid join pg_namespace tn on tn.oid = t.typnamespace
    left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
   where n.nspname in ({schema}, {aside}) and c.relkind in ('r', 'p') and not c.relispartition
     and pg_has_role(c.relowner, 'USAGE')
     and not exists (select from pg_depend e where e.classid = 'pg_class'::regclass and e.objid = c.oid
                        and e.deptype = 'e'))
select coalesce(l.relname, s.relname), coalesce(l.attname, s.attname), l.relkind, s.relkind,
       l.kind, l.attnotnull, l.filled, l.generated, s.kind, s.attnotnull,
       case when l.atttypid = s.atttypid then 'same'
            when l.typname = s.typname and l.type_schema = {schema} and s.type_schema = {aside} then 'text'
            when l.base = s.base
              or exists (select from pg_cast where castsource = s.base and casttarget = l.base
                            and castcontext in ('i', 'a')) then 'cast' end
  from (select * from side where nspname = {schema}) l
  full join (select * from side where nspname = {aside}) s using (relname, attname)
 order by 1, coalesce(l.attnum, s.attnum)"""

_KEYS = """
select n.nspname, c.relname, i.relname, x.indisprimary,
       array(select pg_get_indexdef(x.indexrelid, k, false)
               from generate_series(1, x.indnkeyatts) k order by k),
       array(select format('OPERATOR(%I.%s)', pn.nspname, o.oprname)
               from generate_series(1, x.indnkeyatts) k
               join pg_opclass oc on oc.oid = x.indclass[k - 1]
               join pg_amop ao on ao.amopfamily = oc.opcfamily and ao.amoplefttype = oc.opcintype
                              and ao.amoprighttype = oc.opcintype and ao.amopstrategy = 3
               join pg_operator o on o.oid = ao.amopopr join pg_namespace pn on pn.oid = o.oprnamespace
              order by k),
       array(select a.attname::text from generate_series(1, x.indnkeyatts) k
               join pg_attribute a on a.attrelid = x.indrelid and a.attnum = x.indkey[k - 1] and a.attnum > 0
              order by k),
       array(select a.attname::text from pg_depend d
               join pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
              where d.classid = 'pg_class'::regclass and d.objid = x.indexrelid
                and d.refclassid = 'pg_class'::regclass and d.refobjid = x.indrelid and d.refobjsubid > 0),
       coalesce(pg_get_expr(x.indpred, x.indrelid), ''),
       coalesce((to_jsonb(x) ->> 'indnullsnotdistinct')::bool, false)
  from pg_index x join pg_class c on c.oid = x.indrelid join pg_namespace n on n.oid = c.relnamespace
  join pg_class i on i.oid = x.indexrelid
 where x.indisunique and n.nspname in ({schema}, {aside}) and not c.relispartition and c.relkind in ('r', 'p')
 order by x.indisprimary desc, i.relname"""

_FOREIGN_KEYS = """
select p.conname, cn.nspname, c.relname, {names_of_conrelid}, fn.nspname, f.relname, {names_of_confrelid},
       array(select format('OPERATOR(%I.%s)', pn.nspname, o.oprname)
               from unnest(p.conpfeqop) with ordinality e(op, place)
               join pg_operator o on o.oid = e.op join pg_namespace pn on pn.oid = o.oprnamespace
              order by place),
       p.confdeltype
  from pg_constraint p
  join pg_class c on c.oid = p.conrelid join pg_namespace cn on cn.oid = c.relnamespace
  join pg_class f on f.oid = p.confrelid join pg_namespace fn on fn.oid = f.relnamespace
 where p.contype = 'f' and p.conparentid = 0 and {schema} in (cn.nspname, fn.nspname)
 order by c.relname, p.conname"""

_NAMES = """array(select a.attname::text from unnest(p.{numbers}) with ordinality k(number, place)
               join pg_attribute a on a.attrelid = p.{relation} and a.attnum = k.number order by place)"""

_NUMBERINGS = """
select distinct c.relname, a.attname, format('%I.%I', sn.nspname, s.relname), q.seqincrement
  from pg_sequence q join pg_class s on s.oid = q.seqrelid join pg_namespace sn on sn.oid = s.relnamespace
  join lateral (
    select d.refobjid as relation, d.refobjsubid as number from pg_depend d
     where d.classid = 'pg_class'::regclass and d.objid = s.oid and d.refclassid = 'pg_class'::regclass
       and d.refobjsubid > 0 and d.deptype in ('a', 'i')
    union all
    select f.adrelid, f.adnum from pg_depend d join pg_attrdef f on f.oid = d.objid
     where d.classid = 'pg_attrdef'::regclass and d.refclassid = 'pg_class'::regclass and d.refobjid = s.oid
  ) o on true
  join pg_class c on c.oid = o.relation join pg_namespace n on n.oid = c.relnamespace
  join pg_attribute a on a.attrelid = c.oid and a.attnum = o.number
 where n.nspname = {schema} and not c.relispartition and pg_has_role(s.relowner, 'USAGE')
 order by 1, 2"""


def queries(schema: str, aside: str) -> str:
    """The message whose answers `facts_of` reads."""
    words = {"schema": literal(schema), "aside": literal(aside)}
    foreign_keys = _FOREIGN_KEYS.format(
        names_of_conrelid=_NAMES.format(numbers="conkey", relation="conrelid"),
        names_of_confrelid=_NAMES.format(numbers="confkey", relation="confrelid"),
        **words,
    )
    return ";".join(
        [_COLUMNS.format(**words), _KEYS.format(**words), foreign_keys, _NUMBERINGS.format(**words)]
    )


def read_facts(connection: Connection, schema: str, aside: str) -> Facts:
    """Both sides, in one message."""
    return facts_of(schema, aside, results(connection, queries(schema, aside)))


@dataclass
class _Draft:
    live: dict[str, Column] = field(default_factory=dict)
    aside: dict[str, str] = field(default_factory=dict)
    may_be_null: set[str] = field(default_factory=set)
    ways: dict[str, Way] = field(default_factory=dict)
    live_parts: bool = False
    aside_parts: bool = False


def facts_of(schema: str, aside: str, answers: Sequence[Sequence[Sequence[Any]]]) -> Facts:
    """What the rows of `queries` say."""
    columns, keys, foreign_keys, numberings = answers
    drafts: dict[str, _Draft] = {}
    for table, name, kind_live, kind_aside, *rest in columns:
        draft = drafts.setdefault(table, _Draft())
        kind, required, filled, generated, kind_there, required_there, way = rest
        if kind_live is not None:
            draft.live[name] = Column(name, kind, required, filled, generated)
            draft.live_parts = draft.live_parts or _letter(kind_live) == "p"
        if kind_aside is not None:
            draft.aside[name] = kind_there
            draft.aside_parts = draft.aside_parts or _letter(kind_aside) == "p"
            if not required_there:
                draft.may_be_null.add(name)
        if way is not None:
            draft.ways[name] = way
    of_side = {side: _keys_by_table(row for row in keys if row[0] == side) for side in (schema, aside)}
    return Facts(
        schema,
        aside,
        {
            name: Table(
                name,
                draft.live,
                draft.aside,
                frozenset(draft.may_be_null),
                draft.ways,
                tuple(of_side[schema].get(name, ())),
                tuple(of_side[aside].get(name, ())),
                draft.live_parts,
                draft.aside_parts,
            )
            for name, draft in drafts.items()
        },
        tuple(
            ForeignKey(
                name,
                of,
                table,
                tuple(names),
                to,
                parent,
                tuple(parents),
                tuple(operators),
                _letter(on_delete),
            )
            for name, of, table, names, to, parent, parents, operators, on_delete in foreign_keys
        ),
        tuple(Numbering(table, column, sequence, int(step)) for table, column, sequence, step in numberings),
    )


def _keys_by_table(rows: Iterable[Sequence[Any]]) -> dict[str, list[UniqueKey]]:
    found: dict[str, list[UniqueKey]] = {}
    for _, table, name, primary, expressions, operators, columns, more, condition, nulls_equal in rows:
        plain = tuple(columns) if len(columns) == len(expressions) else ()
        found.setdefault(table, []).append(
            UniqueKey(
                name,
                primary,
                tuple(expressions),
                tuple(operators),
                plain,
                frozenset([*columns, *more]),
                condition,
                nulls_equal,
            )
        )
    return found


def _letter(value: object) -> str:
    """A catalog's one-letter code, which arrives as bytes or text."""
    return value.decode() if isinstance(value, bytes) else str(value)


def column_of(alias: str, name: str) -> str:
    """`l."name"`."""
    return f"{alias}.{ident(name)}"
