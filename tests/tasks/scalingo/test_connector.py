"""`@scalingo/APP` under the real `pyinfra` command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pyinfra.api.exceptions import InventoryError
from pyinfra.api.facts import FactBase

from tasks.scalingo import facts
from tasks.scalingo.connector import ScalingoConnector

from .conftest import API_TOKEN
from .test_oneoff import ATTACH, one_off, speaking

__all__ = ["one_off"]  # a fixture of the attach protocol's tests

PYINFRA = Path(sys.executable).with_name("pyinfra")
ROOT = Path(__file__).parents[3]
ALL_FACTS = [
    name for name, value in vars(facts).items()
    if isinstance(value, type) and issubclass(value, FactBase) and value is not FactBase
]  # fmt: skip


@pytest.fixture
def pyinfra(environ: dict[str, str], tmp_path: Path):
    """Runs the command with an inventory of one application of a sandbox."""
    inventory = tmp_path / "inventory.py"
    inventory.write_text('apps = [("@scalingo/demo", {"sandbox": True})]\n')
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SCALINGO_")}

    def run(*arguments: str, variables: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [PYINFRA, str(inventory), *arguments],
            env={**kept, **environ, **(variables or {})},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            stdin=subprocess.DEVNULL,
        )

    run.inventory = inventory  # type: ignore[attr-defined]
    return run


def values(done: subprocess.CompletedProcess[str]) -> dict[str, object]:
    """What `pyinfra --json INVENTORY fact ...` printed, by the last part of each fact's name."""
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    return {name.split(".")[-1]: hosts["@scalingo/demo"] for name, hosts in printed.items()}


def test_all_facts_print_without_any_secret(platform, pyinfra) -> None:
    names = [f"tasks.scalingo.facts.{name}" for name in ALL_FACTS]
    done = pyinfra("fact", *names, "--json")
    found = values(done)
    assert set(found) == {
        "AppInfo", "Variables", "Deployments", "Containers", "Processes", "Addons", "Database", "Backups",
        "Region",
    }  # fmt: skip
    assert found["AppInfo"]["status"] == "running"
    assert set(found["Variables"]) == {"DATABASE_URL", "SECRET_KEY"}
    assert found["Containers"]["web"] == {"amount": 2, "size": "M", "command": "gunicorn"}
    assert [one["label"] for one in found["Processes"]] == ["web-1"]
    assert [one["status"] for one in found["Deployments"]] == ["success", "build-error"]
    assert [one["id"] for one in found["Addons"]] == ["ad-1", "ad-2"]
    assert found["Database"]["readable_version"] == "15.8.0-1"
    assert [one["id"] for one in found["Backups"]] == ["b2", "b1"]
    assert found["Region"]["name"] == "osc-fr1"
    assert set(platform.calls()) == {
        "POST /v1/tokens/exchange", "GET /v1/regions", "GET /v1/apps/demo", "GET /v1/apps/demo/variables",
        "GET /v1/apps/demo/deployments", "GET /v1/apps/demo/containers", "GET /v1/apps/demo/ps",
        "GET /v1/apps/demo/addons", "POST /v1/apps/demo/addons/ad-1/token", "GET /api/databases/ad-1",
        "GET /api/databases/ad-1/backups",
    }  # fmt: skip
    assert len(platform.calls("exchange")) == 1


@pytest.mark.parametrize("loudness", ["-vvv", "--debug"])
def test_no_secret_is_seen_however_loud(platform, pyinfra, loudness: str) -> None:
    done = pyinfra("fact", "tasks.scalingo.facts.Variables", "tasks.scalingo.facts.Database", loudness)
    assert done.returncode == 0, done.stderr
    seen = done.stdout + done.stderr
    for secret in [API_TOKEN, "very-secret-key-1", *platform.issued, "addon1"]:
        assert secret not in seen
    assert "GET /apps/{app}/variables" in seen or loudness == "--debug"


