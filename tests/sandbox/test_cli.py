"""`python -m sandbox` as people use it: start, stop, kill -9, side by side, the clients' isolation."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shlex
import signal
import stat
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest

from sandbox.environment import SandboxDown, host_data, variables
from sandbox.platform.processes import command_line, start_time

ROOT = Path(__file__).parent.parent.parent


def descendants(pid: int) -> list[int]:
    """All processes below `pid`."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found, left = [], [pid]
    while left:
        children = parents.get(left.pop(), [])
        found += children
        left += children
    return found


def alive(pids: list[int]) -> list[str]:
    """Those that still run, by their command lines."""
    return [command_line(pid) for pid in pids if start_time(pid)]


def wait_until_gone(pids: list[int], seconds: float = 5) -> list[str]:
    deadline = time.monotonic() + seconds
    while (left := alive(pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def test_status_and_env_and_a_second_up(sandbox: Any) -> None:
    status = sandbox.command("status")
    assert status.returncode == 0, status.stdout
    assert "postgresql" in status.stdout
    pid = sandbox.state.pid
    again = sandbox.command("up")
    assert again.returncode == 0
    assert sandbox.state.url("platform") in again.stdout
    assert json.loads(sandbox.state.path.read_text())["pid"] == pid, "one that runs is left as it is"


def test_env_is_for_the_shell_and_names_no_home(sandbox: Any) -> None:
    exports = sandbox.command("env").stdout
    shown = subprocess.run(
        ["sh", "-c", f"{exports}\nenv -0"],
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"]},
        check=True,
    ).stdout
    values = dict(item.split("=", 1) for item in shown.split("\0") if "=" in item)
    for name, value in variables(sandbox.folder).items():
        assert values[name] == value
    assert "HOME" not in values
    assert "SSH_AUTH_SOCK" not in values
    for name in (
        "AUTH_FILE",
        "CONFIG_FILE_PATH",
        "REGIONS_CACHE_PATH",
        "LOG_FILE",
        "CONFIG_DIR",
        "CACHE_DIR",
    ):
        assert Path(values[name]).is_relative_to(sandbox.folder)
    login = json.loads(Path(values["AUTH_FILE"]).read_text())
    assert login["auth_config_data"]["127.0.0.1"]["tokens"]["token"] == values["SCALINGO_API_TOKEN"]


def test_quoting_survives_a_folder_with_odd_characters() -> None:
    odd = "/tmp/it's $HOME `x`"
    line = f'export X={shlex.quote(odd)}; printf %s "$X"'
    assert subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True).stdout == odd


def test_everything_is_private(sandbox: Any) -> None:
    assert stat.S_IMODE(sandbox.folder.stat().st_mode) == 0o700
    for path in (
        sandbox.state.path,
        sandbox.state.store_path,
        sandbox.state.identity_path,
        sandbox.state.log_path,
    ):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert stat.S_IMODE((sandbox.state.client_folder / "auth").stat().st_mode) == 0o600


def test_no_secret_is_in_any_processs_arguments(sandbox: Any) -> None:
    state = sandbox.state
    secrets = [state.token, state.postgres_password, state.control_secret, state.signing_key]
    for pid in [state.pid, *descendants(state.pid)]:
        shown = Path(f"/proc/{pid}/cmdline").read_text()
        assert not any(secret in shown for secret in secrets)


def test_a_crashed_part_is_seen_said_and_started_again(fresh_sandbox: Any) -> None:
    fresh_sandbox.control.crash("github")
    status = fresh_sandbox.command("status")
    assert status.returncode == 1
    assert "Not running: github" in status.stdout
    assert fresh_sandbox.command("up").returncode == 0
    assert fresh_sandbox.command("status").returncode == 0


def test_kill_9_leaves_no_process_and_up_goes_on_where_it_was(fresh_sandbox: Any) -> None:
    url = fresh_sandbox.control.database("sandbox-demo")["url"]
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    token, ports = fresh_sandbox.state.token, fresh_sandbox.state.ports
    children = descendants(fresh_sandbox.state.pid)
    assert children
    os.kill(fresh_sandbox.state.pid, signal.SIGKILL)
    assert wait_until_gone(children) == []
    status = fresh_sandbox.command("status")
    assert (status.returncode, "died" in status.stdout) == (1, True)
    with pytest.raises(SandboxDown, match="is down"):
        variables(fresh_sandbox.folder)
    assert fresh_sandbox.command("up").returncode == 0
    state = json.loads(fresh_sandbox.state.path.read_text())
    assert (state["token"], state["ports"]) == (token, ports)
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)


