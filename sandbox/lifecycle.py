"""Starts a sandbox in the background and ends one, whatever state it is in."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from sandbox.control import Control, ControlError
from sandbox.database.data_folder import clean_up_after_a_kill
from sandbox.platform.model import now
from sandbox.platform.processes import end_leftover, start_time
from sandbox.platform.store import Store
from sandbox.state import SandboxDown, SandboxState

START_SECONDS: Final = 90.0
STOP_SECONDS: Final = 30.0


class StartFailed(Exception):
    """The sandbox did not come up; the text says why, with the end of its log."""


def up(folder: Path, binaries: Path | None = None, say: Callable[[str], None] = print) -> SandboxState:
    """Start the sandbox in `folder` and wait until it answers; one that runs already is left as it is.

    + binaries: folder with an installed PostgreSQL's programs, kept for the next starts

    Raises StartFailed.
    """
    state = SandboxState.load_or_create(folder)
    if state.running:
        try:
            Control(state, timeout=10).revive()
        except SandboxDown:
            say("The sandbox does not answer: ending it, and starting again.")
            down(folder)
        except ControlError as error:
            raise StartFailed(f"A part can't be started again: {error}") from None
        else:
            return state
    _end_leftovers(folder)
    if binaries is not None:
        if not (binaries / "postgres").exists():
            raise StartFailed(f"There is no PostgreSQL server in {binaries}.")
        state.postgres_binaries = str(binaries.resolve())
    for name in state.pick_ports():
        if state.seeded:
            say(f"The port of {name} was taken: it is now {state.port(name)}.")
    state.save()
    with os.fdopen(os.open(state.log_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "sandbox", "serve", "--state", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            # Found the same way as here, also where the project is not installed.
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent.parent), *_python_path()]),
            },
            cwd="/",
            start_new_session=True,
        )
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise StartFailed(f"The sandbox ended while starting:\n{log_end(state)}")
        state = SandboxState.load(folder)
        if state.pid == process.pid:
            try:
                Control(state, timeout=5).status()
                return state
            except (SandboxDown, ControlError):
                pass
        time.sleep(0.05)
    down(folder)
    raise StartFailed(f"The sandbox was not ready after {START_SECONDS:.0f} seconds:\n{log_end(state)}")


def down(folder: Path) -> bool:
    """End the sandbox in `folder` and all that it started; True when something ran. Leaves no process."""
    state = SandboxState.load(folder)
    ran = state.running
    if state.running:
        assert state.pid is not None
        _wait_for_end(state, signal.SIGTERM, STOP_SECONDS)
        _wait_for_end(state, signal.SIGKILL, 5)
    return _end_leftovers(folder) or ran


def log_end(state: SandboxState, lines: int = 15) -> str:
    """The last lines that the supervisor wrote."""
    try:
        text = state.log_path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return "(it wrote nothing)"
    return "\n".join(text.splitlines()[-lines:])


def _wait_for_end(state: SandboxState, number: signal.Signals, seconds: float) -> None:
    if not state.running or state.pid is None:
        return
    os.kill(state.pid, number)
    deadline = time.monotonic() + seconds
    while state.running and time.monotonic() < deadline:
        time.sleep(0.02)


def _end_leftovers(folder: Path) -> bool:
    """What a supervisor that was killed could not end: PostgreSQL, the apps' processes."""
    state = SandboxState.load(folder)
    found = state.pid is not None
    if found:
        state.pid = state.pid_started = None
        state.save()
    clean_up_after_a_kill(folder / "postgres")
    if not state.store_path.exists():
        return found
    store = Store(state.store_path)
    for container in store.state.containers.values():
        if container.deleted_at is None and container.pid is not None:
            found = end_leftover(container.pid, container.process_started) or found
            _wait_until_gone(container.pid, container.process_started)
            container.state, container.deleted_at = "stopped", now()
    store.save()
    return found


def _wait_until_gone(pid: int, started: str | None) -> None:
    deadline = time.monotonic() + 5
    while started is not None and start_time(pid) == started and time.monotonic() < deadline:
        time.sleep(0.02)


def _python_path() -> list[str]:
    given = os.environ.get("PYTHONPATH")
    return [given] if given else []
