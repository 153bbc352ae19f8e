"""One of a thing is one thing."""

from __future__ import annotations

import pytest

from tasks.core.wording import number_of
from tasks.postgres.loss import TableLoss


@pytest.mark.parametrize(
    ("number", "things", "text"),
    [
        (0, ("row",), "0 rows"),
        (1, ("row",), "1 row"),
        (1234, ("row",), "1,234 rows"),
        (1, ("row goes", "rows go"), "1 row goes"),
        (2, ("row goes", "rows go"), "2 rows go"),
    ],
)
def test_numbers_of_things(number: int, things: tuple[str, ...], text: str) -> None:
    assert number_of(number, *things) == text


def test_a_loss_reads_as_people_say_it() -> None:
    assert TableLoss("t", 1, 1, 1, (), ("a",)).sentence() == (
        "t: 1 row goes; 1 row changes back; 1 row comes back; 1 column goes: a"
    )
    assert TableLoss("t", 2, 1200, 0, (), ("a", "b")).sentence() == (
        "t: 2 rows go; 1,200 rows change back; 2 columns go: a, b"
    )
    assert TableLoss("t", 1, 0, 0, (), None).sentence() == "t: 1 row goes, and the table"