def test_down_leaves_no_process_and_nothing_outside_its_folder(fresh_sandbox: Any) -> None:
    pids = [fresh_sandbox.state.pid, *descendants(fresh_sandbox.state.pid)]
    marker = fresh_sandbox.folder / "postgres" / "place"
    outside = Path(marker.read_text()) if marker.exists() else None
    done = fresh_sandbox.command("down")
    assert (done.returncode, done.stdout.strip()) == (0, "The sandbox is down.")
    assert alive(pids) == []
    assert outside is None or not outside.exists()
    assert fresh_sandbox.command("down").stdout.strip() == "No sandbox was running."
    assert fresh_sandbox.command("status").returncode == 1


def test_down_after_kill_9_brings_the_data_home(fresh_sandbox: Any) -> None:
    children = descendants(fresh_sandbox.state.pid)
    os.kill(fresh_sandbox.state.pid, signal.SIGKILL)
    assert fresh_sandbox.command("down").returncode == 0
    assert wait_until_gone(children) == []
    assert (fresh_sandbox.folder / "postgres" / "data" / "PG_VERSION").exists()
    assert not (fresh_sandbox.folder / "postgres" / "place").exists()


def test_two_sandboxes_run_side_by_side(sandbox: Any, fresh_sandbox: Any) -> None:
    assert not set(sandbox.state.ports.values()) & set(fresh_sandbox.state.ports.values())
    answer = fresh_sandbox.client(sandbox.exchange()).get("/v1/apps")
    assert answer.status_code == 401, "a token of one opens nothing in the other"
    assert sandbox.client().get("/v1/apps").status_code == 200


def test_a_second_supervisor_is_refused(sandbox: Any) -> None:
    second = sandbox.command("serve")
    assert (second.returncode, "Another supervisor" in second.stderr) == (1, True)


def test_without_a_sandbox_one_sentence_says_what_to_do(tmp_path: Path) -> None:
    for command in ("env", "status", "logs"):
        done = subprocess.run(
            [sys.executable, "-m", "sandbox", command, "--state", str(tmp_path / "none")],
            cwd=ROOT, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 1
        assert done.stdout == ""
        assert "start one with `python -m sandbox up`" in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1


def test_what_fails_while_starting_is_said(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sandbox", "up", "--state", tmp_path / "box", "--postgres", tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "no PostgreSQL server" in done.stderr


def test_an_inventory_gets_what_only_the_running_sandbox_knows(
    sandbox: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in variables(sandbox.folder):
        monkeypatch.setenv(name, "overwritten")
    data = host_data(sandbox.folder)
    assert os.environ["SCALINGO_API_URL"] == sandbox.state.url("platform")
    assert data["ssh_fingerprints"][0].startswith("SHA256:")
    assert data["ssh_identity"].exists()
    assert (data["pg_restore"] / "pg_restore").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_a_plain_user_runs_it_too() -> None:
    nobody = pwd.getpwnam("nobody")
    with tempfile.TemporaryDirectory(prefix="sandbox-plain-", dir="/tmp") as place:
        os.chown(place, nobody.pw_uid, nobody.pw_gid)

        def run(python: str, *arguments: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [python, *arguments],
                cwd=ROOT,
                capture_output=True,
                text=True,
                timeout=120,
                user=nobody.pw_uid,
                group=nobody.pw_gid,
                extra_groups=[],
                env={
                    "PATH": os.environ["PATH"],
                    "HOME": place,
                    "PYTHONDONTWRITEBYTECODE": "1",
                    "PYTHONPATH": os.pathsep.join([str(ROOT), sysconfig.get_path("purelib")]),
                },
            )

        for python in (sys.executable, "/usr/bin/python3"):
            with contextlib.suppress(OSError):
                if run(python, "-c", "import asyncssh, aiohttp, psycopg").returncode == 0:
                    break
        else:
            pytest.skip("that user can't read this checkout, or has no Python that fits")

        box = ("--state", f"{place}/box")
        started = run(python, "-m", "sandbox", "up", *box)
        try:
            assert started.returncode == 0, started.stderr
            assert run(python, "-m", "sandbox", "status", *box).returncode == 0
        finally:
            assert run(python, "-m", "sandbox", "down", *box).returncode == 0
