"""A real Django site, for the whole of a module's tests."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass
class Site:
    url: str
    folder: Path

    def breaks(self, status: int, times: int | None = None) -> None:
        """Answer this status to all, or to the next requests only."""
        (self.folder / "fault").write_text(f"{status}" + (f"x{times}" if times else ""))

    def works(self) -> None:
        (self.folder / "fault").unlink(missing_ok=True)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    script = Path(__file__).with_name("django_site.py")
    server = subprocess.Popen([sys.executable, str(script), str(folder)], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    yield Site(f"http://127.0.0.1:{int(server.stdout.readline())}", folder)
    server.kill()
    server.communicate()


@pytest.fixture
def site(served: Site) -> Iterator[Site]:
    yield served
    served.works()
