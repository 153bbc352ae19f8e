"""The other side of each pair: the seed document's procedure, and the bare tool."""

from __future__ import annotations

import subprocess
import tempfile
import time
from pathlib import Path
from typing import Final

from benchmarks.server import Database, MeasureError

# The block of the seed document, word for word but for a line break and the archive: the document hands the
# `.tar.gz` itself to pg_restore, which refuses it once every table is dropped. Here it is unpacked first.
SEED_BLOCK: Final = r"""
tar xzf "${BACKUP}" -C "${FOLDER}"
DUMP_FILE=$(echo "${FOLDER}"/*)
for table in $(psql "${DATABASE_URL}" -t -c "SELECT \"tablename\" FROM pg_tables WHERE schemaname='public'")
do
     psql "${DATABASE_URL}" -c "DROP TABLE IF EXISTS \"${table}\" CASCADE;"
done
pg_restore -d "${DATABASE_URL}" --clean --no-acl --no-owner --no-privileges "${DUMP_FILE}"
"""


def seed_restore(database: Database, backup: Path, port: int | None = None) -> float:
    """Run the block; seconds from beginning to end.

    Its exit code says nothing (it is 1 on a perfect archive, since what `--clean` drops is gone already): who
    calls this compares the contents.
    """
    with tempfile.TemporaryDirectory(prefix="operations-bench-") as folder:
        environment = database.environment(port) | {"BACKUP": str(backup), "FOLDER": folder}
        began = time.monotonic()
        done = subprocess.run(
            ["bash", "-c", SEED_BLOCK],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
        took = time.monotonic() - began
    if done.returncode not in (0, 1):
        raise MeasureError(f"The seed document's block ended with {done.returncode}: {done.stdout[-400:]}")
    return took


def bare_restore(database: Database, dump: Path, jobs: int) -> float:
    """`pg_restore -j JOBS` of an unpacked archive into an empty database; seconds."""
    began = time.monotonic()
    database.server.run(
        database,
        ["pg_restore", "-d", "$DATABASE_URL", "-j", str(jobs), "--no-acl", "--no-owner", str(dump)],
    )
    return time.monotonic() - began
