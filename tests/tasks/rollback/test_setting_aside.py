"""What goes by age and by number, and what never goes but by its name."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tasks.core.errors import Refused
from tasks.postgres.marks import Mark
from tasks.rollback.setting_aside import Asked, asked, described, selected

NOW = datetime(2026, 3, 1, 4, 0, tzinfo=UTC)
FIRST = Mark("before", "r1", "swapped", number=1, created=NOW - timedelta(days=60), confirmed=True)
SECOND = replace(FIRST, run="r2", number=2, created=NOW - timedelta(days=40))
THIRD = replace(FIRST, kind="after", run="r3", number=3, created=NOW - timedelta(days=35))
ALL = (FIRST, SECOND, THIRD)
DROP = Mark("drop", "r4", "restored", created=NOW - timedelta(days=50), confirmed=True)


@pytest.mark.parametrize(
    ("data", "goes"),
    [
        ({"older_than": "30d"}, (FIRST, SECOND)),
        ({"older_than": "50d"}, (FIRST,)),
        ({"older_than": "9w"}, ()),
        ({"keep": 1}, (FIRST, SECOND)),
        ({"keep": 2}, (FIRST,)),
        ({"keep": 3}, ()),
        ({"keep": 1, "older_than": "50d"}, (FIRST,)),
    ],
)
def test_age_and_number_choose_the_oldest_and_never_what_an_undo_needs(data, goes):
    assert selected(ALL, asked(data, data), NOW) == goes


def test_the_mark_of_a_drop_goes_after_what_is_older_and_never_before_it():
    assert selected((*ALL, DROP), Asked(older_than=timedelta(days=45)), NOW) == (FIRST, DROP)
    old_is_needed = (replace(FIRST, number=9), DROP)
    assert selected(old_is_needed, Asked(older_than=timedelta(days=1)), NOW) == ()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({"older_than": "a month"}, "that is no age"),
        ({"keep": 0}, "no number to keep"),
        ({"keep": "two"}, "no number to keep"),
        ({"set_aside": "before_r1", "keep": 1}, "choose by themselves"),
        ({"older-than": "30d"}, "is older_than meant"),
    ],
)
def test_what_means_nothing_is_refused(data, reason):
    with pytest.raises(Refused, match=reason):
        asked(data, data)


def test_a_generation_says_its_age_and_size():
    assert described(SECOND, NOW, 12_300_000) == (
        "before_r2, set aside at 2026-01-20 04:00 UTC (40 days ago), 12.3 MB"
    )
