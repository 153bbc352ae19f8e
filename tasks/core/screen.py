"""What a person at the terminal sees while a step runs, in pyinfra's own columns."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol

import click
from pyinfra import logger

from tasks.core.secrets import redact

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyinfra.api.host import Host

Progress = Callable[[int, int | None], None]
_SECONDS_BETWEEN_LINES: Final = 5.0
_SECONDS_BETWEEN_REFRESHES: Final = 0.2
_SECONDS_BEFORE_AN_ESTIMATE: Final = 2.0


class Screen(Protocol):
    """Where a run speaks. Lines may hold anything: secrets are redacted, pyinfra's headings avoided."""

    def line(self, text: str) -> None: ...
    def good(self, text: str) -> None: ...
    def warn(self, text: str) -> None: ...
    def bad(self, text: str) -> None: ...
    def progress(self, what: str, unit: str = "bytes") -> Progress: ...


def show_plan(screen: Screen, lines: Iterable[str]) -> None:
    """The lines of a plan; colour repeats what the words say."""
    for line in lines:
        text = line.strip()
        if text.startswith(("DESTROYS", "skipped")):
            screen.warn(line)
        elif text.startswith("REFUSED"):
            screen.bad(line)
        elif text.startswith("ok "):
            screen.good(line)
        else:
            screen.line(line)


class HostScreen:
    """Lines under a pyinfra host's prefix, on standard error as pyinfra's own."""

    def __init__(self, host: Host) -> None:
        # Kept as text: pyinfra's own `host` means another thing, or nothing, in a signal's handler.
        self._prefix = host.print_prefix

    def line(self, text: str) -> None:
        self._say(text)

    def good(self, text: str) -> None:
        self._say(text, fg="green")

    def warn(self, text: str) -> None:
        self._say(text, fg="yellow")

    def bad(self, text: str) -> None:
        self._say(text, fg="red")

    def _say(self, text: str, fg: str | None = None) -> None:
        for part in redact(text).splitlines() or [""]:
            clean = part.replace("-->", "-- >")  # pyinfra makes a heading of any line with that arrow
            coloured = click.style(clean, fg=fg) if fg and not os.environ.get("NO_COLOR") else clean
            logger.info(f"{self._prefix}{coloured}")

    def progress(self, what: str, unit: str = "bytes") -> Progress:
        return progress_lines(what, unit, self.line)


def progress_lines(what: str, unit: str, say: Callable[[str], None]) -> Progress:
    """A callback that shows done, total, elapsed and expected end: in place at a terminal, else as lines."""
    began = time.monotonic()
    at_terminal = sys.stderr.isatty()
    pause = _SECONDS_BETWEEN_REFRESHES if at_terminal else _SECONDS_BETWEEN_LINES
    shown = began

    def show(done: int, total: int | None) -> None:
        nonlocal shown
        now = time.monotonic()
        finished = total is not None and done >= total
        if now - shown < pause:
            if finished and at_terminal:
                sys.stderr.write("\r\033[K")
            return
        shown = now
        text = progress_text(what, unit, done, total, now - began)
        if at_terminal:
            sys.stderr.write(f"\r\033[K    {text}")
            if finished:
                sys.stderr.write("\r\033[K")
            sys.stderr.flush()
        else:
            say(text)

    return show


def progress_text(what: str, unit: str, done: int, total: int | None, elapsed: float) -> str:
    """One line of progress; no estimate before enough is known."""
    amount = amount_text(done, unit) + (f" of {amount_text(total, unit)}" if total else "")
    text = f"{what}: {amount}, {elapsed:.0f} s"
    if total and 0 < done < total and elapsed > _SECONDS_BEFORE_AN_ESTIMATE:
        text += f", about {elapsed * (total - done) / done:.0f} s left"
    return text


def amount_text(amount: int, unit: str) -> str:
    """A number of bytes, or of what the unit names, as people read it."""
    if unit != "bytes":
        return f"{amount:,} {unit}"
    for size, name in ((1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")):
        if amount >= size:
            return f"{amount / size:.1f} {name}"
    return f"{amount} B"


@contextmanager
def timed(record: Callable[[float], None]) -> Iterator[None]:
    """Hand the seconds that the block took to `record`, also when it fails."""
    began = time.monotonic()
    try:
        yield
    finally:
        record(time.monotonic() - began)
