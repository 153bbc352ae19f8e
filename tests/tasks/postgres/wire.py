"""A connection to a server that a test can cut."""

from __future__ import annotations

import contextlib
import socket
import threading


class Wire:
    """A proxy on loopback in front of the server, which a test can cut.

    + sent: bytes from the client so far
    """

    def __init__(self, port: int) -> None:
        self.sent = 0
        self.open = True
        self.cut_at: int | None = None
        self.cut_before_reply: bytes | None = None
        self.stay_cut = False
        self._to = port
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if not self.open:
                client.close()
                continue
            server = socket.create_connection(("127.0.0.1", self._to))
            self._sockets += [client, server]
            threading.Thread(target=self._pump, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self._pump, args=(server, client, False), daemon=True).start()

    def _pump(self, source: socket.socket, to: socket.socket, from_client: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if from_client:
                    self.sent += len(data)
                    if self.cut_at is not None and self.sent > self.cut_at:
                        self.cut()
                        return
                elif self.cut_before_reply is not None and self.cut_before_reply in data:
                    self.cut_before_reply = None
                    if self.stay_cut:
                        self.cut()
                    self._drop_all()
                    return
                to.sendall(data)
        for end in (source, to):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _drop_all(self) -> None:
        for end in list(self._sockets):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def cut(self) -> None:
        """End every connection, and refuse new ones."""
        self.open = False
        self._drop_all()

    def close(self) -> None:
        self.cut()
        self._listener.close()
        for end in self._sockets:
            end.close()
