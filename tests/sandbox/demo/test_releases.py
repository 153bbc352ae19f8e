"""Each release of the demo application, as the platform runs it: postdeploy, web, worker."""

from __future__ import annotations

import re
import signal
import threading
import time
from typing import Any

import psycopg
import pytest
import requests

from sandbox.demo import repository as demo

Application = Any  # of conftest.py
PAGES = ("/carte", "/carte?q=Lyon", "/formulaire", "/admin/login/", "/nowhere")


def released(page: str) -> str | None:
    found = re.search(r'<meta name="release" content="([^"]+)">', page)
    return found[1] if found else None


def suggest(visitor: Any, **fields: str) -> requests.Response:
    given = {"author": "Ada", "email": "ada@example.org", "place": "Lyon", "message": "Bonjour"} | fields
    return visitor.submit("/formulaire", **given)


def test_a_first_deployment_loads_real_places(empty: Application) -> None:
    done = empty.postdeploy("v1.0.0")
    assert done.returncode == 0, done.stderr
    [(places, french)] = empty.rows(
        "SELECT count(*), count(*) FILTER (WHERE country_id = 'FR') FROM places_place"
    )
    assert places > 3000
    assert french > 600
    assert empty.rows(
        "SELECT rank FROM places_ranking JOIN places_place p ON p.id = place_id WHERE name = 'Paris'"
    ) == [(1,)]


def test_the_schema_has_every_kind_that_a_restore_meets(application: Application) -> None:
    kinds = dict(
        application.rows(
            "SELECT relkind::text, count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
            " AND relowner = current_user::regrole GROUP BY 1"
        )
    )
    assert kinds.keys() == {"r", "i", "S", "v", "m"}
    constraints = dict(
        application.rows(
            "SELECT contype::text, count(*) FROM pg_constraint WHERE connamespace ="
            " 'public'::regnamespace GROUP BY 1"
        )
    )
    assert constraints.keys() >= {"c", "f", "p", "u"}
    serial = application.rows(
        "SELECT 1 FROM pg_depend JOIN pg_class s ON s.oid = objid AND relkind = 'S' WHERE deptype = 'a'"
    )
    identity = application.rows("SELECT 1 FROM pg_attribute WHERE attidentity = 'd'")
    assert len(serial) == 2
    assert len(identity) > 8
    indexes = application.rows(
        "SELECT count(*) FILTER (WHERE indpred IS NOT NULL), count(indexprs) FROM pg_index"
        " JOIN pg_class ON oid = indexrelid WHERE relowner = current_user::regrole"
    )
    assert indexes == [(3, 3)]


@pytest.mark.parametrize("ref", ["v0.9.0", "v1.0.0", "v1.0.1", "hook-fails"])
def test_models_and_migrations_agree(application: Application, ref: str) -> None:
    done = application.run(ref, "python manage.py makemigrations --check --dry-run")
    assert done.returncode == 0, done.stdout


def test_v1_1_0_s_models_and_migrations_agree(application: Application) -> None:
    assert application.run("v1.1.0", "python manage.py makemigrations --check --dry-run").returncode == 0


@pytest.mark.parametrize("ref", ["v1.0.0", "v1.0.1"])
def test_the_pages_of_a_healthy_release(application: Application, ref: str) -> None:
    commit = demo.resolve(application.repository, ref)
    with application.web(ref) as (visitor, _):
        for page in PAGES:
            answer = visitor.get(page)
            assert answer.status_code == (404 if page == "/nowhere" else 200), page
            assert released(answer.text) == commit, page
        assert "<strong>Lyon</strong>, France" in visitor.get("/carte?q=lyon").text
        assert "<strong>Beijing</strong>" in visitor.get("/carte?q=Pékin").text, "by another name"
        assert "Aucun lieu" in visitor.get("/carte?q=Xyzzy").text
        assert "&lt;b&gt;" in visitor.get("/carte?q=<b>").text
        assert ("La carte des villes" in visitor.get("/carte").text) == (ref == "v1.0.1")


def test_the_form_stores_what_it_accepts(application: Application) -> None:
    with application.web("v1.0.0") as (visitor, _):
        answer = suggest(visitor, message="Une autre orthographe")
        assert answer.status_code == 200
        assert "Votre suggestion n° 1 est enregistrée" in answer.text
        assert "n'est pas sur la carte" in suggest(visitor, place="Nulle part").text.replace("&#x27;", "'")
        assert requests.post(f"{visitor.address}/formulaire", timeout=10).status_code == 403
    stored = application.rows(
        "SELECT author, email, message, p.name FROM suggestions_suggestion"
        " JOIN places_place p ON p.id = place_id"
    )
    assert stored == [("Ada", "ada@example.org", "Une autre orthographe", "Lyon")]


