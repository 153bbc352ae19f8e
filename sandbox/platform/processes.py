"""Child processes in sessions of their own, none of which survives the supervisor."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from sandbox.platform import guardian
from sandbox.platform.guardian import signal_session

_GATE = 'read -r go </dev/fd/"$1" || exit 125; shift; exec "$@"'
_TERMINAL_GATE = 'read -r go </dev/fd/"$1" || exit 125; exec <"$2" >"$2" 2>&1; shift 2; exec "$@"'
"""Opening the terminal by name, as a session's leader, makes it the session's controlling terminal."""
_LONGEST_LINE = 1 << 20
"""Bytes that a reader of a child's output holds; a longer line comes in pieces."""


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


def command_line(pid: int) -> str:
    """The process's program and arguments; empty when there is none."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    if Path("/proc/self").exists():
        return ""
    return subprocess.run(
        ["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout


def end_leftover(pid: int, process_started: str | None) -> bool:
    """Kill the session of a predecessor's child, if it is still that very process. True when it was."""
    if process_started is None or start_time(pid) != process_started:
        return False
    signal_session(pid, signal.SIGKILL)
    return True


class Child:
    """A running program, the leader of its own session (`pid` is also the session's id).

    As in a container, whatever it started ends when it ends itself.
    """

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        output: asyncio.StreamReader,
        errors: asyncio.StreamReader,
        ended: Callable[[int], None],
    ) -> None:
        """`ended` is told the session's id, once, as soon as the program has ended."""
        self.output = output
        """What it writes on stdout, and on stderr too unless that was asked for separately."""
        self.errors = errors
        self.process_started = start_time(process.pid)
        self._process = process
        self._reaping = asyncio.create_task(self._reap(ended))

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def stdin(self) -> asyncio.StreamWriter:
        """For a child that was started with `feed`."""
        assert self._process.stdin is not None
        return self._process.stdin

    @property
    def running(self) -> bool:
        return not self._reaping.done()

    async def wait(self) -> int:
        """Exit code as a shell reports it: 128 + N for signal N."""
        return await asyncio.shield(self._reaping)

    async def result(self) -> tuple[int, str]:
        """(exit code, output) at its end. Whoever gives up waiting for it ends it."""
        try:
            said = await self.output.read()
            return await self.wait(), said.decode(errors="replace")
        finally:
            # Without effect where it has ended.
            await asyncio.shield(self.stop(grace=0))

    def signal(self, number: int) -> None:
        """Send a signal to the whole session."""
        if self.running:
            signal_session(self.pid, number)

    async def stop(self, grace: float) -> int:
        """SIGTERM to the session, after `grace` seconds SIGKILL; returns the exit code."""
        self.signal(signal.SIGTERM)
        await asyncio.wait([self._reaping], timeout=grace)
        self.signal(signal.SIGKILL)
        return await self.wait()

    async def _reap(self, ended: Callable[[int], None]) -> int:
        code = await self._process.wait()
        signal_session(self.pid, signal.SIGKILL)
        ended(self.pid)
        return code if code >= 0 else 128 - code


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
        feed: bool = False,
        separate_errors: bool = False,
        terminal: int | None = None,
        pass_fds: Sequence[int] = (),
    ) -> Child:
        """Run `argv`; its stdin is empty, or a pipe with `feed`.

        `terminal`, the slave of a pty, becomes all of the child's streams and its controlling terminal. A
        program that isn't found is exit code 127 and a line on stderr. Raises OSError when `cwd` is gone.
        """
        if not self.running:
            self.start()
        script = [_GATE, "sh"]
        given: list[int] = []
        gate_read, gate_write = os.pipe()
        given.append(gate_read)
        try:
            arguments = [str(gate_read)]
            # Pipes of our own: asyncio's would hide the end while a descendant has them open.
            output, stdout = await _pipe(given)
            errors, stderr = await _pipe(given) if separate_errors else (output, stdout)
            stdin = subprocess.PIPE if feed else subprocess.DEVNULL
            if terminal is not None:
                script = [_TERMINAL_GATE, "sh"]
                arguments.append(os.ttyname(terminal))
                stdin = stdout = stderr = terminal
            process = await asyncio.create_subprocess_exec(
                "/bin/sh",
                "-c",
                *script,
                *arguments,
                *argv,
                env=dict(env),
                cwd=cwd,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
                pass_fds=[gate_read, *pass_fds],
            )
            self._sessions.add(process.pid)
            self._tell(f"+{process.pid}")
            child = Child(process, output, errors, self._forget)
            with contextlib.suppress(BrokenPipeError):
                os.write(gate_write, b"go\n")
            return child
        finally:
            os.close(gate_write)
            for descriptor in given:
                os.close(descriptor)

    def _forget(self, session: int) -> None:
        self._sessions.discard(session)
        self._tell(f"-{session}")

    def _tell(self, line: str) -> None:
        if self._guardian is None or self._guardian.stdin is None:
            return
        try:
            self._guardian.stdin.write(f"{line}\n".encode())
            self._guardian.stdin.flush()
        except BrokenPipeError:
            self._guardian.wait()
            self.start()


async def _pipe(given: list[int]) -> tuple[asyncio.StreamReader, int]:
    """A pipe: our reader, and the child's end, which is also added to `given` to be closed here."""
    read, write = os.pipe()
    given.append(write)
    reader = asyncio.StreamReader(limit=_LONGEST_LINE)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read, "rb", buffering=0)
    )
    return reader, write
