"""The inventories with pyinfra's own commands: what is declared is shown, and read as it is shown."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tasks.core.errors import NotConfigured
from tasks.rollback.declared import declared
from tasks.website.checks import Form, Page, Search

ROOT = Path(__file__).parents[2]
PYINFRA = str(Path(sys.executable).parent / "pyinfra")
GOOD = {"environment": "prod", "repository": "team/app"}


def pyinfra(sandbox: Any, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run in front of the sandbox, with a home of its own."""
    return subprocess.run(
        [PYINFRA, *arguments],
        cwd=ROOT,
        env=sandbox.env | {"HOME": str(home), "PYINFRA_PROGRESS": "off"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("inventory", sorted(path.stem for path in (ROOT / "inventories").glob("*.py")))
def test_debug_inventory_shows_what_is_declared(inventory: str, sandbox: Any, tmp_path: Path) -> None:
    command = (f"inventories/{inventory}.py", "debug-inventory")
    for_people = pyinfra(sandbox, tmp_path, *command)
    assert for_people.returncode == 0, for_people.stdout + for_people.stderr
    done = pyinfra(sandbox, tmp_path, *command, "--json")
    assert done.returncode == 0, done.stderr
    (shown,) = json.loads(done.stdout)
    assert shown["name"].startswith("@scalingo/")
    read = declared(shown["data"], shown["name"])
    assert read.environment == inventory
    assert read.website.checks, "what is shown can be declared so"


def test_checks_are_declared_as_plain_data() -> None:
    website = {
        "deadline": 5,
        "checks": [
            {"kind": "page", "path": "/"},
            {"kind": "search", "path": "/carte", "parameter": "q", "term": "Lyon", "pattern": ">Lyon"},
            {"kind": "form", "path": "/f", "fields": {"a": "b"}, "pattern": "ok"},
        ],
    }
    read = declared({**GOOD, "website": website}, "app").website
    assert read.deadline == 5
    assert [type(check) for check in read.checks] == [Page, Search, Form]


@pytest.mark.parametrize(
    ("check", "sentence"),
    [
        ({"path": "/"}, "check 1: its `kind` is one of page, search, form, admin, version"),
        ({"kind": "pages", "path": "/"}, "check 1: its `kind` is one of page, search, form, admin, version"),
        ({"kind": "page"}, "check 1: path: Field required"),
        ({"kind": "page", "path": "carte"}, "check 1: path: a path begins with one slash"),
        ({"kind": "page", "path": "/", "patern": "x"}, "check 1: patern: Extra inputs are not permitted"),
    ],
)
def test_a_wrong_check_is_named(check: dict[str, str], sentence: str) -> None:
    with pytest.raises(NotConfigured) as refused:
        declared({**GOOD, "website": {"checks": [check]}}, "app")
    assert f"website: {sentence}" in str(refused.value)


@pytest.mark.parametrize(
    ("drill", "sentence"),
    [
        ({}, "one of `on` and `database` says where"),
        ({"on": "a", "database": "B"}, "one of `on` and `database` says where"),
        ({"on": "a", "newest": {"place": 1}}, "String should match pattern"),
        ({"on": "a", "check": {}}, "Extra inputs are not permitted"),
    ],
)
def test_a_wrong_drill_is_named(drill: dict[str, Any], sentence: str) -> None:
    with pytest.raises(NotConfigured, match="drill") as refused:
        declared({**GOOD, "website": {}, "drill": drill}, "app")
    assert sentence in str(refused.value)


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["python", "-c", "'print(6 * 7)'"], "42"),
        (["echo 'a   b' | tr a x && echo \"$((6 * 7))\""], "x   b"),
        (["sh", "-c", "echo goodbye"], ""),
    ],
    ids=["quoted twice", "one quoted string", "words lose their quotes"],
)
def test_a_command_in_a_container(
    words: list[str], shown: str, preprod: Any, sandbox: Any, tmp_path: Path
) -> None:
    """README and runbook say to quote a command whole; the last case is why."""
    done = pyinfra(sandbox, tmp_path, f"inventories/{preprod.environment}.py", "exec", "--", *words)
    text = done.stdout + done.stderr
    assert done.returncode == 0, text
    said = [line.partition("] ")[2].strip() for line in text.splitlines() if f"{preprod.app}]" in line]
    assert shown in said
    assert "goodbye" not in said


def test_a_limit_that_finds_nothing_is_what_the_reference_says(sandbox: Any, tmp_path: Path) -> None:
    """The deploy is not read at all then, so that it can't refuse; docs/reference/exit-codes.md."""
    done = pyinfra(
        sandbox, tmp_path, "inventories/sandbox.py", "deploys/verify.py", "-y", "--limit", "nosuch"
    )
    assert done.returncode == 0
    assert "No host matches found for --limit pattern: nosuch" in done.stdout + done.stderr
    assert "sandbox-demo" not in done.stdout
    sentence = "No host matches found for --limit pattern: NAME"
    assert sentence in (ROOT / "docs" / "reference" / "exit-codes.md").read_text()
