"""What one run is to bring about, once its inputs have been resolved to a commit and a backup."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum

from tasks.rollback.choices import BackupOption


class Deploy(Enum):
    """Which deploy file asked; the value is the journal's word."""

    ROLLBACK = "rollback"
    RESTORE = "restore"
    UNDO = "undo"


@dataclass(frozen=True)
class Target:
    """The release that is to run: pinned to its commit when the plan was made."""

    commit: str
    tag: str | None
    subject: str = ""

    @property
    def title(self) -> str:
        """The tag and the commit, as people write them."""
        return f"{self.tag} ({self.commit[:8]})" if self.tag else self.commit[:12]


@dataclass(frozen=True)
class SetAside:
    """Data that was live before, in a schema of its own, and the code that ran on it."""

    schema: str
    since: datetime
    run: str
    commit: str | None


@dataclass(frozen=True)
class Intent:
    """What is to be true at the end.

    + target: the release that is to run; None leaves the code alone
    + backup: what the data is to be restored from; None where it is not
    + set_aside: what was live and comes back, for an undo
    + before_boot: the data must be swapped before the release boots, since its commands need the schema
      that they know
    + catch_up: run the release's postdeploy command and restart it after a swap beside a running release
    """

    deploy: Deploy
    run: str
    target: Target | None
    backup: BackupOption | None = None
    set_aside: SetAside | None = None
    strategy: str = "beside"
    before_boot: bool = False
    catch_up: bool = False

    @property
    def moves_data(self) -> bool:
        """Whether live data is exchanged at all."""
        return self.backup is not None or self.set_aside is not None

    @property
    def data_title(self) -> str:
        """Where the data comes from, in words."""
        if self.backup:
            return f"backup {self.backup.name} of {self.backup.began:%Y-%m-%d %H:%M} UTC"
        return (
            f"what was set aside at {self.set_aside.since:%Y-%m-%d %H:%M} UTC" if self.set_aside else "stays"
        )


def new_run(now: datetime | None = None) -> str:
    """An identifier for a run: its second in UTC and four random digits; part of schema names."""
    return f"{now or datetime.now(UTC):%Y%m%d_%H%M%S}_{secrets.token_hex(2)}"
