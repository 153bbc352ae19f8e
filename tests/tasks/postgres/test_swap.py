from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import psycopg
import pytest

from tasks.core.errors import OpsError, PersonNeeded, Refused, Stale
from tasks.postgres import forget, swap
from tasks.postgres.assess import assess
from tasks.postgres.connection import connect
from tasks.postgres.lock import EnvironmentLock


class Traffic:
    """Readers and writers at work, each on a session of its own, as a web application's workers are."""

    def __init__(self, site) -> None:
        self.site = site
        self.errors: list[Exception] = []
        self.ids: list[int] = []
        self.slowest = 0.0
        self.rounds = 0
        self._stop = False
        self._threads = [
            threading.Thread(target=self._run, args=(work, kept), daemon=True)
            for work in (self._read, self._write)
            for kept in (True, False)
        ]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._stop = True
        for thread in self._threads:
            thread.join()

    def _session(self) -> psycopg.Connection:
        # As Django has it: no prepared statements.
        return self.site.database.connect(prepare_threshold=None)

    def _run(self, work: Callable[[psycopg.Connection], None], kept: bool) -> None:
        connection = self._session()
        while not self._stop:
            started = time.monotonic()
            try:
                work(connection)
            except Exception as error:
                self.errors.append(error)
            self.slowest = max(self.slowest, time.monotonic() - started)
            self.rounds += 1
            if not kept:
                connection.close()
                connection = self._session()
            time.sleep(0.003)
        connection.close()

    @staticmethod
    def _read(connection: psycopg.Connection) -> None:
        rows = connection.execute(
            "select * from v_place v join place p using (id) join tag on place_id = p.id limit 10"
        ).fetchall()
        assert rows, "nobody ever sees half-restored data"
        connection.execute("select * from m_count join v_names on true limit 3").fetchall()

    def _write(self, connection: psycopg.Connection) -> None:
        with connection.transaction():
            (new,) = connection.execute("insert into place(name) values ('new') returning id").fetchone()
            connection.execute('insert into "Odd ""na.me"(place_id) values (%s)', (new,))
        self.ids.append(new)


def test_readers_and_writers_see_no_error_from_stage_to_undo(site):
    before = site.dumped_schema()
    with Traffic(site) as traffic:
        for run in ("r1", "r2"):
            site.swap(site.stage(run))
            time.sleep(0.2)
        for _ in range(3):
            swap.take_back(site.target, "r3")
            time.sleep(0.2)
    assert traffic.errors == []
    assert traffic.rounds > 100
    assert len(traffic.ids) == len(set(traffic.ids)), "no number was given out twice"
    assert traffic.slowest < 1
    assert site.dumped_schema() == before


def test_locks_are_held_for_milliseconds(site):
    swapped = site.swap(site.stage())
    assert swapped.locked is not None
    assert swapped.locked < 0.1


def test_a_swap_puts_the_backup_in_place_and_the_rest_aside(site):
    before = site.sums()
    site.do("insert into public.place(name) values ('later'); create table public.later(id int)")
    later = site.sums()
    site.swap(site.stage("r1"))
    assert site.sums() == before
    assert site.sums("before_r1") == later
    assert site.schemas() == {"before_r1"}
    live = site.state().live
    assert (live.schema, live.kind, live.number, live.confirmed) == ("before_r1", "before", 1, False)


def test_an_undo_brings_back_and_is_undone_in_turn(site):
    site.do("insert into public.place(name) values ('later')")
    original = site.sums()
    site.swap(site.stage("r1"))
    site.do("insert into public.place(name) values ('after the swap')")
    restored = site.sums()

    assert swap.take_back(site.target, "r2").mark.schema == "after_r1"
    assert site.sums() == original
    assert (site.schemas(), site.state().live.kind) == ({"after_r1"}, "after")

    assert swap.take_back(site.target, "r3").mark.schema == "before_r1"
    assert site.sums() == restored
    assert (site.schemas(), site.state().live.number) == ({"before_r1"}, 3)


def test_an_undo_takes_along_what_a_migration_has_made_since(site):
    site.swap(site.stage("r1"))
    site.do("alter table public.place add column colour text; create table public.later(id serial)")
    swap.take_back(site.target, "r2")
    assert site.one("select to_regclass('public.later') is null")
    assert site.one("select to_regclass('after_r1.later') is not null")


