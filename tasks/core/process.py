"""Child processes that end when we end, whatever ends us, and whose lines arrive as they are written.

Killing `git` alone leaves its `ssh` at work, and a push goes on and lands; so does one whose parent was
killed with SIGKILL, closed with its terminal or left by Ctrl-C. Each program therefore runs in a process
group of its own, in a session without a terminal, below a small guard (`guard.py`) that holds a socket to
us: when we are gone, or ask for it, the guard ends the whole group.

Everything here is plain waiting on file descriptors, so that it works under gevent's patched standard
library (where other greenlets run meanwhile) and without it.
"""

from __future__ import annotations

import codecs
import contextlib
import fcntl
import io
import os
import selectors
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self, cast

from tasks.core.errors import NotConfigured, OpsError, Unreachable

Stream = Literal["stdout", "stderr"]
STREAMS: Final[tuple[Stream, ...]] = ("stdout", "stderr")
OnLine = Callable[[Stream, str], None]
Environment = Mapping[str, str | None]

GRACE: Final = 5.0
"""Seconds between the SIGTERM that asks a group to end and the SIGKILL that ends it."""

_CHUNK: Final = 65536

_GUARD: Final = str(Path(__file__).with_name("guard.py"))


@dataclass(frozen=True, slots=True)
class Completed:
    """What a short command left: its exit code (negative: the signal that ended it) and its two texts."""

    code: int
    stdout: str
    stderr: str


def environment(changes: Environment | None = None) -> dict[str, str]:
    """Our own environment with `changes` made to it; a value of None takes the variable away."""
    result = dict(os.environ)
    for name, value in (changes or {}).items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = value
    return result


def program_path(name: str, env: Mapping[str, str] | None = None) -> str:
    """Where a program is.

    Raises NotConfigured, naming it, when it is not on PATH.
    """
    found = shutil.which(name, path=(env or os.environ).get("PATH"))
    if found is None:
        raise NotConfigured(
            f"Running {Path(name).name}",
            "this program is not installed here, or not on PATH",
            next_step=f"install {Path(name).name}, then run the same command again",
        )
    return str(Path(found).absolute())


def _spawn_guard(
    arguments: Sequence[str], env: Mapping[str, str], line: int, stdin: int | None, stdout: int, stderr: int
) -> int:
    """Start the guard in a session of its own with these descriptors, its line to us being number 3."""
    # Sources above every target, so that no duplication overwrites the source of the next one.
    sources = [fcntl.fcntl(source, fcntl.F_DUPFD_CLOEXEC, 10) for source in (stdout, stderr, line)]
    actions: list[tuple[int, *tuple[int | str, ...]]] = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
        if stdin is None
        else (os.POSIX_SPAWN_DUP2, stdin, 0)
    ]
    actions += [(os.POSIX_SPAWN_DUP2, source, target) for target, source in enumerate(sources, 1)]
    argv = [sys.executable, "-I", "-S", _GUARD, *arguments]
    try:
        return _unpatched("posix_spawn")(sys.executable, argv, env, file_actions=actions, setsid=True)
    finally:
        for source in sources:
            os.close(source)


def _reap(pid: int) -> None:
    """Take the ended guard off the process table; gevent's loop, which takes any child, may have."""
    with contextlib.suppress(ChildProcessError):
        _unpatched("waitpid")(pid, 0)


def _unpatched(name: str) -> Callable[..., int]:
    """A function of `os` as Python has it: gevent's own watch children from the main thread only."""
    if "gevent" not in sys.modules:
        return cast(Callable[..., int], getattr(os, name))
    from gevent import monkey

    return cast(Callable[..., int], monkey.get_original("os", name))


class _Splitter:
    """Bytes as they come to whole lines; a progress line that ends with `\\r` counts as one."""

    def __init__(self) -> None:
        utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._decoder = io.IncrementalNewlineDecoder(utf8, translate=True)
        self._rest = ""

    def feed(self, data: bytes, *, final: bool = False) -> list[str]:
        *lines, self._rest = (self._rest + self._decoder.decode(data, final)).split("\n")
        if final and self._rest:
            lines.append(self._rest)
            self._rest = ""
        return lines


