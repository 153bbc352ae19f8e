"""An application's database whose other schemas have to do with the one that is restored."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tasks.postgres.sites import Site


class TiedSite(Site):
    """With a schema of the role's own, `audit`, beside public."""

    def __init__(self, server, folder: Path) -> None:
        super().__init__(server, folder)
        with self.superuser() as connection:
            connection.execute(f"create schema audit authorization {self.role}")

    def outside(self) -> str:
        """The definitions and grants of all but what is restored or set aside, as pg_dump writes them."""
        without = [part for name in ("public", "before_*", "after_*", "new_*") for part in ("-N", name)]
        answer = self.server.run("pg_dump", "--schema-only", *without, "-d", self.database.superuser_conninfo)
        return "\n".join(line for line in answer.stdout.splitlines() if not line.startswith("\\"))


@pytest.fixture(params=["server", "installed_server"])
def tied(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TiedSite]:
    """On the embedded server and on an installed one."""
    made = TiedSite(request.getfixturevalue(request.param), tmp_path)
    yield made
    made.drop()
