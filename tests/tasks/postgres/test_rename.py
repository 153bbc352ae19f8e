"""A dump's SQL for another schema: cases, and a database full of traps built again beside itself."""

from __future__ import annotations

import psycopg
import pytest

from tasks.postgres.archive import Archive, Treatment
from tasks.postgres.rename import changes, rename

NAMES = {"t", "t_id_seq", 'we"ird', "Mixed", "back\\slash", "it's", "f", "###", "*", "cfg", "public"}

CASES = {
    "a table": ("CREATE TABLE public.t (a int)", 'CREATE TABLE "new 1".t (a int)'),
    "only": ("ALTER TABLE ONLY public.t ADD x", 'ALTER TABLE ONLY "new 1".t ADD x'),
    "the schema quoted": ('"public" . "t"', '"new 1" . "t"'),
    "the schema in capitals": ("PUBLIC.T", '"new 1".T'),
    "a quoted name": ('public."we""ird"', '"new 1"."we""ird"'),
    "a name whose case differs": ('public.mixed public."Mixed"', 'public.mixed "new 1"."Mixed"'),
    "a comment between": ("public /* x */ . -- y\n t", '"new 1" /* x */ . -- y\n t'),
    "an extension's type": ("a public.geometry(Point,4326)", None),
    "a table of that name elsewhere": ("audit.t, audit.public.t", None),
    "a schema of a similar name": ('"Public".t, publicx.t, xpublic.t', None),
    "text": ("DEFAULT 'public.t'::text, 'public.t'", None),
    "text in a comment": ("-- public.t\n/* public.t */", None),
    "a body": ("AS $$ SELECT public.t $$, AS 'public.t'", None),
    "text for an enum": ("'public.t'::public.mood", None),
    "a name constant": ("'public.t'::regclass", "'\"new 1\".t'::regclass"),
    "a name constant of pg_catalog": ("'public.t' :: pg_catalog.regclass",
                                      "'\"new 1\".t' :: pg_catalog.regclass"),
    "a name constant by CAST": ("CAST('public.t' AS regclass)", "CAST('\"new 1\".t' AS regclass)"),
    "a name constant by type": ("regclass 'public.t'", "regclass '\"new 1\".t'"),
    "a function with arguments": ("'public.f(public.t,integer)'::regprocedure",
                                  "'\"new 1\".f(\"new 1\".t,integer)'::regprocedure"),
    "a search configuration": ("to_tsvector('public.cfg'::regconfig, x)",
                               "to_tsvector('\"new 1\".cfg'::regconfig, x)"),
    "a name constant with a quote": ("'public.\"it''s\"'::regclass", "'\"new 1\".\"it''s\"'::regclass"),
    "a name constant with a backslash": (r"""E'public."back\\slash"'::regclass""",
                                         r"""E'"new 1"."back\\slash"'::regclass"""),
    "a name looked up when it runs": ("('public.t'::text)::regclass", None),
    "nextval": ("nextval('public.t_id_seq'::regclass)", "nextval('\"new 1\".t_id_seq'::regclass)"),
    "setval": ("SELECT pg_catalog.setval('public.t_id_seq', 3, true);",
               "SELECT pg_catalog.setval('\"new 1\".t_id_seq', 3, true);"),
    "a function called setval of somebody": ("SELECT audit.setval('public.t_id_seq')", None),
    "an operator": ("CREATE OPERATOR public.### (", 'CREATE OPERATOR "new 1".### ('),
    "an operator in use": ("a OPERATOR(public.###) b", 'a OPERATOR("new 1".###) b'),
    "an operator that looks like all columns": ("a OPERATOR(public.*) b", 'a OPERATOR("new 1".*) b'),
    "all columns of an alias": ("SELECT public.*", None),
    "an extension's operator": ("a OPERATOR(public.%) b", None),
    "copy": ("COPY public.t (a, b) FROM stdin;", 'COPY "new 1".t (a, b) FROM stdin;'),
    "partition": ("ALTER TABLE ONLY public.t ATTACH PARTITION public.t DEFAULT;",
                  'ALTER TABLE ONLY "new 1".t ATTACH PARTITION "new 1".t DEFAULT;'),
    "a signature": ("FUNCTION public.f(public.t, public.citext)",
                    'FUNCTION "new 1".f("new 1".t, public.citext)'),
    "a column": ("public.t.a", '"new 1".t.a'),
    "a schema's search path": ("SET search_path TO 'public', public", None),
    "the schema itself": ("GRANT ALL ON SCHEMA public TO x", None),
    "a table called as the schema": ("public.public.t", '"new 1".public.t'),
    "unfinished": ("'public.t", None),
    "nothing after the point": ("public.", None),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_rename(case):
    sql, expected = CASES[case]
    assert rename(sql, names=NAMES, source="public", target="new 1") == (
        sql if expected is None else expected
    )


def test_changes_are_told():
    sql = "ALTER TABLE public.t OWNER TO x; COMMENT ON TABLE public.t IS 'public.t';"
    found = list(changes(sql, names={"t"}, source="public", target="n"))
    assert [sql[change.start : change.end] for change in found] == ["public", "public"]


def test_there_and_back(trap):
    archive = Archive.open(trap.dump)
    names = archive.names("public")
    for entry in archive.entries:
        for sql in (entry.definition, entry.copy_statement or ""):
            there = rename(sql, names=names, source="public", target="new_q")
            back = rename(there, names=names, source="new_q", target="public")
            assert back.replace('"public".', "public.") == sql.replace('"public".', "public."), entry.title


@pytest.fixture
def beside(each_trap):
    """The trap database with its own archive built a second time, in schema new_q, by its plain owner."""
    archive = Archive.open(each_trap.dump)
    names = archive.names("public")

    def renamed(sql):
        return rename(sql, names=names, source="public", target="new_q")

    with each_trap.database.connect() as connection:
        connection.execute("SET search_path = ''; SET check_function_bodies = off; CREATE SCHEMA new_q")
        try:
            for verdict in archive.verdicts("public"):
                entry = verdict.entry
                assert verdict.treatment is not Treatment.REFUSE, f"{entry.title}: {verdict.reason}"
                if verdict.treatment is Treatment.LEAVE:
                    continue
                if entry.kind == "TABLE DATA":
                    with connection.cursor().copy(renamed(entry.copy_statement)) as copy:
                        for piece in archive.copy_text(entry):
                            copy.write(piece)
                elif entry.definition:
                    connection.execute(renamed(entry.definition))
            yield each_trap
        finally:
            connection.execute("DROP SCHEMA new_q CASCADE")


def definitions(trap, schema):
    """What `pg_dump -s` says of one schema, with that schema called public."""
    text = trap.server.run("pg_dump", "-s", "-x", "-n", schema, "-d", trap.database.superuser_conninfo).stdout
    text = text.replace(f"{schema}.", "public.")
    text = text.replace(f"Schema: {schema};", "Schema: public;")
    parts = (part.strip() for part in text.split("\n\n"))
    return sorted(
        part
        for part in parts
        if f"SCHEMA {schema}" not in part and "restrict " not in part and "Type: SCHEMA" not in part
    )


REFERENCES = """
SELECT pg_describe_object(d.classid, d.objid, d.objsubid), other.type, other.identity
FROM pg_depend d,
     LATERAL pg_identify_object(d.classid, d.objid, 0) AS one,
     LATERAL pg_identify_object(d.refclassid, d.refobjid, 0) AS other
WHERE (one.schema = 'new_q' OR one.identity LIKE '% on new_q.%') AND other.schema = 'public'
  AND NOT EXISTS (SELECT FROM pg_depend e
                  WHERE e.classid = d.refclassid AND e.objid = d.refobjid AND e.deptype = 'e')
"""

ROWS = "SELECT count(*), coalesce(md5(string_agg(x::text, ',' ORDER BY x::text)), '') FROM ONLY {}.{} x"


def test_the_trap_database_is_the_same_beside_itself(beside):
    assert definitions(beside, "new_q") == definitions(beside, "public")
    assert len(definitions(beside, "public")) > 100


def test_nothing_beside_refers_back_to_the_live_schema(beside):
    with psycopg.connect(beside.database.superuser_conninfo) as connection:
        assert connection.execute(REFERENCES).fetchall() == []


def test_rows_and_sequences_are_the_same_beside(beside):
    with psycopg.connect(beside.database.superuser_conninfo) as connection:
        relations = connection.execute(
            "SELECT quote_ident(relname), relkind FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        ).fetchall()
        for name, kind in relations:
            if kind in ("r", "m"):
                live, new = (
                    connection.execute(ROWS.format(schema, name)).fetchone() for schema in ("public", "new_q")
                )
                assert live == new, name
            if kind == "S":
                live, new = (
                    connection.execute(f"SELECT last_value, is_called FROM {schema}.{name}").fetchone()
                    for schema in ("public", "new_q")
                )
                assert live == new, name
