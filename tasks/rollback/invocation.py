"""What an operation asks of the run that pyinfra is in: its host's application, its data, who is there."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Generator
from typing import Any, Protocol, TypeVar

from pyinfra.api.host import Host
from pyinfra.context import host, state

from tasks.core.errors import NotConfigured, Refused
from tasks.core.interrupts import end_at_ctrl_c
from tasks.core.prompts import at_terminal
from tasks.core.screen import HostScreen
from tasks.core.step import Step, refusing_in_words
from tasks.rollback.application import Application
from tasks.rollback.declared import Declared, declared
from tasks.scalingo.connector import ScalingoConnector

P = TypeVar("P")


class Runner(Protocol[P]):
    """One run of one deploy on one application; P is its plan with what that was made from."""

    def plan(self) -> P:
        """Read and plan; changes nothing."""

    def show(self, planned: P, *, full: bool) -> None:
        """The plan on screen."""

    def refuse_where_gates_do(self, planned: P) -> None:
        """Raise `Refused` naming each gate that does not hold."""

    def confirm(self) -> None:
        """Have the protected environment's name typed."""

    def execute(self, planned: P) -> None:
        """Bring it about."""


_planned: dict[tuple[str, str], tuple[Any, Any]] = {}


def carried_out(
    deploy: str, make: Callable[[Application, HostScreen], Runner[P]]
) -> Generator[Step, None, None]:
    """Plan, show, ask and yield the step of a deploy whose runs each do something.

    + make: the runner, once the host's application is known
    """
    end_at_ctrl_c()
    with refusing_in_words(host):
        key = (deploy, host.name)
        if key not in _planned:
            _planned[key] = _plan_and_show(make)
        runner, planned = _planned[key]
    yield Step("Carrying it out", lambda: runner.execute(planned))


def _plan_and_show(make: Callable[[Application, HostScreen], Runner[P]]) -> tuple[Runner[P], P]:
    """Once: in prepare, or under `-y`, where pyinfra skips prepare, at the start of execute."""
    refuse_a_run_that_could_not_be_answered()
    refuse_several_applications()
    runner = make(application(host), HostScreen(host))
    planned = runner.plan()
    runner.show(planned, full=bool(state.config.DIFF))
    if not is_dry():
        runner.refuse_where_gates_do(planned)
        runner.confirm()
    return runner, planned


def application(host: Host) -> Application:
    """The host's application with what is declared for it. Raises `NotConfigured`."""
    connector = host.connector
    if not isinstance(connector, ScalingoConnector):
        raise NotConfigured(
            f"Working on {host.name}",
            "it is not an application on Scalingo",
            next_step="write it as @scalingo/NAME in the inventory's group `interface`",
        )
    found: Declared = declared(data(host), host.name)
    return Application(connector.app, found, connector.client)


def is_dry() -> bool:
    """Whether this is a review: pyinfra keeps the flag to its command line."""
    return "--dry" in sys.argv


def refuse_a_run_that_could_not_be_answered() -> None:
    """Without a terminal, pyinfra's own question before it executes ends in a traceback."""
    if changes_are_shown_first() and not is_dry() and not at_terminal():
        raise Refused(
            "Running without a terminal",
            "nobody could answer the questions",
            state="nothing was changed",
            next_step="add -y and give the inputs as --data NAME=VALUE, or review with --dry",
        )


def refuse_several_applications() -> None:
    """One at a time: each has its own questions, sign-off and undo."""
    names = [
        one.name for one in host.inventory.get_group("interface") if one in state.inventory.get_active_hosts()
    ]
    if len(names) > 1:
        raise Refused(
            "Working on several applications",
            ", ".join(names),
            state="nothing was changed",
            next_step="take them one by one: --limit NAME",
        )


def changes_are_shown_first() -> bool:
    """False under `-y`: operations then run in execute alone."""
    return bool(state.should_check_for_changes())  # type: ignore[no-untyped-call]


def given(host: Host) -> Collection[str]:
    """The names of the inputs on the command line."""
    found: Collection[str] = host.inventory.get_override_data()  # type: ignore[no-untyped-call]
    return found


def data(host: Host) -> dict[str, Any]:
    """The host's data, groups' and command line's included."""
    found: dict[str, Any] = host.data.dict()  # type: ignore[no-untyped-call]
    return found
