"""How fast a restore is: against the seed document's procedure, and against the bare tool."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from statistics import median

from benchmarks import manual
from benchmarks.engine import Engine
from benchmarks.figures import Bound, Figure, counted, interleaved, paired
from benchmarks.proxy import SlowLine
from benchmarks.server import Database, MeasureError
from benchmarks.workshop import Workshop

_JOBS = (1, 2, 4)


def loopback(workshop: Workshop) -> Figure:
    """A complete restore of a small archive of the application's schema, the server on the same machine.

    The seed document's block (the `.tar.gz` unpacked, a `DROP TABLE` by a psql for each table, `pg_restore
    --clean` into the ruins) over our time for the same archive: unpacked, read to its end and counted,
    staged, analysed, proved, swapped. Both begin with a database that holds the live data.
    """
    # Twice the pairs: they are short, and their value is not far from the bound.
    bound = Bound(at_least=2.5, unit="times")
    return _against_the_seed(workshop, "restore-loopback", bound, 2 * workshop.pairs)


def two_milliseconds(workshop: Workshop) -> Figure:
    """The same through a proxy that adds 1 ms to each direction, as to a database in the same country."""
    return _against_the_seed(workshop, "restore-2ms", Bound(at_least=5, unit="times"), workshop.pairs, 1.0)


def twenty_milliseconds(workshop: Workshop) -> Figure:
    """The same with 10 ms in each direction, as over a mobile phone's line."""
    return _against_the_seed(workshop, "restore-20ms", Bound(at_least=9, unit="times"), workshop.pairs, 10.0)


def verification(workshop: Workshop) -> Figure:
    """What it costs to be sure: the archive read to its last block and counted, and the proof, of a restore.

    The share of a complete restore of some tens of megabytes that goes into reading the archive before
    anything is touched (it is unpacked in the same pass) and into proving what was staged.
    """
    database, backup = workshop.middle
    shares, answers = [], []
    for number in range(workshop.pairs):
        workshop.say(f"verification: restore {number + 1} of {workshop.pairs}")
        copy = workshop.server.copy(database)
        workshop.server.settle()
        answer = workshop.engine.restore(copy, backup, _run(number))
        workshop.server.drop(copy)
        answers.append(answer["parts"])
        sure = answer["parts"]["unpacked and counted"] + answer["parts"]["proof"]
        shares.append(100 * sure / answer["seconds"])
    return paired("verification", Bound(at_most=20, unit="%"), shares, _parts(answers))


def memory(workshop: Workshop) -> Figure:
    """The most memory that our process takes in a complete restore of some hundred megabytes of rows.

    As the kernel counts it (maximum resident set), Python and its libraries included. Counted in a process of
    its own, that has done nothing else.
    """
    database, backup = workshop.large
    copy = workshop.server.copy(database)
    with Engine() as engine:
        answer = engine.restore(copy, backup, _run(0))
    workshop.server.drop(copy)
    note = (
        f"an archive of {backup.stat().st_size / 1e6:,.0f} MB, {answer['rows']:,} rows that are "
        f"{answer['text_bytes'] / 1e6:,.0f} MB of text; {answer['megabytes_before']:.0f} MB before it"
    )
    return counted("memory", Bound(at_most=150, unit="MB"), round(answer["peak_megabytes"]), note)


def load(workshop: Workshop) -> Figure:
    """Staging an archive of some tens of megabytes, over bare `pg_restore` of it into an empty database.

    Ours is `stage` from its first connection to its mark, without the proof: definitions, rows, indexes,
    constraints, sequences, views, and `ANALYZE`, which pg_restore leaves to others. pg_restore runs at -j1,
    -j2 and -j4 in every round; the one whose median is best is what every round is compared with.
    """
    database, backup = workshop.middle
    dump = backup.with_name(backup.name.replace(".tar.gz", ".dump"))
    expected = database.contents()
    rounds: list[dict[str, float]] = []
    parts: list[Mapping[str, float]] = []

    def ours() -> float:
        empty = workshop.server.empty()
        workshop.server.settle()
        answer = workshop.engine.load(empty, backup, _run(len(rounds)))
        _same(answer["rows"], expected["rows"], "the engine's load")
        workshop.server.drop(empty)
        parts.append(answer["parts"])
        return float(answer["seconds"])

    def bare(jobs: int) -> Callable[[], float]:
        def restore() -> float:
            empty = workshop.server.empty()
            workshop.server.settle()
            took = manual.bare_restore(empty, dump, jobs)
            if not rounds:
                _same(empty.contents(), expected, f"pg_restore -j{jobs}")
            workshop.server.drop(empty)
            return took

        return restore

    runs = {"ours": ours} | {f"-j{jobs}": bare(jobs) for jobs in _JOBS}
    for number in range(workshop.pairs):
        workshop.say(f"load: round {number + 1} of {workshop.pairs}")
        names = _turned(list(runs), number)
        rounds.append({name: runs[name]() for name in names})
    bare_medians = {name: median(each[name] for each in rounds) for name in runs if name != "ours"}
    best = min(bare_medians, key=lambda name: bare_medians[name])
    note = (
        f"{dump.stat().st_size / 1e6:.0f} MB, {expected['rows']:,} rows; "
        f"ours {median(each['ours'] for each in rounds):.2f} s, pg_restore "
        + ", ".join(f"{name} {seconds:.2f} s" for name, seconds in bare_medians.items())
        + f"; {_parts(parts)}"
    )
    ratios = [each["ours"] / each[best] for each in rounds]
    return paired("load", Bound(at_most=1.25, unit="times"), ratios, note)


def _against_the_seed(
    workshop: Workshop, name: str, bound: Bound, pairs: int, milliseconds: float | None = None
) -> Figure:
    database, backup = workshop.small
    expected = database.contents()
    answers: list[Mapping[str, float]] = []
    slow = nullcontext() if milliseconds is None else SlowLine(workshop.server.port, milliseconds)
    with slow as line:
        port = line.port if line else None

        def measured(restore: Callable[[Database], float], what: str) -> float:
            copy = workshop.server.copy(database)
            workshop.server.settle()
            took = restore(copy)
            _same(copy.contents(), expected, what)
            workshop.server.drop(copy)
            return took

        def engine(copy: Database) -> float:
            answer = workshop.engine.restore(copy, backup, _run(len(answers)), port)
            answers.append(answer["parts"])
            return float(answer["seconds"])

        def seed(copy: Database) -> float:
            return manual.seed_restore(copy, backup, port)

        measured(seed, "the seed document's block")  # once unmeasured: programs and catalogs get warm
        measured(engine, "the engine")
        answers.clear()
        times = []
        for pair in interleaved(
            pairs,
            lambda: measured(seed, "the seed document's block"),
            lambda: measured(engine, "the engine"),
        ):
            times.append(pair)
            workshop.say(f"{name}: pair {len(times)} of {pairs}")
    theirs, mine = (median(column) for column in zip(*times, strict=True))
    note = f"seed {theirs:.2f} s, ours {mine:.2f} s; {_parts(answers)}"
    return paired(name, bound, [seed / ours for seed, ours in times], note)


def _turned(names: Sequence[str], number: int) -> list[str]:
    """Each round begins with another one, and every second goes backwards."""
    turned = [*names[number % len(names) :], *names[: number % len(names)]]
    return turned if number % 2 == 0 else turned[::-1]


def _parts(answers: Sequence[Mapping[str, float]]) -> str:
    """Where our time goes: the median of each part, the largest first."""
    medians = {part: median(answer[part] for answer in answers) for part in answers[0]}
    ordered = sorted(medians.items(), key=lambda item: -item[1])
    return ", ".join(f"{part} {seconds:.2f}" for part, seconds in ordered if seconds >= 0.005)


def _run(number: int) -> str:
    return f"bench-{os.getpid()}-{number}"


def _same(found: object, expected: object, what: str) -> None:
    """A time counts only when the work was done."""
    if found != expected:
        raise MeasureError(f"{what} left {found}, not {expected}")
