"""The page of figures, `docs/benchmarks.md`: what was measured, how, on which machine."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from benchmarks import machine
from benchmarks.figures import Figure

_HEAD: Final = """# Figures

Made by `python -m benchmarks --write`; `make bench` measures and prints the same lines (`python -m benchmarks
NAME...` some of them, `--pairs N` with more pairs). One line a figure: name, value, bound, verdict, and what
else was seen. The exit code is 1 when a figure is short, 2 when one could not be measured.

A ratio is made of interleaved pairs, A B, B A, A B ..., each on a fresh copy of the same database: its value
is their median, its spread the innermost two pairs that hold the true median with nine chances in ten (of
five pairs the first and the last by size, of eight the second from either end). `ok` and `short` mean that
the whole spread is on that side of the bound; `inconclusive`, that it lies on both, as on a busy machine.
What was done is compared after each measure: a time counts only when rows, tables, indexes, constraints and
views are those of the backup. A figure of which every sample counts is `short` when most are, and on a
busy machine (the note says how much of the time something waited for a processor) only when all are.

The server for restores and swaps has its log on disk and, where the machine has the room, its other files in
memory. Client and server share the machine.
"""


def page(found: Iterable[Figure], measures: Mapping[str, Callable[..., Any]], postgresql: str) -> str:
    """The whole page."""
    figures = list(found)
    lines = "\n".join(figure.line().removesuffix(figure.note).rstrip() for figure in figures)
    notes = "\n".join(f"- `{figure.name}`: {figure.note}" for figure in figures)
    parts = [
        _HEAD,
        f"## Measured on {datetime.now(UTC):%d %B %Y}\n\n```\n{lines}\n```\n",
        f"{notes}\n",
        f"Machine: {machine.described(postgresql)}\n",
        "## What each figure is\n",
        *(f"### {name}\n\n{inspect.getdoc(measure)}\n" for name, measure in measures.items()),
    ]
    return "\n".join(parts)
