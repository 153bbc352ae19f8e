"""Stages an incident on a running sandbox, in the order in which one happens (`python -m sandbox incident`).

To both apps: the good release by a real push, the platform's nightly backup, visitors who write after it, and
the faulty release. Each phase can be called alone; without `control` it is for the default sandbox.
"""

from __future__ import annotations

import argparse
import os
import re
import secrets
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import psycopg
import requests
from psycopg import sql

from sandbox.control import Control, ControlError
from sandbox.demo import repository
from sandbox.demo.texts import SUGGESTIONS
from sandbox.private_files import write_private
from sandbox.state import SandboxDown

APPS: Final = ("sandbox-demo-preprod", "sandbox-demo")
GOOD: Final = "v1.0.0"
OLDER: Final = "v0.9.0"
FAULTY: Final = "v1.1.0"
PAGES: Final = ("/carte", "/formulaire")
WRITES: Final = 4
ESCAPES: Final = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")

Say = Callable[[str], None]


class IncidentError(Exception):
    """A phase did not do what it should; the text is one sentence, or the build's last lines."""


def stage(control: Control | None = None, say: Say = print) -> None:
    """The whole incident on both apps. Raises IncidentError."""
    control = control or Control.load()
    for app in APPS:
        start_over(app, control, say)
        deploy(app, GOOD, control, say)
        start_worker(app, control, say)
    for app in APPS:
        nightly_backup(app, control, say)
        writes(app, WRITES, control, say)
    for app in APPS:
        deploy(app, FAULTY, control, say)
        say(f"{app}: {', '.join(f'{page} answers {status}' for page, status in look(app, control).items())}")


def deploy(app: str, ref: str, control: Control | None = None, say: Say = print) -> str:
    """Push a tag or branch to the app's remote, as its team would; the commit that then runs.

    Raises IncidentError with the push's last lines when the platform doesn't accept it.
    """
    control = control or Control.load()
    commit = repository.resolve(_published(control), ref)
    if status(app, control)["commit"] == commit:
        say(f"{app}: {ref} runs already")
        return commit
    started = time.monotonic()
    say(f"{app}: pushing {ref} ({commit[:8]})")
    code, lines = _push(app, commit, control)
    if code != 0 or status(app, control)["commit"] != commit:
        raise IncidentError("\n".join([f"{app}: {ref} was not deployed:", *lines[-15:]]))
    say(f"{app}: {ref} runs, deployed in {time.monotonic() - started:.1f} s")
    return commit


def nightly_backup(app: str, control: Control | None = None, say: Say = print) -> dict[str, Any]:
    """Have the platform take its periodic backup now, and wait for it. Raises IncidentError."""
    control = control or Control.load()
    backup = control.backup(app, at=datetime.now(UTC))
    if backup["status"] != "done":
        raise IncidentError(f"{app}: the backup ended as {backup['status']}.")
    say(f"{app}: nightly backup {backup['name']}, {backup['size']} bytes")
    return backup


def writes(app: str, number: int, control: Control | None = None, say: Say = print) -> list[str]:
    """Visitors fill in the form; the sentences with which the page thanks them. Raises IncidentError."""
    address = status(app, control)["url"]
    thanks = []
    for at in range(number):
        with _session() as visitor:
            form = visitor.get(f"{address}/formulaire", timeout=20)
            token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', form.text)
            fields = SUGGESTIONS[at % len(SUGGESTIONS)] | {"csrfmiddlewaretoken": token[1] if token else ""}
            answer = visitor.post(f"{address}/formulaire", data=fields, timeout=20)
        said = re.search(r'<p class="success">(.*?)</p>', answer.text)
        if said is None:
            raise IncidentError(f"{app}: the form answered {answer.status_code} instead of thanking.")
        thanks.append(said[1])
    say(f"{app}: {number} suggestions written by visitors since")
    return thanks


def look(app: str, control: Control | None = None) -> dict[str, int]:
    """What the app's public pages answer: HTTP status by path."""
    address = status(app, control)["url"]
    with _session() as visitor:
        return {page: visitor.get(f"{address}{page}", timeout=20).status_code for page in PAGES}


def start_over(app: str, control: Control | None = None, say: Say = print) -> None:
    """Make the app as new: its variables declared, and nothing left of an earlier incident in its database.

    Raises IncidentError.
    """
    control = control or Control.load()
    declare_variables(app, control)
    running = status(app, control)["commit"]
    if not running:
        return
    say(f"{app}: emptying its database")
    _empty(control.database(app)["url"])
    if running == repository.resolve(_published(control), GOOD):
        deploy(app, OLDER, control, say)  # a push of what runs already would deploy nothing


def declare_variables(app: str, control: Control | None = None) -> None:
    """Give the app those of its variables that it lacks: a signing key and the account that checks the admin.

    Raises IncidentError.
    """
    control = control or Control.load()
    wanted = {
        "SECRET_KEY": secrets.token_urlsafe(40),
        "CHECK_ACCOUNT": "controle",
        "CHECK_PASSWORD": secrets.token_urlsafe(18),
    }
    path = f"apps/{app}/variables"
    with _session() as operator:
        known = {item["name"] for item in _ask(control, operator, "GET", path).json()["variables"]}
        missing = [{"name": name, "value": value} for name, value in wanted.items() if name not in known]
        if missing:
            _ask(control, operator, "PUT", path, {"variables": missing})


