"""Waiting for what the platform does in the background, through its short outages."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TypeVar

from tasks.core.errors import Interrupted, OpsError, Unreachable
from tasks.core.http import UnexpectedStatus

T = TypeVar("T")
Stop = Callable[[], bool]

TOLERATED: Final = 300.0
"""Seconds for which the platform may be unreachable while something is waited for."""

_LOOK: Final = 0.2


class TookTooLong(OpsError):
    """The time given is over; what was waited for goes on."""


def poll(
    read: Callable[[], T],
    finished: Callable[[T], bool],
    *,
    doing: str,
    every: float,
    limit: float,
    stop: Stop | None = None,
    on_read: Callable[[T], None] | None = None,
    state: str = "it goes on at the platform",
) -> T:
    """Read until `finished` says so, and give what was read last.

    + doing: what is waited for, in words
    + every: seconds between two readings (the documented limit is 60 requests a minute)
    + limit: seconds in all
    + stop: asked five times a second
    + state: what is true of it when nobody waits any more

    Raises TookTooLong after `limit`, Unreachable after five minutes without an answer, Interrupted.
    """
    began = answered = time.monotonic()
    while True:
        try:
            value = read()
        except (Unreachable, UnexpectedStatus) as error:
            passing = isinstance(error, Unreachable) or error.status == 429 or error.status >= 500
            if not passing or time.monotonic() - answered > TOLERATED:
                raise
        else:
            answered = time.monotonic()
            if on_read is not None:
                on_read(value)
            if finished(value):
                return value
        if time.monotonic() - began > limit:
            raise TookTooLong(doing, f"not finished after {limit:.0f} s", state=state)
        pause(every, stop, doing=doing, state=state)


def pause(seconds: float, stop: Stop | None, *, doing: str, state: str) -> None:
    """Sleep, and raise Interrupted as soon as the run is asked to stop."""
    ends = time.monotonic() + seconds
    while True:
        if stop is not None and stop():
            raise Interrupted(doing, "stopped as asked", state=state)
        left = ends - time.monotonic()
        if left <= 0:
            return
        time.sleep(left if stop is None else min(left, _LOOK))
