"""What other roles may do, carried over: the same after a swap as before it.

Archives made without privileges hold none, and default privileges of the live schema don't reach tables
made in another, so grants are read from the live objects and given on those of the same name that take their
place.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from tasks.postgres.connection import Connection, results
from tasks.postgres.sql import ident, literal, qualified

_OWN_SCHEMA: Final = "\x01"


@dataclass(frozen=True, slots=True, order=True)
class Grant:
    """One privilege of one role on one object that the role doesn't own.

    + kind: "TABLE" (views too), "SEQUENCE", "FUNCTION", "PROCEDURE", "TYPE"
    + name: without the schema; a function's with its argument types
    + column: of a grant on a column, "" else
    + role: "" is everybody (PUBLIC)
    + privilege: "SELECT", "UPDATE"...
    + grantable: with grant option
    """

    kind: str
    name: str
    column: str
    role: str
    privilege: str
    grantable: bool

    @property
    def title(self) -> str:
        """How a person is told of it."""
        name = self.name.replace(_OWN_SCHEMA, "")
        where = f"{name}.{self.column}" if self.column else name
        return f"{self.privilege} on {where} to {self.role or 'everybody'}"

    @property
    def role_sql(self) -> str:
        """The role in a statement."""
        return ident(self.role) if self.role else "PUBLIC"


# A function's name is given with its argument types, those of its own schema after a mark (chr(1)) in place
# of the schema: the same function has the same name on either side.
GRANTS_IN: Final = """
with mine as (
  select c.oid, case c.relkind when 'S' then 'SEQUENCE' else 'TABLE' end as kind, c.relname::text as name,
         c.relowner as owner, c.relacl as acl,
         acldefault(case c.relkind when 'S' then 's'::"char" else 'r'::"char" end, c.relowner) as usual
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
   where n.nspname = {schema} and c.relkind in ('r', 'v', 'm', 'S', 'p', 'f')
     and not exists (select from pg_depend e where e.classid = 'pg_class'::regclass and e.objid = c.oid
                        and e.deptype = 'e')
     and pg_has_role(c.relowner, 'USAGE')
),
everything as (
  select kind, name, ''::text as sub, owner, coalesce(acl, usual) as acl from mine
  union all
  select m.kind, m.name, a.attname, m.owner, a.attacl from mine m join pg_attribute a on a.attrelid = m.oid
   where a.attacl is not null and a.attnum > 0 and not a.attisdropped
  union all
  select case p.prokind when 'p' then 'PROCEDURE' else 'FUNCTION' end,
         quote_ident(p.proname) || '(' || coalesce((
           select string_agg(case when t.typnamespace = p.pronamespace and not exists (
                    select from pg_depend e where e.classid = 'pg_type'::regclass
                       and e.objid in (t.oid, t.typelem) and e.deptype = 'e')
                  then chr(1) || quote_ident(t.typname) else format_type(t.oid, null) end, ', ' order by at)
             from unnest(p.proargtypes) with ordinality u(type, at) join pg_type t on t.oid = u.type), '')
           || ')', '', p.proowner,
         coalesce(p.proacl, acldefault('f'::"char", p.proowner))
    from pg_proc p join pg_namespace n on n.oid = p.pronamespace
   where n.nspname = {schema} and p.prokind in ('f', 'p')
     and pg_has_role(p.proowner, 'USAGE')
     and not exists (select from pg_depend e where e.classid = 'pg_proc'::regclass and e.objid = p.oid
                        and e.deptype in ('e', 'i'))
  union all
  select 'TYPE', t.typname, '', t.typowner, coalesce(t.typacl, acldefault('T'::"char", t.typowner))
    from pg_type t join pg_namespace n on n.oid = t.typnamespace
    left join pg_class c on c.oid = t.typrelid
   where n.nspname = {schema} and t.typtype in ('e', 'd', 'c') and (c.oid is null or c.relkind = 'c')
     and pg_has_role(t.typowner, 'USAGE')
     and not exists (select from pg_depend e where e.classid = 'pg_type'::regclass and e.objid = t.oid
                        and e.deptype = 'e')
)
select kind, name, sub, case g.grantee when 0 then '' else pg_get_userbyid(g.grantee)::text end,
       g.privilege_type, g.is_grantable
  from everything, lateral aclexplode(acl) g
 where g.grantee <> owner
 order by 1, 2, 3, 4, 5
