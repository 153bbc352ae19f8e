"""What was not given on the command line, asked for at a terminal with lists."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from tasks.core.errors import Refused
from tasks.core.prompts import Choice, ask_text, at_terminal, choice_table, choose, table_text
from tasks.core.screen import Screen, amount_text
from tasks.postgres.generations import Generation
from tasks.postgres.loss import TableLoss
from tasks.rollback.choices import age_text

_ALL: Final = "all"


def generation(generations: Sequence[Generation], wanted: str | None, now: datetime) -> Generation | None:
    """What to take rows from: what was named, else asked for where there are several, else the newest.

    None where nothing is set aside. Raises `Refused` for a name that is not among them.
    """
    if not generations:
        return None
    newest_first = sorted(generations, key=lambda one: one.mark.created, reverse=True)
    if wanted is None and len(generations) > 1 and at_terminal():
        wanted = choose(
            "Set-aside data to take rows from",
            ("schema", "set aside (UTC)", "age", "size"),
            [
                Choice(
                    one.mark.schema,
                    (
                        one.mark.schema,
                        f"{one.mark.created:%Y-%m-%d %H:%M}",
                        age_text(now - one.mark.created),
                        amount_text(one.bytes, "bytes"),
                    ),
                )
                for one in newest_first
            ],
            preselected=newest_first[0].mark.schema,
            option="--data set_aside=NAME",
        )
    for one in newest_first:
        if wanted is None or one.mark.schema == wanted:
            return one
    raise Refused(
        f"set_aside={wanted}",
        "nothing of that name is set aside",
        state="nothing was changed",
        next_step=f"one of {', '.join(one.mark.schema for one in newest_first)}",
    )


def tables(found: Sequence[TableLoss], aside: str, screen: Screen) -> tuple[str, ...]:
    """The tables to bring back, chosen from those that have rows which are only in what was set aside.

    Empty where none has. Raises `Refused` with the list where there is no terminal, or nothing is chosen.
    """
    having = [table for table in found if table.lost or table.differ]
    if not having:
        return ()
    rows = [
        Choice(table.table, (table.table, f"{table.lost:,}", f"{table.differ:,}"), table_gone(table))
        for table in having
    ]
    list_of = choice_table(("table", "rows only there", "live with other values"), rows, "")
    question = f"Tables of {aside} to bring rows back from"
    if not at_terminal():
        raise Refused(
            question,
            f"not given, and there is no terminal to ask at\n{table_text(list_of)}",
            state="nothing was changed",
            next_step="give them as --data tables=NAME,NAME or --data keys=FILE.csv",
        )
    for line in table_text(list_of).splitlines():
        screen.line(line)
    while True:
        answer = ask_text(f"{question} (numbers or names with commas between, or '{_ALL}'; Enter to stop)")
        if not answer:
            raise Refused(question, "none was chosen", state="nothing was changed")
        chosen = _chosen(answer, having)
        if isinstance(chosen, str):
            screen.warn(chosen)
        else:
            return chosen


def table_gone(table: TableLoss) -> str:
    """A word beside a table that the live data lacks."""
    return "live has no such table" if table.columns is None else ""


def _chosen(answer: str, having: Sequence[TableLoss]) -> tuple[str, ...] | str:
    names = [table.table for table in having]
    if answer == _ALL:
        return tuple(table.table for table in having if table.columns is not None)
    chosen = []
    for word in (part.strip() for part in answer.split(",")):
        if word.isdigit() and 0 < int(word) <= len(names):
            chosen.append(names[int(word) - 1])
        elif word in names:
            chosen.append(word)
        else:
            return f"{word!r} is not in the list."
    return tuple(dict.fromkeys(chosen))
