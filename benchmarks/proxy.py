"""A slow line to the database: a TCP proxy that hands on what it gets some milliseconds later, both ways.

A process of its own, with two threads for each direction of a connection: one takes in, one waits and gives
out, so that bytes under way wait side by side as they do on a real line, not one after the other.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Self

_ROOT = Path(__file__).parent.parent
_PIECE = 1 << 16


class SlowLine:
    """The proxy as a child, from `with` to its end.

    + to_port: what listens on 127.0.0.1
    + milliseconds: added to each direction
    + port: where the proxy listens
    """

    def __init__(self, to_port: int, milliseconds: float) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.proxy", str(to_port), str(milliseconds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=_ROOT,
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()  # its standard input ends, and so does it


def _carry(from_: socket.socket, to: socket.socket, seconds: float) -> None:
    under_way: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()

    def take_in() -> None:
        piece = b"-"
        while piece:
            try:
                piece = from_.recv(_PIECE)
            except OSError:
                piece = b""
            under_way.put((time.monotonic() + seconds, piece))

    threading.Thread(target=take_in, daemon=True).start()
    while True:
        due, piece = under_way.get()
        time.sleep(max(0.0, due - time.monotonic()))
        with contextlib.suppress(OSError):
            if piece:
                to.sendall(piece)
                continue
            to.shutdown(socket.SHUT_WR)
        return


def _serve(to_port: int, seconds: float) -> None:
    sys.setswitchinterval(0.0005)  # a thread that is due must not wait for one that copies
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            client, _ = listener.accept()
            server = socket.create_connection(("127.0.0.1", to_port))
            for from_, to in ((client, server), (server, client)):
                for end in (from_, to):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=_carry, args=(from_, to, seconds), daemon=True).start()


def _main(to_port: int, milliseconds: float) -> None:
    threading.Thread(target=_serve, args=(to_port, milliseconds / 1000), daemon=True).start()
    sys.stdin.read()  # until the parent is gone


if __name__ == "__main__":
    _main(int(sys.argv[1]), float(sys.argv[2]))
