"""What figures are measured with, started at first use and ended together."""

from __future__ import annotations

import contextlib
import sys
import time
from functools import cached_property
from pathlib import Path
from typing import Self

from benchmarks.engine import Engine
from benchmarks.operator import Operator
from benchmarks.server import BenchServer, Database


class Workshop:
    """A server with the application's schema, the engine, and a sandbox with an operator.

    + pairs: how many pairs each ratio is made of
    """

    def __init__(self, pairs: int) -> None:
        self.pairs = pairs
        self._open = contextlib.ExitStack()
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    @cached_property
    def server(self) -> BenchServer:
        self.say("starting PostgreSQL")
        return self._open.enter_context(BenchServer())

    @cached_property
    def engine(self) -> Engine:
        return self._open.enter_context(Engine())

    @cached_property
    def operator(self) -> Operator:
        self.say("starting a sandbox")
        return self._open.enter_context(Operator())

    @cached_property
    def small(self) -> tuple[Database, Path]:
        """The application's schema with ten thousand rows, and a backup of it."""
        return self._filled(10_000)

    @cached_property
    def middle(self) -> tuple[Database, Path]:
        """The same with three hundred thousand: an archive of some tens of megabytes."""
        return self._filled(300_000)

    @cached_property
    def large(self) -> tuple[Database, Path]:
        """The same with four million."""
        return self._filled(4_000_000)

    def _filled(self, rows: int) -> tuple[Database, Path]:
        self.say(f"filling a database with {rows:,} rows")
        database = self.server.filled(rows)
        return database, self.server.backup(database, f"rows-{rows}")

    def say(self, sentence: str) -> None:
        """Tell a person at a terminal what is going on; the figures are on standard output alone."""
        if sys.stderr.isatty():
            seconds = time.monotonic() - self._began
            print(f"\r\x1b[K{seconds:4.0f} s  {sentence}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Take that line away, for a figure."""
        if sys.stderr.isatty():
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
