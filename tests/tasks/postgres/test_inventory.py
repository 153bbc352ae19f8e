from __future__ import annotations

from tasks.postgres.connection import connect, results
from tasks.postgres.dependencies import edges
from tasks.postgres.inventory import crossing, digest_query, read_inventory


def inventory(site):
    with connect(site.target, "r1", read_only=True) as connection:
        return read_inventory(connection, "public")


def test_what_hangs_on_the_schema_is_listed_with_its_statement(site):
    found = {item.thing.identity: item.set_schema("aside") for item in inventory(site).objects}
    assert found == {
        'public."Odd ""na.me"': 'ALTER TABLE public."Odd ""na.me" SET SCHEMA "aside"',
        "public.add(integer,integer)": 'ALTER FUNCTION public.add(integer,integer) SET SCHEMA "aside"',
        "public.m_count": 'ALTER MATERIALIZED VIEW public.m_count SET SCHEMA "aside"',
        "public.mood": 'ALTER TYPE public.mood SET SCHEMA "aside"',
        "public.positive": 'ALTER TYPE public.positive SET SCHEMA "aside"',
        "public.st_place": 'ALTER STATISTICS public.st_place SET SCHEMA "aside"',
        "public.ticket": 'ALTER SEQUENCE public.ticket SET SCHEMA "aside"',
        "public.touch()": 'ALTER FUNCTION public.touch() SET SCHEMA "aside"',
        "public.v_names": 'ALTER VIEW public.v_names SET SCHEMA "aside"',
        "public.v_place": 'ALTER VIEW public.v_place SET SCHEMA "aside"',
        **{
            f"public.{table}": f'ALTER TABLE public.{table} SET SCHEMA "aside"'
            for table in (
                "auth_user", "django_migrations", "django_session", "empty_one", "noprimary", "place", "tag",
            )
        },
    }  # fmt: skip


def test_names_are_the_catalogs_own(site):
    assert 'Odd "na.me' in inventory(site).tables


def test_sequences_know_the_column_they_number(site):
    found = {sequence.name: sequence.owner for sequence in inventory(site).sequences}
    assert found["place_id_seq"] == ("place", "id")
    assert found["auth_user_id_seq"] == ("auth_user", "id")
    assert found["ticket"] is None


def test_the_digest_is_the_servers_own_and_changes_with_the_objects(site):
    before = inventory(site)
    with connect(site.target, "r1") as connection:
        assert results(connection, digest_query("public")) == [[(before.digest,)]]
    site.do("alter table public.tag add column more int")
    assert inventory(site).digest == before.digest
    site.do("create view public.more as select 1")
    assert inventory(site).digest != before.digest


def test_what_crosses_the_border_is_found_in_both_directions(site):
    with site.superuser() as connection:
        connection.execute(f"create schema audit authorization {site.role}")
    site.do("create table audit.log(id int primary key, place int references public.place)")
    site.do("create view audit.v as select * from public.auth_user")
    site.do("create table public.inside(log int references audit.log)")
    with site.superuser() as connection:
        connection.execute("create view public.theirs as select * from public.tag")
    with connect(site.target, "r1", read_only=True) as connection:
        into, out = crossing(read_inventory(connection, "public"), edges(connection, ["public"]))
    assert {(edge.dependent.identity, edge.referenced.identity, edge.via) for edge in into} == {
        ("audit.log", "public.place", "foreign key"),
        ("audit.v", "public.auth_user", "rule"),
        ("public.theirs", "public.tag", "rule"),
    }
    assert {(edge.dependent.identity, edge.referenced.identity) for edge in out} == {
        ("public.inside", "audit.log")
    }
