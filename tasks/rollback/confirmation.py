"""A protected environment's name is typed before anything changes: a bare Enter executes, in pyinfra."""

from __future__ import annotations

from tasks.core.errors import Refused
from tasks.core.prompts import ask_exactly
from tasks.rollback.declared import Declared


def require(declared: Declared, given: object) -> None:
    """Return where the environment is not protected, or its name was given or is typed now.

    Raises `Refused` otherwise; at no terminal too, saying how to give it there.
    """
    name = declared.environment
    if not declared.protected and given is None:
        return
    option = f"--data confirm={name}"
    if given is None:
        agreed = ask_exactly(f"{name} is protected. Type its name to go on", name, option=option)
    else:
        agreed = str(given) == name
    if not agreed:
        raise Refused(
            f"Confirming that {name} is meant",
            "its name was not typed",
            state="nothing was changed",
            next_step=f"run it again and type {name}, or give {option}",
        )