def test_an_argument_of_a_fact_reaches_the_request(platform, pyinfra) -> None:
    pyinfra("fact", "tasks.scalingo.facts.Deployments", "count=3")
    assert platform.asked[-1].query == "page=1&per_page=3"


def test_connecting_sends_nothing(platform, pyinfra, tmp_path: Path) -> None:
    (tmp_path / "deploy.py").write_text("")
    assert pyinfra("deploy.py", "-y").returncode == 0
    assert platform.asked == []


def test_an_application_that_is_not_there_is_an_error_in_words(platform, pyinfra) -> None:
    del platform.routes["GET /v1/apps/demo"]
    done = pyinfra("fact", "tasks.scalingo.facts.AppInfo")
    assert done.returncode != 0
    assert "Reading demo (Scalingo, GET /v1/apps/demo): 404 Not Found, app not found" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((200, "<html>sign in"), "a page of HTML instead of JSON"),
        ((200, {"app": {}}), "has no id as documented"),
    ],
)
def test_an_undocumented_answer_is_an_error_in_words(platform, pyinfra, answer, words: str) -> None:
    platform.give("GET /v1/apps/demo", answer)
    done = pyinfra("fact", "tasks.scalingo.facts.AppInfo")
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode != 0


def test_a_region_that_is_not_there_is_an_error_in_words(platform, pyinfra) -> None:
    done = pyinfra("fact", "tasks.scalingo.facts.Region", variables={"SCALINGO_REGION": "mars"})
    assert "there is none called mars" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode != 0


def test_without_a_token_it_says_where_to_get_one(platform, pyinfra) -> None:
    done = pyinfra("fact", "tasks.scalingo.facts.AppInfo", variables={"SCALINGO_API_TOKEN": ""})
    assert "neither SCALINGO_API_TOKEN nor" in done.stderr
    assert "run `scalingo login`" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_environment_that_is_no_sandbox_sends_nothing_to_this_machine(platform, pyinfra) -> None:
    pyinfra.inventory.write_text('apps = ["@scalingo/demo"]\n')
    done = pyinfra("fact", "tasks.scalingo.facts.AppInfo")
    assert "This inventory is not a sandbox: 127.0.0.1 is on this machine" in done.stderr
    assert done.returncode != 0
    assert platform.asked == []


def test_a_sandbox_sends_nothing_elsewhere(pyinfra) -> None:
    done = pyinfra(
        "fact", "tasks.scalingo.facts.AppInfo", variables={"SCALINGO_AUTH_URL": "https://auth.scalingo.com"}
    )
    assert "This inventory is a sandbox: auth.scalingo.com is not on this machine" in done.stderr


def test_a_command_is_a_one_off_with_its_lines_and_exit_code(one_off, pyinfra) -> None:
    one_off.attach = speaking(b"-----> hello\r\nSECRET tk " + API_TOKEN.encode() + b"\r\n")
    done = pyinfra("exec", "--", "echo", "hello")
    assert done.returncode == 0, done.stderr
    assert "[@scalingo/demo] exit code 0" in done.stderr
    assert "[@scalingo/demo] ---- > hello" in done.stderr or "-- > hello" in done.stderr
    assert API_TOKEN not in done.stdout + done.stderr
    run = next(asked for asked in one_off.asked if asked.path.endswith("/run"))
    assert run.json["command"] == "echo hello"


def test_a_command_that_fails_fails_the_host(one_off, pyinfra) -> None:
    one_off.attach = speaking(b"no such command\r\n")
    one_off.give(f"GET {ATTACH}/wait", (200, {"exit_code": 127}))
    done = pyinfra("exec", "--", "nonsense")
    assert done.returncode == 1
    assert "[@scalingo/demo] exit code 127" in done.stderr


