"""What deploy files call for a backup."""

from __future__ import annotations

from collections.abc import Generator
from typing import Final

from pyinfra.api.operation import operation
from pyinfra.context import host

from tasks.backup.outlook import SKIPPABLE
from tasks.backup.runner import BackupRunner
from tasks.core.screen import HostScreen
from tasks.core.step import Step
from tasks.rollback import invocation
from tasks.rollback.application import Application
from tasks.rollback.inputs import parse

_TAKES: Final = frozenset({"to", "confirm", "reason"})


@operation(is_idempotent=False)
def backed_up() -> Generator[Step, None, None]:
    """An application's data in a backup made now.

    **Example:**

    .. code:: python

        backed_up(name="Make a backup")
    """
    yield from invocation.carried_out("backup", _runner)


def _runner(app: Application, screen: HostScreen) -> BackupRunner:
    inputs = parse(invocation.data(host), SKIPPABLE, takes=_TAKES, given=invocation.given(host))
    return BackupRunner(app, inputs, screen)
