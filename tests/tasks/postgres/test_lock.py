from __future__ import annotations

from dataclasses import replace

import pytest

from tasks.core.errors import Locked, OpsError
from tasks.postgres import leftovers
from tasks.postgres.connection import connect
from tasks.postgres.lock import EnvironmentLock, holder


def test_the_second_is_told_who_holds_it_and_since_when(site):
    with EnvironmentLock.take(site.target, "r1", who="ada@laptop"):
        with pytest.raises(Locked, match=r"ada@laptop holds it since 20\d\d-.* UTC, run r1 \(pid \d+\)"):
            EnvironmentLock.take(site.target, "r2")
        with connect(site.target, "r3", read_only=True) as connection:
            assert "ada@laptop" in (holder(connection) or "")
    with connect(site.target, "r3", read_only=True) as connection:
        assert holder(connection) is None
    EnvironmentLock.take(site.target, "r2").release()


def test_each_holder_has_a_greater_number(site):
    numbers = []
    for run in ("r1", "r2", "r3"):
        with EnvironmentLock.take(site.target, run) as lock:
            numbers.append(lock.fence)
    assert numbers == sorted(set(numbers))


def test_a_lock_whose_session_was_ended_is_not_held(site):
    lock = EnvironmentLock.take(site.target, "r1")
    lock.held()
    with site.superuser() as connection:
        connection.execute("select pg_terminate_backend(%s)", (lock.pid,))
    with pytest.raises(OpsError, match="it is lost"):
        lock.held()


def test_a_lock_behind_a_cut_wire_is_not_held(site, wire):
    lock = EnvironmentLock.take(replace(site.target, port=wire.port), "r1")
    wire.cut()
    with pytest.raises(OpsError, match="it is lost"):
        lock.held()
    EnvironmentLock.take(site.target, "r2").release()


def test_what_a_dead_run_left_is_ended_and_nobody_else(site):
    dead = connect(site.target, "r1", "load")
    dead.execute("begin; lock table public.place in access exclusive mode")
    plan = connect(site.target, "r0", "plan", read_only=True)
    mine = connect(site.target, "r2", "work")
    application = site.connect()
    ended = leftovers.end(mine, "r2")
    assert [(session.run, session.purpose) for session in ended] == [("r1", "load")]
    assert site.one("select count(*) from public.place") == 200
    for alive in (plan, mine, application):
        alive.execute("select 1")
        alive.close()
    dead.close()


def test_a_session_that_may_not_be_ended_is_named(site):
    with site.superuser() as theirs, connect(site.target, "r2", "work") as mine:
        theirs.execute("set application_name = 'ops/r1/load'")
        with pytest.raises(OpsError, match=r"still there: r1/load \(pid \d+, role superuser"):
            leftovers.end(mine, "r2", seconds=0.2)
