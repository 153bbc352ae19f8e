"""Views, rules, triggers and defaults of other schemas as statements that make them again.

A view is replaced in place, which keeps its owner, grants, comments and whatever depends on it. Where one of
its columns has a type that moves, PostgreSQL refuses that: such a view is dropped and made again with all
that it had, and so are the views over it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tasks.postgres.dependencies import Edge, Thing
from tasks.postgres.sql import ident, literal, qualified
from tasks.postgres.ties.model import DROP_IT, Need, Obstacle, Tie, Ties

# Of the relations asked for, and of all views over them: what they are, each part with its own definition.
_DETAILS: Final = """
with recursive asked(oid) as (
  select unnest(array[{oids}]::oid[])
  union
  select r.ev_class from asked a
    join pg_depend d on d.refclassid = 'pg_class'::regclass and d.refobjid = a.oid
     and d.classid = 'pg_rewrite'::regclass
    join pg_rewrite r on r.oid = d.objid where r.ev_class <> a.oid
),
ours(classid, objid) as (
  select 'pg_class'::regclass::oid, oid from pg_class where relnamespace = {schema}::regnamespace
  union all select 'pg_proc'::regclass, oid from pg_proc where pronamespace = {schema}::regnamespace
  union all select 'pg_type'::regclass, oid from pg_type where typnamespace = {schema}::regnamespace
)
select c.oid::int8, c.relkind::text, n.nspname, c.relname, pg_get_userbyid(c.relowner),
       pg_has_role(c.relowner, 'USAGE') and has_schema_privilege(n.oid, 'USAGE'),
       has_schema_privilege(n.oid, 'CREATE') and has_schema_privilege(c.relowner, n.oid, 'CREATE'),
       case when c.relkind = 'v' then pg_get_viewdef(c.oid) end,
       coalesce(to_json(c.reloptions), '[]'::json), coalesce(obj_description(c.oid, 'pg_class'), ''),
       (select coalesce(json_agg(json_build_array(a.attname, tn.nspname, t.typname, a.atttypmod,
                 coalesce(l.collname, ''), coalesce(col_description(c.oid, a.attnum), ''),
                 case when a.attgenerated = '' then coalesce(pg_get_expr(f.adbin, f.adrelid), '') else '' end,
                 exists (select from pg_depend d join ours o on o.classid = d.refclassid
                            and o.objid = d.refobjid
                          where d.classid = 'pg_attrdef'::regclass and d.objid = f.oid))
               order by a.attnum), '[]'::json)
          from pg_attribute a join pg_type t on t.oid = a.atttypid
          join pg_namespace tn on tn.oid = t.typnamespace
          left join pg_collation l on l.oid = a.attcollation
          left join pg_attrdef f on f.adrelid = a.attrelid and f.adnum = a.attnum
         where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped),
       (select coalesce(json_agg(json_build_array(r.rulename, pg_get_ruledef(r.oid),
                 coalesce(obj_description(r.oid, 'pg_rewrite'), '')) order by r.rulename), '[]'::json)
          from pg_rewrite r where r.ev_class = c.oid and r.rulename <> '_RETURN'),
       (select coalesce(json_agg(json_build_array(g.tgname, pg_get_triggerdef(g.oid), g.tgenabled::text,
                 coalesce(obj_description(g.oid, 'pg_trigger'), ''),
                 exists (select from pg_depend d join ours o on o.classid = d.refclassid
                            and o.objid = d.refobjid
                          where d.classid = 'pg_trigger'::regclass and d.objid = g.oid))
               order by g.tgname), '[]'::json)
          from pg_trigger g where g.tgrelid = c.oid and not g.tgisinternal
           and coalesce(to_jsonb(g) ->> 'tgparentid', '0') = '0'),
       (select coalesce(json_agg(json_build_array(g.sub, g.role, g.privilege_type, g.is_grantable)),
                        '[]'::json)
          from (select '' as sub,
                       case x.grantee when 0 then '' else pg_get_userbyid(x.grantee)::text end as role,
                       x.privilege_type, x.is_grantable from aclexplode(c.relacl) x
                union all
                select a.attname, case x.grantee when 0 then '' else pg_get_userbyid(x.grantee)::text end,
                       x.privilege_type, x.is_grantable
                  from pg_attribute a, lateral aclexplode(a.attacl) x where a.attrelid = c.oid) g),
       (select coalesce(json_agg(distinct case x.grantee when 0 then ''
                                          else pg_get_userbyid(x.grantee)::text end), '[]'::json)
          from pg_default_acl d, lateral aclexplode(d.defaclacl) x
         where d.defaclobjtype = 'r' and d.defaclnamespace in (0, n.oid)
           and pg_get_userbyid(d.defaclrole) = current_user),
       (select coalesce(jsonb_agg(distinct jsonb_build_array(s.relname, coalesce(a.attname, ''))), '[]')
          from pg_rewrite r join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid
          join pg_class s on d.refclassid = 'pg_class'::regclass and s.oid = d.refobjid
           and s.relnamespace = {schema}::regnamespace
          left join pg_attribute a on a.attrelid = s.oid and a.attnum = d.refobjsubid and a.attnum > 0
         where r.ev_class = c.oid)
  from asked join pg_class c using (oid) join pg_namespace n on n.oid = c.relnamespace
 order by c.oid
