"""Ports on 127.0.0.1."""

from __future__ import annotations

import socket
from collections.abc import Set as AbstractSet


def free_port(taken: AbstractSet[int] = frozenset()) -> int:
    """A port that nobody listens on now and that is not in `taken`."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port not in taken:
            return port


def is_free(port: int) -> bool:
    """Whether a server can listen on it now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
