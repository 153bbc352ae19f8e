"""The parent of each child process: ends it, and all of its group, when the process that asked for it ends.

A program of its own, started by `tasks.core.process` in a session without a terminal; it imports nothing of
the project. Its file descriptor 3 is a socket to that process: its end means "end the group", and so do
SIGTERM, SIGINT and SIGHUP; the program's exit code is written to it. Standard output and error stay open
here too, for their end then means that nothing of the program is left.

    guard.py GRACE FOLDER PROGRAM ARGV0 [ARGUMENT ...]
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time

LINE = 3
ASKED_TO_END = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
WATCHED = (signal.SIGCHLD, *ASKED_TO_END)


def main(grace: float, folder: str, path: str, argv: list[str]) -> None:
    """Run the program, and leave when it has ended and nothing of its group is left."""
    os.set_inheritable(LINE, False)
    signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
    program = os.fork()
    if program == 0:
        become(folder, path, argv)
    with contextlib.suppress(OSError):
        os.setpgid(program, program)  # the program does so too: whoever comes first
    # A signal that comes just before the waiting begins must end it: each one writes a byte to `woken`.
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    for number in WATCHED:
        signal.signal(number, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED)
    kill_at: float | None = None
    while True:
        leave_when_ended(program)
        left = None if kill_at is None else max(0.0, kill_at - time.monotonic())
        ready, _, _ = select.select([woken] if kill_at is not None else [woken, LINE], [], [], left)
        asked = woken in ready and any(number in ASKED_TO_END for number in os.read(woken, 64))
        if kill_at is not None and time.monotonic() >= kill_at:
            signal_group(program, signal.SIGKILL)
            kill_at = time.monotonic() + 0.2
        elif kill_at is None and (asked or (LINE in ready and line_has_ended())):
            signal_group(program, signal.SIGTERM)
            kill_at = time.monotonic() + grace


def become(folder: str, path: str, argv: list[str]) -> None:
    """Turn this fork into the program, in a group of its own and with no signal ignored or blocked."""
    os.setpgid(0, 0)
    for number in (*WATCHED, signal.SIGPIPE, signal.SIGXFSZ, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    try:
        os.chdir(folder)
        os.execv(path, argv)  # noqa: S606
    except OSError as error:
        os.write(2, f"{error.filename}: {error.strerror}\n".encode())
    os._exit(126)


def leave_when_ended(program: int) -> None:
    """Once the program has ended: end what it left in its group, tell its exit code, and exit."""
    pid, status = os.waitpid(program, os.WNOHANG)
    if pid:
        signal_group(program, signal.SIGKILL)
        with contextlib.suppress(OSError):
            os.write(LINE, str(os.waitstatus_to_exitcode(status)).encode())
        os._exit(0)


def line_has_ended() -> bool:
    """Whether the process that asked for the program has closed its end, or is gone."""
    try:
        return not os.read(LINE, 1)
    except OSError:
        return True


def signal_group(program: int, number: signal.Signals) -> None:
    """Send a signal to all of the program's group, if any of it is left."""
    with contextlib.suppress(OSError):
        os.killpg(program, number)


if __name__ == "__main__":
    main(float(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4:])
