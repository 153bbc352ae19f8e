"""The parts of a run with their seconds, said as they begin and kept as the journal keeps steps."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tasks.core.screen import Screen


@dataclass(frozen=True)
class Part:
    """One part that has ended.

    + result: "done" or "failed"
    """

    title: str
    seconds: float
    result: str


class Parts:
    """What a run has done so far, in order."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self.ended: list[Part] = []

    @contextmanager
    def part(self, title: str) -> Iterator[None]:
        """Say it, and note how long the block took and whether it came to its end."""
        self._screen.line(f"Step: {title}")
        began, result = time.monotonic(), "failed"
        try:
            yield
            result = "done"
        finally:
            self.ended.append(Part(title, round(time.monotonic() - began, 2), result))

    def seconds(self, title: str) -> float:
        """How long the parts of that title took, 0 where there was none."""
        return sum(part.seconds for part in self.ended if part.title == title)
