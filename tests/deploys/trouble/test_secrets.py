"""Nothing that must stay secret shows: on screen, in logs, arguments, sessions, or files of others."""

from __future__ import annotations

import os
import stat
import subprocess
import threading
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

Scene = Any
Operator = Any


def canaries(operator: Operator) -> dict[str, str]:
    """The secrets that a run holds in its hands, by name."""
    state = operator.sandbox.state
    variables = operator.sandbox.client().get(f"/v1/apps/{operator.app}/variables").json()["variables"]
    values = {one["name"]: one["value"] for one in variables}
    found = {
        "API token": state.token,
        "GitHub token": state.github_token,
        "webhook": urlsplit(state.webhook_url).path.rsplit("/", 1)[1],
        "database password": urlsplit(operator.control.database(operator.app)["url"]).password,
        "check account's password": values["CHECK_PASSWORD"],
        "signing key": values["SECRET_KEY"],
        "SSH key": state.identity_path.read_text().splitlines()[3],
    }
    assert all(len(value) > 8 for value in found.values())
    return found


def leaks(text: str, secrets: dict[str, str]) -> list[str]:
    return [name for name, value in secrets.items() if value in text]


class Watch(threading.Thread):
    """Samples the arguments of all processes and the sessions' queries while a command runs."""

    def __init__(self, operator: Operator) -> None:
        super().__init__()
        self._dsn = operator.control.database(operator.app)["superuser_dsn"]
        self._ended = threading.Event()
        self.arguments: set[str] = set()
        self.queries: set[str] = set()
        self.samples = 0

    def run(self) -> None:
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            while not self._ended.wait(0.01):
                self.samples += 1
                for path in Path("/proc").glob("[0-9]*/cmdline"):
                    try:
                        self.arguments.add(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
                    except OSError:
                        continue
                if self.samples % 5 == 0:
                    rows = connection.execute("select query || ' ' || application_name from pg_stat_activity")
                    self.queries |= {str(row[0]) for row in rows}

    def end(self) -> None:
        self._ended.set()
        self.join()


def open_to_others(folder: Path) -> list[str]:
    """Files below it that somebody else could read, all the way down to them."""
    found = []
    for root, folders, names in os.walk(folder):
        folders[:] = [
            name
            for name in folders
            if not (Path(root) / name).is_symlink() and (Path(root) / name).stat().st_mode & 0o005 == 0o005
        ]
        for name in names:
            path = Path(root) / name
            if not path.is_symlink() and stat.S_ISREG(path.stat().st_mode) and path.stat().st_mode & 0o004:
                found.append(str(path))
    return found


@pytest.mark.parametrize(
    "flags",
    [["--debug", "-vvv"], *(pytest.param([v], marks=pytest.mark.slow) for v in ("-v", "-vv", "--debug"))],
)
def test_no_secret_shows(scene: Scene, flags: list[str], tmp_path: Path) -> None:
    """From a rollback that succeeds: in its output, in its files, and in what others see of it."""
    operator = scene.operator
    secrets = canaries(operator)
    tmp_path.chmod(0o755)
    watch = Watch(operator)
    watch.start()
    try:
        done = subprocess.run(
            operator.command("rollback", *flags, **scene.wanted),
            cwd=Path(__file__).parents[3],
            env={**operator.env, "TMPDIR": str(tmp_path)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=240,
            check=False,
        )
    finally:
        watch.end()
    assert done.returncode == 0, done.stdout
    assert leaks(done.stdout, secrets) == []
    assert watch.samples > 100
    assert any("git" in line and "push" in line for line in watch.arguments), "the push was seen"
    assert any("ops/" in line for line in watch.queries), "our sessions were seen"
    assert leaks("\n".join(watch.arguments), secrets) == []
    assert leaks("\n".join(watch.queries), secrets) == []
    assert leaks("\n".join(str(one) for one in operator.control.messages()), secrets) == []
    for folder in (operator.home, tmp_path, operator.sandbox.folder / "journal"):
        for path in folder.rglob("*"):
            if path.is_file():
                assert leaks(path.read_bytes().decode(errors="replace"), secrets) == [], path
    operator.home.chmod(0o755)
    try:
        assert open_to_others(operator.home) == []
    finally:
        operator.home.chmod(0o700)
    assert open_to_others(tmp_path) == []
    assert list(tmp_path.iterdir()) == [], "temporary files are cleaned up"


@pytest.mark.slow
def test_no_secret_shows_when_everything_fails(scene: Scene) -> None:
    """A webhook, a release and a database that refuse: their words are quoted, our secrets are not."""
    operator = scene.operator
    secrets = canaries(operator)
    operator.control.fail("html", service="mattermost", times=None)
    operator.control.scenario(operator.app, fail="crashed-error")
    failed = operator.run("rollback", "--debug", **scene.wanted)
    assert failed.code == 1
    operator.control.scenario(operator.app, reset=True)
    operator.control.quota(operator.app, 1)
    full = operator.run("rollback", "--debug", **{**scene.wanted, "tag": "none"})
    operator.control.quota(operator.app, None)
    operator.control.fail(401, service="scalingo", times=None)
    signed_out = operator.run("rollback", "--debug", **scene.wanted)
    operator.control.clear_failures()
    killed = scene.until("Step: push", 9)
    for ran in (failed, full, signed_out, killed):
        assert leaks(ran.text, secrets) == []
    for path in operator.home.rglob("*"):
        if path.is_file():
            assert leaks(path.read_bytes().decode(errors="replace"), secrets) == [], path


@pytest.mark.slow
def test_facts_show_names_and_no_values(preprod: Operator) -> None:
    """`pyinfra INVENTORY fact` prints what a fact gives: variables are names and fingerprints there."""
    secrets = canaries(preprod)
    command = preprod.command("rollback", yes=False)
    done = subprocess.run(
        [*command[:2], "fact", "tasks.scalingo.facts.Variables", "--debug"],
        cwd=Path(__file__).parents[3], env=preprod.env, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "SCALINGO_POSTGRESQL_URL" in done.stdout + done.stderr
    assert leaks(done.stdout + done.stderr, secrets) == []
