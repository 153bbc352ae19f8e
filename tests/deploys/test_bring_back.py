"""What visitors wrote between the backup and the swap comes back by one command, as a person types it."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import pytest

Operator = Any
TABLE = "suggestions_suggestion"


def test_what_visitors_wrote_comes_back_and_can_be_taken_back(protected: Operator, preprod: Operator) -> None:
    for operator in (preprod, protected):
        operator.bring("v1.0.0")
        operator.backup()
        operator.write(3)
        operator.deploy("v1.0.1")
    written = rows(protected)
    assert preprod.run("rollback", tag="v1.0.0", backup="latest").code == 0
    done = protected.type(protected.run("rollback", tag="v1.0.0", backup="latest").told_to_type)
    assert done.code == 0, done.text
    lost = [row for row in written if row not in rows(protected)]
    assert len(lost) == 3

    (aside,) = protected.schemas("before")
    listed = protected.run("bring_back")
    assert listed.code == 3
    assert TABLE in listed.text
    assert "--data tables=NAME" in listed.text

    with protected.control.no_writes() as violations:
        plan = protected.run("bring_back", "--dry", "--diff", yes=False, tables=TABLE)
    assert violations == []
    assert f"Bring rows of {aside} back to sandbox-demo (sandbox)" in plan.text
    assert f"+ rows of {TABLE}: 3 rows come back" in plan.text
    assert re.search(rf"Kept: {aside}, set aside at .* ago\), [\d.]+ MB \(taken from\)", plan.text)

    refused = protected.run("bring_back", tables=TABLE, confirm="prod")
    assert refused.code == 3
    assert "its name was not typed" in refused.text

    back = protected.run("bring_back", tables=TABLE, reason="avis perdus")
    assert back.code == 0, back.text
    assert all(row in rows(protected) for row in lost), "with their identifiers"
    assert protected.sessions() == 0
    (record,) = [one for one in protected.journal() if one["deploy"] == "bring_back"]
    assert record["rows"][0]["inserted"] == 3

    again = protected.run("bring_back", tables=TABLE)
    assert again.code == 0
    assert "Nothing to change." in again.text

    before = {row[0] for row in rows(protected)} | {row[0] for row in written}
    protected.write(2)
    new = {row[0] for row in rows(protected)} - before
    assert len(new) == 2, "new rows have numbers that nobody had"
    assert set(protected.pages().values()) == {200}

    undone = protected.run("bring_back", undo=record["run"])
    assert undone.code == 0, undone.text
    assert not any(row in rows(protected) for row in lost)
    assert len({row[0] for row in rows(protected)} & new) == 2, "what was written since stays"

    said = "\n".join(message["message"] for message in protected.control.messages())
    assert "Récupération de données dans `sandbox-demo` (sandbox) : réussi" in said
    assert f"3 lignes dans {TABLE}" in said
    assert "avis perdus" in said
    assert f"deploys/bring_back.py --data undo={record['run']}" in said


@pytest.mark.slow
def test_rows_of_an_edited_file_alone_come_back(preprod: Operator, tmp_path: Path) -> None:
    preprod.bring("v1.0.0")
    preprod.backup()
    preprod.write(3)
    preprod.deploy("v1.0.1")
    written = rows(preprod)
    ran = preprod.run("rollback", tag="v1.0.0", backup="latest")
    assert ran.code == 0, ran.text
    lost = [row for row in written if row not in rows(preprod)]
    files = Path(preprod.home).rglob(f"losses/**/{TABLE}.csv")
    exported = max(files, key=lambda path: path.stat().st_mtime)
    kept = edited(exported, tmp_path / f"{TABLE}.csv", {lost[0][0], lost[2][0]})

    back = preprod.run("bring_back", keys=str(kept))
    assert back.code == 0, back.text
    assert [row for row in lost if row in rows(preprod)] == [lost[0], lost[2]]


def test_dry_undo_and_misspelled_words_change_nothing(preprod: Operator) -> None:
    with preprod.control.no_writes() as violations:
        assert preprod.run("bring_back", undo="20260101_000000_1234").code == 3
        for word, meant in (("table", "tables"), ("tag", "does not take it"), ("conflict", "conflicts")):
            refused = preprod.run("bring_back", **{word: "x"})
            assert refused.code == 3
            assert meant in refused.text
    assert violations == []


def rows(operator: Operator) -> list[tuple[str, ...]]:
    """The suggestions as they are live: number and whole row."""
    found = operator.sql(
        f"select json_agg(json_build_array(id::text, s::text) order by id) from public.{TABLE} s "
        "where email <> 'verification@example.org'"
    )
    return [tuple(row) for row in found or []]


def edited(exported: Path, to: Path, numbers: set[str]) -> Path:
    """The file as a spreadsheet saves it in this country, with the rows of these numbers alone."""
    with exported.open(newline="") as file:
        table = list(csv.DictReader(file))
    with to.open("w", newline="", encoding="cp1252", errors="replace") as file:
        writer = csv.DictWriter(file, list(table[0]), delimiter=";")
        writer.writeheader()
        writer.writerows(row for row in table if row["id"] in numbers)
    return to