def test_the_check_account_looks_and_changes_nothing(application: Application) -> None:
    with application.web("v1.0.0") as (visitor, _):
        suggest(visitor)
        account = {"username": application.check_account, "password": application.check_password}
        assert visitor.submit("/admin/login/?next=/admin/", **account).url.endswith("/admin/")
        assert "ada@example.org" in visitor.get("/admin/suggestions/suggestion/").text
        assert visitor.get("/admin/suggestions/suggestion/add/").status_code == 403
        assert visitor.get("/admin/auth/user/").status_code == 403
        wrong = visitor.submit("/formulaire", author="x", place="Lyon", message="y")
        assert wrong.status_code == 200
    assert application.rows("SELECT count(*) FROM django_session") == [(1,)]


def test_without_its_variables_there_is_no_check_account(application: Application) -> None:
    application.check_account = ""
    done = application.run("v1.0.0", "python manage.py check_account")
    assert done.returncode == 0
    assert "No check account" in done.stdout


def test_the_worker_beats_and_refreshes(application: Application) -> None:
    application.rows("DELETE FROM suggestions_suggestion RETURNING 1")
    [(paris,)] = application.rows(
        "UPDATE places_place SET population = 1 WHERE geoname = 2988507 RETURNING id"
    )
    with application.process("v1.0.0", "worker") as process:
        wait_until(
            lambda: (rounds := application.rows("SELECT rounds FROM places_heartbeat")) and rounds[0][0] >= 2
        )
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert application.rows(f"SELECT rank FROM places_ranking WHERE place_id = {paris}")[0][0] > 100


def test_sigterm_lets_a_request_finish(application: Application) -> None:
    answers: list[int] = []
    with (
        application.web("v1.0.0") as (visitor, process),
        psycopg.connect(application.url) as blocker,
    ):
        visitor.get("/carte")  # so that figures are cached, and only the search waits
        blocker.execute("LOCK TABLE places_place IN ACCESS EXCLUSIVE MODE")
        request = threading.Thread(target=lambda: answers.append(visitor.get("/carte?q=Lyon").status_code))
        request.start()
        wait_until(lambda: waiting(application))
        process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        assert process.poll() is None
        with pytest.raises(requests.ConnectionError):
            requests.get(f"{visitor.address}/carte", timeout=5)
        blocker.rollback()
        request.join(10)
        assert process.wait(10) == 0
    assert answers == [200]


def test_v0_9_0_s_postdeploy_fails_on_a_newer_schema(application: Application) -> None:
    done = application.postdeploy("v0.9.0")
    assert done.returncode != 0
    assert 'column "phone" does not exist' in done.stderr
    assert "No migrations to apply" in done.stdout, "migrate itself is content"


def test_the_faulty_release_boots_destroys_and_fails(application: Application) -> None:
    with application.web("v1.0.0") as (visitor, _):
        for message in ("premier", "deuxième", "troisième"):
            assert "enregistrée" in suggest(visitor, message=message).text
        assert "enregistrée" in suggest(visitor, place="Brest").text
    [(before,)] = application.rows("SELECT count(*) FROM places_place")
    done = application.postdeploy("v1.1.0")
    assert done.returncode == 0, done.stderr
    with application.web("v1.1.0") as (visitor, process):
        for page in PAGES:
            answer = visitor.get(page)
            assert answer.status_code == 500, page
            assert released(answer.text) == demo.resolve(application.repository, "v1.1.0")
        assert process.poll() is None
    [(after,)] = application.rows("SELECT count(*) FROM places_place")
    assert after < before / 2
    assert application.rows("SELECT message, author FROM suggestions_suggestion") == [
        ("premier", "Ada <ada@example.org>")
    ]
    columns = {
        row[0]
        for row in application.rows(
            "SELECT column_name FROM information_schema.columns"
            " WHERE table_name IN ('places_place', 'suggestions_suggestion')"
        )
    }
    assert "position" in columns
    assert not columns & {"latitude", "longitude", "email"}
    assert application.postdeploy("v1.0.0").returncode == 0, (
        "migrate says nothing about a schema newer than the code"
    )


def test_releases_that_fail_in_one_way_each(application: Application) -> None:
    assert application.run("v1.0.1", "bin/post_compile").returncode == 0
    build = application.run("broken-build", "bin/post_compile")
    assert build.returncode != 0
    assert "Unknown command: 'compress'" in build.stderr
    with application.process("crash-at-boot", "web", PORT="0") as process:
        assert process.wait(20) == 1
    hook = application.postdeploy("hook-fails")
    assert hook.returncode != 0
    assert "security.W" in hook.stderr


@pytest.mark.parametrize("scheme", ["postgres", "postgresql"])
def test_both_schemes_of_a_database_url(application: Application, scheme: str) -> None:
    url = application.url.replace("postgresql", scheme)
    done = application.run("v1.0.0", f"DATABASE_URL='{url}' python manage.py migrate --check")
    assert done.returncode == 0, done.stderr


def test_another_scheme_is_refused(application: Application) -> None:
    done = application.run("v1.0.0", "DATABASE_URL=mysql://a@b/c python manage.py check")
    assert done.returncode == 1
    assert "begins with 'mysql'" in done.stderr


def waiting(application: Application) -> bool:
    [(waits,)] = application.rows(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    return bool(waits)


def wait_until(true: Any) -> None:
    deadline = time.monotonic() + 15
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)
