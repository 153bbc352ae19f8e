"""A full disk for one database: a write that would make it larger than its quota gets ENOSPC from the kernel.

PostgreSQL has no quota, and a file system's needs privileges. So the server is started under a seccomp
filter which hands its `pwrite`, `pwritev` and `fallocate` calls to the supervisor before they run
(seccomp_unotify(2), Linux 5.5, no privilege needed). The supervisor lets them go on, but answers "No space
left on device" for those that would lengthen a file of a database beyond its quota. What PostgreSQL then does
and says (SQLSTATE 53100, `could not extend file`) is its own. The write-ahead log doesn't count.

The filter costs time on each of these calls, so the server runs without it until a quota is asked for;
setting the first one and lifting the last one restart it.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import platform
import re
import select
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import psycopg

from sandbox.database.server import PostgresServer

_SECCOMP_SET_MODE_FILTER: Final = 1
_SECCOMP_FILTER_FLAG_NEW_LISTENER: Final = 1 << 3
_PR_SET_NO_NEW_PRIVS: Final = 38
_RET_ALLOW: Final = 0x7FFF0000
_RET_USER_NOTIF: Final = 0x7FC00000
_NOTIF_RECV: Final = 0xC0502100
_NOTIF_SEND: Final = 0xC0182101
_FLAG_CONTINUE: Final = 1
_NOTIF: Final = struct.Struct("=QIIiIQ6Q")
_ANSWER: Final = struct.Struct("=QqiI")
_LOAD_SYSCALL: Final = 0x20
_JUMP_IF_EQUAL: Final = 0x15
_RETURN: Final = 0x06


class QuotaUnsupported(Exception):
    """This machine's kernel doesn't offer what a quota needs; the text is one sentence."""


class _Calls:
    """Numbers of the system calls on one kind of machine."""

    def __init__(self, seccomp: int, pwrite: int, pwritev: int, fallocate: int) -> None:
        self.seccomp, self.pwrite, self.pwritev, self.fallocate = seccomp, pwrite, pwritev, fallocate


_CALLS: Final = {"x86_64": _Calls(317, 18, 296, 285), "aarch64": _Calls(277, 68, 70, 47)}


class DiskQuota:
    """The quotas of one server's databases."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._limits: dict[int, int] = {}
        """Bytes by the database's OID, which is its folder's name."""
        self._oids: dict[str, int] = {}
        self._usage: dict[int, tuple[float, int]] = {}
        self._thread: threading.Thread | None = None
        self.refusals = 0
        """How many writes got "no space left"."""

    @property
    def active(self) -> bool:
        """Whether the server runs under the filter."""
        return self._thread is not None and self._thread.is_alive()

    async def set(self, database: str, size: int | None) -> None:
        """Let `database` grow to `size` bytes; None lifts it. Raises QuotaUnsupported."""
        if size is None:
            self._limits.pop(self._oids.pop(database, 0), None)
            if self.active and not self._limits:
                self._server.wrapper = subprocess.Popen
                await self._server.restart()
            return
        with psycopg.connect(self._server.dsn(), autocommit=True) as connection:
            row = connection.execute("SELECT oid FROM pg_database WHERE datname = %s", [database]).fetchone()
            assert row is not None
            self._oids[database] = row[0]
            self._limits[row[0]] = size
        if not self.active:
            _require_support()
            self._server.wrapper = self._start_filtered
            await self._server.restart()

    def stop(self) -> None:
        """Forget all quotas; the listener ends with the server."""
        self._limits.clear()

    def _start_filtered(self, arguments: list[str], **options: Any) -> subprocess.Popen[bytes]:
        ours, theirs = socket.socketpair()
        own_preparation: Callable[[], None] = options.pop("preexec_fn", lambda: None)
        install = _installer(theirs)

        def prepare() -> None:
            own_preparation()
            install()

        try:
            process = subprocess.Popen(arguments, preexec_fn=prepare, **options)
            theirs.close()
            _, descriptors, _, _ = socket.recv_fds(ours, 1, 1)
        finally:
            ours.close()
            theirs.close()
        self._thread = threading.Thread(
            target=self._answer_calls, args=(descriptors[0],), name="disk quota", daemon=True
        )
        self._thread.start()
        return process

    def _answer_calls(self, listener: int) -> None:
        calls = _CALLS[platform.machine()]
        request = bytearray(_NOTIF.size)
        waiting = select.poll()
        waiting.register(listener, select.POLLIN)
        try:
            while True:
                if not waiting.poll()[0][1] & select.POLLIN:
                    return  # the last process under the filter is gone: to receive would fail for ever
                request[:] = bytes(_NOTIF.size)
                try:
                    fcntl.ioctl(listener, _NOTIF_RECV, request)
                except OSError as error:
                    if error.errno in (errno.EINTR, errno.ENOENT):
                        continue
                    return
                identifier, pid, _, number, _, _, *values = _NOTIF.unpack(request)
                refuse = self._would_overfill(calls, pid, number, values)
                answer = (identifier, 0, -errno.ENOSPC, 0) if refuse else (identifier, 0, 0, _FLAG_CONTINUE)
                try:
                    fcntl.ioctl(listener, _NOTIF_SEND, _ANSWER.pack(*answer))
                except OSError as error:
                    if error.errno != errno.ENOENT:
                        return
        finally:
            os.close(listener)

    def _would_overfill(self, calls: _Calls, pid: int, number: int, values: list[int]) -> bool:
        opened = f"/proc/{pid}/fd/{values[0]}"
        try:
            path = Path(opened).readlink()
            found = re.search(r"/base/(\d+)/[^/]+$", str(path))
            if not found or int(found[1]) not in self._limits:
                return False
            length = Path(opened).stat().st_size
            used = self._measure(int(found[1]), path.parent)
        except OSError:
            return False
        if number == calls.fallocate:
            end = values[2] + values[3]
        elif number == calls.pwrite:
            end = values[3] + values[2]
        else:
            end = values[3] + 1
        if end <= length:
            return False
        oid = int(found[1])
        if used + end - length > self._limits.get(oid, used + end):
            self.refusals += 1
            return True
        self._usage[oid] = (self._usage[oid][0], used + end - length)
        return False

    def _measure(self, oid: int, folder: Path) -> int:
        measured, used = self._usage.get(oid, (0.0, 0))
        if time.monotonic() - measured > 0.05:
            used = 0
            for entry in os.scandir(folder):
                try:
                    used += entry.stat().st_size
                except OSError:
                    continue
            self._usage[oid] = (time.monotonic(), used)
        return used


