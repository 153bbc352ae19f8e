"""The look from inside the platform, run as a shell there would run it, at a real site."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from tasks.website import witness
from tasks.website.checks import Admin, Check, Form, Page, Search

Site = Any


def look(url: str, check: Check) -> int:
    command = witness.command(url, check)
    assert command is not None
    assert command.startswith("python -c ")
    here = f"{sys.executable} {command.removeprefix('python ')}"
    return subprocess.run(["/bin/sh", "-c", here], check=False, capture_output=True).returncode


@pytest.mark.parametrize(
    "check",
    [
        Page(path="/"),
        Page(path="/", pattern="d'un objet"),
        Search(path="/search/", parameter="q", term="lave linge", pattern="lave-linge"),
        Admin(),
    ],
)
def test_what_is_as_declared(site: Site, check: Check) -> None:
    assert look(site.url, check) == 0


@pytest.mark.parametrize(
    "check",
    [
        Page(path="/", pattern="what no page shows"),
        Page(path="/nowhere/"),
        Search(path="/search/", parameter="q", term="nope", pattern="lave-linge"),
        Admin(path="/"),
    ],
)
def test_what_is_not(site: Site, check: Check) -> None:
    assert look(site.url, check) == witness.BROKEN


def test_status_that_is_wanted_may_be_an_error(site: Site) -> None:
    assert look(site.url, Page(path="/nowhere/", status=404)) == 0


def test_nobody_there_is_broken_too() -> None:
    assert look("http://127.0.0.1:9", Page(path="/")) == witness.BROKEN


def test_a_form_is_never_sent_by_a_witness(site: Site) -> None:
    assert witness.command(site.url, Form(path="/formulaire", fields={"a": "b"}, pattern="x")) is None
