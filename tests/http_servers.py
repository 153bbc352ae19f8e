"""HTTP servers on loopback, for tests that say themselves what is answered."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TypeVar


class Handler(BaseHTTPRequestHandler):
    """Keeps connections open, as real servers do, and logs nothing."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    """On a free port; clients that leave in the middle are no news."""

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, *arguments: object) -> None:
        pass


AnyServer = TypeVar("AnyServer", bound=ThreadingHTTPServer)


@contextlib.contextmanager
def answering(server: AnyServer) -> Iterator[AnyServer]:
    """Let the server answer, in a thread, until the block ends."""
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
