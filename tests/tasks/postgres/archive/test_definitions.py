"""What an archive's entries are for a restore: on real archives, kind by kind."""

from __future__ import annotations

import dataclasses
import re

import psycopg
import pytest

from tasks.postgres.archive import Archive, Treatment
from tasks.postgres.archive.definitions import extension_data, verdicts


def by_treatment(archive, treatment, schema="public"):
    return {
        verdict.entry.title: verdict.reason
        for verdict in archive.verdicts(schema)
        if verdict.treatment is treatment
    }


def test_everything_a_plain_role_makes_is_built(each_trap):
    archive = Archive.open(each_trap.dump)
    assert by_treatment(archive, Treatment.REFUSE) == {}
    built = {
        verdict.entry.kind for verdict in archive.verdicts("public") if verdict.treatment is Treatment.BUILD
    }
    assert built >= {
        "AGGREGATE", "COLLATION", "COMMENT", "CONSTRAINT", "CONVERSION", "DEFAULT", "DOMAIN", "FK CONSTRAINT",
        "FUNCTION", "INDEX", "INDEX ATTACH", "MATERIALIZED VIEW", "MATERIALIZED VIEW DATA", "OPERATOR",
        "POLICY", "PROCEDURE", "ROW SECURITY", "RULE", "SEQUENCE", "SEQUENCE OWNED BY", "SEQUENCE SET",
        "STATISTICS", "TABLE", "TABLE ATTACH", "TABLE DATA", "TEXT SEARCH CONFIGURATION",
        "TEXT SEARCH DICTIONARY", "TRIGGER", "TYPE", "VIEW",
    }  # fmt: skip


def test_what_is_left_alone_says_why(each_trap):
    left = by_treatment(Archive.open(each_trap.dump), Treatment.LEAVE)
    assert left["EXTENSION citext"] == "extensions stay as the live database has them"
    assert left["TABLE audit.log"] == "is in schema audit, which is not restored"
    assert left["TABLE DATA audit.log"] == "is in schema audit, which is not restored"
    assert left["COMMENT EXTENSION hstore"] == "belongs to the database, not to a schema: the live one stays"
    assert all(left.values())


NAMES = """
SELECT name FROM (
    SELECT 'pg_class'::regclass, oid, relname, relnamespace FROM pg_class WHERE relkind NOT IN ('c', 't')
    UNION ALL SELECT 'pg_type'::regclass, oid, typname, typnamespace FROM pg_type
        WHERE typtype IN ('e', 'd') OR typrelid IN (SELECT oid FROM pg_class WHERE relkind = 'c')
    UNION ALL SELECT 'pg_proc'::regclass, oid, proname, pronamespace FROM pg_proc
    UNION ALL SELECT 'pg_operator'::regclass, oid, oprname, oprnamespace FROM pg_operator
    UNION ALL SELECT 'pg_collation'::regclass, oid, collname, collnamespace FROM pg_collation
    UNION ALL SELECT 'pg_conversion'::regclass, oid, conname, connamespace FROM pg_conversion
    UNION ALL SELECT 'pg_ts_config'::regclass, oid, cfgname, cfgnamespace FROM pg_ts_config
    UNION ALL SELECT 'pg_ts_dict'::regclass, oid, dictname, dictnamespace FROM pg_ts_dict
    UNION ALL SELECT 'pg_statistic_ext'::regclass, oid, stxname, stxnamespace FROM pg_statistic_ext
) AS object (catalogue, oid, name, schema)
WHERE schema = 'public'::regnamespace AND NOT EXISTS (
    SELECT FROM pg_depend WHERE classid = catalogue AND objid = object.oid AND deptype = 'e')
"""


def test_names_are_those_of_the_catalogue_without_extensions(each_trap):
    names = Archive.open(each_trap.dump).names("public")
    with psycopg.connect(each_trap.database.superuser_conninfo) as connection:
        rows = connection.execute(NAMES).fetchall()
    expected = {name for (name,) in rows if not re.match(r"_?(citext|hstore|ghstore)", name)}
    assert set(names) == expected


def refused(server, tmp_path, sql, *options, superuser=False):
    database = server.create_database()
    with psycopg.connect(
        database.superuser_conninfo if superuser else database.conninfo, autocommit=True
    ) as connection:
        connection.execute("CREATE TABLE t (id integer); " + sql)
    archive = Archive.open(server.dump(database, tmp_path / "refused.dump", *options))
    server.drop_database(database)
    return archive, by_treatment(archive, Treatment.REFUSE)


