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


def test_rows_written_over_get_their_values_again(swapped):
    back = swapped(
        "update public.place set name = 'theirs', doc = '[1]' where id in (3, 4)",
        "update public.place set name = 'ours', created_at = now() where id in (3, 4)",
    )
    before = back.site.sums()
    _, manifest = back.write(tables=("place",), conflicts="replace")
    assert back.site.sums() != before
    assert planned(back, manifest).tables[0].restored == 2
    taken(back, manifest)
    assert back.site.sums() == before


def test_rows_without_a_key_go_as_many_as_came(swapped):
    back = swapped("insert into public.noprimary values (1, 'x'), (9, 'y'), (9, 'y')")
    before = back.site.sums()
    _, manifest = back.write(tables=("noprimary",))
    taken(back, manifest)
    assert back.site.sums() == before


def test_rows_of_others_never_go_by_a_cascade(visitors):
    visitors.do(
        "create table public.star (place_id int references public.place on delete cascade);"
        "create table public.flag (place_id int references public.place on delete set null)"
    )
    _, manifest = visitors.write(tables=("place",))
    visitors.do("insert into public.star values (201); insert into public.flag values (202)")
    with pytest.raises(Refused, match=r"star_place_id_fkey of star.*flag_place_id_fkey of flag|flag.*star"):
        taken(visitors, manifest)
    assert visitors.one("select count(*) from public.star") == 1


def test_keys_that_somebody_has_edited_are_refused(visitors):
    _, manifest = visitors.write(tables=("place",))
    path = visitors.folder / "r2" / manifest.tables[0].file
    path.write_text(path.read_text().replace(",203", ",7"))
    with pytest.raises(Refused, match="it was changed since the run has written it"):
        planned(visitors, manifest)
    with pytest.raises(Refused, match="it was changed since the run has written it"):
        taken(visitors, manifest)


def test_more_rows_than_are_sent_for_a_plan(visitors, monkeypatch):
    monkeypatch.setattr("tasks.postgres.bring_back.take_back._ROWS_LOOKED_AT", 2)
    before = visitors.site.sums()
    _, manifest = visitors.write(tables=("place",))
    report = planned(visitors, manifest)
    assert (report.looked, report.counts()) == (False, {"place": 3})
    taken(visitors, manifest)
    assert visitors.site.sums() == before
