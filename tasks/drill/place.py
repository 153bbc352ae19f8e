"""The database of a drill: beside another application's live data, or one whose URL is in a variable."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict

from tasks.core.endpoints import require_loopback
from tasks.core.errors import NotConfigured
from tasks.core.secrets import Secret
from tasks.postgres.connection import Target
from tasks.rollback.application import Application
from tasks.rollback.declared import Drill

_OURS: Final = frozenset({"options", "application_name", "connect_timeout"})
_ATTEMPTED: Final = "Finding the database for the drill"


@dataclass(frozen=True)
class Place:
    """Where a drill restores.

    + app: whose backup it is
    + drill: as declared for it
    """

    app: Application
    drill: Drill

    @classmethod
    def of(cls, app: Application) -> Place:
        """As declared. Raises `NotConfigured` where nothing is."""
        if app.declared.drill is None:
            raise NotConfigured(
                _ATTEMPTED,
                f"none is declared for {app.declared.environment}",
                next_step="declare `drill` in its group data (docs/reference/declarations.md)",
            )
        return cls(app, app.declared.drill)

    @property
    def title(self) -> str:
        """How a person is told of it."""
        if self.drill.on is not None:
            return f"the database of {self.drill.on}"
        return f"the database in {self.drill.database}"

    @property
    def beside_its_own_live_data(self) -> bool:
        """Whether it is where the application's users are."""
        return self.drill.on == self.app.name

    @contextmanager
    def database(self) -> Iterator[Target]:
        """The database as long as the block lasts. Raises `NotConfigured`, and as `Application.database`."""
        if self.drill.on is not None:
            beside = Application(self.drill.on, self.app.declared, self.app.client)
            with beside.database() as database:
                yield database
        else:
            yield self._by_url(str(self.drill.database))

    def _by_url(self, variable: str) -> Target:
        url = Secret(variable, os.environ.get(variable, "").strip())
        try:
            parts: dict[str, Any] = conninfo_to_dict(url.reveal())
        except psycopg.Error:
            parts = {}
        if not (parts.get("host") and parts.get("user") and parts.get("dbname")):
            what = "is not postgresql://user:password@host:port/database" if url.reveal() else "is not set"
            raise NotConfigured(
                _ATTEMPTED, f"{variable} {what}", next_step=f"export {variable}, then run it again"
            )
        if self.app.declared.sandbox:
            require_loopback([str(parts["host"])])
        return Target(
            host=str(parts.pop("host")),
            port=int(parts.pop("port", 5432)),
            database=str(parts.pop("dbname")),
            user=str(parts.pop("user")),
            password=Secret(f"password in {variable}", str(parts.pop("password", ""))),
            schema=self.app.declared.database_schema,
            options={name: str(value) for name, value in parts.items() if name not in _OURS},
        )
