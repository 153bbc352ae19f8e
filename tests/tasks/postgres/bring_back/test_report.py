"""What a plan says of the rows, asked of a real server with both sides on it."""

from __future__ import annotations

ODD = 'Odd "na.me'


def test_rows_that_are_only_there_come_back_with_those_that_they_need(visitors):
    report = visitors.plan(tables=(ODD,))
    assert report.problems() == []
    assert report.counts() == {ODD: 3, "place": 1, "auth_user": 1}
    assert visitors.table(report, "place").along.examples == ("201",)
    assert visitors.table(report, ODD).equal == 400
