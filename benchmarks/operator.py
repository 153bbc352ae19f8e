"""An operator with a sandbox of their own, who types the real commands."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final, Self

from benchmarks.server import MeasureError
from sandbox import environment, incident, lifecycle
from sandbox.control import Control

_ROOT: Final = Path(__file__).parent.parent
_FOREIGN: Final = ("SCALINGO_", "GITHUB_", "GH_", "MATTERMOST_", "SANDBOX_", "XDG_")
APP: Final = "sandbox-demo-preprod"
INVENTORY: Final = "inventories/sandbox_preprod.py"
OLDER, NEWER = "v1.0.0", "v1.0.1"


class Operator:
    """A sandbox in a temporary folder whose app was on OLDER, was backed up, and now runs NEWER.

    Both releases are healthy and have the same migrations. The operator's home is temporary too, so that
    nothing of the user's is read or written.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="operations-bench-"))
        self.home = self.folder / "home"
        self.home.mkdir()
        self.state_folder = self.folder / "sandbox"
        self.has_rolled_back = False

    def __enter__(self) -> Self:
        try:
            self.control = Control(lifecycle.up(self.state_folder, say=_quiet))
            incident.declare_variables(APP, self.control)
            self.deploy(OLDER)
            self.backup: str = incident.nightly_backup(APP, self.control, say=_quiet)["id"]
            self.deploy(NEWER)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        lifecycle.down(self.state_folder)
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def address(self) -> str:
        """Of the app's pages."""
        return str(incident.status(APP, self.control)["url"])

    @property
    def database_url(self) -> str:
        """As the app's containers have it."""
        return str(self.control.database(APP)["url"])

    @property
    def release(self) -> str:
        """The commit that runs."""
        return str(incident.status(APP, self.control)["commit"])

    def deploy(self, tag: str) -> str:
        """A push of the tag, as the team makes it; the commit that then runs."""
        return incident.deploy(APP, tag, self.control, say=_quiet)

    @property
    def inputs(self) -> tuple[str, ...]:
        """What the rollback is told: back to OLDER, with the backup of its time."""
        return ("--data", f"tag={OLDER}", "--data", f"backup=id:{self.backup}")

    def roll_back(self) -> tuple[float, str]:
        """The real command, unattended; seconds, and what it said. Raises MeasureError unless OLDER runs."""
        newer = self.release
        took, text = self.pyinfra("deploys/rollback.py", "-y", *self.inputs)
        if self.release == newer:
            raise MeasureError(f"the rollback left {newer[:8]} running:\n{text[-800:]}")
        self.has_rolled_back = True
        return took, text

    def pyinfra(self, *arguments: str) -> tuple[float, str]:
        """Run pyinfra on the app's inventory; seconds, and what it said. Raises MeasureError."""
        own = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
        env = (
            own
            | environment.variables(self.state_folder)
            | {"HOME": str(self.home), "PYINFRA_PROGRESS": "off"}
        )
        command: list[Any] = [Path(sys.executable).parent / "pyinfra", INVENTORY, *arguments]
        began = time.monotonic()
        done = subprocess.run(
            command,
            cwd=_ROOT,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        took = time.monotonic() - began
        if done.returncode:
            last = "\n".join(done.stdout.strip().splitlines()[-12:])
            raise MeasureError(f"pyinfra {' '.join(arguments)} ended with {done.returncode}:\n{last}")
        return took, done.stdout


def _quiet(_line: str) -> None:
    return None
