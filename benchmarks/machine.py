"""The machine that figures are measured on: what it is, and how busy it is with other things."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path
from typing import Final, Self

BUSY: Final = 0.25
"""The share of time with somebody waiting for a processor from which on times are not the program's own."""

_PRESSURE: Final = Path("/proc/pressure/cpu")


class Pressure:
    """How much of the time, from `with` to its end, something that could run had to wait for a processor.

    + share: from 0 to 1; where the kernel doesn't tell, 1 when more wants to run than there are processors
    """

    share = 0.0

    def __enter__(self) -> Self:
        self._began, self._stalled = time.monotonic(), _stalled()
        return self

    def __exit__(self, *_: object) -> None:
        stalled = _stalled()
        if stalled is None or self._stalled is None:
            self.share = float(os.getloadavg()[0] > processors())
        else:
            self.share = min(1.0, (stalled - self._stalled) / (time.monotonic() - self._began))

    @property
    def busy(self) -> bool:
        return self.share >= BUSY


def processors() -> int:
    """That this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def described(postgresql: str) -> str:
    """What figures depend on, in one sentence."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{processors()} processors shared by the server, the client and whatever else runs (load "
        f"{os.getloadavg()[0]:.1f} at the end), {memory:.0f} GB of memory, {platform.system()} "
        f"{platform.machine()}, PostgreSQL {postgresql}, Python {platform.python_version()}."
    )


def _stalled() -> float | None:
    """Seconds since the start of the system in which somebody waited (Linux: pressure stall information)."""
    try:
        return int(_PRESSURE.read_text().split("total=")[1].split()[0]) / 1e6
    except (OSError, IndexError, ValueError):
        return None
