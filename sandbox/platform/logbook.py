"""The last lines of an app's log, and its followers."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import deque

from sandbox.platform.broadcast import Broadcast, Subscription
from sandbox.platform.errors import BadRequest
from sandbox.platform.model import LogLine, now

KEPT_LINES = 5000
MANAGER = "manager"
ROUTER = "router"


class Logbook:
    """A ring of log lines in memory; the platform keeps no archive of them in this sandbox."""

    def __init__(self) -> None:
        self._lines: deque[LogLine] = deque(maxlen=KEPT_LINES)
        self._broadcast: Broadcast[LogLine] = Broadcast()

    def write(self, source: str, text: str) -> None:
        line = LogLine(now(), source, text.rstrip("\r\n"))
        self._lines.append(line)
        self._broadcast.publish(line)

    def manager(self, text: str) -> None:
        """A line that the platform itself says."""
        self.write(MANAGER, text)

    def last(self, count: int, source: str = "") -> list[LogLine]:
        """The last `count` lines whose source's name or type matches the regular expression `source`."""
        matches = _matcher(source)
        return [line for line in self._lines if matches.match(line.source)][-count:] if count > 0 else []

    def follow(self, source: str = "") -> Subscription[LogLine]:
        """Live lines, without end."""
        matches = _matcher(source)
        return self._broadcast.subscribe(wanted=lambda line: matches.match(line.source) is not None)

    async def copy(self, source: str, stream: asyncio.StreamReader) -> None:
        """Write each line of a child's output, to its end. A line beyond the stream's limit is cut."""
        while True:
            try:
                line = await stream.readuntil(b"\n")
            except asyncio.IncompleteReadError as end:
                if end.partial:
                    self.write(source, end.partial.decode(errors="replace"))
                return
            except asyncio.LimitOverrunError as overrun:
                line = await stream.readexactly(overrun.consumed)
            except OSError:
                return
            with contextlib.suppress(UnicodeError):
                self.write(source, line.decode(errors="replace"))


def _matcher(source: str) -> re.Pattern[str]:
    try:
        return re.compile(rf"(?:{source})(?:-\d+)?$" if source else "")
    except re.error as wrong:
        raise BadRequest(f"filter is not a regular expression: {wrong}") from None
