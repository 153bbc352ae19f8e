"""Sessions that a dead run left on the server, ended before anything is read or changed.

A client killed while its commit was in flight may still commit seconds later, so the state is read only when
they are gone. Called with the lock held, every other run's session is a dead one's; sessions that can only
read are left alone: they are a colleague's plan.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import psycopg

from tasks.core.errors import OpsError
from tasks.postgres.connection import APPLICATION_PREFIX, READ_ONLY_PURPOSE, Connection, explained

_QUERY: Final = """
select pid, application_name, usename, coalesce(state, ''), backend_start
  from pg_stat_activity
 where datname = current_database() and application_name like %s and pid <> pg_backend_pid()
 order by backend_start
"""


@dataclass(frozen=True, slots=True)
class Session:
    """A session of a run of ours, as pg_stat_activity shows it."""

    pid: int
    run: str
    purpose: str
    user: str
    state: str
    since: datetime


def sessions(connection: Connection) -> tuple[Session, ...]:
    """Every session in this database that carries our application name, but this one."""
    found = []
    for pid, name, user, state, since in connection.execute(_QUERY, (f"{APPLICATION_PREFIX}/%",)):
        _, _, rest = str(name).partition("/")
        run, _, purpose = rest.partition("/")
        found.append(Session(int(pid), run, purpose, str(user), str(state), since))
    return tuple(found)


def dead(found: tuple[Session, ...], living: frozenset[str]) -> tuple[Session, ...]:
    """The sessions of runs that are not living, and that could still write."""
    return tuple(
        session
        for session in found
        if session.run not in living and not session.purpose.startswith(READ_ONLY_PURPOSE)
    )


def end(connection: Connection, run: str, *, seconds: float = 15) -> tuple[Session, ...]:
    """End the sessions of every other run and wait until they are gone; gives those that were there.

    + run: our own, whose sessions stay
    + seconds: how long to wait

    Call it while holding the environment's lock. Raises OpsError naming the sessions that don't end.
    """
    with explained("Ending sessions that an earlier run left"):
        return _end(connection, lambda: dead(sessions(connection), frozenset({run})), seconds)


def end_of_run(connection: Connection, run: str, purpose: str, *, seconds: float = 15) -> None:
    """End a run's own sessions of one purpose and wait until they are gone: ours, when one was cut."""
    with explained(f"Ending this run's sessions for {purpose}"):
        _end(
            connection,
            lambda: tuple(s for s in sessions(connection) if s.run == run and s.purpose == purpose),
            seconds,
        )


def _end(
    connection: Connection, find: Callable[[], tuple[Session, ...]], seconds: float
) -> tuple[Session, ...]:
    first = left = find()
    deadline = time.monotonic() + seconds
    pause = 0.01
    while left:
        for session in left:
            with contextlib.suppress(psycopg.errors.InsufficientPrivilege):
                connection.execute("select pg_terminate_backend(%s)", (session.pid,))
        time.sleep(pause)
        pause = min(pause * 2, 0.5)
        left = find()
        if left and time.monotonic() > deadline:
            names = ", ".join(f"{s.run}/{s.purpose} (pid {s.pid}, role {s.user}, {s.state})" for s in left)
            raise OpsError(
                "Ending sessions that an earlier run left",
                f"after {seconds:g} s still there: {names}",
                state="nothing was changed by this run",
                next_step="have the database's administrator end them, then run the same command again",
            )
    return first
