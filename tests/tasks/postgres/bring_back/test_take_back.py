"""A bringing back is taken back as a whole, and nothing that somebody has done since goes with it."""

from __future__ import annotations

import pytest

from tasks.core.errors import Refused
from tasks.postgres.bring_back.take_back import read_take_back, take_back
from tasks.postgres.connection import connect

ODD = 'Odd "na.me'


def planned(back, manifest, **options):
    with connect(back.site.target, "r3", read_only=True) as connection:
        return read_take_back(connection, manifest, back.folder / manifest.run, **options)


def taken(back, manifest, **options):
    return take_back(back.site.target, "r3", manifest, back.folder / manifest.run, **options)


def test_what_came_back_goes_again(visitors):
    before = visitors.site.sums()
    _, manifest = visitors.write(tables=(ODD, "place"))
    assert visitors.site.sums() != before
    report = planned(visitors, manifest)
    assert report.problems() == []
    assert report.counts() == {ODD: 3, "place": 3, "auth_user": 1}
    taken(visitors, manifest)
    assert visitors.site.sums() == before
    assert planned(visitors, manifest).nothing


def test_rows_changed_since_stop_it_or_stay(visitors):
    _, manifest = visitors.write(tables=(ODD, "place"))
    visitors.do("update public.place set name = 'corrected' where id = 203")
    (problem,) = planned(visitors, manifest).problems()
    assert problem.sentence == "place: 1 row was changed since: 203"
    with pytest.raises(Refused, match="1 row was changed since"):
        taken(visitors, manifest)
    assert visitors.one("select count(*) from public.place") == 203
    taken(visitors, manifest, keep=True)
    assert visitors.one("select name from public.place where id > 200") == "corrected"


def test_rows_that_others_need_by_now_do_not_go(visitors):
    _, manifest = visitors.write(tables=(ODD, "place"))
    visitors.do('insert into public."Odd ""na.me"(place_id) values (202)')
    (problem,) = planned(visitors, manifest).problems()
    assert "place: 1 row needs those that would go" in problem.sentence
    assert "place_id 202" in problem.sentence
    with pytest.raises(Refused):
        taken(visitors, manifest)
    assert visitors.one("select count(*) from public.place") == 203
