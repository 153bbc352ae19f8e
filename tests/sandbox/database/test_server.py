"""The server itself: crashes, quotas, root and plain users, an installed PostgreSQL."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest

from sandbox.database.programs import ServerError
from sandbox.database.server import PostgresServer
from sandbox.ports import free_port

APP = "sandbox-demo-preprod"
INSTALLED = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))


def test_a_crashed_server_is_started_again_with_its_rows(sandbox: Any) -> None:
    url = sandbox.control.database(APP)["url"]
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE crash_test AS SELECT * FROM generate_series(1, 1000)")
    try:
        sandbox.control.crash("postgresql")
        deadline = time.monotonic() + 10
        while True:
            try:
                with psycopg.connect(url, autocommit=True) as connection:
                    assert connection.execute("SELECT count(*) FROM crash_test").fetchone() == (1000,)
                break
            except psycopg.OperationalError:
                assert time.monotonic() < deadline
                time.sleep(0.02)
        deadline = time.monotonic() + 5
        while not (said := sandbox.control.status()["parts"]["postgresql"]).startswith("running (crashed"):
            assert time.monotonic() < deadline, said
            time.sleep(0.05)
    finally:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("DROP TABLE crash_test")


def test_a_full_disk_is_what_postgresql_says_it_is(sandbox: Any) -> None:
    size = sandbox.control.database(APP)["size"]
    other_url = sandbox.control.database("sandbox-demo")["url"]
    sandbox.control.quota(APP, size + 5_000_000)
    url = sandbox.control.database(APP)["url"]
    fill = "CREATE TABLE quota_test AS SELECT repeat(md5(n::text), 10) FROM generate_series(1, 100000) n"
    try:
        with psycopg.connect(url, autocommit=True) as connection:
            with pytest.raises(psycopg.errors.DiskFull) as raised:
                connection.execute(fill)
            assert raised.value.sqlstate == "53100"
            assert "No space left on device" in str(raised.value)
            assert connection.execute("SELECT 1").fetchone() == (1,), "reading goes on, in the same session"
        with psycopg.connect(other_url, autocommit=True) as connection:
            connection.execute(fill)
            connection.execute("DROP TABLE quota_test")
        assert sandbox.control.database(APP)["size"] <= size + 5_000_000
        assert sandbox.control.database(APP)["refused_writes"] > 0
    finally:
        sandbox.control.quota(APP, None)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(fill)
        connection.execute("DROP TABLE quota_test")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is refused by PostgreSQL")
def test_as_root_it_runs_as_nobody_out_of_a_folder_that_only_root_reads(sandbox: Any) -> None:
    pid = int((place(sandbox.folder) / "data" / "postmaster.pid").read_text().split()[0])
    assert Path(f"/proc/{pid}").stat().st_uid != 0
    assert sandbox.folder.stat().st_mode & 0o077 == 0


def place(folder: Path) -> Path:
    """Where the data lie while the server runs."""
    marker = folder / "postgres" / "place"
    return Path(marker.read_text()) if marker.exists() else folder / "postgres"


@pytest.mark.skipif(not INSTALLED, reason="no installed PostgreSQL here")
def test_an_installed_server_is_used_and_its_data_are_refused_to_another(tmp_path: Path) -> None:
    async def run() -> str:
        server = PostgresServer(tmp_path / "pg", free_port(), "secret", INSTALLED[0].parent)
        await server.start()
        try:
            with psycopg.connect(server.dsn()) as connection:
                assert connection.info.server_version // 10000 == int(server.version.split(".")[0])
        finally:
            await server.stop()
        other = PostgresServer(tmp_path / "pg", free_port(), "secret")
        if int(other_version(other)) == int(server.version.split(".")[0]):
            return "another"
        with pytest.raises(ServerError) as raised:
            await other.start()
        await other.stop()
        return str(raised.value)

    assert "another" in asyncio.run(run())


def other_version(server: PostgresServer) -> str:
    import subprocess

    said = subprocess.run(
        [server.program("pg_dump"), "--version"], capture_output=True, text=True, check=True
    )
    return said.stdout.split()[2].split(".")[0]


def test_a_taken_port_is_said(tmp_path: Path) -> None:
    async def run() -> str:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            server = PostgresServer(tmp_path / "pg", int(taken.getsockname()[1]), "secret")
            server.start_seconds = 0.5
            with pytest.raises(ServerError) as raised:
                await server.start()
            await server.stop()
            return str(raised.value)

    assert "in use" in asyncio.run(run())
