"""An application at a standstill: no container runs while its data is dropped and restored.

How many containers there were is written in the journal before the first one is stopped, so that another
run, on the same journal, brings them back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tasks.core.errors import OpsError
from tasks.core.journal import Journal
from tasks.core.screen import Screen
from tasks.postgres.marks import Mark
from tasks.rollback.application import Application
from tasks.scalingo.models import ContainerType

_WORD: Final = "standstill"
_POLL_SECONDS: Final = 1.0


class Standstill:
    """Stops an application's containers and brings back as many as there were."""

    def __init__(self, app: Application, run: str, screen: Screen) -> None:
        self._app = app
        self._run = run
        self._screen = screen

    @property
    def remembered(self) -> list[ContainerType] | None:
        """The formation to bring back; None where nothing was stopped, or it was brought back already."""
        return _remembered(self._app.journal, self._app.name)

    def stop(self) -> None:
        """Scale everything to 0; the platform's own page answers meanwhile."""
        formation = self.remembered or self._app.client.containers.formation(self._app.name)
        running = [line for line in formation if line.amount]
        self._note("stopped", running)
        self._screen.warn(f"Stopping {_listed(running)}: the pages are down until they are back.")
        self._scale([line.model_copy(update={"amount": 0, "size": ""}) for line in running])

    def as_details(self) -> list[dict[str, Any]]:
        """What was stopped, for the database's mark: another laptop has another journal."""
        return [line.model_dump() for line in self.remembered or []]

    def start(self, marked: Sequence[Mapping[str, Any]] = ()) -> None:
        """Bring back what `stop` has stopped, in this run or in one that died; nothing where nothing was.

        + marked: what the database's mark of an unfinished drop says was stopped
        """
        formation = self.remembered
        if formation is None and marked:
            formation = [ContainerType.model_validate(line) for line in marked]
        if formation is None:
            return
        self._scale(formation)
        self._note("started", formation)
        self._screen.good(f"Started again: {_listed(formation)}")

    def _scale(self, formation: list[ContainerType]) -> None:
        if not formation:
            return
        operation = self._app.client.containers.scale(self._app.name, formation)
        if operation is not None:
            self._app.client.apps.wait(
                self._app.name, operation, doing=f"Scaling {self._app.name}", every=_POLL_SECONDS
            )

    def _note(self, result: str, formation: list[ContainerType]) -> None:
        lines = [{"name": line.name, "amount": line.amount, "size": line.size} for line in formation]
        self._app.journal.append(
            run=self._run, app=self._app.name, deploy=_WORD, result=result, moved=False, formation=lines
        )


def stopped_before(journal: Journal, app: str, dropping: Mark | None) -> str:
    """What an earlier run has stopped and not started again, by the journal or by a drop's mark; "" for none.

    + dropping: the mark of the last restore by dropping, which knows of runs on other laptops
    """
    formation = _remembered(journal, app)
    if formation is None and dropping is not None and not dropping.confirmed:
        formation = [ContainerType.model_validate(line) for line in dropping.details.get("formation") or []]
    return _listed(formation) if formation else ""


def _remembered(journal: Journal, app: str) -> list[ContainerType] | None:
    last = journal.newest(app=app, deploy=_WORD)
    if last is None or last.get("result") != "stopped":
        return None
    return [ContainerType.model_validate(line) for line in last.get("formation", [])]


def _listed(formation: list[ContainerType]) -> str:
    return ", ".join(f"{line.name} {line.amount}" for line in formation) or "no container"


def brought_back_after(standstill: Standstill, error: OpsError) -> OpsError:
    """Start the containers again after an error that left the data whole; the error, to be raised."""
    try:
        standstill.start()
    except OpsError as worse:
        error.state = f"{error.state}; the containers could not be started again: {worse}"
        error.args = (str(error),)
    return error
