"""A PostgreSQL server as a child of the supervisor: started, started again when it crashed, stopped."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import psycopg

from sandbox.database.data_folder import SUPERUSER, DataFolder
from sandbox.database.programs import Programs, ServerError

START_SECONDS: Final = 20.0
"""How long failing starts are repeated."""
RECOVERY_SECONDS: Final = 120.0
"""How long one start may take to answer (it replays its log after a crash)."""
SETTINGS: Final = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "max_wal_size": "2GB",
    "password_encryption": "scram-sha-256",
    "shared_preload_libraries": "pg_stat_statements",
    "logging_collector": "off",
    "log_line_prefix": "%m [%p] app=%a user=%u db=%d: ",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
_PR_SET_PDEATHSIG: Final = 1
_TELLING: Final = re.compile(r"FATAL:|PANIC:|could not")


class PostgresServer:
    """One server on 127.0.0.1:port.

    + folder: private folder of the sandbox for its data (`data/`) and its log
    + port: where it listens
    + password: of the superuser `postgres`
    + binaries: folder with an installed server's programs; none for the embedded ones
    """

    def __init__(self, folder: Path, port: int, password: str, binaries: Path | None = None) -> None:
        self.folder = folder
        self.port = port
        self.password = password
        self.log_path = folder / "server.log"
        self.version = ""
        """As the server says it, `18.6`."""
        self.crashes = 0
        self.start_seconds = START_SECONDS
        self.problem: str | None = "not started"
        """Why it does not run, in one sentence; None while it does."""
        self.wrapper: Callable[..., subprocess.Popen[bytes]] = subprocess.Popen
        """Starts the server's process; replaced while a quota is enforced (`quota.py`)."""
        self._data = DataFolder(folder, Programs.find(binaries), password)
        self._process: subprocess.Popen[bytes] | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._stopping = False

    # Programs

    @property
    def binaries(self) -> Path:
        """The folder of the programs that run."""
        return self._data.programs.folder

    def program(self, name: str) -> str:
        """The absolute path of pg_dump and the like, of the server's own version."""
        return self._data.programs.path(name)

    @property
    def pid(self) -> int | None:
        """The postmaster's process id while it runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def dsn(self, database: str = "postgres") -> str:
        """How the superuser connects; holds the password."""
        return psycopg.conninfo.make_conninfo(
            host="127.0.0.1",
            port=self.port,
            user=SUPERUSER,
            password=self.password,
            dbname=database,
            application_name="sandbox platform",
            connect_timeout=10,
        )

    # Life

    async def start(self) -> None:
        """Make the data folder where there is none, start, wait until it answers. Raises ServerError."""
        await asyncio.to_thread(self._data.prepare)
        await self._launch_and_keep()

    async def stop(self) -> None:
        """Fast shutdown; immediate after ten seconds. The data goes back under `folder`."""
        await self._shut_down()
        self.problem = "stopped"
        await asyncio.to_thread(self._data.move_home)

    async def restart(self) -> None:
        """Fast shutdown and start again: sessions are cut, as when the platform restarts a database."""
        await self._shut_down()
        await self._launch_and_keep()

    def crash(self) -> None:
        """SIGKILL to the postmaster, as a test of what happens then."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)

    async def _launch_and_keep(self) -> None:
        await self._launch()
        self._stopping = False
        self._keeper = asyncio.create_task(self._keep(), name="postgresql")

    async def _shut_down(self) -> None:
        self._stopping = True
        if self._keeper:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
        await asyncio.to_thread(self._end, signal.SIGINT)

    async def _keep(self) -> None:
        while True:
            process = self._process
            assert process is not None
            await _ended(process)
            if self._stopping:
                return
            self.crashes += 1
            self.problem = f"crashed ({_exit_words(process.returncode)}), starting again"
            try:
                await self._launch()
            except ServerError as error:
                self.problem = str(error)
                await asyncio.sleep(1)

    async def _launch(self) -> None:
        deadline = asyncio.get_running_loop().time() + self.start_seconds
        while True:
            try:
                # From the main thread: the kernel's parent death signal follows the thread that forked.
                self._start_process()
                self.version = await asyncio.to_thread(self._wait_until_it_answers)
                self.problem = None
                return
            except ServerError as error:
                # An old backend that still computes keeps the shared memory for a while after a crash.
                await asyncio.to_thread(self._end, signal.SIGQUIT)
                if asyncio.get_running_loop().time() > deadline:
                    self.problem = str(error)
                    raise
                await asyncio.sleep(0.1)

    def _start_process(self) -> None:
        self._data.release()
        settings = dict(SETTINGS, port=str(self.port))
        arguments = [self.program("postgres"), "-D", str(self._data.path)]
        for name, value in settings.items():
            arguments += ["-c", f"{name}={value}"]
        log = os.open(self.log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            self._process = self.wrapper(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._data.work,
                env={"PATH": os.defpath, "LC_ALL": "C.UTF-8"},
                start_new_session=True,
                preexec_fn=_end_with_parent(signal.SIGQUIT),
                **self._data.programs.run_as,
            )
        finally:
            os.close(log)

    def _wait_until_it_answers(self) -> str:
        process = self._process
        assert process is not None
        deadline = time.monotonic() + RECOVERY_SECONDS
        while True:
            if process.poll() is not None:
                raise ServerError(
                    f"PostgreSQL ended while starting ({_exit_words(process.returncode)}):"
                    f" {self.last_words()}"
                )
            try:
                with psycopg.connect(self.dsn(), autocommit=True) as connection:
                    row = connection.execute("SHOW server_version").fetchone()
                    assert row is not None
                    return str(row[0]).split()[0]
            except psycopg.OperationalError as error:
                if "password authentication failed" in str(error) and not self._ended_within(1.0):
                    raise ServerError("PostgreSQL refuses the superuser's password of this sandbox") from None
                if time.monotonic() > deadline:
                    raise ServerError(f"PostgreSQL does not become ready: {self.last_words()}") from None
                self._ended_within(0.03)

    def _ended_within(self, seconds: float) -> bool:
        assert self._process is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
            return True
        return False

    def _end(self, number: signal.Signals) -> None:
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.send_signal(number)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGQUIT)
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def last_words(self) -> str:
        """The last lines of its log that say what is wrong."""
        with contextlib.suppress(OSError):
            lines = self.log_path.read_text(encoding="utf-8", errors="replace").splitlines()[-200:]
            telling = [line.partition(": ")[2] for line in lines[-10:] if _TELLING.search(line)]
            if telling:
                return "; ".join(dict.fromkeys(telling[-3:]))
            if lines:
                return lines[-1].strip()
        return f"its log {self.log_path} is empty"


def _end_with_parent(number: signal.Signals) -> Callable[[], None]:
    """A preexec function: Linux sends `number` when the supervisor dies, however it dies."""
    prctl = getattr(ctypes.CDLL(None, use_errno=True), "prctl", None)

    def ask() -> None:
        if prctl is not None:
            prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)

    return ask


async def _ended(process: subprocess.Popen[bytes]) -> None:
    """Until the process has ended, without holding a thread."""
    loop = asyncio.get_running_loop()
    if not hasattr(os, "pidfd_open"):
        while process.poll() is None:
            await asyncio.sleep(0.2)
        return
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        process.wait()
        return
    ended = asyncio.Event()
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
    process.wait()


def _exit_words(code: int) -> str:
    if code < 0:
        return f"signal {signal.Signals(-code).name}"
    return f"exit code {code}"
