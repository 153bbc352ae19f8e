"""Questions at a terminal, with lists and a preselected answer."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.prompt import Prompt
from rich.table import Table

from tasks.core.errors import Refused


@dataclass(frozen=True)
class Choice:
    """One row of a list.

    + value: what the answer stands for
    + cells: what a person reads
    + mark: a word beside it (`running`, `suggested`)
    """

    value: str
    cells: tuple[str, ...]
    mark: str = ""


def at_terminal() -> bool:
    """Whether somebody can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def choose(
    question: str, headings: Sequence[str], choices: Sequence[Choice], *, preselected: str, option: str
) -> str:
    """Ask for one of the choices by its number or value; Enter takes the preselected one.

    Raises `Refused` with the list where there is no terminal: `option` says how to answer there.
    """
    table = choice_table(headings, choices, preselected)
    if not at_terminal():
        raise Refused(
            question,
            f"not given, and there is no terminal to ask at\n{table_text(table)}",
            next_step=f"give it as {option}" + (f" (suggested: {preselected})" if preselected else ""),
        )
    console = Console(stderr=True)
    console.print(table)
    values = {choice.value for choice in choices}
    while True:
        default = {"default": preselected} if preselected else {}
        answer = Prompt.ask(question, console=console, **default).strip()  # type: ignore[call-overload]
        if answer.isdigit() and 0 < int(answer) <= len(choices):
            return choices[int(answer) - 1].value
        if answer in values or answer == "none":
            return str(answer)
        console.print(f"{answer!r} is not in the list: give a number of the first column, or 'none'.")


def ask_exactly(question: str, wanted: str, *, option: str) -> bool:
    """Whether the person typed exactly `wanted`. Raises `Refused` where there is no terminal."""
    if not at_terminal():
        raise Refused(question, "there is no terminal to ask at", next_step=f"give it as {option}")
    return (
        Prompt.ask(question, console=Console(stderr=True), default="", show_default=False).strip() == wanted
    )


def ask_text(question: str) -> str:
    """What the person typed, without blanks at the ends; empty for a bare Enter."""
    return Prompt.ask(question, console=Console(stderr=True), default="", show_default=False).strip()


def choice_table(headings: Sequence[str], choices: Sequence[Choice], preselected: str) -> Table:
    """The list as a table: a number, the cells, and words for what is marked or suggested.

    The first cell is what people copy: it stays whole on narrow terminals too.
    """
    table = Table(box=None, pad_edge=False, header_style="bold")
    for position, heading in enumerate(("", *headings, "")):
        table.add_column(heading, overflow="fold", no_wrap=position == 1)
    for number, choice in enumerate(choices, 1):
        suggested = "suggested" if choice.value == preselected else ""
        words = ", ".join(word for word in (choice.mark, suggested) if word)
        table.add_row(str(number), *choice.cells, words, style="bold" if suggested else None)
    return table


def table_text(table: Table, width: int = 110) -> str:
    """The table as plain text."""
    console = Console(width=width, no_color=True, highlight=False, file=io.StringIO())
    with console.capture() as capture:
        console.print(table)
    return "\n".join(line.rstrip() for line in capture.get().rstrip("\n").splitlines())
