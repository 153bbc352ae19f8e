"""A tiny process that outlives a killed supervisor just long enough to end what it leaves behind.

Run as a program it reads `+ID` and `-ID` lines, the sessions that began and ended, from its standard input, a
pipe that only the supervisor holds. At end of file, however the supervisor ended, it kills each session left.
Standard library only: it is started as `python -I -S guardian.py`, so that it is small and quick.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from pathlib import Path


def session_members(session: int) -> list[int]:
    """Process ids in `session`, in whatever process group; none where there is no /proc (macOS)."""
    members = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            pid = int(entry.name)
            if os.getsid(pid) == session and not _is_zombie(pid):
                members.append(pid)
    return members


def signal_session(session: int, number: int) -> None:
    """Send a signal to the session's process group and to members that went into groups of their own."""
    with contextlib.suppress(OSError):
        os.killpg(session, number)
    for pid in session_members(session):
        with contextlib.suppress(OSError):
            if os.getpgid(pid) != session:
                os.kill(pid, number)


def _is_zombie(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sessions: set[int] = set()
    for line in sys.stdin:
        session = int(line[1:])
        if line[0] == "+":
            sessions.add(session)
        else:
            sessions.discard(session)
    for session in sessions:
        signal_session(session, signal.SIGKILL)


if __name__ == "__main__":
    main()