def test_numbers_go_on_from_the_further_side_at_swap_and_undo(site):
    site.do("insert into public.place(name) select 'x' from generate_series(1, 50)")
    site.do("select nextval('public.ticket') from generate_series(1, 7)")
    site.swap(site.stage("r1"))
    assert site.one("insert into public.place(name) values ('y') returning id") == 251
    assert site.one("select nextval('public.ticket')") == 8
    swap.take_back(site.target, "r2")
    assert site.one("insert into public.place(name) values ('z') returning id") == 252
    assert site.one("select nextval('public.ticket')") == 9


def test_a_sequence_set_to_begin_further_on_begins_there(site):
    site.do("select setval('public.ticket', 1000, false)")
    site.backup()
    site.do("select setval('public.ticket', 5)")
    site.swap(site.stage("r1"))
    assert site.one("select nextval('public.ticket')") == 1000


def test_numbers_that_go_down_go_on_downwards(site):
    site.do("create sequence public.countdown increment -1 minvalue -1000 maxvalue 0 start 0")
    site.backup()
    site.do("select nextval('public.countdown') from generate_series(1, 5)")
    site.swap(site.stage("r1"))
    assert site.one("select nextval('public.countdown')") == -5


def test_what_other_roles_may_do_is_the_same_after(site):
    site.do(f"grant insert on public.tag to {site.reader}")
    site.swap(site.stage("r1"))
    with site.as_reader() as connection:
        assert connection.execute("select count(*) from public.place").fetchone() == (200,)
        assert connection.execute("select count(*) from public.v_place").fetchone() == (200,)
        connection.execute("update public.auth_user set email = 'x'")
        connection.execute("insert into public.tag values (1, 'by the reader')")
        for forbidden in (
            "select * from public.django_session",
            "update public.auth_user set password = 'x'",
            "select * from before_r1.place",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(forbidden)
    site.do("create table public.made_later(id int)")
    with site.as_reader() as connection:
        connection.execute("select * from public.made_later")


def test_a_table_that_was_gone_has_the_default_rights(site):
    site.do("drop table public.tag")
    site.swap(site.stage("r1"))
    with site.as_reader() as connection:
        assert connection.execute("select count(*) from public.tag").fetchone() == (200,)


def test_extensions_and_other_owners_stay(site):
    with site.superuser() as connection:
        connection.execute("create table public.theirs(id int)")
    site.swap(site.stage("r1"))
    assert site.one("select to_regclass('public.theirs') is not null")
    assert site.one("select public.similarity('a', 'a')") == 1


def test_objects_made_since_the_plan_stop_the_swap(site):
    planned = site.live().inventory.digest
    staged = site.stage("r1")
    site.do("create table public.later(id int)")
    with pytest.raises(Stale, match="made or dropped since the plan"):
        site.swap(staged, planned=planned)
    assert site.schemas() == {"new_r1"}
    assert site.one("select to_regclass('public.later') is not null")


def test_a_long_transaction_delays_the_swap_and_nobody_else(site):
    staged = site.stage("r1")
    told: list[str] = []
    with Traffic(site) as traffic, site.connect() as slow:
        slow.execute("begin; select count(*) from public.place; select count(*) from public.m_count")
        ended = threading.Timer(1.0, slow.execute, ("commit",))
        ended.start()
        swapped = site.swap(staged, waiting=told.append)
        ended.join()
    assert swapped.attempts > 1
    assert f"of {site.role}" in told[0]
    assert traffic.errors == []
    assert traffic.slowest < 0.6


def test_a_transaction_that_has_only_taken_a_number_delays_nobody_else(site):
    """It holds a lock on the sequence, not on its table: the swap meets it after it has locked the tables."""
    staged = site.stage("r1")
    with Traffic(site) as traffic, site.connect() as slow:
        slow.execute("begin; select nextval('public.place_id_seq')")
        ended = threading.Timer(1.0, slow.execute, ("commit",))
        ended.start()
        swapped = site.swap(staged)
        ended.join()
    assert swapped.attempts > 1
    assert traffic.errors == []
    assert traffic.slowest < 0.6


def test_a_swap_that_gets_no_locks_changes_nothing_and_says_who(site):
    staged = site.stage("r1")
    with site.connect() as slow:
        slow.execute("begin; select count(*) from public.place")
        with pytest.raises(OpsError, match=r"not to be had in \d+ attempts; in the way: pid \d+") as caught:
            site.swap(staged, deadline=0.5)
    assert "nothing was changed" in str(caught.value)
    assert site.schemas() == {"new_r1"}


def test_a_session_killed_while_it_swaps_changes_nothing(site):
    staged = site.stage("r1")
    blocker = site.connect()
    blocker.execute("begin; select count(*) from public.place")

    def kill(_sentence: str) -> None:
        with site.superuser() as connection:
            connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity "
                "where application_name like 'ops/%/swap'"
            )

    with pytest.raises(OpsError, match="cut"):
        site.swap(staged, waiting=kill)
    blocker.close()
    assert site.schemas() == {"new_r1"}
    assert site.state().live is None


