"""Declared checks against a real Django site, as it is, as it boots, and as it breaks."""

from __future__ import annotations

import socket
import time
from typing import Any

import pytest
from pydantic import ValidationError

from tasks.core.errors import Interrupted
from tasks.core.secrets import Secret
from tasks.website.checks import Account, Admin, Check, Form, Page, Search, Version, Website
from tasks.website.visit import CheckResult, run

Site = Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"
ACCOUNT = Account(username="checker", password=Secret("CHECK_PASSWORD", "a password for the tests"))


def once(site: Site, check: Check, version: str | None = None) -> CheckResult:
    [result] = run(site.url, [check], version=version, deadline=0)
    return result


@pytest.mark.parametrize(
    ("check", "seen"),
    [
        (Page(path="/"), "answered 200"),
        (Page(path="/", pattern="d'un objet"), 'answered 200 and shows "d\'un objet"'),
        (Page(path="/moved/", pattern="Que faire"), "answered 200 and shows 'Que faire'"),
        (Page(path="/nowhere/", status=404), "answered 404"),
        (
            Search(path="/search/", parameter="q", term="lave linge", pattern="lave-linge"),
            "answered 200 and shows 'lave-linge'",
        ),
        (
            Form(path="/form/", fields={"mail": "a@b.fr"}, pattern="Thank you"),
            "answered 200 and shows 'Thank you'",
        ),
        (Admin(), "shows its login form"),
        (
            Admin(account=ACCOUNT, path="/admin/auth/user/", pattern="checker"),
            "let the check's account in, answered 200 and shows 'checker'",
        ),
        (Version(path="/", regex=r"release (\w+)"), f"release {COMMIT} answers"),
    ],
    ids=lambda value: value.name if isinstance(value, Check) else "",
)
def test_what_works(site: Site, check: Check, seen: str) -> None:
    result = once(site, check, COMMIT[:9])
    assert (result.ok, result.seen) == (True, seen)
    assert 0 < result.milliseconds < 5000


@pytest.mark.parametrize(
    ("check", "seen"),
    [
        (Page(path="/nowhere/"), "answered 404 instead of 200"),
        (Page(path="/", pattern="Fermé"), "answered 200, but nothing on it matches 'Fermé'"),
        (Page(path="/circle/"), "redirects in a circle"),
        (
            Search(path="/search/", parameter="q", term="nope", pattern="lave-linge"),
            "answered 200, but nothing on it matches 'lave-linge'",
        ),
        (
            Form(path="/form/", fields={"mail": "no address"}, pattern="Thank you"),
            "answered 200, but nothing on it matches 'Thank you'",
        ),
        (
            Form(path="/form/", fields={"phone": "1"}, pattern="Thank you"),
            "its page has no form with the fields phone",
        ),
        (
            Form(path="/nowhere/", fields={"phone": "1"}, pattern="Thank you"),
            "its page answered 404 instead of 200",
        ),
        (Admin(path="/"), "shows no login form"),
        (
            Admin(account=ACCOUNT, pattern="Objets"),
            "let the check's account in, answered 200, but nothing on it matches 'Objets'",
        ),
        (
            Admin(account=Account(username="checker", password=Secret("P", "not the password"))),
            "does not let the check's account in: its login form shows again",
        ),
        (Admin(account=ACCOUNT, path="/foreign/"), "its login form goes to another website, 127.0.0.2:9"),
        (Version(path="/", regex="version (.*)"), "names no release: nothing on it matches 'version (.*)'"),
        (Version(path="/", regex=r"release (\w+)"), f"release {COMMIT} answers instead of v2"),
    ],
    ids=lambda value: value.name if isinstance(value, Check) else "",
)
def test_what_does_not_is_a_sentence(site: Site, check: Check, seen: str) -> None:
    result = once(site, check, "v2")
    assert (result.ok, result.seen) == (False, seen)


def test_a_form_is_sent_as_a_browser_sends_it(site: Site) -> None:
    form = Form(
        path="/form/",
        fields={"mail": "a@b.fr"},
        pattern=r"képt m \s*l'avis \['comment', 'kind', 'mail', 'size'\]",
    )
    assert once(site, form).ok


def test_a_booting_application_is_waited_for(site: Site) -> None:
    site.breaks(503, times=2)
    home, form = run(
        site.url,
        [Page(path="/"), Form(path="/form/", fields={"mail": "a@b.fr"}, pattern="Thank you")],
        deadline=20,
    )
    assert home.ok and form.ok
    assert home.seen == "answered 200"


def test_a_form_is_not_sent_twice_unless_nobody_was_there(site: Site) -> None:
    form = Form(path="/form/", fields={"mail": "no address"}, pattern="Thank you")
    before = time.monotonic()
    [result] = run(site.url, [form], deadline=20)
    assert not result.ok
    assert time.monotonic() - before < 1
    site.breaks(503, times=1)
    [result] = run(site.url, [form], deadline=20)
    assert result.seen == "answered 200, but nothing on it matches 'Thank you', at the last of 2 attempts"


def test_the_deadline_ends_it_and_the_attempts_are_said(site: Site) -> None:
    site.breaks(500)
    before = time.monotonic()
    [result] = run(site.url, [Page(path="/")], deadline=2.5)
    assert time.monotonic() - before < 3
    assert result.seen == "answered 500 instead of 200, at the last of 3 attempts"


def test_nobody_there_is_a_result() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    [result] = run(url, [Page(path="/")], deadline=0)
    assert (result.ok, result.seen) == (False, "no answer: connection refused")


def test_it_can_be_stopped(site: Site) -> None:
    site.breaks(503)
    ends = time.monotonic() + 0.5
    with pytest.raises(Interrupted):
        run(site.url, [Page(path="/")], deadline=60, stop=lambda: time.monotonic() > ends)


def test_progress_counts_checks(site: Site) -> None:
    seen: list[tuple[int, int | None]] = []
    run(site.url, [Page(path="/"), Admin()], progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 2), (2, 2)]


def test_no_password_shows(site: Site) -> None:
    check = Admin(account=ACCOUNT)
    assert "a password for the tests" not in f"{check!r} {check} {once(site, check)}"
    shown = once(site, Admin(account=ACCOUNT, pattern="a password for the tests"))
    assert "[secret]" in str(shown) and "a password for the tests" not in str(shown)


def test_declarations_are_checked_where_they_are_written() -> None:
    for wrong in (
        {"path": "carte"},
        {"path": "//elsewhere.org/"},
        {"path": "/", "pattern": "("},
        {"path": "/", "patern": "x"},
    ):
        with pytest.raises(ValidationError):
            Page(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ValidationError):
        Website(adress="https://example.org")  # type: ignore[call-arg]
    declared = Website(checks=(Page(path="/carte"), Admin(account=ACCOUNT)))
    assert [check.name for check in declared.checks] == ["page /carte", "admin /admin/"]
