"""An app in a known state, and what "whole" means for its data."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.deploys.beginnings import bring, deploy_archive

Operator = Any

ROOT = Path(__file__).parents[3]
BACKED_UP, HEALTHY, FAULTY = "v1.0.0", "v1.0.1", "v1.1.0"
_ESCAPES = re.compile(r"\x1b(?:\[[0-9;?]*[A-Za-z]|[()][A-Z0-9])")

# Without what deployments and our verification write by themselves.
_TABLES = ("places_country", "places_place", "suggestions_suggestion", "django_migrations", "auth_permission")
_PRINT = """
select count(*) || ' ' || md5(coalesce(string_agg(t::text, chr(10) order by t::text), ''))
  from public.{} t where t::text not like '%verification@example.org%'
"""


@dataclass(frozen=True)
class Material:
    """What an app has to go back to: a backup's id, and the print of the data in it."""

    backup: str
    restored: str


@dataclass
class Scene:
    """One app at the start of a test, with what was true then.

    + operator: who types
    + material: the backup, and what it restores to
    + commit, data: what ran, and the print of the data that was live
    """

    operator: Operator
    material: Material
    commit: str
    data: str
    wanted: dict[str, str]

    @property
    def good(self) -> str:
        """The commit to go back to."""
        return str(self.operator.commit(BACKED_UP))

    def now(self) -> tuple[str, str]:
        """Where code and data are: each "old", "new", or what is neither."""
        running, data = self.operator.release(), print_of(self.operator)
        return (
            {self.commit: "old", self.good: "new"}.get(running, running),
            {self.data: "old", self.material.restored: "new"}.get(data, data),
        )

    def roll_back(self, *options: str, **more: Any) -> Any:
        """The rollback to the backed-up release and its backup, unattended."""
        return self.operator.run("rollback", *options, **{**self.wanted, **more})

    def until(self, line: str, number: signal.Signals) -> Any:
        """The same, with a signal sent when a line shows."""
        return self.operator.run_until("rollback", line, number, **self.wanted)

    def start(self, deploy: str = "rollback", **more: str) -> Running:
        """A command in the background."""
        return Running(self.operator, self.operator.command(deploy, **{**self.wanted, **more}))

    def settle(self) -> None:
        """Until no deployment moves: a push that was cut is ended by the platform within a moment."""
        client = self.operator.sandbox.client()
        for _ in range(100):
            found = client.get(f"/v1/apps/{self.operator.app}/deployments").json()["deployments"]
            if found[0]["status"] in ("success", "aborted") or found[0]["status"].endswith("-error"):
                return
            time.sleep(0.1)
        raise AssertionError(f"a deployment never ended: {found[0]}")

    def last_record(self) -> dict[str, Any]:
        """The newest record of the journal."""
        record: dict[str, Any] = self.operator.journal()[-1]
        return record

    def told(self) -> str:
        """What the channel has heard since the scene began."""
        return "\n".join(message["message"] for message in self.operator.control.messages())


class Running:
    """A command at work, whose lines are read as they come."""

    def __init__(self, operator: Operator, command: list[str]) -> None:
        self.process = operator.begin(command)
        self.text = ""

    def see(self, line: str) -> None:
        """Read on until a line shows."""
        assert self.process.stdout is not None
        for text in self.process.stdout:
            self.text += text
            if line in text:
                return
        raise AssertionError(f"{line!r} never showed:\n{self.text}")

    def end(self) -> int:
        """Read on to the end; the exit code."""
        assert self.process.stdout is not None
        self.text += self.process.stdout.read()
        assert "Traceback" not in self.text, self.text
        return self.process.wait(60)


