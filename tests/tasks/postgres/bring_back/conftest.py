"""A site that was rolled back, and the two verbs on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tasks.postgres.bring_back.chosen import Wanted
from tasks.postgres.bring_back.report import Report, read_report
from tasks.postgres.bring_back.write import Manifest, write
from tasks.postgres.connection import connect


class RolledBack:
    """An application's database, of which some was set aside as `before_r1`."""

    def __init__(self, site: Any, folder: Path) -> None:
        self.site = site
        self.folder = folder

    def plan(self, **wanted: Any) -> Report:
        with connect(self.site.target, "r2", read_only=True) as connection:
            return read_report(connection, "public", "before_r1", Wanted(**wanted))

    def write(
        self, run: str = "r2", *, shown: Report | None = None, **wanted: Any
    ) -> tuple[Report, Manifest]:
        shown = shown or self.plan(**wanted)
        return write(
            self.site.target,
            run,
            "before_r1",
            Wanted(**wanted),
            shown,
            run,
            self.folder / run,
            self.folder / f"{run}_private",
        )

    def one(self, statement: str) -> Any:
        return self.site.one(statement)

    def do(self, statement: str) -> None:
        self.site.do(statement)

    def table(self, report: Report, name: str) -> Any:
        return next(one for one in report.tables if one.table == name)


@pytest.fixture
def visitors(site: Any, tmp_path: Path) -> RolledBack:
    """Visitors have written since the backup that it was restored from."""
    site.do("insert into public.place(name) select 'new ' || n from generate_series(1, 3) n")
    site.do("insert into public.auth_user(username, password) values ('ada', 'x')")
    site.do('insert into public."Odd ""na.me"(place_id, author_id) values (201, 21), (1, 21), (1, 1)')
    site.swap(site.stage("r1"))
    return RolledBack(site, tmp_path / "written")


@pytest.fixture
def swapped(site: Any, tmp_path: Path) -> Any:
    """Makes such a site of what a statement does to the live data after the backup, and another after it."""

    def make(before: str = "", after: str = "") -> RolledBack:
        if before:
            site.do(before)
        site.swap(site.stage("r1"))
        if after:
            site.do(after)
        return RolledBack(site, tmp_path / "written")

    return make
