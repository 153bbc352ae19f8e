"""Child processes in sessions of their own, none of which survives the supervisor."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from sandbox.platform import guardian
from sandbox.platform.guardian import signal_session

_GATE = 'read -r go </dev/fd/"$1" || exit 125; shift; exec "$@"'
_TERMINAL_GATE = 'read -r go </dev/fd/"$1" || exit 125; exec <"$2" >"$2" 2>&1; shift 2; exec "$@"'
"""Opening the terminal by name, as a session's leader, makes it the session's controlling terminal."""


def start_time(pid: int) -> str | None:
    """When the process began, in the system's own notation; None when there is no such process.

    Together with the pid it names one process for good, since pids are used again.
    """
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] == "Z" else fields[19]
    if Path("/proc/self/stat").exists():
        return None
    answer = subprocess.run(
        ["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout.strip()
    return answer or None


def end_leftover(pid: int, process_started: str | None) -> bool:
    """Kill the session of a predecessor's child, if it is still that very process. True when it was."""
    if process_started is None or start_time(pid) != process_started:
        return False
    signal_session(pid, signal.SIGKILL)
    return True


@dataclass
class Child:
    """A running program, the leader of its own session (`pid` is also the session's id)."""

    process: asyncio.subprocess.Process
    process_started: str | None
    forget: Callable[[int], bool]
    """Tells the guardian; True the first time."""

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process.returncode is None

    async def wait(self) -> int:
        """Exit code as a shell reports it: 128 + N for signal N. Then ends what it left in its session."""
        code = await self.process.wait()
        if self.forget(self.pid):
            signal_session(self.pid, signal.SIGKILL)
        return code if code >= 0 else 128 - code

    def signal(self, number: int) -> None:
        """Send a signal to the whole session."""
        if self.running:
            signal_session(self.pid, number)

    async def stop(self, grace: float) -> int:
        """SIGTERM to the session, after `grace` seconds SIGKILL; returns the exit code."""
        self.signal(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self.process.wait()), grace)
        self.signal(signal.SIGKILL)
        return await self.wait()


class Guard:
    """Starts children and tells the guardian process of each, before the child runs anything.

    A child waits at a gate (a pipe) until the guardian knows its session. If the supervisor is killed
    before that, the gate reads as closed, and the child ends by itself.
    """

    def __init__(self) -> None:
        self._guardian: subprocess.Popen[bytes] | None = None
        self._sessions: set[int] = set()

    def start(self) -> None:
        """Start the guardian. Called again by itself where the guardian was killed."""
        self._guardian = subprocess.Popen(
            [sys.executable, "-I", "-S", guardian.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
        )
        for session in self._sessions:
            self._tell(f"+{session}")

    def stop(self) -> None:
        """End the guardian, which ends any session left."""
        if self._guardian is not None and self._guardian.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._guardian.stdin.close()
            self._guardian.wait(timeout=10)
            self._guardian = None

    @property
    def running(self) -> bool:
        return self._guardian is not None and self._guardian.poll() is None

    async def spawn(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path | str,
        stdin: int | IO[bytes] | None = subprocess.DEVNULL,
        stdout: int | IO[bytes] | None = subprocess.PIPE,
        stderr: int | IO[bytes] | None = subprocess.STDOUT,
        terminal: int | None = None,
        pass_fds: Sequence[int] = (),
        limit: int = 1 << 20,
    ) -> Child:
        """Run `argv`. `terminal`, the slave of a pty, becomes the child's three streams and its terminal.

        A program that isn't found is exit code 127 and a line on stderr. Raises OSError when `cwd` is gone.
        """
        if not self.running:
            self.start()
        gate_read, gate_write = os.pipe()
        try:
            script = [_GATE, "sh", str(gate_read)]
            if terminal is not None:
                script = [_TERMINAL_GATE, "sh", str(gate_read), os.ttyname(terminal)]
                stdin = stdout = stderr = terminal
            process = await asyncio.create_subprocess_exec(
                "/bin/sh",
                "-c",
                *script,
                *argv,
                env=dict(env),
                cwd=cwd,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
                pass_fds=[gate_read, *pass_fds],
                limit=limit,
            )
            self._sessions.add(process.pid)
            self._tell(f"+{process.pid}")
            child = Child(process, start_time(process.pid), self._forget)
            with contextlib.suppress(BrokenPipeError):
                os.write(gate_write, b"go\n")
            return child
        finally:
            os.close(gate_read)
            os.close(gate_write)

    def _forget(self, session: int) -> bool:
        if session not in self._sessions:
            return False
        self._sessions.discard(session)
        self._tell(f"-{session}")
        return True

    def _tell(self, line: str) -> None:
        if self._guardian is None or self._guardian.stdin is None:
            return
        try:
            self._guardian.stdin.write(f"{line}\n".encode())
            self._guardian.stdin.flush()
        except BrokenPipeError:
            self._guardian.wait()
            self.start()
