"""Several sessions at work side by side, on native threads, with one greenlet that plans, watches and stops.

gevent's thread pool is native whether or not the standard library is patched; `threading.Thread` under
pyinfra is a greenlet and would freeze the others. Errors come back as values: gevent prints those raised.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

import gevent
import psycopg
from gevent.threadpool import ThreadPool

from tasks.core.errors import Interrupted, OpsError
from tasks.postgres.connection import Connection, explain

_TICK: Final = 0.2
_CANCEL_EVERY: Final = 0.5
_PATIENCE: Final = 5.0

Work = Callable[[Connection], None]


@dataclass
class Job:
    """Something that one session does.

    + title: what it is, for an error's sentence
    + work: runs on a worker's thread with a session of its own
    + weight: the heaviest start first
    + then: called where the crew was started, when the work is done; gives the jobs that may start now
    """

    title: str
    work: Work
    weight: int = 0
    then: Callable[[], Sequence[Job]] = field(default=lambda: ())


class Crew:
    """A few workers, each with a session of its own that is kept from job to job.

    + open_session: makes a session
    + size: how many
    """

    def __init__(self, open_session: Callable[[], Connection], size: int) -> None:
        self.size = size
        self.stopping = False
        self._open = open_session
        self._pool = ThreadPool(size)
        self._idle: deque[Connection] = deque()
        self._all: list[Connection] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Open the sessions while the caller does something else."""
        for _ in range(self.size):
            self._pool.spawn(self._open_ahead)

    def run(
        self,
        jobs: Iterable[Job],
        *,
        watch: Callable[[], None] = lambda: None,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        """Do the jobs and those that they bring along; return when all are done.

        + watch: called several times a second; what it raises stops everything
        + stop: when it answers yes, everything is stopped and Interrupted raised

        At the first failure the others are cancelled and waited for, then it is raised.
        """
        waiting = sorted(jobs, key=lambda job: job.weight)
        running: dict[Any, Job] = {}
        failure: BaseException | None = None
        failed_at = cancelled_at = 0.0
        while waiting or running:
            while waiting and len(running) < self.size and failure is None:
                job = waiting.pop()
                running[self._pool.spawn(self._do, job)] = job
            for done in gevent.wait(list(running), timeout=_TICK, count=1):
                job = running.pop(done)
                error = done.get()
                if error is None and failure is None:
                    waiting.extend(job.then())
                    waiting.sort(key=lambda job: job.weight)
                elif failure is None:
                    failure = error
            if failure is None:
                failure = self._look(watch, stop)
            if failure is not None:
                waiting.clear()
                now = time.monotonic()
                failed_at = failed_at or now
                # Again and again: a cancel that comes just before the statement ends nothing.
                if running and now - cancelled_at > _CANCEL_EVERY:
                    self._cancel(cut=now - failed_at > _PATIENCE)
                    cancelled_at = now
        if failure is not None:
            raise failure

    @staticmethod
    def _look(watch: Callable[[], None], stop: Callable[[], bool]) -> BaseException | None:
        if stop():
            return Interrupted("Loading the backup", "stopped on request")
        try:
            watch()
        except (OpsError, psycopg.Error) as error:
            return error
        return None

    def _do(self, job: Job) -> BaseException | None:
        try:
            connection = self._session()
            job.work(connection)
        except psycopg.Error as error:
            return explain(error, job.title)
        except BaseException as error:
            return error
        self._idle.append(connection)
        return None

    def _session(self) -> Connection:
        try:
            return self._idle.popleft()
        except IndexError:
            return self._opened()

    def _opened(self) -> Connection:
        connection = self._open()
        self._all.append(connection)
        return connection

    def _open_ahead(self) -> None:
        with contextlib.suppress(OpsError):  # the job that needs it tries again, and reports why it can't
            self._idle.append(self._opened())

    def _cancel(self, *, cut: bool) -> None:
        """Ask the server to end what is running; where it does not answer, cut the connections."""
        self.stopping = True
        for connection in list(self._all):
            if connection.closed:
                continue
            with contextlib.suppress(psycopg.Error, OSError):
                if cut:
                    _cut(connection)
                else:
                    connection.cancel_safe(timeout=2)

    def close(self) -> None:
        """End the sessions; nothing runs any more."""
        for connection in self._all:
            with contextlib.suppress(psycopg.Error):
                connection.close()
        self._pool.kill()


def _cut(connection: Connection) -> None:
    """Close the network's side of a session that another thread waits for: that thread sees its end."""
    with socket.socket(fileno=os.dup(connection.fileno())) as copy:
        copy.shutdown(socket.SHUT_RDWR)