CAN_NOT_BE_BUILT = {
    "range type": ("CREATE TYPE r AS RANGE (subtype = integer)", {"TYPE public.r": "range type"}),
    "cast": ("CREATE TYPE c AS (i integer); CREATE CAST (c AS text) WITH INOUT",
             {"CAST CAST (public.c AS text)": "a cast is in no schema"}),
    "operator class": ("CREATE OPERATOR CLASS o FOR TYPE integer USING btree"
                       " AS OPERATOR 1 <, FUNCTION 1 btint4cmp(int, int)",
                       {"OPERATOR FAMILY public.o": "superuser", "OPERATOR CLASS public.o": "superuser"}),
    "base type": ("CREATE TYPE b;"
                  "CREATE FUNCTION i(cstring) RETURNS b IMMUTABLE STRICT LANGUAGE internal AS 'int4in';"
                  "CREATE FUNCTION o(b) RETURNS cstring IMMUTABLE STRICT LANGUAGE internal AS 'int4out';"
                  "CREATE TYPE b (INPUT = i, OUTPUT = o, LIKE = integer)",
                  {"SHELL TYPE public.b": "superuser", "TYPE public.b": "superuser"}),
    "regclass column": ("CREATE TABLE r (kind regclass, other regrole)",
                        {"TABLE public.r": "values of type regclass (kind) would name the live objects"}),
    "regconfig column": ("CREATE TEXT SEARCH CONFIGURATION own (COPY = french);"
                         "CREATE TABLE r (kind regconfig)",
                         {"TABLE public.r": "values of type regconfig (kind) would name the live objects"}),
    "domain over regtype": ("CREATE TYPE e AS ENUM ('a'); CREATE DOMAIN d AS regtype",
                            {"DOMAIN public.d": "values of type regtype would name the live objects"}),
    "text search template": ("CREATE TEXT SEARCH TEMPLATE own (LEXIZE = dsimple_lexize)",
                             {"TEXT SEARCH TEMPLATE public.own": "superuser"}),
}  # fmt: skip


@pytest.mark.parametrize("what", CAN_NOT_BE_BUILT)
def test_what_cannot_be_built_is_refused_by_name(server, tmp_path, what):
    sql, expected = CAN_NOT_BE_BUILT[what]
    _, found = refused(server, tmp_path, sql, superuser=True)
    assert set(found) == set(expected)
    for title, reason in expected.items():
        assert reason in found[title]


def test_large_objects_are_refused(each_trap, tmp_path):
    _, found = refused(each_trap.server, tmp_path, "SELECT lo_create(0)")
    assert found and all("large objects" in reason for reason in found.values())


def test_what_only_looks_so_is_built(server, tmp_path):
    sql = """
        CREATE TYPE c AS (range integer, input text, output text);
        CREATE TYPE "as range" AS ENUM ('range');
        CREATE TABLE f (lang regconfig DEFAULT 'french'::regconfig, regclass integer,
                        t text DEFAULT 't'::regclass::text);
    """
    _, found = refused(server, tmp_path, sql)
    assert found == {}


def test_archive_of_rows_alone_is_refused(server, tmp_path):
    _, found = refused(server, tmp_path, "INSERT INTO t VALUES (1)", "--data-only")
    assert found == {
        "TABLE DATA public.t": "the archive holds rows without their tables (pg_dump --data-only)"
    }


def test_archive_of_inserts_is_refused(server, tmp_path):
    _, found = refused(server, tmp_path, "INSERT INTO t VALUES (1)", "--inserts")
    assert found == {"TABLE DATA public.t": "its rows are INSERT statements (pg_dump --inserts)"}


def test_archive_without_rows_has_nothing_to_load(server, tmp_path):
    archive, found = refused(server, tmp_path, "", "--schema-only")
    assert found == {}
    assert archive.table_data() == ()


def test_unknown_kind_is_refused(trap):
    archive = Archive.open(trap.dump)
    unknown = dataclasses.replace(archive.entries[-1], kind="PROPERTY GRAPH")
    [verdict] = [
        verdict for verdict in verdicts([*archive.entries, unknown], "public") if verdict.entry is unknown
    ]
    assert verdict.treatment is Treatment.REFUSE
    assert verdict.reason == "PROPERTY GRAPH is a kind of entry that is not known here"


def test_rows_of_an_extensions_own_table_stay(trap):
    """As PostGIS' spatial_ref_sys: rows in the archive, and no table of that name."""
    archive = Archive.open(trap.dump)
    entries = [entry for entry in archive.entries if (entry.kind, entry.name) != ("TABLE", "empty_table")]
    assert [entry.name for entry in extension_data(entries)] == ["empty_table"]
    [verdict] = [
        verdict
        for verdict in verdicts(entries, "public")
        if verdict.entry.title == "TABLE DATA public.empty_table"
    ]
    assert verdict.treatment is Treatment.LEAVE
    assert verdict.reason == "rows of an extension's own table stay as they are live"


def test_another_schema_can_be_the_one_that_is_restored(trap):
    archive = Archive.open(trap.dump)
    assert archive.names("audit") == {"log"}
    built = [
        verdict.entry.title for verdict in archive.verdicts("audit") if verdict.treatment is Treatment.BUILD
    ]
    assert built == ["TABLE audit.log", "TABLE DATA audit.log"]
