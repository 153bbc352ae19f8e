"""What the deploy file calls: an operation plans, says when nothing is to be done, shows, yields a step."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra.api.host import Host
from pyinfra.api.operation import operation
from pyinfra.context import host, state

from tasks.bring_back.inputs import parse
from tasks.bring_back.runner import Nothing, Planned, Runner
from tasks.core.interrupts import end_at_ctrl_c
from tasks.core.screen import HostScreen
from tasks.core.step import Step, refusing_in_words
from tasks.rollback import invocation


@operation()
def rows_brought_back() -> Generator[Step, None, None]:
    """Rows of what was set aside, back among the live ones; or, with `undo`, that taken back.

    **Example:**

    .. code:: python

        rows_brought_back(name="Bring rows back")
    """
    end_at_ctrl_c()
    with refusing_in_words(host):
        runner, planned = _planned.get(host.name) or _plan_and_show(host)
        if isinstance(planned, Nothing):
            host.noop(planned.sentence)
            return
    yield Step("Carrying it out", lambda: runner.execute(planned))


_planned: dict[str, tuple[Runner, Planned | Nothing]] = {}


def _plan_and_show(host: Host) -> tuple[Runner, Planned | Nothing]:
    """Plan once: in prepare, or under `-y`, where pyinfra skips prepare, at the start of execute."""
    invocation.refuse_a_run_that_could_not_be_answered()
    invocation.refuse_several_applications()
    screen = HostScreen(host)
    given = host.inventory.get_override_data()  # type: ignore[no-untyped-call]
    runner = Runner(invocation.application(host), parse(invocation.data(host), given), screen)
    planned = runner.plan()
    if isinstance(planned, Nothing):
        screen.good(planned.sentence)
        screen.line("Nothing to change.")
    else:
        runner.show(planned, full=bool(state.config.DIFF))
        if not invocation.is_dry():
            runner.refuse_where_gates_do(planned)
            runner.confirm()
    _planned[host.name] = (runner, planned)
    return runner, planned
