"""How long users can wait at the swap: the engine's own measure, and what others saw of it."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass, field
from statistics import median
from typing import Final

import psycopg
from psycopg import sql

from benchmarks.figures import Bound, Figure, worst
from benchmarks.machine import Pressure
from benchmarks.schema import tables
from benchmarks.server import Database, MeasureError
from benchmarks.workshop import Workshop

_READERS: Final = 2
_EXCHANGES_A_PAIR: Final = 4
_BREATH: Final = 0.005
_REST: Final = 0.1


def locks(workshop: Workshop) -> Figure:
    """How long the swap holds its locks, with readers and a writer at work on the tables that it exchanges.

    For each of many exchanges there and back: the greater of the engine's own measure and of the longest time
    that a statement of the others took meanwhile, which waited for those locks and for nothing else. (To look
    at pg_locks all the time makes the swap itself a third slower; tried.) A statement that fails is a failure
    of the figure.
    """
    database, backup = workshop.small
    copy = workshop.server.copy(database)
    run = f"bench-{os.getpid()}-swap"
    number = _EXCHANGES_A_PAIR * workshop.pairs
    held: list[float] = []
    waited: list[float] = []
    attempts = 0
    workshop.engine.restore(copy, backup, run)
    with _Crowd(copy) as crowd, Pressure() as pressure:
        for at in range(number):
            workshop.say(f"swap-locks: exchange {at + 1} of {number}")
            time.sleep(_REST)
            crowd.longest = 0.0
            answer = workshop.engine.take_back(copy, run)
            time.sleep(_REST)
            if answer["locked"] is None:
                raise MeasureError("the engine can't say how long it held its locks")
            held.append(1000 * float(answer["locked"]))
            waited.append(1000 * crowd.longest)
            attempts += int(answer["attempts"])
    workshop.server.drop(copy)
    if crowd.errors:
        raise MeasureError(f"{len(crowd.errors)} statements failed at the swap, the first: {crowd.errors[0]}")
    note = (
        f"the engine's own {max(held):.0f} (median {median(held):.0f}), the longest wait of another session "
        f"{max(waited):.0f} (median {median(waited):.0f}); {attempts} attempts for {number} exchanges; "
        f"{crowd.statements:,} statements, none failed; somebody waited for a processor "
        f"{pressure.share:.0%} of the time"
    )
    longest = [*map(max, held, waited)]
    return worst("swap-locks", Bound(at_most=100, unit="ms"), longest, note, busy=pressure.busy)


def undo(workshop: Workshop) -> Figure:
    """How long an undo of the data takes from its first connection, on some tens of megabytes in use.

    Each is made right after a swap, while the server still analyses and vacuums what has come in.
    """
    database, backup = workshop.middle
    copy = workshop.server.copy(database)
    run = f"bench-{os.getpid()}-undo"
    took = []
    workshop.engine.restore(copy, backup, run)
    with _Crowd(copy) as crowd, Pressure() as pressure:
        for at in range(workshop.pairs):
            workshop.say(f"undo: {at + 1} of {workshop.pairs}")
            took.append(float(workshop.engine.take_back(copy, run)["seconds"]))
    workshop.server.drop(copy)
    if crowd.errors:
        raise MeasureError(f"{len(crowd.errors)} statements failed at the undo, the first: {crowd.errors[0]}")
    return worst(
        "undo",
        Bound(at_most=3, unit="s"),
        took,
        f"{crowd.statements:,} statements meanwhile, none failed",
        busy=pressure.busy,
    )


@dataclass
class _Crowd:
    """Readers and a writer on the tables that are exchanged, each with a session of its own."""

    database: Database
    statements: int = 0
    longest: float = 0.0
    errors: list[str] = field(default_factory=list)
    _ended: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> _Crowd:
        first, second = (table.name for table in tables(10_000)[:2])
        read = sql.SQL("SELECT count(*) FROM {} a JOIN {} b ON b.id = a.id WHERE a.id < 20").format(
            sql.Identifier(first), sql.Identifier(second)
        )
        write = sql.SQL("UPDATE {} SET amount = amount + 1 WHERE id = 1").format(sql.Identifier(first))
        for statement in [read] * _READERS + [write]:
            thread = threading.Thread(target=self._work, args=(statement,), daemon=True)
            thread.start()
            self._threads.append(thread)
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _work(self, statement: sql.Composed) -> None:
        with self.database.connect() as connection:
            while not self._ended.wait(_BREATH):
                began = time.monotonic()
                try:
                    connection.execute(statement)
                except psycopg.Error as error:
                    self.errors.append(str(error).strip())
                    return
                self.longest = max(self.longest, time.monotonic() - began)
                self.statements += 1
