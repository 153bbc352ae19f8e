"""Code is old, deploying or new; data is old, staged or swapped: nine cells, one next action for each.

A run reads where code and data are, looks its action up here, does it, and reads again. So a run that
follows a dead one needs no path of its own.
"""

from __future__ import annotations

from enum import Enum
from typing import Final


class Code(Enum):
    """Where the application's code is, by the platform's deployments."""

    OLD = "old"
    DEPLOYING = "deploying"
    NEW = "new"


class Data(Enum):
    """Where the application's data is, by the marks in the database."""

    OLD = "old"
    STAGED = "staged"
    SWAPPED = "swapped"


class Action(Enum):
    """What a run does next; the value is what it says of it."""

    STAGE = "restore the backup beside the live data"
    PUSH = "push the release"
    WAIT = "wait for the deployment that is under way"
    CUT_OVER = "swap the data"
    VERIFY = "verify what users see"


NEXT: Final[dict[tuple[Code, Data], Action]] = {
    (Code.OLD, Data.OLD): Action.STAGE,
    (Code.OLD, Data.STAGED): Action.PUSH,
    (Code.OLD, Data.SWAPPED): Action.PUSH,
    (Code.DEPLOYING, Data.OLD): Action.WAIT,
    (Code.DEPLOYING, Data.STAGED): Action.WAIT,
    (Code.DEPLOYING, Data.SWAPPED): Action.WAIT,
    (Code.NEW, Data.OLD): Action.STAGE,
    (Code.NEW, Data.STAGED): Action.CUT_OVER,
    (Code.NEW, Data.SWAPPED): Action.VERIFY,
}

MEANING: Final[dict[tuple[Code, Data], str]] = {
    (Code.OLD, Data.OLD): "the old release on the old data",
    (Code.OLD, Data.STAGED): "the old release on the old data; the wanted data is ready beside it",
    (Code.OLD, Data.SWAPPED): "the old release on the wanted data",
    (Code.DEPLOYING, Data.OLD): "the release is being deployed; the old data is live",
    (
        Code.DEPLOYING,
        Data.STAGED,
    ): "the release is being deployed; the wanted data is ready beside it",
    (Code.DEPLOYING, Data.SWAPPED): "the release is being deployed on the wanted data",
    (Code.NEW, Data.OLD): "the wanted release on the old data",
    (Code.NEW, Data.STAGED): "the wanted release on the old data; the wanted data is ready beside it",
    (Code.NEW, Data.SWAPPED): "the wanted release on the wanted data",
}

CODE_ALONE: Final = {
    Code.OLD: "the old release runs",
    Code.DEPLOYING: "the release is being deployed",
    Code.NEW: "the wanted release runs",
}
DATA_ALONE: Final = {
    Data.OLD: "the old data is live",
    Data.STAGED: "the old data is live; the wanted data is ready beside it",
    Data.SWAPPED: "the wanted data is live",
}
