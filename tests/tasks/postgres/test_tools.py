from __future__ import annotations

from pathlib import Path

import pytest

from tasks.core.errors import NotConfigured
from tasks.postgres.tools import Tool, choose, find_pg_restore


def tool(major: int) -> Tool:
    return Tool(Path(f"/{major}/pg_restore"), major)


@pytest.mark.parametrize(
    ("there", "archive", "server", "chosen"),
    [
        ([15, 18], (1, 14), 15, 15),
        ([18, 15], (1, 16), 15, 18),
        ([14, 16, 18], (1, 15), 15, 16),
        ([15], (1, 16), 15, None),
        ([], (1, 14), 15, None),
    ],
)
def test_the_servers_own_version_where_it_reads_the_archive(there, archive, server, chosen):
    found = choose([tool(major) for major in there], archive, server)
    assert (found.major if found else None) == chosen


def test_the_declared_folder_comes_first(server):
    found = find_pg_restore((1, 14), server.version, server.bin)
    assert found == Tool(server.bin / "pg_restore", server.version)


def test_an_archive_that_none_reads_is_said(server, monkeypatch):
    with pytest.raises(NotConfigured, match=r"none reads archives of version 9\.9"):
        find_pg_restore((9, 9), 18)
    monkeypatch.setattr("tasks.postgres.tools.installed", lambda folder: iter(()))
    with pytest.raises(NotConfigured, match="not installed here"):
        find_pg_restore((1, 14), 18)
