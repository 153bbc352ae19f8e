"""Who depends on whom, object by object, across and within schemas.

pg_depend records parts (a view's rule, a column's default, a constraint, a row type). Here each part is
lifted to the object that a person knows and that a statement moves or drops: its table, view, type, function.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from tasks.postgres.connection import Connection
from tasks.postgres.sql import literal


@dataclass(frozen=True, slots=True)
class Thing:
    """An object of the database.

    + catalog, oid: its identity for the server (`pg_class`, 16412)
    + kind, identity: as the server names it: "materialized view", `public.m_totals`
    + schema, owner: where it is and whose it is; schema is "" for what is in none
    + extension: it belongs to an extension
    """

    catalog: str
    oid: int
    kind: str
    identity: str
    schema: str
    owner: str
    extension: bool

    @property
    def key(self) -> tuple[str, int]:
        """What tells it from every other object of this database."""
        return self.catalog, self.oid

    @property
    def title(self) -> str:
        """How a person is told of it: `view audit.v_log`."""
        return f"{self.kind} {self.identity}"


@dataclass(frozen=True, slots=True)
class Edge:
    """`dependent` needs `referenced`, through one of its parts.

    + via: "foreign key", "check", "generated column", "default", "index", "rule", "trigger", "policy",
      "publication", "" (as a whole)
    """

    dependent: Thing
    referenced: Thing
    via: str


# Objects of the system have numbers below 16384 (FirstNormalObjectId): none of them is asked about.
_EDGES: Final = """
with ranges as (
  select rngtypid, (to_jsonb(r) ->> 'rngmultitypid')::oid as multirange from pg_range r
),
part(classid, objid, topclass, topobj, via) as (
  select 'pg_rewrite'::regclass, oid, 'pg_class'::regclass, ev_class, 'rule' from pg_rewrite
  union all select 'pg_trigger'::regclass, oid, 'pg_class'::regclass, tgrelid, 'trigger'
    from pg_trigger where not tgisinternal
  union all select 'pg_policy'::regclass, oid, 'pg_class'::regclass, polrelid, 'policy' from pg_policy
  union all select 'pg_attrdef'::regclass, f.oid, 'pg_class'::regclass, f.adrelid,
         case when a.attgenerated <> '' then 'generated column' else 'default' end
    from pg_attrdef f join pg_attribute a on a.attrelid = f.adrelid and a.attnum = f.adnum
  union all select 'pg_constraint'::regclass, oid,
         case when conrelid <> 0 then 'pg_class'::regclass else 'pg_type'::regclass end,
         case when conrelid <> 0 then conrelid else contypid end,
         case contype when 'f' then 'foreign key' when 'c' then 'check' when 't' then 'trigger'
                      else 'index' end
    from pg_constraint where conrelid <> 0 or contypid <> 0
  union all select 'pg_class'::regclass, indexrelid, 'pg_class'::regclass, indrelid, 'index' from pg_index
  union all select 'pg_class'::regclass, oid, 'pg_type'::regclass, reltype, '' from pg_class
             where relkind = 'c'
  union all select 'pg_type'::regclass, t.oid, 'pg_class'::regclass, t.typrelid, ''
    from pg_type t join pg_class c on c.oid = t.typrelid where c.relkind <> 'c'
  union all select 'pg_type'::regclass, a.oid,
         case when c.oid is not null then 'pg_class'::regclass else 'pg_type'::regclass end,
         coalesce(c.oid, m.rngtypid, e.oid), ''
    from pg_type e join pg_type a on a.oid = e.typarray
    left join ranges m on m.multirange = e.oid
    left join pg_class c on c.oid = e.typrelid and c.relkind <> 'c'
  union all select 'pg_class'::regclass, d.objid, 'pg_class'::regclass, d.refobjid, ''
    from pg_depend d join pg_class s on s.oid = d.objid and s.relkind = 'S'
   where d.classid = 'pg_class'::regclass and d.refclassid = 'pg_class'::regclass
     and d.refobjsubid > 0 and d.deptype in ('a', 'i')
  union all select 'pg_publication_rel'::regclass, oid, 'pg_publication'::regclass, prpubid, 'publication'
    from pg_publication_rel
  union all select 'pg_type'::regclass, multirange, 'pg_type'::regclass, rngtypid, '' from ranges
  union all select d.classid, d.objid, 'pg_type'::regclass, r.rngtypid, ''
    from pg_depend d join ranges r on d.refobjid in (r.rngtypid, r.multirange)
   where d.classid in ('pg_proc'::regclass, 'pg_cast'::regclass)
     and d.refclassid = 'pg_type'::regclass and d.deptype = 'i'
),
place(classid, objid, ns, owner) as (
  select 'pg_class'::regclass::oid, oid, relnamespace, relowner
    from pg_class where oid >= 16384
  union all select 'pg_type'::regclass, oid, typnamespace, typowner
    from pg_type where oid >= 16384
  union all select 'pg_proc'::regclass, oid, pronamespace, proowner
    from pg_proc where oid >= 16384
  union all select 'pg_operator'::regclass, oid, oprnamespace, oprowner
    from pg_operator where oid >= 16384
  union all select 'pg_opclass'::regclass, oid, opcnamespace, opcowner
    from pg_opclass where oid >= 16384
  union all select 'pg_opfamily'::regclass, oid, opfnamespace, opfowner
    from pg_opfamily where oid >= 16384
  union all select 'pg_collation'::regclass, oid, collnamespace, collowner
    from pg_collation where oid >= 16384
  union all select 'pg_conversion'::regclass, oid, connamespace, conowner
    from pg_conversion where oid >= 16384
  union all select 'pg_statistic_ext'::regclass, oid, stxnamespace, stxowner
    from pg_statistic_ext where oid >= 16384
  union all select 'pg_ts_config'::regclass, oid, cfgnamespace, cfgowner
    from pg_ts_config where oid >= 16384
  union all select 'pg_ts_dict'::regclass, oid, dictnamespace, dictowner
    from pg_ts_dict where oid >= 16384
  union all select 'pg_publication'::regclass, oid, 0, pubowner
    from pg_publication where oid >= 16384
  union all select 'pg_event_trigger'::regclass, oid, 0, evtowner
    from pg_event_trigger where oid >= 16384
  union all select 'pg_cast'::regclass, oid, 0, 10
    from pg_cast where oid >= 16384
  union all select 'pg_transform'::regclass, oid, 0, 10
    from pg_transform where oid >= 16384
),
scope(ns) as (select oid from pg_namespace where nspname = any(%(schemas)s)),
lifted as (
  select distinct coalesce(p.topclass, d.classid) as dc, coalesce(p.topobj, d.objid) as dobj,
         coalesce(q.topclass, d.refclassid) as rc, coalesce(q.topobj, d.refobjid) as robj,
         coalesce(p.via, '') as via
    from pg_depend d
    left join part p on p.classid = d.classid and p.objid = d.objid
    left join part q on q.classid = d.refclassid and q.objid = d.refobjid
   where d.deptype in ('n', 'a', 'i') and d.refclassid <> 'pg_namespace'::regclass
     and d.objid >= 16384 and d.refobjid >= 16384
)
select dc::regclass::text, dobj, di.type, di.identity, coalesce(dn.nspname, ''), pg_get_userbyid(dp.owner),
       exists (select from pg_depend e where e.classid = dc and e.objid = dobj and e.deptype = 'e'),
       rc::regclass::text, robj, ri.type, ri.identity, coalesce(rn.nspname, ''), pg_get_userbyid(rp.owner),
       exists (select from pg_depend e where e.classid = rc and e.objid = robj and e.deptype = 'e'),
       via
  from lifted
  join place dp on dp.classid = dc and dp.objid = dobj
  join place rp on rp.classid = rc and rp.objid = robj
  left join pg_namespace dn on dn.oid = dp.ns
  left join pg_namespace rn on rn.oid = rp.ns
  cross join lateral pg_identify_object(dc, dobj, 0) di
  cross join lateral pg_identify_object(rc, robj, 0) ri
 where (dc, dobj) <> (rc, robj)
   and (dp.ns in (select ns from scope) or rp.ns in (select ns from scope))
   and coalesce(dn.nspname, '') !~ '^pg_' and coalesce(rn.nspname, '') !~ '^pg_'
"""


def edges_query(schemas: Iterable[str]) -> str:
    """The query of `edges`, to be sent in one message with others."""
    return _EDGES.replace("%(schemas)s", f"array[{', '.join(literal(schema) for schema in schemas)}]")


def edges_everywhere_query() -> str:
    """The same for all schemas but the system's own."""
    return _EDGES.replace(
        "%(schemas)s", "array(select nspname from pg_namespace where nspname !~ '^(pg_|information_schema$)')"
    )


def edges_of(rows: Iterable[Sequence[object]]) -> tuple[Edge, ...]:
    """What the query's rows say."""
    return tuple(
        Edge(_thing(row[0:7]), _thing(row[7:14]), str(row[14])) for row in (tuple(row) for row in rows)
    )


def _thing(values: Sequence[object]) -> Thing:
    catalog, oid, kind, identity, schema, owner, extension = values
    return Thing(
        str(catalog), int(str(oid)), str(kind), str(identity), str(schema), str(owner), extension is True
    )


def edges(connection: Connection, schemas: Iterable[str]) -> tuple[Edge, ...]:
    """Every dependency that begins or ends in one of the schemas, the system's own left out."""
    return edges_of(connection.execute(edges_query(schemas).encode()).fetchall())
