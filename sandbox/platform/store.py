"""The platform's state in one private JSON file."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import socket
import tempfile
import types
import typing
from datetime import datetime
from pathlib import Path
from typing import Any

from sandbox.platform.model import State


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
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        text = json.dumps(dataclasses.asdict(self.state), default=_encode, indent=1)
        handle, temporary = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            Path(temporary).replace(self.path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                Path(temporary).unlink()
            raise

    def port(self, name: str) -> int:
        """The port on 127.0.0.1 of the part called `name`: picked free at the first call, then kept."""
        if name not in self.state.ports:
            self.state.ports[name] = free_port(taken=set(self.state.ports.values()))
            self.save()
        return self.state.ports[name]


def free_port(taken: set[int] | frozenset[int] = frozenset()) -> int:
    """A port on 127.0.0.1 that nobody listens on now and that is not in `taken`."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port not in taken:
            return port


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
