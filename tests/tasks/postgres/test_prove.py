from __future__ import annotations

import pytest

from tasks.core.errors import Refused
from tasks.postgres import stage as staging
from tasks.postgres.connection import connect
from tasks.postgres.prove import prove


@pytest.fixture
def proving(site):
    """Prove a stage that a statement was run against after it was built."""
    staged = site.stage("r1")
    plan = staging.plan_of(site.request("r1"), "public")

    def run(statement: str, **rows: int) -> None:
        site.do(statement)
        with connect(site.target, "r1", read_only=True) as connection:
            prove(connection, "public", plan, {**staged.rows, **rows})

    return run


def test_what_was_staged_is_proved_again(proving):
    proving("select 1")


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        ("drop index new_r1.place_low", "5 objects of kind INDEX, the archive has 6"),
        ("alter table new_r1.tag drop constraint tag_place_id_fkey", "2 objects of kind FK CONSTRAINT"),
        ("drop trigger touch on new_r1.place", "0 objects of kind TRIGGER"),
        ("create table new_r1.more(id int)", "9 objects of kind TABLE, the archive has 8"),
        (
            "alter table new_r1.tag add foreign key (parent_id) references public.place",
            "table new_r1.tag refers to the live table public.place",
        ),
        (
            "create or replace view new_r1.v_names as select name from public.v_place",
            "view new_r1.v_names refers to the live view public.v_place",
        ),
    ],
)
def test_what_is_not_as_the_archive_says_is_refused(proving, statement, sentence):
    with pytest.raises(Refused) as caught:
        proving(statement)
    assert sentence in str(caught.value)


def test_rows_that_were_not_loaded_are_refused(proving):
    with pytest.raises(Refused, match="place has 199 rows, the archive 200"):
        proving("select 1", place=199)