"""


def query(schema: str, oids: Iterable[int]) -> str:
    """The details of these relations and of all views over them, as rows of `Relation.of`."""
    numbers = ", ".join(str(int(oid)) for oid in oids)
    return _DETAILS.format(schema=literal(ident(schema)), oids=numbers)


@dataclass(frozen=True, slots=True)
class Relation:
    """A relation outside, with all that a statement can make again.

    + makeable: the role may create in its schema, and so may its owner
    + needs: (relation, column) of the schema that its rules name
    """

    oid: int
    relkind: str
    schema: str
    name: str
    owner: str
    usable: bool
    makeable: bool
    definition: str
    options: tuple[str, ...]
    comment: str
    columns: tuple[tuple[Any, ...], ...]
    rules: tuple[tuple[Any, ...], ...]
    triggers: tuple[tuple[Any, ...], ...]
    grants: tuple[tuple[Any, ...], ...]
    usual_roles: tuple[str, ...]
    needs: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, row: Sequence[Any]) -> Relation:
        """From a row of `query`."""
        oid, relkind, schema, name, owner, usable, makeable, definition, options, comment = row[:10]
        columns, rules, triggers, grants, usual, needs = row[10:]
        return cls(
            int(oid), str(relkind), str(schema), str(name), str(owner), bool(usable), bool(makeable),
            str(definition or "").strip().removesuffix(";"), tuple(options), str(comment),
            tuple(map(tuple, columns)), tuple(map(tuple, rules)), tuple(map(tuple, triggers)),
            tuple(map(tuple, grants)), tuple(usual), tuple(map(tuple, needs)),
        )  # fmt: skip

    @property
    def on(self) -> str:
        """In a statement."""
        return qualified(self.schema, self.name)

    @property
    def kind(self) -> str:
        """In words."""
        kinds = {"v": "view", "m": "materialized view", "f": "foreign table"}
        return kinds.get(self.relkind, "table")

    @property
    def shape(self) -> tuple[tuple[Any, ...], ...]:
        """Of each column: its name, the schema and name of its type, its modifier, its collation."""
        return tuple(column[:5] for column in self.columns)


@dataclass
class Plan:
    """What becomes of the relations outside.

    + judged: things that are taken up or refused here
    """

    ties: Ties = field(default_factory=Ties)
    judged: set[tuple[str, int]] = field(default_factory=set)


def plan(
    into: Collection[Edge],
    shown: Mapping[int, Relation],
    everywhere: Collection[Edge],
    moved: Collection[tuple[str, int]],
) -> Plan:
    """Plan how relations outside go with what comes in. Pure.

    + into: dependencies of things outside on what moves
    + shown: details of the relations among them and of the views over those, by oid
    + everywhere: all dependencies
    """
    vias: dict[tuple[str, int], set[str]] = {}
    reads: dict[tuple[str, int], set[str]] = {}
    for edge in into:
        if edge.dependent.oid in shown and edge.dependent.catalog == "pg_class":
            vias.setdefault(edge.dependent.key, set()).add(edge.via)
            reads.setdefault(edge.dependent.key, set()).add(edge.referenced.title)
    retyped = {
        key for key, found in vias.items() if shown[key[1]].relkind == "v" and "" in found
    }  # a column of a moved type
    again, stuck = _over(retyped, shown, everywhere)
    made = Plan()
    ties: list[Tie] = []
    obstacles: list[Obstacle] = []
    needs: list[Need] = []
    order = _ordered(again, everywhere)
    for key in [*order, *sorted(set(vias) - set(order))]:
        relation = shown[key[1]]
        problem = stuck.get(key) or _problem(
            relation, vias.get(key, set()), ", ".join(sorted(reads.get(key, ()))), again=key in again
        )
        if problem is None:
            continue  # nothing but a foreign key
        made.judged.add(key)
        if problem:
            obstacles.append(Obstacle(relation.kind, f"{relation.schema}.{relation.name}", problem, DROP_IT))
            continue
        ties.append(_made_again(relation) if key in again else _in_place(relation, vias[key]))
        needs += _needs(relation)
    notes = tuple(
        f"{edge.dependent.title} holds what {edge.referenced.title} showed before, until it is refreshed"
        for edge in everywhere
        if edge.dependent.kind == "materialized view"
        and edge.referenced.key in vias
        and edge.dependent.key not in vias
        and edge.dependent.key not in moved
    )
    made.ties = Ties(ties=tuple(ties), obstacles=tuple(obstacles), needs=tuple(needs), notes=notes)
    return made


def _problem(relation: Relation, vias: Collection[str], needed: str, *, again: bool) -> str | None:
    """Why the relation can't go with what comes in; "" where it can, None where nothing is to be done."""
    if vias and set(vias) <= {"foreign key"}:
        return None
    if relation.kind == "materialized view":
        return f"it is outside and is filled from {needed}, which can't be done again in an instant"
    if not relation.usable:
        return (
            f"it is outside, belongs to {relation.owner}, depends on {needed or 'a view that does'} "
            "and would follow it when that is set aside"
        )
    if relation.kind == "view" and not relation.makeable:
        return f"it would have to be made again, and we or {relation.owner} may not create in its schema"
    known = {"foreign key", "rule", "trigger", "default"}
    unknown = set(vias) - known - ({""} if again else set())
    if unknown:
        part = ", ".join(sorted(via for via in unknown if via)) or "a column's type or its parent table"
        return f"it is outside and depends on {needed} ({part}) and would follow it when that is set aside"
    return ""


