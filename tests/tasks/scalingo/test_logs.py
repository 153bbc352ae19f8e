"""Lines of an application's log, as the platform writes them."""

from __future__ import annotations

from datetime import UTC, datetime

from tasks.scalingo.logs import LogLine, parse

LINE = "2026-01-01 02:03:04.123456789 +0000 UTC [web-1] Listening on 0.0.0.0:5000"


def test_line_as_the_platform_writes_it() -> None:
    moment = datetime(2026, 1, 1, 2, 3, 4, 123456, tzinfo=UTC)
    assert list(parse([f"{LINE}\r"])) == [LogLine(moment, "web-1", "Listening on 0.0.0.0:5000")]


def test_lines_of_other_forms_are_left_out_and_empty_ones_kept() -> None:
    assert list(parse(["", "Traceback (most recent call last):"])) == []
    (line,) = parse(["2026-01-01 02:03:04 +0000 UTC [postdeploy] "])
    assert (line.source, line.text) == ("postdeploy", "")
