"""Ctrl-C, a closed terminal and SIGTERM, for the length of one step.

pyinfra's own Ctrl-C finishes the running operation and exits 0; a step of minutes must do better.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from types import FrameType, TracebackType

import click
from gevent.event import Event

from tasks.core.errors import ExitCode

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def end_at_ctrl_c() -> None:
    """From now on, outside of `Interrupts`, Ctrl-C ends the program with an exit code that is not 0.

    For what only reads and asks: pyinfra's own handling would exit 0 as if it had been done.
    """

    def end(_number: int, _frame: FrameType | None) -> None:
        click.echo("\nStopped as asked: nothing was changed.", err=True)
        sys.exit(ExitCode.ERROR)

    signal.signal(signal.SIGINT, end)


class Interrupts:
    """While entered, a signal only raises a flag; the step looks at it where stopping is safe.

    + announce: called once with the signal's name at the first one
    """

    def __init__(self, announce: Callable[[str], None]) -> None:
        self._announce = announce
        self._before: dict[signal.Signals, object] = {}
        self.event = Event()

    def stop(self) -> bool:
        """Whether the run has been asked to stop."""
        return bool(self.event.is_set())

    def _raise_flag(self, number: int, _frame: FrameType | None) -> None:
        if not self.event.is_set():
            self.event.set()
            self._announce(signal.Signals(number).name)

    def __enter__(self) -> Interrupts:
        self._before = {number: signal.signal(number, self._raise_flag) for number in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