def _over(
    retyped: Collection[tuple[str, int]], shown: Mapping[int, Relation], everywhere: Collection[Edge]
) -> tuple[set[tuple[str, int]], dict[tuple[str, int], str]]:
    """The views that have to be dropped and made again: these and those over them; and what forbids it."""
    again = set(retyped)
    stuck: dict[tuple[str, int], str] = {}
    while True:
        above: set[tuple[str, int]] = set()
        for edge in everywhere:
            if edge.referenced.key not in again or edge.dependent.key in again:
                continue
            if edge.dependent.kind == "view" and edge.via == "rule" and edge.dependent.oid in shown:
                above.add(edge.dependent.key)
            else:
                stuck[edge.referenced.key] = _needed_by(edge.dependent)
        if not above:
            return again, stuck
        again |= above


def _needed_by(thing: Thing) -> str:
    return f"a column has a type that is restored too, so it has to be made again, and {thing.title} needs it"


def _ordered(again: Collection[tuple[str, int]], everywhere: Iterable[Edge]) -> list[tuple[str, int]]:
    """Each view after those that it reads."""
    needed: dict[tuple[str, int], set[tuple[str, int]]] = {key: set() for key in again}
    for edge in everywhere:
        if edge.dependent.key in needed and edge.referenced.key in needed:
            needed[edge.dependent.key].add(edge.referenced.key)
    ordered: list[tuple[str, int]] = []
    while len(ordered) < len(needed):
        free = sorted(key for key, below in needed.items() if key not in ordered and below <= set(ordered))
        ordered += free or sorted(key for key in needed if key not in ordered)
    return ordered


def _needs(relation: Relation) -> list[Need]:
    """What the relation names of the schema, by relation there."""
    found: dict[str, set[str]] = {}
    for name, column in relation.needs:
        found.setdefault(name, set()).update({column} - {""})
    title = f"{relation.schema}.{relation.name}"
    return [Need(relation.kind, title, name, tuple(sorted(columns))) for name, columns in found.items()]


