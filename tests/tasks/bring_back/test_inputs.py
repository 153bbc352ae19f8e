"""What can be asked for, and the files that name rows."""

from __future__ import annotations

import pytest

from tasks.bring_back.inputs import parse
from tasks.bring_back.keys import read_keys
from tasks.core.errors import Refused
from tasks.postgres.bring_back.facts import Facts, Table

FACTS = Facts(
    "public",
    "before_r1",
    {
        name: Table(name, {}, {"id": "integer", "né le": "date", "text": "text"}, frozenset(), {})
        for name in ("place", "a b", "a.b")
    },
)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({"undo": "20260101_000000_abcd", "tables": "x"}, "takes back what that run wrote"),
        ({"undo": "yesterday"}, "that is no run"),
        ({"conflicts": "overwrite"}, "one of stop, keep, replace"),
        ({"keys": "/nowhere/place.csv"}, "no such file"),
        ({"tables": True}, "read it as bool"),
        ({"table": "place"}, "is tables meant"),
        ({"backup": "latest"}, "would not heed it"),
        ({"skip_rehearsal": "no time"}, "would not heed it"),
    ],
)
def test_what_means_nothing_is_refused(data, reason):
    with pytest.raises(Refused, match=reason):
        parse(data, data)


def test_lists_are_read_and_a_run_of_digits_alone_is_itself():
    found = parse({"tables": " a, b ,,a", "without": "x,t.y"}, ())
    assert (found.tables, found.without) == (("a", "b"), {"x", "t.y"})
    # The command line reads digits with underscores as a number.
    assert parse({"undo": int("20260101_000000_1234")}, ()).undo == "20260101_000000_1234"


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252"])
def test_a_file_is_read_as_spreadsheets_save_it(tmp_path, separator, encoding):
    path = tmp_path / "place.csv"
    lines = [["id", "né le", "text"], ["7", "", '"é\r\nè"'], ["", "", ""], ["8", "2020-01-01", "x"]]
    path.write_bytes("\r\n".join(separator.join(line) for line in lines).encode(encoding))
    table, keys = read_keys(path, FACTS)
    assert table == "place"
    assert keys.columns == ("id", "né le", "text")
    assert [row[0] for row in keys.rows] == ["7", "8"]


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("places.csv", "id\n1\n", "no table of that name"),
        ("a_b.csv", "id\n1\n", "may mean a b or a.b"),
        ("place.csv", "", "does not name columns"),
        ("place.csv", "1,2\n3,4\n", "does not name columns"),
        ("place.csv", "id,text\n", "names no row"),
        ("place.csv", "id,text\n1,x\n2\n", "line 3 has 1 column, the heading 2"),
    ],
)
def test_a_file_that_names_no_rows_is_refused(tmp_path, name, text, reason):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(Refused, match=reason):
        read_keys(path, FACTS)
