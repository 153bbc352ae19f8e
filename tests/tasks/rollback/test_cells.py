"""Every state of code and data has a next action, and each action leads on."""

from __future__ import annotations

from itertools import product

from tasks.rollback.cells import MEANING, NEXT, Action, Code, Data


def test_no_cell_is_forgotten() -> None:
    cells = set(product(Code, Data))
    assert set(NEXT) == cells
    assert set(MEANING) == cells


def test_the_end_is_the_wanted_release_on_the_restored_data_alone() -> None:
    assert [cell for cell, action in NEXT.items() if action is Action.VERIFY] == [(Code.NEW, Data.SWAPPED)]


def test_nothing_is_pushed_while_something_deploys() -> None:
    assert {NEXT[Code.DEPLOYING, data] for data in Data} == {Action.WAIT}


def test_live_data_is_swapped_only_once_the_backup_is_staged() -> None:
    assert [cell for cell, action in NEXT.items() if action is Action.CUT_OVER] == [(Code.NEW, Data.STAGED)]