def _in_place(relation: Relation, vias: Collection[str]) -> Tie:
    """Statements that keep the relation and replace only what names the moved objects."""
    owner = f"ALTER VIEW {relation.on} OWNER TO {ident(relation.owner)}"  # changes nothing, but locks it
    view = relation.relkind == "v"
    statements = [f"CREATE OR REPLACE {_view(relation)}"] if view else []
    untie: list[str] = []
    if "rule" in vias:
        statements += [_rule(rule) for rule in relation.rules]
    for trigger in relation.triggers:
        if trigger[4]:
            untie.append(f"DROP TRIGGER {ident(trigger[0])} ON {relation.on}")
            statements += _trigger(relation, trigger)
    statements += [
        f"ALTER TABLE {relation.on} ALTER COLUMN {ident(column[0])} SET DEFAULT {column[6]}"
        for column in relation.columns
        if column[6] and column[7]
    ]
    return Tie(
        relation.kind,
        relation.schema,
        relation.name,
        f"{relation.kind} {relation.schema}.{relation.name}",
        lock=(owner,) if view else (),
        untie=tuple(untie),
        tie=tuple(statements),
        lockable=not view and relation.relkind in ("r", "p"),
        shape=relation.shape if view else (),
    )


def _made_again(relation: Relation) -> Tie:
    """Statements that drop a view and make it again with all that it had."""
    statements = [
        f"CREATE {_view(relation)}",
        f"ALTER VIEW {relation.on} OWNER TO {ident(relation.owner)}",
        *_comments(relation),
        *(
            f"ALTER VIEW {relation.on} ALTER COLUMN {ident(column[0])} SET DEFAULT {column[6]}"
            for column in relation.columns
            if column[6]
        ),
        *(_rule(rule) for rule in relation.rules),
        *(
            f"COMMENT ON RULE {ident(rule[0])} ON {relation.on} IS {literal(rule[2])}"
            for rule in relation.rules
            if rule[2]
        ),
        *(statement for trigger in relation.triggers for statement in _trigger(relation, trigger)),
        *_grants(relation),
    ]
    return Tie(
        "view",
        relation.schema,
        relation.name,
        f"view {relation.schema}.{relation.name}",
        lock=(f"DROP VIEW {relation.on} RESTRICT",),
        tie=tuple(statements),
        shape=relation.shape,
    )


def _view(relation: Relation) -> str:
    options = f" WITH ({', '.join(relation.options)})" if relation.options else ""
    return f"VIEW {relation.on}{options} AS {relation.definition}"


def _rule(rule: Sequence[Any]) -> str:
    return "CREATE OR REPLACE RULE" + str(rule[1]).strip().removeprefix("CREATE RULE")


_STATES: Final = {"D": "DISABLE", "R": "ENABLE REPLICA", "A": "ENABLE ALWAYS"}


def _trigger(relation: Relation, trigger: Sequence[Any]) -> list[str]:
    name, definition, enabled, comment, _ = trigger
    statements = [str(definition)]
    if enabled != "O":
        statements.append(f"ALTER TABLE {relation.on} {_STATES[enabled]} TRIGGER {ident(name)}")
    if comment:
        statements.append(f"COMMENT ON TRIGGER {ident(name)} ON {relation.on} IS {literal(comment)}")
    return statements


def _comments(relation: Relation) -> list[str]:
    statements = [f"COMMENT ON VIEW {relation.on} IS {literal(relation.comment)}"] if relation.comment else []
    return statements + [
        f"COMMENT ON COLUMN {relation.on}.{ident(column[0])} IS {literal(column[5])}"
        for column in relation.columns
        if column[5]
    ]


def _grants(relation: Relation) -> list[str]:
    """Exactly the grants that it had: what default privileges gave the new one is taken first."""
    roles = {*relation.usual_roles, ""} | ({relation.owner} if relation.grants else set())
    statements = [f"REVOKE ALL ON {relation.on} FROM {_role(role)}" for role in sorted(roles)]
    for column, role, privilege, grantable in relation.grants:
        what = f"{privilege} ({ident(column)})" if column else privilege
        option = " WITH GRANT OPTION" if grantable and role != relation.owner else ""
        statements.append(f"GRANT {what} ON {relation.on} TO {_role(role)}{option}")
    return statements


def _role(role: str) -> str:
    return ident(role) if role else "PUBLIC"
