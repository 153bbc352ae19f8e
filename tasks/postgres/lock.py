"""One run at a time: the database's advisory lock, on a session of its own that lives as long as the run.

The server releases it when the session ends, however it ends. Who holds it is read from that session's
application name.
"""

# ruff: noqa: S608  (names and values are quoted by tasks.postgres.sql)

from __future__ import annotations

import getpass
import socket
from datetime import UTC, datetime
from types import TracebackType
from typing import Final, Self

import psycopg

from tasks.core.errors import Locked, OpsError
from tasks.postgres.connection import Connection, Target, check_not_pooled, connect, explained

# Advisory locks are two integers of this database: ours, and which of ours.
CLASS: Final = 0x4F5053
RUN: Final = 1
SWAP: Final = 2

_HOLDER: Final = f"""
select a.pid, a.application_name, a.usename, a.backend_start
  from pg_locks l join pg_stat_activity a using (pid)
 where l.locktype = 'advisory' and l.classid = {CLASS} and l.objid = {RUN} and l.objsubid = 2 and l.granted
   and l.database = (select oid from pg_database where datname = current_database())
"""


def holder_condition(pid: int) -> str:
    """SQL that is true while this session holds the run's lock: the swap asks it in its own transaction."""
    return (
        f"exists (select from pg_locks where locktype = 'advisory' and classid = {CLASS} "
        f"and objid = {RUN} and objsubid = 2 and granted and pid = {pid})"
    )


class EnvironmentLock:
    """The lock of the environment that this database belongs to.

    + fence: a number greater than that of every earlier holder, kept in what this run writes
    + pid: of the session that holds it
    """

    def __init__(self, connection: Connection, run: str, fence: int) -> None:
        self.run = run
        self.fence = fence
        self._connection = connection
        self.pid = connection.info.backend_pid

    @classmethod
    def take(cls, target: Target, run: str, *, who: str | None = None) -> Self:
        """Take the lock at once, or raise Locked saying who holds it and since when.

        + who: shown to others; the user and machine by default
        """
        who = who or f"{getpass.getuser()}@{socket.gethostname()}"
        connection = connect(target, run, f"lock {who}")
        try:
            with explained("Taking the environment's lock"):
                check_not_pooled(connection)
                if connection.info.server_version >= 140000:
                    connection.execute("set idle_session_timeout = 0")
                row = connection.execute(f"select pg_try_advisory_lock({CLASS}, {RUN})").fetchone()
                if row is None or row[0] is not True:
                    raise Locked(
                        "Taking the environment's lock",
                        holder(connection) or "another run holds it",
                        state="nothing was changed",
                        next_step="wait for that run to end, then run the same command again",
                    )
                fence = connection.execute("select txid_current()").fetchone()
        except BaseException:
            connection.close()
            raise
        return cls(connection, run, int(fence[0]) if fence else 0)

    def held(self) -> None:
        """Return while the lock is held; raise OpsError when its session is gone."""
        try:
            row = self._connection.execute(f"select {holder_condition(self.pid)}").fetchone()
        except psycopg.Error:
            row = None
        if row is None or row[0] is not True:
            raise OpsError(
                "Checking the environment's lock",
                "it is lost: its session was cut",
                next_step="check the tunnel, then run the same command again; it goes on from what is done",
            )

    def release(self) -> None:
        """Give it back; ending the session does."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def holder(connection: Connection) -> str | None:
    """Who holds the lock and since when, in words; None when nobody does."""
    row = connection.execute(_HOLDER.encode()).fetchone()
    if row is None:
        return None
    pid, name, user, since = row
    parts = str(name).split("/", 2)
    who = parts[2].removeprefix("lock ") if len(parts) == 3 else f"role {user}"
    run = f", run {parts[1]}" if len(parts) == 3 else ""
    moment = since.astimezone(UTC) if isinstance(since, datetime) else since
    return f"{who} holds it since {moment:%Y-%m-%d %H:%M:%S} UTC{run} (pid {pid})"