def start_worker(app: str, control: Control | None = None, say: Say = print) -> None:
    """Scale the worker to one container, where there is none: the platform starts only `web` by itself.

    Raises IncidentError.
    """
    control = control or Control.load()
    with _session() as operator:
        formation = _ask(control, operator, "GET", f"apps/{app}/containers").json()["containers"]
        if any(item["name"] == "worker" and item["amount"] for item in formation):
            return
        worker = {"containers": [{"name": "worker", "amount": 1}]}
        location = _ask(control, operator, "POST", f"apps/{app}/scale", worker).headers["Location"]
        while (operation := operator.get(location, timeout=20).json()["operation"])["status"] != "done":
            if operation["status"] == "error":
                raise IncidentError(f"{app}: the worker did not start: {operation['error']}.")
            time.sleep(0.2)
    say(f"{app}: the worker runs too")


def status(app: str, control: Control | None = None) -> dict[str, Any]:
    """The app as the sandbox's control API shows it: url, git_url, commit. Raises IncidentError."""
    control = control or Control.load()
    for item in control.status()["apps"]:
        if item["name"] == app:
            return dict(item)
    raise IncidentError(f"This sandbox has no app {app}.")


def main(arguments: list[str] | None = None) -> int:
    """The command line; the exit code says whether everything happened as told."""
    parser = argparse.ArgumentParser(prog="python -m sandbox incident", description=__doc__)
    parser.add_argument("--state", type=Path, metavar="FOLDER", help="where the sandbox lives")
    given = parser.parse_args(arguments)
    try:
        stage(Control.load(given.state), lambda line: print(line, flush=True))
    except (IncidentError, ControlError, SandboxDown, repository.RepositoryError) as error:
        print(error, file=sys.stderr)
        return 1
    except (requests.RequestException, psycopg.Error) as error:
        print(
            f"The sandbox broke off: {type(error).__name__}. See `python -m sandbox status`.", file=sys.stderr
        )
        return 1
    return 0


def _session() -> requests.Session:
    """A visitor or an operator, without the proxies and passwords of whoever runs this."""
    session = requests.Session()
    session.trust_env = False
    return session


def _ask(
    control: Control, operator: requests.Session, method: str, path: str, content: Any = None
) -> requests.Response:
    """One call of the platform's API; signs in at the first."""
    base = f"{control.state.url('platform')}/v1"
    if "Authorization" not in operator.headers:
        exchange = operator.post(f"{base}/tokens/exchange", auth=("", control.state.token), timeout=20)
        if exchange.status_code != 200:
            raise IncidentError(f"The platform refused the sandbox's token: {exchange.status_code}.")
        operator.headers["Authorization"] = f"Bearer {exchange.json()['token']}"
    answer = operator.request(method, f"{base}/{path}", json=content, timeout=20)
    if answer.status_code >= 300:
        raise IncidentError(f"{method} {path}: the platform answered {answer.status_code}.")
    return answer


def _published(control: Control) -> Path:
    return control.state.folder / repository.PUBLISHED


def _push(app: str, commit: str, control: Control) -> tuple[int, list[str]]:
    """git's exit code, and what it and the platform said. git and ssh end with us."""
    state, url = control.state, status(app, control)["git_url"]
    known_hosts = state.folder / "incident" / "known_hosts"
    write_private(known_hosts, f"[127.0.0.1]:{state.ssh_port} {state.host_key}\n")
    ssh = ["ssh", "-F", "none", "-i", str(state.identity_path)]
    for option in (
        "IdentitiesOnly=yes",
        "BatchMode=yes",
        "StrictHostKeyChecking=yes",
        f"UserKnownHostsFile={shlex.quote(str(known_hosts))}",
        "GlobalKnownHostsFile=/dev/null",
    ):
        ssh += ["-o", option]
    process = subprocess.Popen(
        ["git", f"--git-dir={_published(control)}", "push", "--force", url, f"{commit}:refs/heads/master"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
        env=repository.environment() | {"GIT_SSH_COMMAND": shlex.join(ssh)},
    )
    try:
        out, _ = process.communicate()
    except BaseException:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()
        raise
    lines = [ESCAPES.sub("", line).removeprefix("remote: ").rstrip() for line in out.splitlines()]
    return process.returncode, lines


def _empty(url: str) -> None:
    """Drop what the application's role owns; what belongs to the platform stays."""
    with psycopg.connect(url, autocommit=True, connect_timeout=10) as connection:
        schemas = connection.execute(
            "SELECT nspname FROM pg_namespace WHERE nspowner = current_user::regrole"
        ).fetchall()
        relations = connection.execute(
            "SELECT CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW'"
            " WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, relname"
            " FROM pg_class WHERE relowner = current_user::regrole"
            " AND relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'S')"
            " ORDER BY relkind = 'S'"  # a column's own sequence goes with its table
        ).fetchall()
        for (schema,) in schemas:
            connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(schema)))
        with connection.transaction():
            for kind, name in relations:
                drop = sql.SQL("DROP {} IF EXISTS {} CASCADE")
                connection.execute(drop.format(sql.SQL(kind), sql.Identifier("public", name)))


if __name__ == "__main__":
    sys.exit(main())
