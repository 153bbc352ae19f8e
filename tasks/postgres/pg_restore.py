"""Running PostgreSQL's own pg_restore: what it is told to build, with what arguments, and what it says."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Final

from tasks.core.process import Child
from tasks.core.secrets import redact
from tasks.postgres.archive import Entry, Treatment
from tasks.postgres.archive.definitions import extension_data, verdicts
from tasks.postgres.connection import Target
from tasks.postgres.tools import Tool, connection_option, environment

_LINES_KEPT: Final = 12
_SETTINGS: Final = "-c lock_timeout=60s -c synchronous_commit=off"


def restored_entries(
    entries: Sequence[Entry], schema: str, empty: Collection[str] = (), *, large_objects: bool = False
) -> list[Entry]:
    """What pg_restore is told to build: the schema's own objects; no extension, right, or rows of either."""
    not_ours = {entry.dump_id for entry in extension_data(entries)}
    chosen = []
    for verdict in verdicts(entries, schema):
        entry = verdict.entry
        if entry.dump_id in not_ours or (entry.kind == "TABLE DATA" and entry.name in empty):
            continue
        if entry.kind.startswith("BLOB"):
            if large_objects:
                chosen.append(entry)
        elif entry.schema == schema and verdict.treatment is not Treatment.LEAVE:
            chosen.append(entry)
    return chosen


def pg_restore_command(tool: Tool, target: Target, archive: Path, chosen: Path, jobs: int) -> list[str]:
    """The command; its password comes by the environment, since everybody can read arguments."""
    return [
        str(tool.path),
        "--no-owner",
        "--no-privileges",
        "--no-password",
        f"--jobs={jobs}",
        f"--use-list={chosen}",
        connection_option(target),
        str(archive),
    ]


def run_pg_restore(
    target: Target,
    run: str,
    tool: Tool,
    archive: Path,
    entries: Sequence[Entry],
    jobs: int,
    progress: Callable[[int, int | None], None],
    stop: Callable[[], bool],
) -> list[str]:
    """Run it to its end; gives the last lines that it complained with.

    Whether it worked is proved, not asked: where its version isn't the server's, it exits with 1 though all
    is there.
    """
    complaints: list[str] = []
    done = 0

    def on_line(stream: str, line: str) -> None:
        nonlocal done
        if stream == "stderr" and ("creating " in line or "processing data" in line or "executing" in line):
            done += 1
            progress(min(done, len(entries)), len(entries))
        elif stream == "stderr" and ("error" in line or "ERROR" in line):
            complaints.append(redact(line))
            del complaints[:-_LINES_KEPT]

    with tempfile.TemporaryDirectory(prefix="operations-") as folder:
        chosen = Path(folder) / "list"
        chosen.write_text("".join(f"{entry.dump_id};\n" for entry in entries))
        command = pg_restore_command(tool, target, archive, chosen, jobs)
        with Child.start(
            [*command, "--verbose"], env=environment(target, run, "pg_restore", _SETTINGS), on_line=on_line
        ) as child:
            child.wait(stop=stop)
    return complaints
