"""What must be true of a backup that was restored: pure questions to what was counted, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from tasks.core.wording import number_of
from tasks.django.migrations import Fit, Verdict

_NAMED: Final = 5
_FITS: Final[dict[tuple[bool, bool], Fit]] = {
    (False, False): "same",
    (True, False): "behind",
    (False, True): "ahead",
    (True, True): "diverged",
}
"""By whether the archive lacks migrations of the release, and whether it has others."""


@dataclass(frozen=True)
class Checked:
    """One check's answer.

    + holds: whether it is as it must be
    + sentence: what was found
    """

    name: str
    holds: bool
    sentence: str

    @property
    def line(self) -> str:
        """For a person; the meaning is in words."""
        return f"{'ok' if self.holds else 'FAILED':<8} {self.name}: {self.sentence}"


@dataclass(frozen=True)
class ForeignKey:
    """A foreign key of what was restored, and how many rows refer to nothing."""

    name: str
    table: str
    orphans: int


@dataclass(frozen=True)
class Newest:
    """The age of a table's newest row in seconds; None where it has no row."""

    column: str
    hours: float
    seconds: float | None
    problem: str = ""


@dataclass(frozen=True)
class Statement:
    """A declared statement: what it gave, or why it gave nothing."""

    title: str
    answer: object
    problem: str = ""


def of_migrations(verdict: Verdict | None, release: str | None) -> Checked:
    """Whether the release can run on what was restored, or bring it forward."""
    if release is None or verdict is None:
        why = "no release is known" if release is None else "the archive has no table of Django's migrations"
        return Checked("migrations", True, f"not compared: {why}")
    # Packages' are judged by live data, which a drill leaves alone.
    own = replace(verdict, fit=_FITS[bool(verdict.missing), bool(verdict.extra)])
    sentence = f"{own.sentence('the archive')} {release[:8]}" if own.fit == "same" else own.sentence()
    return Checked("migrations", not verdict.extra, f"{sentence}; packages' are not compared")


def of_rows(archive: Mapping[str, int], counted: Mapping[str, int]) -> Checked:
    """Whether each table has as many rows as the archive."""
    differing = [
        f"{table} has {counted.get(table, 0):,} of {archive.get(table, 0):,}"
        for table in sorted({*archive, *counted})
        if counted.get(table) != archive.get(table)
    ]
    if differing:
        return Checked("rows", False, _first(differing))
    rows, tables = number_of(sum(counted.values()), "row"), number_of(len(counted), "table")
    return Checked("rows", True, f"{rows} in {tables}, as in the archive")


def of_foreign_keys(keys: Sequence[ForeignKey]) -> Checked:
    """Whether every row that refers to another finds it."""
    broken = [f"{number_of(key.orphans, 'row')} of {key.table} by {key.name}" for key in keys if key.orphans]
    if broken:
        return Checked("keys", False, f"refer to nothing: {_first(broken)}")
    return Checked("keys", True, f"{number_of(len(keys), 'foreign key')} without orphans")


def of_newest(found: Sequence[Newest]) -> Iterator[Checked]:
    """Whether each declared table's newest row is young enough."""
    for one in found:
        name = f"newest {one.column}"
        if one.problem or one.seconds is None:
            yield Checked(name, False, one.problem or "there is no row")
        else:
            hours = one.seconds / 3600
            yield Checked(name, hours <= one.hours, f"{hours:.1f} h old, at most {one.hours:g} h is declared")


def of_statements(found: Sequence[Statement]) -> Iterator[Checked]:
    """Whether each declared statement gave true."""
    for one in found:
        sentence = one.problem or ("it gave true" if one.answer is True else f"it gave {_said(one.answer)}")
        yield Checked(one.title, one.answer is True and not one.problem, sentence)


def _said(answer: object) -> str:
    """Never a row's own value: only of which kind it is."""
    if answer is False:
        return "false"
    return "nothing" if answer is None else f"a value of type {type(answer).__name__}, not true or false"


def _first(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - _NAMED} more" if len(texts) > _NAMED else ""
    return ", ".join(texts[:_NAMED]) + more
