"""Sessions on the database: named after the run, with time limits, and errors in sentences.

Every session carries `ops/RUN/PURPOSE` as its application name, so that a later run finds what a dead one
left behind (`leftovers.py`) and an administrator sees who is at work.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg
from psycopg import errors as pg

from tasks.core.errors import NotConfigured, OpsError, Unreachable
from tasks.core.secrets import Secret, redact

Connection = psycopg.Connection[tuple[Any, ...]]

APPLICATION_PREFIX: Final = "ops"
READ_ONLY_PURPOSE: Final = "read"
_LONGEST_NAME: Final = 63
_RUN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,47}")


@dataclass(frozen=True)
class Target:
    """The database to work on, as reached from here (through a tunnel, usually).

    + host, port: where its server, or the tunnel to it, listens
    + database, user, password: as the application's own role; superuser is not needed
    + schema: where the application's objects are
    + options: more libpq connection parameters, as `{"sslmode": "require"}`
    """

    host: str
    port: int
    database: str
    user: str
    password: Secret
    schema: str = "public"
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """How a person is told of it."""
        return f"database {self.database} as {self.user}"


def check_run(run: str) -> str:
    """The run's id when it can be part of schema and session names; ValueError otherwise."""
    if not _RUN.fullmatch(run):
        raise ValueError(f"a run's id is up to 48 letters, digits, _ and -: {run!r}")
    return run


def application_name(run: str, purpose: str) -> str:
    """`ops/RUN/PURPOSE`, cut to the 63 characters that the server keeps."""
    return f"{APPLICATION_PREFIX}/{check_run(run)}/{purpose}"[:_LONGEST_NAME]


def settings(*, read_only: bool, statement_seconds: int, lock_seconds: int, idle_seconds: int) -> str:
    """The `options` parameter of a session: limits that end what hangs, and nothing found by search path."""
    values = {
        "statement_timeout": f"{statement_seconds}s",
        "lock_timeout": f"{lock_seconds}s",
        "idle_in_transaction_session_timeout": f"{idle_seconds}s",
        "client_min_messages": "error",
        "standard_conforming_strings": "on",
        "search_path": "",
        # Rows that a policy hides from us would be missed in every count: an error instead.
        "row_security": "off",
        "DateStyle": "ISO",
    }
    if read_only:
        values["default_transaction_read_only"] = "on"
    return " ".join(f"-c {name}={value}" for name, value in values.items())


def connect(
    target: Target,
    run: str,
    purpose: str = "work",
    *,
    read_only: bool = False,
    statement_seconds: int = 3600,
    lock_seconds: int = 10,
    idle_seconds: int = 300,
) -> Connection:
    """A session in autocommit mode with an empty search path.

    + run: the run's id
    + purpose: what this session is for, seen in pg_stat_activity
    + read_only: the server refuses every write
    + statement_seconds, lock_seconds, idle_seconds: limits of a statement, of a wait for a lock, and of
      idleness within a transaction

    Raises NotConfigured for a wrong password, role or database, Unreachable when nothing answers, OpsError
    when there are no connections left.
    """
    if read_only and not purpose.startswith(READ_ONLY_PURPOSE):
        purpose = f"{READ_ONLY_PURPOSE} {purpose}"
    options = settings(
        read_only=read_only,
        statement_seconds=statement_seconds,
        lock_seconds=lock_seconds,
        idle_seconds=idle_seconds,
    )
    parameters: dict[str, Any] = {
        "connect_timeout": 10,
        "keepalives": 1,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 4,
        "tcp_user_timeout": 40_000,
        "client_encoding": "UTF8",
        **target.options,
        "host": target.host,
        "port": target.port,
        "dbname": target.database,
        "user": target.user,
        "password": target.password.reveal(),
        "application_name": application_name(run, purpose),
        "options": options,
    }
    try:
        connection = psycopg.connect(autocommit=True, **parameters)
    except psycopg.Error as error:
        raise _connect_error(error, target) from None
    connection.prepare_threshold = None
    return connection


_NOTHING_SENT: Final = "nothing was sent to the database"
# Followed by "starting up", "shutting down", "in recovery mode", "not yet accepting connections".
_NOT_READY: Final = "the database system is "
_NO_SUCH: Final = {
    "password authentication failed": "the password is wrong",
    "no password supplied": "the server asks for a password and there is none",
    "does not exist": "there is no such database or role",
    "no pg_hba.conf entry": "the server does not let this role in from here",
    "is not permitted to log in": "this role may not log in",
    "permission denied for database": "this role may not connect to this database",
}


