"""One executable unit of a plan, as pyinfra runs it: a title, an action, and errors as sentences."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pyinfra.api.command import PyinfraCommand
from pyinfra.api.state import BaseStateCallback

from tasks.core import paths
from tasks.core.errors import ExitCode, OpsError
from tasks.core.screen import HostScreen
from tasks.core.secrets import redact

if TYPE_CHECKING:
    from pyinfra.api.host import Host
    from pyinfra.api.state import State


class Step(PyinfraCommand):
    """Run `action` in pyinfra's execute stage.

    An `OpsError` fails the host with its sentences on screen and ends the run with the error's own exit
    code; never a traceback, as `python.call` would print.
    """

    def __init__(self, title: str, action: Callable[[], None]) -> None:
        super().__init__()
        self.title = title
        self.action = action

    def __repr__(self) -> str:
        return f"Step({self.title!r})"

    def execute(self, state: State, host: Host, connector_arguments: Any) -> bool:
        _report_exit_code_of_steps(state)
        screen = HostScreen(host)
        screen.line(self.title)
        try:
            self.action()
        except OpsError as error:
            screen.bad(str(error))
            _exit_codes[host.name] = error.exit_code
            return False
        except Exception as error:
            screen.bad(str(unexpected(error)))
            return False
        return True


@contextmanager
def refusing_in_words(host: Host) -> Iterator[None]:
    """In a deploy file or an operation's planning: an `OpsError` becomes its sentences and its exit code."""
    try:
        yield
    except OpsError as error:
        HostScreen(host).bad(str(error))
        sys.exit(error.exit_code)
    except Exception as error:
        HostScreen(host).bad(str(unexpected(error)))
        sys.exit(ExitCode.ERROR)


def unexpected(error: Exception) -> OpsError:
    """A fault of this project as a sentence; its traceback goes to a private file for whoever mends it."""
    path = paths.state() / "unexpected.log"
    text = redact("".join(traceback.format_exception(error)))
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "a", encoding="utf-8") as file:
        file.write(f"{datetime.now(UTC).isoformat(timespec='seconds')}\n{text}\n")
    return OpsError(
        "This is a fault of the tool",
        f"{type(error).__name__}: {redact(str(error))}",
        state="not known from here; the same command reads it first",
        next_step=f"run the same command again; if it fails so again, send {path} to its maintainers",
    )


_exit_codes: dict[str, ExitCode] = {}


class _EndWithExitCode(BaseStateCallback):
    """Ends the run with the exit code of the step that failed; pyinfra's own would be 1 for all."""

    @staticmethod
    def operation_host_error(
        state: State, host: Host, op_hash: str, retry_count: int = 0, max_retries: int = 0
    ) -> None:
        code = _exit_codes.get(host.name)
        if code is not None:
            sys.exit(code)


def _report_exit_code_of_steps(state: State) -> None:
    if not any(isinstance(handler, _EndWithExitCode) for handler in state.callback_handlers):
        state.add_callback_handler(_EndWithExitCode())  # type: ignore[no-untyped-call]