"""


def grants_of(rows: Iterable[Sequence[object]]) -> tuple[Grant, ...]:
    """What the query's rows say."""
    return tuple(
        Grant(str(kind), str(name), str(column), str(role), str(privilege), grantable is True)
        for kind, name, column, role, privilege, grantable in rows
    )


def read_grants(connection: Connection, *schemas: str) -> list[tuple[Grant, ...]]:
    """The grants in each schema, in one message."""
    return [
        grants_of(rows)
        for rows in results(
            connection, ";".join(GRANTS_IN.format(schema=literal(schema)) for schema in schemas)
        )
    ]


def carry_over(
    live: Iterable[Grant], there: Iterable[Grant], *, schema: str, same_named: Iterable[tuple[str, str]]
) -> list[str]:
    """The statements that make the grants in `schema` those of the live objects of the same name.

    + live, there: the grants now, on either side
    + schema: where `there` is, and what the statements name
    + same_named: (kind, name) of the objects that both sides have; others keep what default privileges gave
    """
    both = set(same_named)
    wanted = {grant for grant in live if (grant.kind, grant.name) in both}
    given = {grant for grant in there if (grant.kind, grant.name) in both}
    statements = [
        f"REVOKE {_what(grant)} ON {_on(grant, schema)} FROM {grant.role_sql} CASCADE"
        for grant in sorted(given - wanted)
    ]
    for grant in sorted(wanted - given):
        option = " WITH GRANT OPTION" if grant.grantable else ""
        statements.append(f"GRANT {_what(grant)} ON {_on(grant, schema)} TO {grant.role_sql}{option}")
    return statements


def _what(grant: Grant) -> str:
    return f"{grant.privilege} ({ident(grant.column)})" if grant.column else grant.privilege


def _on(grant: Grant, schema: str) -> str:
    if grant.kind in ("FUNCTION", "PROCEDURE"):
        return f"{grant.kind} {ident(schema)}.{grant.name.replace(_OWN_SCHEMA, ident(schema) + '.')}"
    return f"{grant.kind} {qualified(schema, grant.name)}"


DEFAULTS_IN: Final = """
select d.defaclobjtype::text, case g.grantee when 0 then '' else pg_get_userbyid(g.grantee)::text end,
       g.privilege_type, g.is_grantable
  from pg_default_acl d join pg_namespace n on n.oid = d.defaclnamespace, lateral aclexplode(d.defaclacl) g
 where n.nspname = {schema} and pg_get_userbyid(d.defaclrole) = current_user
   and g.grantee <> d.defaclrole
 order by 1, 2, 3
"""

_DEFAULT_KINDS: Final = {"r": "TABLES", "S": "SEQUENCES", "f": "FUNCTIONS", "T": "TYPES"}


def default_privileges(rows: Iterable[Sequence[object]], schema: str) -> list[str]:
    """The statements that give another schema the default privileges that `DEFAULTS_IN` has read."""
    statements = []
    for kind, role, privilege, grantable in rows:
        if str(kind) not in _DEFAULT_KINDS:
            continue
        grantee = ident(str(role)) if role else "PUBLIC"
        option = " WITH GRANT OPTION" if grantable is True else ""
        statements.append(
            f"ALTER DEFAULT PRIVILEGES IN SCHEMA {ident(schema)} "
            f"GRANT {privilege} ON {_DEFAULT_KINDS[str(kind)]} TO {grantee}{option}"
        )
    return statements