def _require_support() -> None:
    if platform.machine() not in _CALLS or not Path("/proc/sys/kernel/seccomp/actions_avail").exists():
        raise QuotaUnsupported("a quota needs Linux with seccomp on x86-64 or ARM64")
    if "user_notif" not in Path("/proc/sys/kernel/seccomp/actions_avail").read_text():
        raise QuotaUnsupported("a quota needs a Linux kernel of 5.5 or newer (seccomp user notification)")


def _installer(channel: socket.socket) -> Callable[[], None]:
    """What the server's process does before it becomes PostgreSQL: filter itself, send us the listener."""
    calls = _CALLS[platform.machine()]
    watched = (calls.pwrite, calls.pwritev, calls.fallocate)
    program = [(_LOAD_SYSCALL, 0, 0, 0)]
    for place, number in enumerate(watched):
        program.append((_JUMP_IF_EQUAL, len(watched) - place, 0, number))
    program += [(_RETURN, 0, 0, _RET_ALLOW), (_RETURN, 0, 0, _RET_USER_NOTIF)]
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    header = ctypes.create_string_buffer(struct.pack("@HP", len(program), ctypes.addressof(buffer)))
    library = ctypes.CDLL(None, use_errno=True)

    def install() -> None:
        library.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        listener = library.syscall(
            calls.seccomp, _SECCOMP_SET_MODE_FILTER, _SECCOMP_FILTER_FLAG_NEW_LISTENER, header
        )
        if listener < 0:
            raise OSError(ctypes.get_errno(), "seccomp")
        socket.send_fds(channel, [b"l"], [listener])
        os.close(listener)
        _ = buffer

    return install