def _connect_error(error: psycopg.Error, target: Target) -> OpsError:
    attempted = f"Connecting to the {target.title} at {target.host}:{target.port}"
    text = str(error)
    for part, sentence in _NO_SUCH.items():
        if part in text:
            return NotConfigured(
                attempted,
                sentence,
                state=_NOTHING_SENT,
                next_step=f"compare {target.password.name} with what the platform shows for this database",
            )
    if "unsupported startup parameter" in text:
        return NotConfigured(
            attempted,
            "a connection pooler answers, which can't carry a restore",
            state=_NOTHING_SENT,
            next_step="give the database's own address, not the pooler's",
        )
    if "too many clients" in text or "remaining connection slots" in text or "too many connections" in text:
        return OpsError(
            attempted,
            "the server has no connection left",
            state=_NOTHING_SENT,
            next_step="stop a worker or a session of the application, then run the same command again",
        )
    if _NOT_READY in text:
        return Unreachable(
            attempted,
            first_line(error),
            state=f"the server is there and lets nobody in just now; {_NOTHING_SENT}",
            next_step="wait a minute, then run the same command again; if it stays so, look at the database "
            "in the platform's dashboard, or write to its support",
        )
    return Unreachable(
        attempted,
        first_line(error),
        state=f"the database does not answer; {_NOTHING_SENT}",
        next_step="check the tunnel and that the database is running, then run the same command again",
    )


def first_line(error: BaseException) -> str:
    """The server's own first line without its prefix, and without any secret."""
    text = str(error).strip()
    line = text.splitlines()[0] if text else type(error).__name__
    for prefix in ("connection failed: ", "ERROR:  ", "FATAL:  "):
        line = line.removeprefix(prefix)
    return redact(re.sub(r'^connection to server at "[^"]*"[^:]*failed: (?:FATAL:  )?', "", line))


def is_cut(error: psycopg.Error) -> bool:
    """Whether the session is gone: ended by an administrator, by a crash, or by the network."""
    if isinstance(error, pg.AdminShutdown | pg.CrashShutdown | pg.CannotConnectNow | pg.IdleSessionTimeout):
        return True
    if isinstance(error, pg.IdleInTransactionSessionTimeout):
        return True
    return isinstance(error, psycopg.OperationalError) and error.sqlstate is None


def explain(error: psycopg.Error, attempted: str, *, state: str = "", next_step: str = "") -> OpsError:
    """A server's error as a sentence of ours; never with the statement or values in it."""
    if is_cut(error):
        return Unreachable(
            attempted,
            f"the connection to the database was cut ({first_line(error)})",
            state=state or "what had not been committed by then, the server takes back by itself",
            next_step=next_step or "check the tunnel, then run the same command again",
        )
    if isinstance(error, pg.DiskFull):
        return OpsError(
            attempted,
            "the database's disk is full",
            state=state,
            next_step=next_step or "make room or take a larger plan, then run the same command again",
        )
    if isinstance(error, pg.InsufficientPrivilege):
        return OpsError(
            attempted,
            f"the role may not do this: {first_line(error)}",
            state=state,
            next_step=next_step or "grant it the right, or run with the role that owns the objects",
        )
    reply = first_line(error) + (f" ({error.sqlstate})" if error.sqlstate else "")
    return OpsError(attempted, reply, state=state, next_step=next_step)


@contextlib.contextmanager
def explained(attempted: str, *, state: str = "", next_step: str = "") -> Iterator[None]:
    """Turn what psycopg raises inside into the project's own errors."""
    try:
        yield
    except psycopg.Error as error:
        raise explain(error, attempted, state=state, next_step=next_step) from None


def results(connection: Connection, statements: str) -> list[list[tuple[Any, ...]]]:
    """Run several statements in one message; the rows of each that gave rows, in order."""
    cursor = connection.execute(statements.encode())
    found: list[list[tuple[Any, ...]]] = []
    while True:
        if cursor.description is not None:
            found.append(cursor.fetchall())
        if not cursor.nextset():
            return found


def check_not_pooled(connection: Connection) -> None:
    """Raise NotConfigured behind a pooler: session locks, settings and cancels would go to others."""
    row = connection.execute("select pg_backend_pid()").fetchone()
    if row is None or row[0] != connection.info.backend_pid:
        raise NotConfigured(
            "Checking the connection",
            "a connection pooler is between here and the database, which can't carry a restore",
            next_step="give the database's own address, not the pooler's",
        )
