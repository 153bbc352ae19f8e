"""Reading and examining an archive in two native threads, while the caller stays responsive.

Decompression keeps a processor busy for seconds. In a greenlet it would freeze every other one, and a thread
of the patched standard library is a greenlet: so gevent's thread pool, whose threads are real whether the
library is patched or not, and queues of the unpatched library between them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

import gevent
import gevent.monkey
from gevent.threadpool import ThreadPool

from tasks.core.errors import Interrupted

Progress = Callable[[int, int | None], None]
Stop = Callable[[], bool]
Result = TypeVar("Result")

_ROOM: Final = 8
_LOOK_AGAIN: Final = 0.1
_SimpleQueue: Any = gevent.monkey.get_original("queue", "SimpleQueue")


class _Abandoned(Exception):
    """Nobody reads the pieces any more."""


@dataclass(frozen=True, slots=True)
class _End:
    error: BaseException | None = None


@dataclass(slots=True)
class Meter:
    """How far the reading is. The worker counts, the caller shows; and the caller says that it shall stop.

    + what: what is read, for the sentence of an interruption
    + total: bytes of the file that is read
    + done: bytes of it read so far
    """

    what: str
    total: int
    done: int = 0
    stopped: bool = False

    def advance(self, count: int) -> None:
        """Count bytes as read. Errors: Interrupted once the caller wants it to stop."""
        if self.stopped:
            raise Interrupted(f"Reading {self.what}", "stopped on request", state="nothing was changed")
        self.done += count


class Pieces:
    """The consumer's end: a stream whose `read` gives whatever piece comes next, b"" after the last."""

    def __init__(self) -> None:
        self._filled = _SimpleQueue()
        self._room = _SimpleQueue()
        self._abandoned = False
        self._end: _End | None = None
        self._first: bytes | None = None
        for _ in range(_ROOM):
            self._room.put(None)

    def put(self, piece: bytes) -> None:
        """Hand over a piece; waits while too many are not read yet."""
        self._room.get()
        if self._abandoned:
            raise _Abandoned
        self._filled.put(piece)

    def close(self, error: BaseException | None = None) -> None:
        """Say that no piece follows, or why."""
        self._filled.put(_End(error))

    def abandon(self) -> None:
        """Say that no further piece is wanted."""
        self._abandoned = True
        self._room.put(None)

    def wait(self) -> None:
        """Wait until there is a first piece. Errors: as `read`."""
        self._first = self.read()

    def read(self, _count: int = -1) -> bytes:
        """The next piece. Errors: the producer's own, in its place among the pieces."""
        if self._first is not None:
            first, self._first = self._first, None
            return first
        if self._end is None:
            item = self._filled.get()
            if not isinstance(item, _End):
                self._room.put(None)
                return bytes(item)
            self._end = item
        if self._end.error is not None:
            raise self._end.error
        return b""


@dataclass(slots=True)
class _Outcome(Generic[Result]):
    """A worker's result or error as a value: gevent prints the traceback of what a worker raises."""

    result: list[Result] = field(default_factory=list)
    error: BaseException | None = None


def read_in_background(
    produce: Callable[[], Iterator[bytes]],
    consume: Callable[[Pieces], Result],
    meter: Meter,
    *,
    progress: Progress,
    stop: Stop,
) -> Result:
    """What `consume` makes of the pieces of `produce`; each runs in a thread of its own.

    `progress` and `stop` are called by the caller's own thread, several times a second.
    Errors: those of either; Interrupted.
    """
    pieces = Pieces()
    outcome: _Outcome[Result] = _Outcome()

    def producing() -> None:
        try:
            for piece in produce():
                pieces.put(piece)
        except _Abandoned:
            return
        except BaseException as error:
            pieces.close(error)
        else:
            pieces.close()

    def consuming() -> None:
        try:
            outcome.result.append(consume(pieces))
        except BaseException as error:
            outcome.error = error
        finally:
            pieces.abandon()

    pool = ThreadPool(2)
    workers = [pool.spawn(producing), pool.spawn(consuming)]
    try:
        while not all(worker.ready() for worker in workers):
            gevent.wait(workers, timeout=_LOOK_AGAIN)
            progress(meter.done, meter.total)
            if stop():
                meter.stopped = True
    finally:
        meter.stopped = True
        gevent.wait(workers)
        pool.kill()
    if outcome.error is not None:
        raise outcome.error
    return outcome.result[0]
