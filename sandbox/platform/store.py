"""The platform's state in one private JSON file."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from datetime import datetime
from pathlib import Path
from typing import Any

from sandbox.platform.model import State
from sandbox.ports import free_port
from sandbox.private_files import write_private


class Store:
    """Holds `state` and writes it as a whole, atomically, readable by the owner only.

    Change the objects of `state`, then call `save()`. Raises ValueError on load when the file is not ours.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.state = State()
        if path.exists():
            self.state = _decode(State, json.loads(path.read_text(encoding="utf-8")))

    def save(self) -> None:
        """Write the state; a reader sees the old file or the new one, never half of it."""
        write_private(self.path, json.dumps(dataclasses.asdict(self.state), default=_encode, indent=1))

    def port(self, name: str) -> int:
        """The port on 127.0.0.1 of the part called `name`: picked free at the first call, then kept."""
        if name not in self.state.ports:
            self.state.ports[name] = free_port(taken=set(self.state.ports.values()))
            self.save()
        return self.state.ports[name]


def _encode(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"cannot be stored: {value!r}")


def _decode(kind: Any, value: Any) -> Any:
    """`value` (from JSON) as the annotated type `kind`; unknown fields are ignored."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        if value is None:
            return None
        return _decode(next(argument for argument in arguments if argument is not types.NoneType), value)
    if origin is dict:
        return {key: _decode(arguments[1], item) for key, item in value.items()}
    if origin is list:
        return [_decode(arguments[0], item) for item in value]
    if kind is datetime:
        return datetime.fromisoformat(value)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        known = {field.name for field in dataclasses.fields(kind)}
        return kind(**{name: _decode(hints[name], item) for name, item in value.items() if name in known})
    return value
