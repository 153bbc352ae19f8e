"""`python -m benchmarks [NAME...] [--pairs N] [--write]`: a line a figure; exit code 1 when one is short."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from benchmarks import report, restores, rollbacks, swaps
from benchmarks.figures import DEFAULT_PAIRS, FEWEST_PAIRS, Figure, Verdict
from benchmarks.server import MeasureError
from benchmarks.workshop import Workshop

Measure = Callable[[Workshop], Figure]

FIGURES: Final[Mapping[str, Measure]] = {
    "swap-locks": swaps.locks,
    "restore-loopback": restores.loopback,
    "restore-2ms": restores.two_milliseconds,
    "restore-20ms": restores.twenty_milliseconds,
    "load": restores.load,
    "verification": restores.verification,
    "undo": swaps.undo,
    "memory": restores.memory,
    "rollback-errors": rollbacks.errors,
    "plan": rollbacks.plan,
}
PAGE: Final = Path(__file__).parent.parent / "docs" / "benchmarks.md"
SHORT, FAILED = 1, 2


def main(arguments: list[str] | None = None) -> int:
    """0 when no figure is short; 1 when one is; 2 when one could not be measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of: {', '.join(FIGURES)}")
    parser.add_argument(
        "--pairs", type=int, default=DEFAULT_PAIRS, help=f"a ratio is made of; at least {FEWEST_PAIRS}"
    )
    parser.add_argument("--write", action="store_true", help=f"write docs/{PAGE.name}; for all figures only")
    given = parser.parse_args(arguments)
    if unknown := [name for name in given.names if name not in FIGURES]:
        parser.error(f"no figure is called {', '.join(unknown)}; there are {', '.join(FIGURES)}")
    if given.pairs < FEWEST_PAIRS:
        parser.error(f"fewer than {FEWEST_PAIRS} pairs say nothing")
    if given.write and given.names:
        parser.error("--write goes with all figures, so without a name")
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))  # so that servers end too
    with Workshop(given.pairs) as workshop:
        found, failed = measure(given.names or list(FIGURES), workshop)
        if given.write and not failed:
            PAGE.write_text(report.page(found, FIGURES, workshop.server.version))
    return exit_code(found, failed)


def measure(names: list[str], workshop: Workshop) -> tuple[list[Figure], list[str]]:
    """Print each figure as soon as it is known; the figures, and the names of those not measured."""
    found, failed = [], []
    for name in names:
        try:
            figure = FIGURES[name](workshop)
        except MeasureError as error:
            workshop.clear()
            print(f"{name}: not measured. {error}", file=sys.stderr, flush=True)
            failed.append(name)
        else:
            workshop.clear()
            print(figure.line(), flush=True)
            found.append(figure)
    return found, failed


def exit_code(found: list[Figure], failed: list[str]) -> int:
    """What the run says to its caller."""
    if failed:
        return FAILED
    return SHORT if any(figure.verdict is Verdict.SHORT for figure in found) else 0


if __name__ == "__main__":
    sys.exit(main())
