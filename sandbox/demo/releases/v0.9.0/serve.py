"""The web process: waitress on $PORT, which ends the requests under way when it gets SIGTERM."""

import os
import signal
import time

import waitress
from django.urls import get_resolver

from carte.wsgi import application

GRACE = 10.0  # seconds that requests under way may take after SIGTERM


def main() -> None:
    stopping = False

    def stop(signum, frame) -> None:
        nonlocal stopping
        stopping = True
        server.pull_trigger()

    get_resolver().url_patterns  # a module that can't be imported fails the boot, not the first visitor
    server = waitress.create_server(
        application,
        host=os.environ.get("LISTEN", "127.0.0.1"),
        port=int(os.environ["PORT"]),
        threads=int(os.environ.get("WEB_CONCURRENCY", "4")),
        ident=None,
    )
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    print(f"Listening on port {server.effective_port}, process {os.getpid()}", flush=True)
    while not stopping:
        server.asyncore.loop(timeout=1, map=server._map, use_poll=True, count=1)
    drain(server, time.monotonic() + GRACE)
    server.task_dispatcher.shutdown(timeout=1)
    print("Stopped", flush=True)


def drain(server, deadline: float) -> None:
    """Accept nothing new, answer what came in, and close each connection as soon as it is idle."""
    server.socket.close()
    server.del_channel()
    while server.active_channels and time.monotonic() < deadline:
        for channel in list(server.active_channels.values()):
            if not channel.requests and not channel.total_outbufs_len:
                channel.will_close = True
        server.asyncore.loop(timeout=0.1, map=server._map, use_poll=True, count=1)


if __name__ == "__main__":
    main()
