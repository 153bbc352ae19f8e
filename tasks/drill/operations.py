"""What deploy files call for a drill."""

from __future__ import annotations

from collections.abc import Generator
from typing import Final

from pyinfra.api.operation import operation
from pyinfra.context import host

from tasks.core.screen import HostScreen
from tasks.core.step import Step
from tasks.drill.runner import DrillRunner
from tasks.rollback import invocation
from tasks.rollback.application import Application
from tasks.rollback.inputs import parse

_TAKES: Final = frozenset({"backup", "tag", "confirm", "reason"})


@operation(is_idempotent=False)
def drilled() -> Generator[Step, None, None]:
    """A backup restored where nobody uses it, checked, measured and removed again.

    **Example:**

    .. code:: python

        drilled(name="Try the newest backup")
    """
    yield from invocation.carried_out("drill", _runner)


def _runner(app: Application, screen: HostScreen) -> DrillRunner:
    inputs = parse(invocation.data(host), frozenset(), takes=_TAKES, given=invocation.given(host))
    return DrillRunner(app, inputs, screen)
