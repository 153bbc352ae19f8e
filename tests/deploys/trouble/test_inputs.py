"""What can be asked for, each way of asking, and what comes of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

Scene = Any
Operator = Any

pytestmark = pytest.mark.slow


def test_code_alone(scene: Scene) -> None:
    ran = scene.roll_back(backup="none")
    assert ran.code == 0, ran.text
    assert scene.now() == ("new", "old")
    assert scene.operator.schemas("before") == []
    assert "That is how things are" in (again := scene.roll_back(backup="none")).text or again.code == 0
    undone = scene.operator.run("undo")
    assert undone.code == 0, undone.text
    assert scene.now() == ("old", "old")


def test_data_alone(scene: Scene) -> None:
    ran = scene.roll_back(tag="none")
    assert ran.code == 0, ran.text
    assert scene.now() == ("old", "new")
    assert "Step: push" not in ran.text
    again = scene.roll_back(tag="none")
    assert again.code == 0
    assert "Nothing to change." in again.text
    undone = scene.operator.run("undo")
    assert undone.code == 0, undone.text
    assert scene.now() == ("old", "old")
    redone = scene.operator.run("undo")
    assert redone.code == 0, redone.text
    assert scene.now() == ("old", "new")


def test_neither_is_refused(scene: Scene) -> None:
    ran = scene.roll_back(tag="none", backup="none")
    assert ran.code == 3, ran.text
    assert "neither" in ran.text


def test_full_commit(scene: Scene) -> None:
    ran = scene.roll_back(tag=scene.good)
    assert ran.code == 0, ran.text
    assert scene.now() == ("new", "new")


@pytest.mark.parametrize("ref", ["main", "cf23fc6", "v9.9.9", "--upload-pack=x", "HEAD"])
def test_what_is_no_release_is_refused(scene: Scene, ref: str) -> None:
    ran = scene.roll_back(tag=ref)
    assert ran.code in (1, 3), ran.text
    assert "Next: " in ran.text
    assert scene.now() == ("old", "old")


def test_backup_before_a_time(scene: Scene) -> None:
    moment = datetime.now(UTC).isoformat(timespec="seconds")
    scene.operator.write(1)
    later = scene.operator.backup()
    ran = scene.roll_back(backup=f"before:{moment}")
    assert ran.code == 0, ran.text
    assert scene.now() == ("new", "new")
    assert later["name"] not in ran.text
    refused = scene.roll_back(backup="before:2001-01-01T00:00")
    assert refused.code == 3
    assert later["id"] in refused.text, "the list of what there is"


@pytest.mark.parametrize("text", ["before:yesterday", "id:", "newest", "id:nobody"])
def test_backup_that_is_not_there_is_refused(scene: Scene, text: str) -> None:
    ran = scene.roll_back(backup=text)
    assert ran.code == 3, ran.text
    assert "Next: " in ran.text
    assert scene.now() == ("old", "old")


def test_branch_is_there_already_while_something_else_runs(scene: Scene, deploy_archive: Any) -> None:
    scene.operator.deploy("v1.0.0")
    theirs = deploy_archive(scene.operator, "v1.0.1")
    assert scene.operator.release() == theirs
    ran = scene.roll_back()
    assert ran.code == 0, ran.text
    assert "deploying the commit as an archive" in ran.text
    assert scene.now() == ("new", "new")


def test_running_release_is_not_pushed_again(scene: Scene) -> None:
    """Only the data moves where the wanted release runs already."""
    ran = scene.roll_back(tag="v1.0.1")
    assert ran.code == 0, ran.text
    assert "Step: push" not in ran.text
    assert scene.now() == ("old", "new")


def change(operator: Operator, statement: str) -> None:
    """Something that the application does not expect of its data."""
    with psycopg.connect(operator.control.database(operator.app)["url"], autocommit=True) as connection:
        connection.execute(statement)


def test_restore_takes_itself_back_when_a_page_breaks(scene: Scene) -> None:
    """A backup whose table lacks a column that the pages ask for, although its migrations are the same."""
    operator = scene.operator
    change(operator, "alter table public.places_place rename column timezone to zone")
    bad = operator.backup()
    change(operator, "alter table public.places_place rename column zone to timezone")
    assert scene.now() == ("old", "old")
    ran = operator.run("restore", backup=f"id:{bad['id']}")
    assert ran.code == 6, ran.text
    assert "Taking it back" in ran.text
    assert scene.now() == ("old", "old"), "the data that was live before is live again"
    assert set(operator.pages().values()) == {200}
    assert scene.last_record()["result"] == "failed"
    done = operator.run("undo")
    assert "put everything back by itself" in done.text


def test_restore_takes_itself_back_when_a_page_shows_the_wrong_thing(scene: Scene) -> None:
    """All pages answer 200; the search that found something before finds nothing."""
    operator = scene.operator
    change(operator, "update public.places_place set name = 'N' where name like '%Lyon%'")
    bad = operator.backup()
    change(operator, "update public.places_place set name = 'Lyon' where name = 'N'")
    ran = operator.run("restore", backup=f"id:{bad['id']}")
    assert ran.code == 6, ran.text
    assert "fail with it: search /carte" in ran.text
    assert operator.run("verify").code == 0
    assert operator.sql("select count(*) from public.places_place where name = 'Lyon'") > 0


def test_search_that_finds_nothing_is_noticed(scene: Scene) -> None:
    """The page repeats what was searched for; only a place that is found counts."""
    try:
        change(scene.operator, "update public.places_place set name = 'N' where name like '%Lyon%'")
        ran = scene.operator.run("verify")
    finally:
        change(scene.operator, "update public.places_place set name = 'Lyon' where name = 'N'")
    assert ran.code == 1, ran.text
    assert "FAILED  search /carte" in ran.text


def test_forget_refuses_until_a_newer_backup_is_complete(scene: Scene) -> None:
    operator = scene.operator
    assert operator.run("forget").text.count("Nothing to change") == 1
    assert scene.roll_back().code == 0
    (aside,) = operator.schemas("before")

    listed = operator.run("forget")
    assert listed.code == 3
    assert aside in listed.text
    refused = operator.run("forget", set_aside=aside)
    assert refused.code == 3, refused.text
    assert "no platform backup" in refused.text
    assert operator.schemas("before") == [aside]

    operator.backup()
    assert operator.run("forget", set_aside="before_20200101_000000_abcd").code == 3
    done = operator.run("forget", set_aside=aside)
    assert done.code == 0, done.text
    assert operator.schemas("before") == []
    assert operator.sessions() == 0
    assert "Nothing to undo" in operator.run("undo").text


def test_verify_says_what_it_saw(scene: Scene, incident_pages: Any) -> None:
    well = scene.operator.run("verify")
    assert well.code == 0, well.text
    for word in ("search /carte", "form /formulaire", "admin /admin/", scene.commit):
        assert word in well.text
    incident_pages(scene.operator)
    ill = scene.operator.run("verify")
    assert ill.code == 1, ill.text
    assert "FAILED" in ill.text
    assert "<html" not in ill.text.casefold()


@pytest.fixture
def incident_pages() -> Any:
    """Makes the pages fail, by the faulty release."""
    return lambda operator: operator.deploy("v1.1.0")


def test_skips_take_a_reason_and_only_some_gates(scene: Scene) -> None:
    for more in ({"skip_github": "x"}, {"skip_lock": "because I say so"}):
        ran = scene.roll_back(**more)
        assert ran.code == 3, ran.text
    assert scene.now() == ("old", "old")


def test_archive_ahead_of_the_release_is_refused(incident_scene: Scene) -> None:
    newer = incident_scene.operator.backup()
    ran = incident_scene.roll_back(backup=f"id:{newer['id']}")
    assert ran.code == 3, ran.text
    assert "0004_lighter_places" in ran.text, ran.text
    assert incident_scene.now() == ("old", "old")


def test_journal_holds_the_whole_run(scene: Scene) -> None:
    ran = scene.roll_back(reason="la recherche ne trouve rien")
    assert ran.code == 0, ran.text
    record = scene.last_record()
    assert record["result"] == "succeeded"
    assert record["commit"] == scene.good
    assert record["commit_before"] == scene.commit
    assert record["backup"] == scene.material.backup
    assert record["reason"] == "la recherche ne trouve rien"
    assert "la recherche ne trouve rien" in scene.told()
    titles = [step["title"] for step in record["steps"]]
    assert titles == [
        "restore the backup beside the live data",
        "push the release",
        "swap the data",
        "verify what users see",
    ]
    assert json.dumps(record)
