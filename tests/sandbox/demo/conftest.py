"""The demo application's releases, run for real against a PostgreSQL of the sandbox."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests
from psycopg import sql

from sandbox.database.roles import provision
from sandbox.database.server import PostgresServer
from sandbox.demo import repository as demo
from sandbox.platform.model import DatabaseState
from sandbox.ports import free_port


@dataclass
class Visitor:
    """Somebody with a browser: a session with cookies on one running release."""

    address: str
    session: requests.Session = field(default_factory=requests.Session)

    def get(self, path: str) -> requests.Response:
        return self.session.get(self.address + path, timeout=10)

    def submit(self, path: str, **fields: str) -> requests.Response:
        """Fill in the form of a page, with its token, and send it."""
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', self.get(path).text)
        assert token
        data = {"csrfmiddlewaretoken": token[1]} | fields
        return self.session.post(self.address + path, data=data, timeout=10)


@dataclass
class Application:
    """One database, and the releases that run on it."""

    repository: Path
    folder: Path
    postgres: PostgresServer
    database: str
    role: str
    password: str
    check_account: str = "controle"
    check_password: str = "mot-de-passe-de-controle"

    @property
    def url(self) -> str:
        return f"postgresql://{self.role}:{self.password}@127.0.0.1:{self.postgres.port}/{self.database}"

    def copy(self) -> Application:
        """The same data in a database of its own."""
        name = f"{self.role}_{secrets.token_hex(4)}"
        source, target, role = (sql.Identifier(text) for text in (self.database, name, self.role))
        with psycopg.connect(self.postgres.dsn(), autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(target, source))
            connection.execute(sql.SQL("GRANT ALL ON DATABASE {} TO {}").format(target, role))
        return replace(self, database=name)

    def checkout(self, ref: str) -> Path:
        folder = self.folder / ref
        if not folder.exists():
            demo.export(self.repository, ref, folder)
        return folder

    def procfile(self, ref: str) -> dict[str, str]:
        lines = (self.checkout(ref) / "Procfile").read_text().splitlines()
        return dict(line.split(": ", 1) for line in lines)

    def environment(self, ref: str) -> dict[str, str]:
        """What the platform gives a container of this release."""
        return os.environ | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "DATABASE_URL": self.url,
            "CONTAINER_VERSION": demo.resolve(self.repository, ref),
            "CONTAINER": "web-1",
            "CHECK_ACCOUNT": self.check_account,
            "CHECK_PASSWORD": self.check_password,
            "WORKER_INTERVAL": "0.1",
        }

    def run(self, ref: str, command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-c", command],
            cwd=self.checkout(ref),
            env=self.environment(ref),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def postdeploy(self, ref: str) -> subprocess.CompletedProcess[str]:
        return self.run(ref, self.procfile(ref)["postdeploy"])

    @contextlib.contextmanager
    def process(self, ref: str, kind: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
        process = subprocess.Popen(
            ["bash", "-c", f"exec {self.procfile(ref)[kind]}"],
            cwd=self.checkout(ref),
            env=self.environment(ref) | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    @contextlib.contextmanager
    def web(self, ref: str) -> Iterator[tuple[Visitor, subprocess.Popen[str]]]:
        """The web process of a release once it accepts connections, and a visitor of its pages."""
        port = free_port()
        with self.process(ref, "web", PORT=str(port)) as process:
            wait_for_port(port, process)
            yield Visitor(f"http://127.0.0.1:{port}"), process

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            return connection.execute(query).fetchall()


def wait_for_port(port: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[0]
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise AssertionError("the web process does not listen")


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("demo") / "demo.git"
    demo.build(path)
    return path


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    server = PostgresServer(tmp_path_factory.mktemp("postgres"), free_port(), secrets.token_hex(8))
    asyncio.run(server.start())
    yield server
    asyncio.run(server.stop())


@pytest.fixture(scope="session")
def checkouts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("checkouts")


@pytest.fixture(scope="session")
def new_application(postgres: PostgresServer, repository: Path, checkouts: Path) -> Callable[[], Application]:
    """Makes an application whose database is as the platform gives it: empty."""

    def make() -> Application:
        name = f"demo_{secrets.token_hex(4)}"
        database = DatabaseState(name, name, name, secrets.token_hex(8), "", postgres.port)
        database.readonly_role, database.readonly_password = f"{name}_ro", secrets.token_hex(8)
        provision(postgres, database)
        return Application(repository, checkouts, postgres, name, name, database.password)

    return make


@pytest.fixture
def empty(new_application: Callable[[], Application]) -> Application:
    return new_application()


@pytest.fixture(scope="session")
def deployed(new_application: Callable[[], Application]) -> Application:
    """v0.9.0, then v1.0.0. Tests work on copies of it."""
    application = new_application()
    for ref in ("v0.9.0", "v1.0.0"):
        done = application.postdeploy(ref)
        assert done.returncode == 0, done.stderr
    return application


@pytest.fixture
def application(deployed: Application) -> Application:
    """An application on v1.0.0's schema, with v1.0.0's data, of its own."""
    return deployed.copy()
