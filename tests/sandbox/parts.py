"""One part of a sandbox by itself, on its port, in a thread of the test."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import requests
from aiohttp import web

from sandbox.state import SandboxState


@contextlib.contextmanager
def serving(application: web.Application, port: int) -> Iterator[None]:
    """Serve it on a port of loopback."""
    loop = asyncio.new_event_loop()
    runner = web.AppRunner(application)

    async def start() -> None:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()

    loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def ask_control(
    state: SandboxState, part: str, method: str, path: str, content: Any = None, secret: str | None = None
) -> requests.Response:
    """Ask the part's control API, with the sandbox's secret or another."""
    headers = {"X-Sandbox-Secret": state.control_secret if secret is None else secret}
    url = f"{state.url(part)}/_sandbox/{path}"
    return requests.request(method, url, json=content, headers=headers, timeout=10)
