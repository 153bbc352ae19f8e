from __future__ import annotations

from tasks.postgres import forget, swap
from tasks.postgres.assess import assess, notes
from tasks.postgres.connection import connect

PUBLISHED = (
    "select pubname || ' ' || schemaname || '.' || tablename || ' ' || coalesce(attnames::text, '')"
    " || coalesce(' ' || rowfilter, '') from pg_publication_tables order by 1"
)


def published(site):
    with site.connect() as connection:
        return [row for (row,) in connection.execute(PUBLISHED)]


def test_a_publication_goes_on_with_the_restored_tables_and_back(tied):
    tied.do(
        'create publication "its ""pub" for table public.place (id, name) where (id > 7 and name <> \'x\'),'
        ' public."Odd ""na.me" with (publish = \'insert\')'
    )
    tied.do("create publication plain for table public.place (id, name), public.tag")
    before = published(tied)
    assert len(before) == 4
    assert assess(tied.archive, tied.contents, tied.live()) == []
    tied.swap(tied.stage("r1"))
    assert published(tied) == before
    swap.take_back(tied.target, "r2")
    assert published(tied) == before
    with connect(tied.target, "r3") as connection:
        forget.drop_schema(connection, "after_r1")
    assert published(tied) == before


def test_a_table_that_the_backup_lacks_stays_published_where_it_is_set_aside(tied):
    tied.do("create table public.later(id int); create publication p for table public.later, public.tag")
    before = published(tied)
    assert assess(tied.archive, tied.contents, tied.live()) == []
    assert (
        "publication p, which lists later: it goes on listing the one that is set aside, since the backup "
        "lacks the table"
    ) in notes(tied.archive, tied.contents, tied.live())
    tied.swap(tied.stage("r1"))
    assert [row.split()[1] for row in published(tied)] == ["before_r1.later", "public.tag"]
    swap.take_back(tied.target, "r2")
    assert published(tied) == before
    tied.swap(tied.stage("r3"))
    with connect(tied.target, "r4") as connection:
        forget.drop_schema(connection, "before_r3")
    assert [row.split()[1] for row in published(tied)] == ["public.tag"]


def test_anothers_publication_is_refused(tied):
    with tied.superuser() as connection:
        connection.execute("create publication theirs for table public.place")
    (refusal,) = assess(tied.archive, tied.contents, tied.live())
    assert (refusal.kind, refusal.name) == ("publication", "theirs")
    assert "belongs to superuser" in refusal.why


def test_a_publication_of_the_whole_schema_needs_nothing(tied):
    with tied.superuser() as connection:
        connection.execute("create publication whole for tables in schema public")
    before = published(tied)
    assert assess(tied.archive, tied.contents, tied.live()) == []
    tied.swap(tied.stage("r1"))
    assert published(tied) == before


def test_a_column_list_that_no_longer_fits_is_refused_before_the_swap(tied):
    tied.do("alter table public.tag add more int; create publication p for table public.tag (place_id, more)")
    try:
        tied.stage("r1")
    except Exception as error:
        assert "publication p: with the restored objects it can't be" in str(error)
    else:
        raise AssertionError("it was not refused")