def test_a_connection_lost_after_the_commit_is_a_swap_that_happened(site, wire):
    staged = site.stage("r1")
    wire.cut_before_reply = b"COMMIT\x00"
    far = replace(site.target, port=wire.port)
    swapped = swap.swap(far, "r1", staged.mark, planned=None)
    assert wire.cut_before_reply is None, "the reply to the commit was never seen"
    assert swapped.locked is None
    assert swapped.mark.schema == "before_r1"
    assert site.schemas() == {"before_r1"}


def test_a_database_that_does_not_come_back_needs_a_person(site, wire, monkeypatch):
    monkeypatch.setattr(swap, "RECONNECT_SECONDS", 0.2)
    staged = site.stage("r1")
    wire.cut_before_reply, wire.stay_cut = b"COMMIT\x00", True
    with pytest.raises(PersonNeeded, match="can't be reached") as caught:
        swap.swap(replace(site.target, port=wire.port), "r1", staged.mark, planned=None)
    assert "has happened as a whole" in str(caught.value)
    assert site.state().live.schema == "before_r1"


def test_a_lost_run_lock_stops_the_swap(site):
    staged = site.stage("r1")
    with EnvironmentLock.take(site.target, "r1") as held:
        pid = held.pid
    with pytest.raises(Refused, match="no longer holds the environment's lock"):
        site.swap(staged, lock_pid=pid)
    assert site.schemas() == {"new_r1"}
    with EnvironmentLock.take(site.target, "r1") as held:
        site.swap(staged, lock_pid=held.pid, fence=held.fence)
    assert site.state().live.fence == held.fence


def test_only_a_proved_stage_is_swapped(site):
    staged = site.stage("r1")
    with pytest.raises(Refused, match="not a proved stage"):
        swap.swap(site.target, "r1", replace(staged.mark, state="loading"), planned=None)


def test_what_depends_on_the_live_objects_from_outside_stops_the_swap(site):
    staged = site.stage("r1")
    with site.superuser() as connection:
        connection.execute("create view public.theirs as select * from public.place")
    with pytest.raises(Refused, match=r"view public\.theirs: .*superuser, depends on table public\.place"):
        site.swap(staged)


def test_nothing_to_take_back_is_said(site):
    with pytest.raises(Refused, match="there is none"):
        swap.take_back(site.target, "r1")


def test_swaps_of_the_same_moment_exclude_each_other(site):
    staged = [site.stage("r1"), site.stage("r2")]
    done: list[object] = []

    def go(one) -> None:
        with contextlib.suppress(OpsError):
            done.append(site.swap(one, planned=None))

    threads = [threading.Thread(target=go, args=(one,)) for one in staged]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 1 <= len(done) <= 2
    assert len(site.state().set_aside) == len(done)
    assert site.sums()["place"] is not None


def test_an_older_server_is_restored_and_put_back_the_same(older_site):
    site = older_site
    before, definitions = site.sums(), site.dumped_schema()
    assert assess(site.archive, site.contents, site.live()) == []
    site.do("insert into public.place(name) values ('later')")
    original = site.sums()
    site.swap(site.stage("r1"))
    assert site.sums() == before
    assert site.dumped_schema() == definitions
    swap.take_back(site.target, "r2")
    assert site.sums() == original
    assert site.one("insert into public.place(name) values ('next') returning id") == 202
    with connect(site.target, "r3") as connection:
        forget.drop_schema(connection, "after_r1")
    assert site.schemas() == set()
