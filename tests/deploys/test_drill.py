"""A drill as a schedule runs it, against the live sandbox: a backup restored beside preproduction's data."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest

from sandbox import incident
from tasks.postgres.lock import CLASS, RUN

Operator = Any
PLACE = "sandbox-demo-preprod"


def declared(**more: Any) -> str:
    """What `--data drill=...` declares in the place of the group data."""
    return json.dumps({"on": PLACE, **more} if "database" not in more else more)


def drill(operator: Operator, *options: str, **data: str) -> Any:
    """Without the environment's name, unless given: what is live in it is not touched."""
    given = {"confirm": ""} | data
    command = operator.command("drill", *options, yes="--dry" not in options, **given)
    at = command.index("confirm=") if "confirm=" in command else 0
    return operator._ran([*command[: at - 1], *command[at + 1 :]] if at else command)


@pytest.fixture(scope="module", autouse=True)
def backup_of_a_working_app(operators: dict[str, Operator]) -> None:
    """What the sandbox's inventory declares of a backup is so once the worker has worked."""
    for one in operators.values():
        one.bring("v1.0.0")
    operator = operators["sandbox-demo"]
    incident.start_worker(operator.app, operator.control)
    deadline = time.monotonic() + 30
    while not operator.sql("select count(*) from public.places_heartbeat"):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    operator.backup()


@pytest.fixture
def untouched(preprod: Operator) -> Any:
    """The place: nothing of it may differ afterwards, and nothing may be left in it."""
    before = preprod.suggestions(), preprod.schemas("before"), preprod.release()
    yield preprod
    assert (preprod.suggestions(), preprod.schemas("before"), preprod.release()) == before
    assert preprod.schemas("new") == []
    assert preprod.sessions() == 0


def test_a_backup_is_tried_measured_and_removed(protected: Operator, untouched: Operator) -> None:
    done = drill(protected, reason="chaque semaine")
    assert done.code == 0, done.text
    for line in ("ok       migrations: ", "ok       rows: ", "ok       keys: ", "ok       Lyon is found"):
        assert line in done.text
    record = protected.journal()[-1]
    assert (record["deploy"], record["result"], record["place"]) == (
        "drill",
        "succeeded",
        f"the database of {PLACE}",
    )
    assert record["restored"]["bytes"] > 0 and record["restored"]["seconds"] > 0
    assert record["rows"] > 10_000 and record["stored_bytes"] > record["restored"]["bytes"]
    assert [step["result"] for step in record["steps"]] == ["done"] * 4
    told = protected.control.messages()[-1]["message"]
    assert "Exercice de restauration de `sandbox-demo` (sandbox) : réussi" in told
    assert "chaque semaine" in told
    plan = protected.run("restore", "--dry", yes=False, backup="latest")
    assert "How long: about " in plan.text
    assert "restore it and prove it: " in plan.text
    assert "own run" in plan.text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"checks": {"impossible": "select false"}}, "FAILED   impossible: it gave false"),
        ({"checks": {"rien": "select null"}}, "FAILED   rien: it gave nothing"),
        ({"checks": {"un mot": "select 'secret'"}}, "it gave a value of type str, not true or false"),
        ({"checks": {"faux": "select nosuch"}}, 'FAILED   faux: column "nosuch" does not exist'),
        (
            {"checks": {"en service": "select exists (select from public.places_place)"}},
            'it reads what is live there, not the copy: "public"."places_place"',
        ),
        ({"checks": {"écrit": "delete from places_place returning true"}}, "read-only transaction"),
        ({"newest": {"places_heartbeat.beaten_at": 1e-9}}, "h old, at most 1e-09 h is declared"),
        ({"newest": {"places_place.nosuch": 1}}, 'FAILED   newest places_place.nosuch: column "nosuch"'),
        ({"room_bytes": 1000}, "REFUSED  room: "),
    ],
    ids=lambda value: str(next(iter(value.values()))) if isinstance(value, dict) else "",
)
def test_what_is_not_true_of_it_fails_the_drill(
    protected: Operator, untouched: Operator, more: dict[str, Any], said: str
) -> None:
    failed = drill(protected, drill=declared(**more))
    assert failed.code in (1, 3), failed.text
    assert said in failed.text
    assert "'secret'" not in failed.text
    assert protected.journal()[-1]["result"] in ("failed", "refused")
    assert "(sandbox) : échec" in protected.control.messages()[-1]["message"]


