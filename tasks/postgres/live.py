"""The live database as the plan needs to know it: facts read in one message, nothing written."""

# ruff: noqa: S608  (names and values are quoted by tasks.postgres.sql)

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from tasks.postgres import generations, marks
from tasks.postgres.connection import Connection, Target, explained, results
from tasks.postgres.dependencies import Edge, edges_of, edges_query
from tasks.postgres.generations import Generation
from tasks.postgres.grants import GRANTS_IN, Grant, grants_of
from tasks.postgres.inventory import Inventory, inventory_of, objects_query, sequences_query
from tasks.postgres.sql import ident, literal, qualified
from tasks.postgres.ties.catalog import read_ties
from tasks.postgres.ties.model import NO_TIES, Ties


@dataclass(frozen=True, slots=True)
class LongTransaction:
    """A transaction of another session that has been open for a while."""

    pid: int
    user: str
    application: str
    state: str
    since: datetime


@dataclass(frozen=True)
class LiveFacts:
    """What is in the database before a restore.

    + version: as `server_version_num`; 150018 is 15.18
    + inventory, edges: the live schema's objects, and what depends on what in it
    + rows: the server's estimate by table
    + database_bytes: of the whole database
    + extensions: version by name
    + migrations: (app, name) that are applied; None where there is no django_migrations table
    + grants: what other roles may do
    + ties: what other schemas and publications have to do with what is to be restored
    + policies: (table, policy)
    + large_objects: whether there are any
    + free_slots: connections that the server still has for roles that are not superuser
    + lock_capacity: object locks that all sessions can hold together
    + deadlock_timeout: milliseconds
    + long_transactions: open for more than five seconds
    + may_create_schema, may_use_schema: the role's rights that a restore needs
    + state: what the marks say
    + database: its name
    + generations: what is kept of earlier data, with its size
    """

    version: int
    role: str
    inventory: Inventory
    edges: tuple[Edge, ...]
    rows: Mapping[str, int]
    database_bytes: int
    extensions: Mapping[str, str]
    migrations: tuple[tuple[str, str], ...] | None
    grants: tuple[Grant, ...] = ()
    ties: Ties = NO_TIES
    policies: tuple[tuple[str, str], ...] = ()
    large_objects: bool = False
    free_slots: int = 0
    lock_capacity: int = 0
    deadlock_timeout: int = 1000
    long_transactions: tuple[LongTransaction, ...] = ()
    may_create_schema: bool = True
    may_use_schema: bool = True
    state: marks.DataState = field(default_factory=marks.DataState)
    database: str = ""
    generations: tuple[Generation, ...] = ()


_SERVER = """
select current_setting('server_version_num')::int, current_user,
       pg_database_size(current_database()),
       current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
         - coalesce(current_setting('reserved_connections', true)::int, 0)
         - (select count(*)::int from pg_stat_activity where backend_type = 'client backend'),
       (select case when rolconnlimit < 0 then null else rolconnlimit end from pg_roles
         where rolname = current_user),
       (select count(*)::int from pg_stat_activity where usename = current_user),
       current_setting('max_locks_per_transaction')::int
         * (current_setting('max_connections')::int + current_setting('max_prepared_transactions')::int),
       (select setting::int from pg_settings where name = 'deadlock_timeout'),
       has_database_privilege(current_database(), 'CREATE'),
       has_schema_privilege({schema}, 'CREATE') and has_schema_privilege({schema}, 'USAGE'),
       exists (select from pg_largeobject_metadata),
       to_regclass({migrations}) is not null
         and has_table_privilege(to_regclass({migrations}), 'SELECT')
"""

_TABLES = """
select c.relname, greatest(c.reltuples, 0)::bigint
  from pg_class c where c.relnamespace = {namespace}::regnamespace and c.relkind in ('r', 'm')
   and not exists (select from pg_depend e where e.classid = 'pg_class'::regclass and e.objid = c.oid
                      and e.deptype = 'e')
"""

_LONG = """
select pid, coalesce(usename, ''), application_name, coalesce(state, ''), xact_start
  from pg_stat_activity
 where datname = current_database() and pid <> pg_backend_pid() and xact_start < now() - interval '5 seconds'
   and backend_type = 'client backend'
 order by xact_start
"""

_POLICIES = """
select c.relname, p.polname from pg_policy p join pg_class c on c.oid = p.polrelid
 where c.relnamespace = {namespace}::regnamespace order by 1, 2
"""


def read_live(connection: Connection, target: Target) -> LiveFacts:
    """Read what a plan needs, in one message (two where the application has migrations)."""
    schema = target.schema
    namespace = literal(ident(schema))
    migrations = qualified(schema, "django_migrations")
    with explained(f"Reading what is in the {target.title}"):
        (
            server,
            objects,
            sequences,
            edges,
            tables,
            extensions,
            long,
            policies,
            grants,
            state,
            aside,
        ) = results(
            connection,
            ";".join(
                [
                    _SERVER.format(schema=literal(schema), migrations=literal(migrations)),
                    objects_query(schema),
                    sequences_query(schema),
                    edges_query([schema]),
                    _TABLES.format(namespace=namespace),
                    "select extname, extversion from pg_extension order by 1",
                    _LONG,
                    _POLICIES.format(namespace=namespace),
                    GRANTS_IN.format(schema=literal(schema)),
                    marks.QUERY,
                    generations.QUERY,
                ]
            ),
        )
        (
            version,
            role,
            database_bytes,
            slots,
            role_limit,
            role_sessions,
            lock_capacity,
            deadlock_timeout,
            may_create,
            may_use,
            large_objects,
            has_migrations,
        ) = server[0]
        applied = (
            connection.execute(f"select app, name from {migrations} order by id").fetchall()
            if has_migrations
            else None
        )
        inventory, found = inventory_of(schema, objects, sequences), edges_of(edges)
        ties = read_ties(connection, inventory, found)
    return LiveFacts(
        version=version,
        role=role,
        inventory=inventory,
        edges=found,
        rows={name: int(rows) for name, rows in tables},
        database_bytes=int(database_bytes),
        extensions={str(name): str(number) for name, number in extensions},
        migrations=None if applied is None else tuple((str(app), str(name)) for app, name in applied),
        grants=grants_of(grants),
        ties=ties,
        policies=tuple((str(table), str(policy)) for table, policy in policies),
        large_objects=bool(large_objects),
        free_slots=max(0, slots if role_limit is None else min(slots, role_limit - role_sessions)),
        lock_capacity=int(lock_capacity),
        deadlock_timeout=int(deadlock_timeout),
        long_transactions=tuple(LongTransaction(*row) for row in long),
        may_create_schema=bool(may_create),
        may_use_schema=bool(may_use),
        state=marks.state_of(state),
        database=target.database,
        generations=generations.generations_of(aside),
    )
