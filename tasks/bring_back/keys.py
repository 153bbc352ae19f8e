"""Rows named by a CSV file: one that a list of losses was exported to, edited by a person.

Spreadsheets save with other separators and encodings than they were given; only the key's columns are read,
so that is forgiven. The values of the rows come from what was set aside, never from the file.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tasks.core.errors import Refused
from tasks.core.wording import number_of
from tasks.postgres.bring_back.chosen import Keys
from tasks.postgres.bring_back.facts import Facts, Table
from tasks.postgres.bring_back.kept import file_name

MOST_ROWS: Final = 100_000
_SEPARATORS: Final = ",;\t"
_NOTHING_CHANGED: Final = "nothing was changed"


def read_keys(path: Path, facts: Facts) -> tuple[str, Keys]:
    """The table that the file is named after, and the keys of the rows in it.

    Raises `Refused` for a name of no table, a file without heading or rows, or too many rows.
    """
    table = _table(path, facts)
    text = _decoded(path)
    heading, separator = _heading(path, text, table)
    places = [place for place, name in enumerate(heading) if name in table.aside]
    rows = []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    next(reader)
    for cells in reader:
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) < len(heading):
            raise Refused(
                f"Reading {path}",
                f"line {reader.line_num} has {number_of(len(cells), 'column')}, the heading {len(heading)}",
                state=_NOTHING_CHANGED,
                next_step="put that line right; a separator within a value belongs in quotes",
            )
        rows.append(tuple(cells[place] for place in places))
        if len(rows) > MOST_ROWS:
            raise Refused(
                f"Reading {path}",
                f"it names more than {MOST_ROWS:,} rows",
                state=_NOTHING_CHANGED,
                next_step=f"bring back the whole table: --data tables={table.name}; or split the file",
            )
    if not rows:
        raise Refused(f"Reading {path}", "it names no row", state=_NOTHING_CHANGED)
    return table.name, Keys(tuple(heading[place] for place in places), tuple(rows), path.name)


def _table(path: Path, facts: Facts) -> Table:
    found = [table for table in facts.tables.values() if table.aside and file_name(table.name) == path.stem]
    if len(found) == 1:
        return found[0]
    raise Refused(
        f"Reading {path}",
        f"{facts.aside} holds no table of that name"
        if not found
        else f"its name may mean {' or '.join(table.name for table in found)}",
        state=_NOTHING_CHANGED,
        next_step="name the file after its table, as it was exported: TABLE.csv",
    )


def _decoded(path: Path) -> str:
    data = path.read_bytes()
    for encoding in ("utf-8-sig", "cp1252"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    return data.decode("latin-1")


def _heading(path: Path, text: str, table: Table) -> tuple[Sequence[str], str]:
    """The names of the columns, and the separator with which they are the table's."""
    first = text.splitlines()[0] if text.strip() else ""
    best: tuple[Sequence[str], str] = ((), ",")
    known = 0
    for separator in _SEPARATORS:
        names = [name.strip() for name in next(csv.reader([first], delimiter=separator), [])]
        number = sum(name in table.aside for name in names)
        if number > known:
            best, known = (names, separator), number
    if not known:
        raise Refused(
            f"Reading {path}",
            f"its first line does not name columns of {table.name}",
            state=_NOTHING_CHANGED,
            next_step=f"keep the first line as it was exported: {','.join(table.aside)}",
        )
    return best