@pytest.mark.slow
def test_a_release_that_does_not_know_its_migrations_fails_it(
    protected: Operator, untouched: Operator
) -> None:
    failed = drill(protected, tag="v0.9.0")
    assert failed.code == 1, failed.text
    assert "FAILED   migrations: the archive has migrations that the release does not know: places.0003" in (
        failed.text
    )


@pytest.mark.slow
def test_a_check_that_does_not_hold_fails_the_drill(protected: Operator, untouched: Operator) -> None:
    failed = drill(protected, drill=declared(checks={"impossible": "select false"}))
    assert failed.code == 1, failed.text
    assert "FAILED   impossible: it gave false" in failed.text
    assert protected.journal()[-1]["result"] == "failed"
    told = protected.control.messages()[-1]["message"]
    assert "Exercice de restauration de `sandbox-demo` (sandbox) : échec" in told
    assert "En échec : « impossible »" in told


@pytest.mark.slow
def test_a_damaged_archive_fails_it(protected: Operator, untouched: Operator, tmp_path: Path) -> None:
    assert protected.run("backup", to=str(tmp_path)).code == 0
    (path,) = tmp_path.glob("*.dump")
    whole = drill(protected, backup=f"file:{path}")
    assert whole.code == 0, whole.text
    assert "its manifest agrees" not in whole.text, "not read before"
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 0xFF
    path.write_bytes(damaged)
    failed = drill(protected, backup=f"file:{path}")
    assert failed.code == 1, failed.text
    assert "the rows do not match their checksum" in failed.text
    assert "checksum" in protected.journal()[-1]["error"]


@pytest.mark.slow
def test_a_database_of_ones_choice(
    protected: Operator, untouched: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = untouched.control.database(PLACE)["url"]
    monkeypatch.setenv("DRILL_DATABASE_URL", url)
    done = drill(protected, drill=declared(database="DRILL_DATABASE_URL"))
    assert done.code == 0, done.text
    assert "in the database in DRILL_DATABASE_URL" in done.text
    assert psycopg.conninfo.conninfo_to_dict(url)["password"] not in done.text
    monkeypatch.setenv("DRILL_DATABASE_URL", "mysql://nothing")
    assert "is not postgresql://" in drill(protected, drill=declared(database="DRILL_DATABASE_URL")).text
    missing = drill(protected, drill=declared(database="NO_SUCH_VARIABLE"))
    assert (missing.code, "NO_SUCH_VARIABLE is not set" in missing.text) == (1, True)
    elsewhere = "postgresql://user:password@db.example.org/app"
    monkeypatch.setenv("DRILL_DATABASE_URL", elsewhere)
    refused = drill(protected, drill=declared(database="DRILL_DATABASE_URL"))
    assert "db.example.org is not on this machine" in refused.text


@pytest.mark.slow
def test_beside_its_own_protected_data_it_wants_the_name(protected: Operator) -> None:
    own = json.dumps({"on": protected.app})
    refused = drill(protected, drill=own)
    assert refused.code == 3
    assert "--data confirm=sandbox" in refused.text
    assert drill(protected, drill=own, confirm="sandbox").code == 0


@pytest.mark.slow
def test_somebody_at_work_there_is_not_disturbed(protected: Operator, untouched: Operator) -> None:
    with psycopg.connect(
        untouched.control.database(PLACE)["url"], application_name="ops/x/lock ada"
    ) as other:
        other.execute("select pg_advisory_lock(%s, %s)", (CLASS, RUN))
        locked = drill(protected)
    assert locked.code == 4, locked.text
    assert "ada holds it" in locked.text


def test_dry_writes_nothing(protected: Operator, untouched: Operator) -> None:
    with protected.control.no_writes() as violations:
        shown = drill(protected, "--dry")
    assert shown.code == 0, shown.text
    assert violations == []


@pytest.mark.slow
def test_where_none_is_declared_it_says_so(preprod: Operator) -> None:
    missing = preprod.run("drill")
    assert missing.code == 1
    assert "declare `drill`" in missing.text


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "killed"])
def test_a_drill_that_is_stopped_leaves_nothing_or_the_next_one_removes_it(
    protected: Operator, untouched: Operator, number: signal.Signals
) -> None:
    protected.control.slow_tunnels(300)
    stopped = protected.run_until("drill", "Step: restore it and prove it", number)
    protected.control.slow_tunnels(0)
    assert stopped.code != 0
    if number is signal.SIGINT:
        assert untouched.schemas("new") == []
        assert protected.journal()[-1]["result"] == "failed"
    done = drill(protected)
    assert done.code == 0, done.text
