"""What deploy files call: an operation plans, says when nothing is to be done, shows, and yields a step."""

from __future__ import annotations

from collections.abc import Generator
from typing import Final

from pyinfra.api.host import Host
from pyinfra.api.operation import operation
from pyinfra.context import host, state

from tasks.core.interrupts import end_at_ctrl_c
from tasks.core.screen import HostScreen
from tasks.core.step import Step, refusing_in_words
from tasks.rollback import confirmation, invocation, setting_aside
from tasks.rollback.application import Application
from tasks.rollback.gates import SKIPPABLE
from tasks.rollback.inputs import parse
from tasks.rollback.intent import Deploy
from tasks.rollback.planner import Planned
from tasks.rollback.resolve import Done
from tasks.rollback.runner import Runner
from tasks.rollback.setting_aside import Forgetting
from tasks.rollback.verification import Verification

Steps = Generator[Step, None, None]
_AGREED: Final = frozenset({"confirm", "signoff", "loss", "reason"})
_TAKES: Final = {
    Deploy.ROLLBACK: _AGREED | {"tag", "backup", "strategy"},
    Deploy.RESTORE: _AGREED | {"backup", "strategy"},
    Deploy.UNDO: _AGREED,
}


@operation()
def rolled_back() -> Steps:
    """An application's code at an earlier release and its data at a backup, as one transaction.

    **Example:**

    .. code:: python

        rolled_back(name="Roll back code and data")
    """
    yield from _run(Deploy.ROLLBACK)


@operation()
def data_restored() -> Steps:
    """An application's data at a backup; its code stays.

    **Example:**

    .. code:: python

        data_restored(name="Restore the data")
    """
    yield from _run(Deploy.RESTORE)


@operation()
def undone() -> Steps:
    """The reverse of the last rollback, restore or undo.

    **Example:**

    .. code:: python

        undone(name="Undo the last cut-over and push")
    """
    yield from _run(Deploy.UNDO)


@operation()
def forgotten() -> Steps:
    """Data that was set aside, dropped for good.

    **Example:**

    .. code:: python

        forgotten(name="Drop what was set aside")
    """
    with refusing_in_words(host):
        app, screen = invocation.application(host), HostScreen(host)
        if host.name not in _chosen:
            _chosen[host.name] = _choose_and_show(app, screen)
        chosen = _chosen[host.name]
        if chosen is None:
            host.noop("nothing is to be dropped")
            return
    names = ", ".join(mark.schema for mark in chosen.goes)
    yield Step(f"Drop {names}", lambda: setting_aside.forget(app, chosen, screen))


@operation(is_idempotent=False)
def verified() -> Steps:
    """An application's pages as people use them.

    **Example:**

    .. code:: python

        verified(name="Verify what users see")
    """
    with refusing_in_words(host):
        app, screen = invocation.application(host), HostScreen(host)
    yield Step("Look at the pages", lambda: Verification(app, None, screen).require())


_chosen: dict[str, Forgetting | None] = {}


def _choose_and_show(app: Application, screen: HostScreen) -> Forgetting | None:
    """Ask, show and have it confirmed once: what was shown is what is dropped."""
    invocation.refuse_a_run_that_could_not_be_answered()
    given = host.inventory.get_override_data()  # type: ignore[no-untyped-call]
    chosen = setting_aside.choose(app, setting_aside.asked(invocation.data(host), given))
    if chosen is None:
        screen.line("Nothing to change: nothing is set aside.")
        return None
    for mark in chosen.goes:
        screen.warn(f"- {chosen.line(mark)}: dropped for good")
    for mark, reason in chosen.stays:
        screen.line(f"  {chosen.line(mark)}: stays, {reason}")
    if not chosen.goes:
        screen.line("Nothing to change: all of it stays.")
        return None
    if not invocation.is_dry():
        confirmation.require(app.declared, host.data.get("confirm"))
    return chosen


_planned: dict[str, tuple[Runner, Planned | Done]] = {}


def _run(deploy: Deploy) -> Steps:
    end_at_ctrl_c()
    with refusing_in_words(host):
        runner, planned = _planned.get(host.name) or _plan_and_show(host, deploy)
        if isinstance(planned, Done):
            host.noop(planned.sentence)
            return
    yield Step("Carrying it out", lambda: runner.execute(planned))


def _plan_and_show(host: Host, deploy: Deploy) -> tuple[Runner, Planned | Done]:
    """Plan once: in prepare, or under `-y`, where pyinfra skips prepare, at the start of execute."""
    invocation.refuse_a_run_that_could_not_be_answered()
    invocation.refuse_several_applications()
    screen = HostScreen(host)
    inputs = parse(invocation.data(host), SKIPPABLE, takes=_TAKES[deploy], given=invocation.given(host))
    runner = Runner(invocation.application(host), deploy, inputs, screen)
    planned = runner.plan()
    if isinstance(planned, Done):
        screen.good(planned.sentence)
        screen.line("Nothing to change.")
    else:
        runner.show(planned, full=bool(state.config.DIFF))
        if not invocation.is_dry():
            runner.refuse_where_gates_do(planned)
            runner.confirm()
    _planned[host.name] = (runner, planned)
    return runner, planned