def test_the_output_that_pyinfra_shows_after_a_failure_has_no_secrets(
    one_off, pyinfra, tmp_path: Path
) -> None:
    one_off.attach = speaking(b"crashed with " + API_TOKEN.encode() + b"\r\n")
    one_off.give(f"GET {ATTACH}/wait", (200, {"exit_code": 1}))
    (tmp_path / "deploy.py").write_text(f'{DEPLOY}server.shell(commands="crash")\n')
    done = pyinfra("deploy.py", "-y")
    assert done.returncode == 1
    assert "crashed with [secret]" in done.stderr
    assert API_TOKEN not in done.stdout + done.stderr


DEPLOY = """
from pyinfra.operations import files, server
from pyinfra.api import StringCommand
from pyinfra.api.command import HiddenValue
"""


def test_a_hidden_value_reaches_the_container_and_no_screen(one_off, pyinfra, tmp_path: Path) -> None:
    one_off.attach = speaking(b"ok\r\n")
    (tmp_path / "deploy.py").write_text(
        DEPLOY
        + 'server.shell(commands=[StringCommand("login", HiddenValue("pass-word-1"))],'
        + ' _env={"A": "1"}, _chdir="/app/a b")\n'
    )
    done = pyinfra("deploy.py", "-y", "-vvv", "--debug")
    assert done.returncode == 0, done.stderr
    assert "pass-word-1" not in done.stdout + done.stderr
    sent = next(asked for asked in one_off.asked if asked.path.endswith("/run")).json
    assert sent["command"] == "cd '/app/a b' && login pass-word-1"
    assert sent["env"]["A"] == "1"


@pytest.mark.parametrize(
    ("operation", "words"),
    [
        ('server.shell(commands="id", _sudo=True)', "runs as the application's own user"),
        ('server.shell(commands="cat", _stdin="x")', "a one-off reads nothing from here"),
    ],
)
def test_what_a_one_off_can_not_do_is_refused_before_it_starts(
    platform, pyinfra, tmp_path: Path, operation: str, words: str
) -> None:
    (tmp_path / "deploy.py").write_text(f"{DEPLOY}{operation}\n")
    done = pyinfra("deploy.py", "-y")
    assert done.returncode == 1
    assert words in done.stderr
    assert platform.asked == []


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ('FileUploadCommand("deploy.py", "/tmp/x")', "commit the file to the application's repository"),
        ('FileDownloadCommand("/tmp/x", "x")', "exec -- cat FILE"),
    ],
)
def test_files_have_no_place_to_go_and_it_says_what_to_do(
    platform, pyinfra, tmp_path: Path, command: str, words: str
) -> None:
    (tmp_path / "deploy.py").write_text(
        f"""
from pyinfra.api import operation
from pyinfra.api.command import FileDownloadCommand, FileUploadCommand

@operation()
def move():
    yield {command}

move()
"""
    )
    done = pyinfra("deploy.py", "-y")
    assert done.returncode == 1
    assert "an application's containers keep no files" in done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_one_app_waits_while_another_works(platform, pyinfra) -> None:
    """Two hosts, the first of which is slow: cooperative waiting keeps the whole below the sum."""
    times: list[float] = []

    def slowly(_platform, _asked):
        times.append(time.monotonic())
        time.sleep(1.5)
        return good

    good = platform.routes["GET /v1/apps/demo"]
    platform.routes["GET /v1/apps/one"] = platform.routes["GET /v1/apps/two"] = slowly
    pyinfra.inventory.write_text('apps = [(f"@scalingo/{n}", {"sandbox": True}) for n in ("one", "two")]\n')
    assert pyinfra("fact", "tasks.scalingo.facts.AppInfo").returncode == 0
    assert abs(times[1] - times[0]) < 1


def test_the_app_must_be_named() -> None:
    with pytest.raises(InventoryError, match="@scalingo/NAME"):
        list(ScalingoConnector.make_names_data(""))


@pytest.mark.parametrize("name", ALL_FACTS)
def test_every_fact_says_what_it_is_and_where_that_is_documented(name: str) -> None:
    text = getattr(facts, name).__doc__
    assert text
    assert "Source: developers.scalingo.com" in text
