"""The command that was typed, as it is typed again with more on it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence


def typed_again(arguments: Sequence[str], more: Mapping[str, str], chosen: Mapping[str, str]) -> str:
    """The line to copy into a shell.

    + arguments: of the command that runs, without its own name
    + more: inputs for `--data` that it shall have, in the place of those of that name
    + chosen: inputs that were answered to its questions; each is given where the command did not have it
    """
    kept = list(_without(arguments, frozenset(more)))
    given = {name for name, _, _ in (text.partition("=") for text in _data(kept))}
    added = {name: value for name, value in chosen.items() if name not in given} | dict(more)
    options = [part for name, value in added.items() for part in ("--data", f"{name}={value}")]
    return shlex.join(["pyinfra", *kept, *options])


def _without(arguments: Sequence[str], names: frozenset[str]) -> Iterator[str]:
    rest = iter(arguments)
    for part in rest:
        if part == "--data":
            value = next(rest, "")
            if value.partition("=")[0] not in names:
                yield from (part, value)
        elif not (part.startswith("--data=") and part.split("=")[1] in names):
            yield part


def _data(arguments: Sequence[str]) -> Iterator[str]:
    for part, following in zip(arguments, [*arguments[1:], ""], strict=True):
        if part == "--data":
            yield following
        elif part.startswith("--data="):
            yield part.removeprefix("--data=")
