"""Lists to choose from, and what happens where nobody can be asked."""

from __future__ import annotations

import pytest

from tasks.core.errors import Refused
from tasks.core.prompts import Choice, choice_table, choose, table_text

NAMES = ["before_20261123_224437_d1f6", "after_20261123_224422_d106"]
CHOICES = [
    Choice(name, (name, "2026-11-23 22:44", "e59db99d1fc3c61a82b2466b"), "undo needs this one")
    for name in NAMES
]
HEADINGS = ("schema", "set aside (UTC)", "replaced by")


@pytest.mark.parametrize("width", [60, 80, 140])
def test_what_people_copy_stays_whole(width: int) -> None:
    text = table_text(choice_table(HEADINGS, CHOICES, NAMES[0]), width)
    assert all(name in text for name in NAMES), text
    assert max(map(len, text.splitlines())) <= width


def test_suggestion_is_marked_in_words() -> None:
    text = table_text(choice_table(HEADINGS, CHOICES, NAMES[1]), 140)
    assert "suggested" not in text.splitlines()[1]
    assert "suggested" in text.splitlines()[2]


def test_without_a_terminal_the_list_comes_with_the_refusal() -> None:
    with pytest.raises(Refused) as refused:
        choose("Which", HEADINGS, CHOICES, preselected=NAMES[0], option="--data set_aside=NAME")
    assert NAMES[1] in str(refused.value)
    assert f"--data set_aside=NAME (suggested: {NAMES[0]})" in refused.value.next_step