class Child:
    """A program at work in a process group of its own; `Child.start` makes one.

    Its output is read by whoever waits for it (`lines`, `wait`, `stop`). While nobody does, up to 64 KiB
    of each stream are kept by the system, then the program pauses until somebody does.
    """

    def __init__(
        self,
        name: str,
        pid: int,
        line: socket.socket,
        streams: Mapping[Stream, int],
        stdin: int | None,
        data: bytes,
        on_line: OnLine | None,
    ) -> None:
        self.name = name
        self.pid = pid
        """The guard's process id: it lives exactly as long as the program's group."""
        self._line = line
        self._on_line = on_line
        self._stdin = stdin
        self._data = memoryview(data)
        self._splitters: dict[Stream, _Splitter] = {stream: _Splitter() for stream in STREAMS}
        self._lock = threading.Lock()
        self._finished = False
        self._code = -signal.SIGKILL  # what a guard that could not say otherwise has met
        self._selector = selectors.DefaultSelector()
        self._open = dict(streams)
        for stream, descriptor in streams.items():
            os.set_blocking(descriptor, False)
            self._selector.register(descriptor, selectors.EVENT_READ, stream)
        if stdin is not None:
            os.set_blocking(stdin, False)
            self._selector.register(stdin, selectors.EVENT_WRITE, "stdin")
        self._selector.register(line.fileno(), selectors.EVENT_READ, "guard")

    @classmethod
    def start(
        cls,
        argv: Sequence[str],
        *,
        env: Environment | None = None,
        cwd: str | Path | None = None,
        on_line: OnLine | None = None,
        input: bytes | None = None,
        grace: float = GRACE,
    ) -> Self:
        """Start a program.

        + argv: program and arguments; every user of the machine can read them, so never a secret
        + env: what differs from our own environment; secrets belong here; None takes a variable away
        + on_line: called with the stream and each line, while somebody waits
        + input: its standard input; none is an empty one
        + grace: seconds between SIGTERM and SIGKILL when it is stopped

        Raises NotConfigured when the program is not installed.
        """
        name = Path(argv[0]).name
        whole = environment(env)
        path = program_path(argv[0], whole)
        ours, guards = socket.socketpair()
        reading, writing = {}, {}
        for stream in STREAMS:
            reading[stream], writing[stream] = os.pipe()
        stdin, feed = os.pipe() if input is not None else (None, None)
        try:
            pid = _spawn_guard(
                [str(grace), str(Path(cwd or ".").absolute()), path, *argv],
                whole,
                guards.fileno(),
                stdin,
                writing["stdout"],
                writing["stderr"],
            )
        except OSError as error:
            ours.close()
            for descriptor in (*reading.values(), feed):
                if descriptor is not None:
                    os.close(descriptor)
            raise OpsError(f"Starting {name}", error.strerror or str(error)) from None
        finally:
            guards.close()
            for descriptor in (*writing.values(), stdin):
                if descriptor is not None:
                    os.close(descriptor)
        return cls(name, pid, ours, reading, feed, input or b"", on_line)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def running(self) -> bool:
        """Whether anything of it is still at work."""
        with selectors.DefaultSelector() as selector, contextlib.suppress(ValueError):
            selector.register(self._line.fileno(), selectors.EVENT_READ)
            return not selector.select(0)
        return False

    def lines(self) -> Iterator[tuple[Stream, str]]:
        """Each line with its stream, live and in the order read, until the program has ended."""
        while not self._finished:
            yield from self._lines(self._read(None))

    def wait(self, timeout: float | None = None, *, stop: Callable[[], bool] | None = None) -> int:
        """Wait for its end, handing its lines to `on_line`, and give its exit code (negative: a signal).

        + timeout: seconds; raises TimeoutError after them, and the program works on
        + stop: asked five times a second; when it answers yes, the program is stopped
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._finished:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                raise TimeoutError(f"{self.name} is still running after {timeout:g} s")
            if stop is not None:
                if stop():
                    self._ask_to_end()
                    stop = None
                left = 0.2 if left is None else min(left, 0.2)
            self._hand_over(self._read(left))
        return self._code

    def stop(self) -> int:
        """End the whole group: SIGTERM, after `grace` seconds SIGKILL; returns when all of it is gone."""
        self._ask_to_end()
        return self.wait()

    def _ask_to_end(self) -> None:
        with contextlib.suppress(OSError):
            self._line.shutdown(socket.SHUT_WR)

    def _hand_over(self, chunks: list[tuple[Stream, bytes]]) -> None:
        for stream, text in self._lines(chunks):
            if self._on_line is not None:
                self._on_line(stream, text)

    def _lines(self, chunks: list[tuple[Stream, bytes]]) -> Iterator[tuple[Stream, str]]:
        for stream, data in chunks:
            for text in self._splitters[stream].feed(data, final=not data):
                yield stream, text

    def _read(self, timeout: float | None) -> list[tuple[Stream, bytes]]:
        """What came since, waiting up to `timeout` for it; empty bytes end a stream."""
        if not self._lock.acquire(timeout=-1 if timeout is None else timeout):
            return []
        try:
            return [] if self._finished else self._read_locked(timeout)
        finally:
            self._lock.release()

    def _read_locked(self, timeout: float | None) -> list[tuple[Stream, bytes]]:
        chunks: list[tuple[Stream, bytes]] = []
        for key, _ in self._selector.select(timeout):
            if key.data == "guard":
                # A descendant that left the group may keep the pipes open for ever: take what is there.
                for stream in tuple(self._open):
                    while self._take(stream, chunks):
                        pass
                    self._close_stream(stream, chunks)
                self._finish()
                return chunks
            if key.data == "stdin":
                self._feed()
            elif key.data in self._open:
                self._take(key.data, chunks)
        return chunks

    def _take(self, stream: Stream, chunks: list[tuple[Stream, bytes]]) -> bool:
        if stream not in self._open:
            return False
        try:
            data = os.read(self._open[stream], _CHUNK)
        except BlockingIOError:
            return False
        if data:
            chunks.append((stream, data))
        else:
            self._close_stream(stream, chunks)
        return bool(data)

    def _close_stream(self, stream: Stream, chunks: list[tuple[Stream, bytes]]) -> None:
        descriptor = self._open.pop(stream, None)
        if descriptor is not None:
            chunks.append((stream, b""))
            self._selector.unregister(descriptor)
            os.close(descriptor)

    def _feed(self) -> None:
        if self._stdin is None:
            return
        try:
            self._data = self._data[os.write(self._stdin, self._data[:_CHUNK]) :]
        except BlockingIOError:
            return
        except BrokenPipeError:
            self._data = self._data[:0]
        if not self._data:
            self._close_stdin()

    def _close_stdin(self) -> None:
        if self._stdin is not None:
            self._selector.unregister(self._stdin)
            os.close(self._stdin)
            self._stdin = None

    def _finish(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._code = int(os.read(self._line.fileno(), 16))
        self._close_stdin()
        self._selector.close()
        self._line.close()
        _reap(self.pid)
        self._finished = True


def run(
    argv: Sequence[str],
    *,
    env: Environment | None = None,
    input: str | bytes | None = None,
    timeout: float | None = None,
    cwd: str | Path | None = None,
) -> Completed:
    """Run a short program to its end; its exit code is the caller's to judge.

    + env, cwd: as for `Child.start`
    + input: its standard input
    + timeout: seconds; after them the program is ended and Unreachable raised

    Raises NotConfigured when the program is not installed.
    """
    data = input.encode() if isinstance(input, str) else input
    output: dict[Stream, list[bytes]] = {"stdout": [], "stderr": []}
    deadline = None if timeout is None else time.monotonic() + timeout
    with Child.start(argv, env=env, cwd=cwd, input=data) as child:
        while not child._finished:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                raise Unreachable(
                    f"Running {child.name}", f"it did not end within {timeout:g} s and was stopped"
                )
            for stream, chunk in child._read(left):
                output[stream].append(chunk)
        code = child.wait()
    texts = {stream: b"".join(chunks).decode("utf-8", "replace") for stream, chunks in output.items()}
    return Completed(code, texts["stdout"], texts["stderr"])
