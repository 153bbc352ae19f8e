"""A restore and its undo as a person types them, where other schemas have to do with the restored one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

Operator = Any

REPORT = """
create schema report;
create table report.visit(id serial primary key,
  place_id bigint references public.places_place, said bigint references public.suggestions_suggestion);
create view report.said with (security_barrier) as select id, 1 as one from public.suggestions_suggestion;
create view report.total as select count(*) as n from report.said;
create publication report_feed for table public.suggestions_suggestion (id);
insert into report.visit(place_id) select id from public.places_place limit 100;
insert into report.visit(said) select id from public.suggestions_suggestion order by id desc limit 3
"""
KEYS = (
    "select string_agg(conname || ' ' || confrelid::regclass || ' ' || convalidated, ', ' order by conname)"
    " from pg_constraint where connamespace = 'report'::regnamespace and contype = 'f'"
)
PUBLISHED = "select string_agg(schemaname || '.' || tablename, ', ') from pg_publication_tables"


def do(operator: Operator, statements: str) -> None:
    """As the application's own role."""
    with psycopg.connect(operator.control.database(operator.app)["url"], autocommit=True) as connection:
        connection.execute(statements.encode())


@pytest.fixture
def reporting(preprod: Operator) -> Iterator[Operator]:
    preprod.bring("v1.0.0")
    preprod.backup()
    preprod.write(3)
    do(preprod, REPORT)
    yield preprod
    do(preprod, "drop publication report_feed; drop schema report cascade")


def test_keys_views_and_publications_go_along_and_come_back(reporting: Operator) -> None:
    written = "select count(*) from report.visit v join public.suggestions_suggestion s on s.id = v.said"
    assert reporting.sql(written) == 3

    done = reporting.run("restore", backup="latest")
    assert done.code == 0, done.text
    assert reporting.sql(written) == 0
    assert reporting.sql("select n from report.total") == reporting.suggestions()
    assert reporting.sql(PUBLISHED) == "public.suggestions_suggestion"
    assert reporting.sql(KEYS) == (
        "visit_place_id_fkey places_place true, visit_said_fkey suggestions_suggestion false"
    )
    assert "Goes along with the swap: view report.said" in done.text
    assert "Checked 1 foreign key across schemas" in done.text
    assert "visit_said_fkey: 3 rows refer to nothing in public.suggestions_suggestion (said " in done.text
    assert "Statistics computed in full: " in done.text

    undone = reporting.run("undo")
    assert undone.code == 0, undone.text
    assert reporting.sql(written) == 3
    assert reporting.sql("select n from report.total") == reporting.suggestions()
    assert reporting.sql(PUBLISHED) == "public.suggestions_suggestion"
    assert reporting.sql(KEYS) == (
        "visit_place_id_fkey places_place true, visit_said_fkey suggestions_suggestion true"
    )
    reporting.backup()
    forgotten = reporting.run("forget", set_aside=reporting.schemas("after")[-1])
    assert forgotten.code == 0, forgotten.text
    assert reporting.sql("select n from report.total") == reporting.suggestions()


def test_what_can_not_go_along_is_refused_by_name(reporting: Operator) -> None:
    do(reporting, "create materialized view report.counted as select count(*) n from public.places_place")
    refused = reporting.run("restore", backup="latest")
    assert refused.code == 3, refused.text
    assert "materialized view report.counted" in refused.text
    assert reporting.schemas("new") == []


@pytest.mark.slow
def test_an_undo_that_can_not_take_it_back_is_refused_before_anything(reporting: Operator) -> None:
    assert reporting.run("rollback", tag="v1.0.1", backup="latest").code == 0
    release = reporting.release()
    do(
        reporting,
        "alter table public.suggestions_suggestion add since_then int;"
        "create view report.later as select since_then from public.suggestions_suggestion",
    )
    refused = reporting.run("undo")
    assert refused.code == 3, refused.text
    assert "REFUSED  other schemas: view report.later" in refused.text
    assert 'since_then" does not exist' in refused.text
    assert reporting.release() == release
    do(reporting, "drop view report.later")
    assert reporting.run("undo").code == 0
