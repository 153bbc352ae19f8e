"""What the live streams share: they last until the client leaves or what they tell ends."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

from aiohttp import web

PING_SECONDS: Final = 20.0


async def tell(socket: web.WebSocketResponse, *works: Coroutine[Any, Any, None]) -> None:
    """Run what sends until the first of it ends or the client has closed; then close."""
    tasks = [asyncio.create_task(work) for work in (*works, _until_closed(socket))]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await socket.close()


async def _until_closed(socket: web.WebSocketResponse) -> None:
    async for _ in socket:
        pass
