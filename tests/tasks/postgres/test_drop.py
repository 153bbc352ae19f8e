from __future__ import annotations

from dataclasses import replace

import psycopg
import pytest

from tasks.core.errors import PersonNeeded, Refused
from tasks.postgres import drop
from tasks.postgres.pg_restore import pg_restore_command
from tasks.postgres.tools import Tool


def request(site, run: str, **changes) -> drop.DropRequest:
    values = {
        "archive": site.archive,
        "contents": site.contents,
        "tool": Tool(site.server.bin / "pg_restore", site.server.version),
        "backup": "nightly",
        **changes,
    }
    return drop.DropRequest(run=run, **values)


@pytest.fixture
def ranged(site):
    """A database that can't be restored beside: it has a range type, and a table that uses it."""
    site.do("create type public.span as range (subtype = int4); create table public.spans(s public.span)")
    site.do("insert into public.spans values ('[1,5)')")
    site.backup()
    return site


def test_what_beside_refuses_is_restored_whole(ranged):
    before, rows = ranged.dumped_schema(), ranged.sums()
    ranged.do("create table public.later(id serial primary key, place int references public.place)")
    ranged.do("insert into public.place(name) select 'later' from generate_series(1, 20)")
    seen: list[tuple[int, int | None]] = []
    mark = drop.replace_live(ranged.target, request(ranged, "r1"), progress=lambda *done: seen.append(done))
    assert mark.state == "restored"
    assert ranged.state().dropping.state == "restored"
    assert ranged.dumped_schema() == before
    assert ranged.sums() == rows
    assert seen and seen[-1][0] <= seen[-1][1]
    assert ranged.one("insert into public.place(name) values ('x') returning id") == 221
    with ranged.as_reader() as connection:
        connection.execute("select * from public.place")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("select * from public.django_session")


def test_declared_tables_come_back_empty(ranged):
    drop.replace_live(ranged.target, request(ranged, "r1", empty=frozenset({"django_session"})))
    assert ranged.one("select count(*) from public.django_session") == 0


def test_a_tool_that_can_not_read_the_archive_drops_nothing(ranged):
    old = Tool(ranged.server.bin / "pg_restore", 9)
    with pytest.raises(Refused, match="can't read this archive"):
        drop.replace_live(ranged.target, request(ranged, "r1", tool=old))
    assert ranged.one("select count(*) from public.place") == 200


@pytest.mark.parametrize("spoil", [lambda path: path.unlink(), lambda path: path.write_bytes(b"other")])
def test_an_archive_that_is_no_longer_what_was_read_drops_nothing(ranged, spoil):
    before, asked = ranged.sums(), request(ranged, "r1")
    spoil(asked.archive.path)
    with pytest.raises(Refused, match="has gone or changed since it was read"):
        drop.replace_live(ranged.target, asked)
    assert ranged.sums() == before


def test_what_would_be_dropped_along_stops_it(ranged):
    with ranged.superuser() as connection:
        connection.execute("create view public.theirs as select * from public.place")
    with pytest.raises(Refused, match=r"view public\.theirs: it depends on table public\.place"):
        drop.replace_live(ranged.target, request(ranged, "r1"))
    assert ranged.one("select count(*) from public.place") == 200


def test_after_a_failure_the_next_run_restores_and_remembers(ranged):
    """A cut in the middle of pg_restore: rights and sequences of the data that was live survive it."""
    rows = ranged.sums()
    ranged.do("insert into public.place(name) select 'later' from generate_series(1, 20)")
    wrong = replace(ranged.contents, rows={**ranged.contents.rows, **_one_more(ranged)})
    with pytest.raises(PersonNeeded, match="the archive 201") as caught:
        drop.replace_live(ranged.target, request(ranged, "r1", contents=wrong))
    assert "not completely restored" in str(caught.value)
    assert ranged.state().dropping.state == "dropping"

    drop.replace_live(ranged.target, request(ranged, "r2"))
    assert ranged.sums() == rows
    assert ranged.schemas() == {"drop_r2"}
    assert ranged.one("insert into public.place(name) values ('x') returning id") == 221
    with ranged.as_reader() as connection:
        connection.execute("update public.auth_user set email = 'x'")


def _one_more(site) -> dict[int, int]:
    entry = next(entry for entry in site.archive.table_data() if entry.name == "place")
    return {entry.dump_id: 201}


def test_small_lock_tables_are_dropped_in_several_transactions(ranged):
    live = ranged.live()
    assert len(drop.plan_drop(live.inventory, live, []).batches) == 1
    crowded = replace(live, lock_capacity=10)
    keys = [("public.tag", f"key_{number}") for number in range(100)]
    batches = drop.plan_drop(live.inventory, crowded, keys).batches
    assert len(batches) > 3
    assert sum(len(batch) for batch in batches) == 100 + len(live.inventory.moved)


def test_the_password_is_not_among_the_arguments(ranged, tmp_path):
    password = ranged.target.password.reveal()
    command = pg_restore_command(request(ranged, "r").tool, ranged.target, tmp_path, tmp_path, 2)
    assert not any(password in argument for argument in command)
