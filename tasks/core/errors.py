"""The errors of this project: each a sentence for a person, an exit code, and what to do next."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What a run's exit code tells the shell (docs/reference/exit-codes.md)."""

    DONE = 0
    ERROR = 1
    REFUSED = 3
    LOCKED = 4
    STALE = 5
    PUT_BACK = 6
    PERSON_NEEDED = 7


class OpsError(Exception):
    """Something asked for is not true, in words for the person at the terminal.

    + attempted: what was being done, with the app or file it was done to
    + reply: what came back
    + state: what state things are in now
    + next_step: what to do next

    None of them may hold a secret, a traceback or a page of HTML.
    """

    exit_code = ExitCode.ERROR

    def __init__(self, attempted: str, reply: str = "", *, state: str = "", next_step: str = "") -> None:
        self.attempted = attempted
        self.reply = reply
        self.state = state
        self.next_step = next_step
        super().__init__(str(self))

    def __str__(self) -> str:
        first = f"{self.attempted}: {self.reply}" if self.reply else self.attempted
        lines = [first]
        if self.state:
            lines.append(f"Now: {self.state}")
        if self.next_step:
            lines.append(f"Next: {self.next_step}")
        return "\n".join(line.rstrip() for line in lines)


class Refused(OpsError):
    """A gate does not hold; nothing was changed."""

    exit_code = ExitCode.REFUSED


class AwaitingSignOff(Refused):
    """Everything is ready, and somebody has to agree before it goes on."""


class Locked(OpsError):
    """Somebody else's run holds the environment's lock."""

    exit_code = ExitCode.LOCKED


class Stale(OpsError):
    """What the plan was made from has changed since; nothing was changed."""

    exit_code = ExitCode.STALE


class PutBack(OpsError):
    """It failed, and things are again as they were before."""

    exit_code = ExitCode.PUT_BACK


class PersonNeeded(OpsError):
    """It failed, and the state is whole but is not what anybody asked for."""

    exit_code = ExitCode.PERSON_NEEDED


class Interrupted(OpsError):
    """A person or a signal stopped the run at a safe point."""


class Unreachable(OpsError):
    """The other side did not answer: no network, no such host, time out."""


class NotConfigured(OpsError):
    """A credential, variable, tool or declared value is missing; the text says where to get it."""
