"""The project's own restore as a child that waits for work: one JSON line in, one out.

A process of its own, patched by gevent as pyinfra patches its own, so that what is measured is what runs, and
the measuring process keeps its threads. Started and loaded before the clock runs.
"""

from __future__ import annotations

from gevent import monkey

if __name__ == "__main__":
    monkey.patch_all()

import json
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any, Self

from benchmarks.server import ROLE, Database, MeasureError
from tasks.core.errors import OpsError
from tasks.core.secrets import Secret
from tasks.postgres import stage, swap
from tasks.postgres.archive import Archive, Contents, open_checked
from tasks.postgres.connection import Target, connect
from tasks.postgres.live import LiveFacts, read_live
from tasks.postgres.stage import Staged, StageRequest

_ROOT = Path(__file__).parent.parent
_WORKERS = 4


class Engine:
    """The measuring process's side of the child."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.engine"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=_ROOT,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()  # its standard input ends, and so does it

    def restore(self, database: Database, backup: Path, run: str, port: int | None = None) -> dict[str, Any]:
        """Unpack, check and count, stage, prove, swap; `seconds` of it all, and `parts`."""
        return self._do("restore", database, run, port, backup=str(backup))

    def load(self, database: Database, backup: Path, run: str) -> dict[str, Any]:
        """Stage an archive that was unpacked and counted before; `seconds` without the proof, and `parts`."""
        return self._do("load", database, run, None, backup=str(backup))

    def take_back(self, database: Database, run: str) -> dict[str, Any]:
        """Swap the other side in again; `seconds` in all, `locked` of them, and `attempts`."""
        return self._do("take_back", database, run, None)

    def _do(self, what: str, database: Database, run: str, port: int | None, **more: Any) -> dict[str, Any]:
        work = {
            "what": what,
            "run": run,
            "port": port or database.server.port,
            "database": database.name,
            "password": database.server.password,
            **more,
        }
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(work) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline() or '{"error": "the engine died"}')
        if "error" in answer:
            raise MeasureError(f"The engine's {what}: {answer['error']}")
        return answer


def _quiet(_done: int, _total: int | None) -> None:
    return None


def _never() -> bool:
    return False


def _target(work: dict[str, Any]) -> Target:
    return Target("127.0.0.1", work["port"], work["database"], ROLE, Secret("DATABASE_URL", work["password"]))


def _live(target: Target, run: str) -> LiveFacts:
    with closing(connect(target, run, "plan", read_only=True)) as connection:
        return read_live(connection, target)


def _stage(target: Target, run: str, archive: Archive, contents: Contents, live: LiveFacts) -> Staged:
    request = StageRequest(
        run=run,
        archive=archive,
        rows=contents.rows,
        total_bytes=sum(contents.text_bytes.values()),
        backup=archive.path.name,
        sha256=contents.sha256,
        workers=stage.workers_for(live.free_slots, most=_WORKERS),
    )
    return stage.stage(target, request, live)


def _restore(work: dict[str, Any]) -> dict[str, Any]:
    target, run = _target(work), work["run"]
    before = _peak_megabytes()
    with tempfile.TemporaryDirectory(prefix="operations-bench-") as folder:
        began = time.monotonic()
        archive, contents = open_checked(Path(work["backup"]), Path(folder), progress=_quiet, stop=_never)
        read = time.monotonic()
        live = _live(target, run)
        known = time.monotonic()
        staged = _stage(target, run, archive, contents, live)
        built = time.monotonic()
        swapped = swap.swap(target, run, staged.mark, planned=live.inventory.digest)
        ended = time.monotonic()
    parts = {
        "unpacked and counted": read - began,
        "live facts": known - read,
        **staged.seconds,
        "rest of staging": built - known - sum(staged.seconds.values()),
        "swap": ended - built,
    }
    return {
        "seconds": ended - began,
        "parts": parts,
        "locked": swapped.locked,
        "attempts": swapped.attempts,
        "rows": sum(staged.rows.values()),
        "text_bytes": sum(contents.text_bytes.values()),
        "megabytes_before": before,
        "peak_megabytes": _peak_megabytes(),
    }


def _peak_megabytes() -> float:
    """The most resident memory that this process has had so far; the kernel counts in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def _load(work: dict[str, Any]) -> dict[str, Any]:
    target, run = _target(work), work["run"]
    with tempfile.TemporaryDirectory(prefix="operations-bench-") as folder:
        archive, contents = open_checked(Path(work["backup"]), Path(folder), progress=_quiet, stop=_never)
        live = _live(target, run)
        began = time.monotonic()
        staged = _stage(target, run, archive, contents, live)
        took = time.monotonic() - began
    parts = {**staged.seconds, "rest of staging": took - sum(staged.seconds.values())}
    return {
        "seconds": took - staged.seconds["proof"],
        "parts": parts,
        "rows": sum(staged.rows.values()),
    }


def _take_back(work: dict[str, Any]) -> dict[str, Any]:
    began = time.monotonic()
    swapped = swap.take_back(_target(work), work["run"])
    seconds = time.monotonic() - began
    return {
        "seconds": seconds,
        "locked": swapped.locked,
        "attempts": swapped.attempts,
        "moved": swapped.moved_in,
    }


def _serve() -> None:
    does = {"restore": _restore, "load": _load, "take_back": _take_back}
    for line in sys.stdin:
        work = json.loads(line)
        try:
            answer = does[work["what"]](work)
        except OpsError as error:
            answer = {"error": str(error)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    _serve()
