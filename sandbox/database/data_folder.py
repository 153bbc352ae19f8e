"""The server's data folder: made, brought where the server's account reaches it, and back.

As root the server runs as `nobody`, who can't enter the sandbox's private folder. While it runs, its data
(and copies of the embedded programs) lie in a folder of its own under the system's temporary one; the file
`place` names it, so that the data are found again after a kill.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Final

from sandbox.database.programs import Account, Programs, ServerError
from sandbox.platform.processes import command_line, start_time

SUPERUSER: Final = "postgres"


class DataFolder:
    """Where one server's data lie.

    + home: private folder of the sandbox, which has them (`data/`) while the server doesn't run
    + programs: as they are found; `self.programs` are those to run, perhaps copies
    + password: of the superuser, for data that are made
    """

    def __init__(self, home: Path, programs: Programs, password: str) -> None:
        self.programs = programs
        self.work = home
        """Where the data lie while the server runs: `home`, or a place that its account can reach."""
        self._home = home
        self._found = programs
        self._password = password

    @property
    def path(self) -> Path:
        """PostgreSQL's own data folder."""
        return self.work / "data"

    def prepare(self) -> None:
        """Make the data where there are none, and bring them where the server can run. Raises ServerError."""
        self._home.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self._found.account:
            self._move_where_it_reaches(self._found.account)
        elif not _has_data(self._home):
            self._initialise()
        self._check_version()

    def move_home(self) -> None:
        """Bring the data of a server that has ended back under `home`."""
        if self.work == self._home:
            return
        shutil.move(self.path, self._home / "data")
        shutil.rmtree(self.work, ignore_errors=True)
        (self._home / "place").unlink(missing_ok=True)
        self.work, self.programs = self._home, self._found

    def release(self) -> None:
        """Remove a `postmaster.pid` whose process is gone or is no PostgreSQL (a recycled pid).

        Raises ServerError where a server runs on the data.
        """
        pid = _postmaster(self.path)
        if pid is None:
            return
        if _runs_on(pid, self.path):
            raise ServerError(f"another PostgreSQL (process {pid}) runs on {self.path}")
        (self.path / "postmaster.pid").unlink(missing_ok=True)

    def _check_version(self) -> None:
        made_by = (self.path / "PG_VERSION").read_text().strip()
        said = self.programs.version()
        if f" {made_by}." not in f"{said}.":
            raise ServerError(
                f"This sandbox's data were made by PostgreSQL {made_by}, and {self.programs.folder} holds"
                f" {said}: use that version, or another --state."
            )

    def _initialise(self) -> None:
        password_file = self.work / f".password-{secrets.token_hex(4)}"
        handle = os.open(password_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(self._password + "\n")
        if self.programs.account:
            os.chown(password_file, self.programs.account.uid, self.programs.account.gid)
        shutil.rmtree(self.path, ignore_errors=True)
        try:
            done = subprocess.run(
                [
                    self.programs.path("initdb"), "-D", str(self.path), "-U", SUPERUSER,
                    "-A", "scram-sha-256", "--pwfile", str(password_file),
                    "--locale=C.UTF-8", "--encoding=UTF8", "--no-sync",
                ],
                capture_output=True,
                text=True,
                cwd=self.work,
                env={"PATH": os.defpath, "LC_ALL": "C.UTF-8", "TZ": "UTC"},
                **self.programs.run_as,
            )  # fmt: skip
        finally:
            password_file.unlink()
        if done.returncode:
            shutil.rmtree(self.path, ignore_errors=True)
            raise ServerError(f"initdb failed: {done.stderr.strip().splitlines()[-1:]}")

    def _move_where_it_reaches(self, account: Account) -> None:
        marker = self._home / "place"
        if marker.exists():
            kept = Path(marker.read_text())
            if _has_data(kept) and kept.stat().st_uid == account.uid:
                self.work, self.programs = kept, self._found.copied_in(kept)
                return
            clean_up_after_a_kill(self._home)
        problems = []
        for place in _places():
            work = Path(tempfile.mkdtemp(prefix="operations-sandbox-", dir=place))
            os.chown(work, account.uid, account.gid)
            programs = self._found.copy_to(work)
            problem = programs.problem_in(work)
            if problem is None:
                self.work, self.programs = work, programs
                marker.write_text(str(work))
                marker.chmod(0o600)
                if _has_data(self._home):
                    shutil.move(self._home / "data", self.path)
                    _give_to(self.path, account)
                else:
                    self._initialise()
                return
            problems.append(f"{place}: {problem}")
            shutil.rmtree(work, ignore_errors=True)
        raise ServerError(
            "PostgreSQL can't run as root, and the account `nobody` reaches none of these folders: "
            + "; ".join(problems)
            + ". Set TMPDIR to a folder that everybody can enter."
        )


def clean_up_after_a_kill(home: Path) -> None:
    """After a supervisor that could not: end its server, bring the data back under `home`."""
    marker = home / "place"
    work = Path(marker.read_text()) if marker.exists() else home
    _end_leftover(work / "data")
    if work == home:
        return
    if (work / "data").exists() and not (home / "data").exists():
        shutil.move(work / "data", home / "data")
    shutil.rmtree(work, ignore_errors=True)
    marker.unlink()


def _has_data(folder: Path) -> bool:
    return (folder / "data" / "PG_VERSION").exists()


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
    pid = _postmaster(data)
    if pid is None:
        return
    for number, seconds in ((signal.SIGQUIT, 5), (signal.SIGKILL, 5)):
        deadline = time.monotonic() + seconds
        if _runs_on(pid, data):
            os.kill(pid, number)
        while _runs_on(pid, data) and time.monotonic() < deadline:
            time.sleep(0.02)
    (data / "postmaster.pid").unlink(missing_ok=True)


def _postmaster(data: Path) -> int | None:
    """The process that `postmaster.pid` names; it may be gone, or another by now."""
    try:
        return int((data / "postmaster.pid").read_text().split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return None


def _runs_on(pid: int, data: Path) -> bool:
    """Whether the process is a PostgreSQL server of this data folder."""
    return start_time(pid) is not None and str(data) in command_line(pid)
