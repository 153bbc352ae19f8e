"""An operator at a command line, in front of a sandbox with releases and backups as a test wants them."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from sandbox import incident
from sandbox.control import Control
from tests.deploys import beginnings

ROOT = Path(__file__).parents[2]
PROTECTED, PREPROD = "sandbox-demo", "sandbox-demo-preprod"
ENVIRONMENTS = {PROTECTED: "sandbox", PREPROD: "sandbox_preprod"}
_PREFIX = re.compile(r"^ *\[@scalingo/[\w-]+\] ?", re.MULTILINE)


@dataclass(frozen=True)
class Ran:
    """What a command has done: its exit code, and its text without pyinfra's prefixes."""

    code: int
    text: str

    @property
    def told_to_type(self) -> str:
        """The command that goes on, as the message gives it."""
        found = re.search(r"this goes on:\n +(pyinfra .*)", self.text)
        assert found, self.text
        return found[1]

    @property
    def token(self) -> str:
        """The token of the list of what would be lost."""
        found = re.search(r"loss=(\w+)", self.text)
        assert found, self.text
        return found[1]


@dataclass
class Operator:
    """Types commands for one app of the sandbox, as a person does without a terminal."""

    sandbox: Any
    app: str
    home: Path

    @property
    def control(self) -> Control:
        control: Control = self.sandbox.control
        return control

    @property
    def environment(self) -> str:
        return ENVIRONMENTS[self.app]

    @property
    def env(self) -> dict[str, str]:
        """With a home of its own, so that nothing of the user's is read or written."""
        own = {name: value for name, value in self.sandbox.env.items() if not name.startswith("XDG_")}
        return own | {"HOME": str(self.home), "PYINFRA_PROGRESS": "off"}

    def command(self, deploy: str, *options: str, yes: bool = True, **data: str) -> list[str]:
        given = dict(data)
        if yes and self.app == PROTECTED:
            given.setdefault("confirm", "sandbox")
        return [
            str(Path(sys.executable).parent / "pyinfra"),
            f"inventories/{self.environment}.py",
            f"deploys/{deploy}.py",
            *(["-y"] if yes else []),
            *options,
            *(part for name, value in given.items() for part in ("--data", f"{name}={value}")),
        ]

    def run(self, deploy: str, *options: str, yes: bool = True, **data: str) -> Ran:
        return self._ran(self.command(deploy, *options, yes=yes, **data))

    def type(self, line: str) -> Ran:
        """Run a line that a message told to type."""
        program, *rest = shlex.split(line)
        assert program == "pyinfra"
        return self._ran([str(Path(sys.executable).parent / program), *rest])

    def _ran(self, command: list[str]) -> Ran:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=240,
            check=False,
        )
        text = _PREFIX.sub("", done.stdout)
        ours = "\n".join(line for line in text.splitlines() if not line.startswith("  | "))
        assert "Traceback" not in ours, text  # the application's own is quoted
        return Ran(done.returncode, text)

    def begin(self, command: list[str]) -> subprocess.Popen[str]:
        """Run a command in the background, in a session of its own; its lines come as they are written."""
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            bufsize=1,
            start_new_session=True,
        )

    def run_until(self, deploy: str, line: str, number: signal.Signals, **data: str) -> Ran:
        """Run, and send a signal to the command when a line shows; what it said until its end."""
        process = self.begin(self.command(deploy, **data))
        assert process.stdout is not None
        seen: list[str] = []
        for text in process.stdout:
            seen.append(text)
            if line in text and process.poll() is None:
                process.send_signal(number)
                line = "\0"
        return Ran(process.wait(60), _PREFIX.sub("", "".join(seen)))

    def release(self) -> str:
        """The commit that runs."""
        return str(incident.status(self.app, self.control)["commit"])

    def commit(self, ref: str) -> str:
        return incident.repository.resolve(incident._published(self.control), ref)

    def deploy(self, ref: str) -> None:
        incident.deploy(self.app, ref, self.control, say=lambda _: None)

    def bring(self, release: str) -> None:
        """Have a release run on data that goes with it, whatever the test before has left."""
        beginnings.bring(self, release)

    def backup(self) -> dict[str, Any]:
        return incident.nightly_backup(self.app, self.control, say=lambda _: None)

    def write(self, number: int = 1) -> None:
        incident.writes(self.app, number, self.control, say=lambda _: None)

    def pages(self) -> dict[str, int]:
        return incident.look(self.app, self.control)

    def sql(self, query: str) -> Any:
        """The first value that a query gives, as the app's own role."""
        with psycopg.connect(self.control.database(self.app)["url"], autocommit=True) as connection:
            row = connection.execute(query.encode()).fetchone()
            return row[0] if row else None

    def suggestions(self) -> int:
        return int(self.sql("SELECT count(*) FROM public.suggestions_suggestion"))

    def schemas(self, kind: str) -> list[str]:
        """The names of our schemas of one kind (`new`, `before`, `after`)."""
        text = self.sql(
            f"SELECT coalesce(string_agg(nspname, ' '), '') FROM pg_namespace WHERE nspname LIKE '{kind}\\_%'"
        )
        return str(text).split()

    def sessions(self) -> int:
        """Sessions of ours that are still on the server."""
        return int(self.sql("SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'ops/%'"))

    def journal(self) -> list[dict[str, Any]]:
        path = self.sandbox.folder / "journal" / f"{self.environment}.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def left_behind(self) -> list[str]:
        """Processes of this operator's commands that still run, some seconds being given to them."""
        for _ in range(50):
            found = [
                path.parent.name
                for path in Path("/proc").glob("[0-9]*/environ")
                if f"HOME={self.home}\0".encode() in _read(path)
            ]
            if not found:
                return []
            time.sleep(0.1)
        return found


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


@pytest.fixture(scope="session")
def operators(sandbox: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Operator]]:
    """One operator for each app, each app on v1.0.0 with a backup of that time."""
    made = {}
    for app in (PREPROD, PROTECTED):
        operator = Operator(sandbox, app, tmp_path_factory.mktemp("home"))
        incident.declare_variables(app, sandbox.control)
        operator.deploy("v1.0.0")
        operator.backup()
        made[app] = operator
    yield made
    for operator in made.values():
        shutil.rmtree(operator.home, ignore_errors=True)


@pytest.fixture
def preprod(operators: dict[str, Operator]) -> Iterator[Operator]:
    """The unprotected app; what a test broke on purpose is mended after it."""
    yield from _restored(operators[PREPROD])


@pytest.fixture
def protected(operators: dict[str, Operator]) -> Iterator[Operator]:
    """The protected app."""
    yield from _restored(operators[PROTECTED])


def _restored(operator: Operator) -> Iterator[Operator]:
    yield operator
    control = operator.control
    control.scenario(operator.app, reset=True)
    control.clear_failures()
    control.slow_tunnels(0)
    control.quota(operator.app, None)
    assert operator.left_behind() == [], "a process of a command still runs"