@dataclass
class Terminal:
    """A command at a terminal of its own, as a person has it."""

    process: subprocess.Popen[bytes]
    master: int
    raw: str = ""
    _read: int = field(default=0)

    @property
    def text(self) -> str:
        """All that was shown, without colours and cursor movements."""
        return _ESCAPES.sub("", self.raw).replace("\r\n", "\n")

    def expect(self, wanted: str, seconds: float = 60) -> str:
        """Read until a text shows that was not waited for before; what was shown up to it."""
        deadline = time.monotonic() + seconds
        while wanted not in self.text[self._read :]:
            if not self._more(deadline):
                raise AssertionError(f"{wanted!r} never showed:\n{self.text[self._read :]}")
        start, self._read = self._read, self.text.index(wanted, self._read) + len(wanted)
        return self.text[start : self._read]

    def type(self, line: str) -> None:
        """Type a line and Enter."""
        os.write(self.master, f"{line}\r".encode())

    def interrupt(self) -> None:
        """Ctrl-C, which reaches the whole foreground group."""
        os.write(self.master, b"\x03")

    def end(self, seconds: float = 90) -> int:
        """Read to the end; the exit code."""
        deadline = time.monotonic() + seconds
        while self._more(deadline):
            pass
        assert "Traceback" not in self.text, self.text
        return self.process.wait(max(1, deadline - time.monotonic()))

    def _more(self, deadline: float) -> bool:
        ready, _, _ = select.select([self.master], [], [], max(0, deadline - time.monotonic()))
        if not ready:
            return False
        try:
            data = os.read(self.master, 65536)
        except OSError:  # the last process that had it open has ended
            return False
        self.raw += data.decode(errors="replace")
        return bool(data)


@pytest.fixture
def terminal() -> Iterator[Callable[..., Terminal]]:
    """Starts commands at a terminal of 140 columns."""
    opened: list[Terminal] = []

    def start(operator: Operator, deploy: str, *options: str, **data: str) -> Terminal:
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 140, 0, 0))
        process = subprocess.Popen(
            operator.command(deploy, *options, yes=False, **data),
            cwd=ROOT,
            env={**operator.env, "TERM": "xterm-256color"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)
        opened.append(Terminal(process, master))
        return opened[-1]

    yield start
    for one in opened:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()
        os.close(one.master)


@pytest.fixture(name="deploy_archive")
def _deploy_archive() -> Callable[[Operator, str], str]:
    """Deploys a release as an archive, as the platform's own client can; gives its commit."""
    return deploy_archive


@pytest.fixture(scope="session")
def materials() -> Callable[[Operator], Material]:
    """For an app, made at its first use: a backup of the release to go back to."""
    made: dict[str, Material] = {}

    def of(operator: Operator) -> Material:
        if operator.app not in made:
            bring(operator, BACKED_UP)
            backup = operator.backup()
            made[operator.app] = Material(str(backup["id"]), print_of(operator))
        return made[operator.app]

    return of


@pytest.fixture
def scene(preprod: Operator, materials: Callable[[Operator], Material]) -> Scene:
    """A healthy release runs, whose migrations are those of the one before, and visitors have written."""
    return _scene(preprod, materials, HEALTHY)


@pytest.fixture
def incident_scene(preprod: Operator, materials: Callable[[Operator], Material]) -> Scene:
    """The faulty release runs: its migration has destroyed data, its pages fail."""
    return _scene(preprod, materials, FAULTY)


@pytest.fixture
def protected_scene(protected: Operator, materials: Callable[[Operator], Material]) -> Scene:
    """The healthy release runs in the protected environment."""
    return _scene(protected, materials, HEALTHY)


def _scene(operator: Operator, materials: Callable[[Operator], Material], release: str) -> Scene:
    material = materials(operator)
    bring(operator, HEALTHY)
    operator.write(1)
    if release != HEALTHY:
        operator.deploy(release)
    operator.control.mattermost("DELETE", "messages")
    wanted = {"tag": BACKED_UP, "backup": f"id:{material.backup}"}
    return Scene(operator, material, operator.release(), print_of(operator), wanted)


def print_of(operator: Operator) -> str:
    """A print of the live data: rows and their digest by table."""
    prints = []
    with psycopg.connect(operator.control.database(operator.app)["url"]) as connection:
        for table in _TABLES:
            row = connection.execute(_PRINT.format(table)).fetchone()
            prints.append(f"{table} {row[0] if row else ''}")
    return ", ".join(prints)
