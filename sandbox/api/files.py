"""Sends a file: by ranges for a client that resumes, slow or cut where a failure rule asks for it."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Final

from aiohttp import web

from sandbox.api.failures import BYTES_PER_SECOND, CUT_AFTER, cut

CHUNK: Final = 1 << 18


async def send_file(request: web.Request, path: Path, content_type: str) -> web.StreamResponse:
    """200 with all of it, 206 with the range asked for, 416 for one beyond the end (RFC 9110, one range)."""
    size = path.stat().st_size
    entity_tag = f'"{path.stat().st_mtime_ns:x}-{size:x}"'
    span = _range(request, size, entity_tag)
    if span is None:
        return web.Response(status=416, headers={"Content-Range": f"bytes */{size}"})
    first, last, partial = span
    response = web.StreamResponse(status=206 if partial else 200)
    response.content_type = content_type
    response.content_length = last - first + 1
    response.headers.update({"Accept-Ranges": "bytes", "ETag": entity_tag})
    response.headers["Content-Disposition"] = f'attachment; filename="{Path(request.path).name}"'
    if partial:
        response.headers["Content-Range"] = f"bytes {first}-{last}/{size}"
    await response.prepare(request)
    if request.method == "HEAD":
        return response
    await _stream(request, response, path, first, last)
    await response.write_eof()
    return response


async def _stream(
    request: web.Request, response: web.StreamResponse, path: Path, first: int, last: int
) -> None:
    cut_after: int = request.get(CUT_AFTER, 0)
    speed: int = request.get(BYTES_PER_SECOND, 0)
    chunk = min(CHUNK, max(1, speed // 20)) if speed else CHUNK
    sent = 0
    with path.open("rb") as file:
        file.seek(first)
        while first + sent <= last:
            wanted = min(chunk, last + 1 - first - sent)
            if cut_after:
                wanted = min(wanted, cut_after - sent)
            content = await asyncio.to_thread(file.read, wanted)
            await response.write(content)
            sent += len(content)
            if cut_after and sent >= cut_after:
                # What was written has to leave before the connection goes.
                await asyncio.sleep(0.1)
                raise cut(request)
            if speed:
                await asyncio.sleep(len(content) / speed)


def _range(request: web.Request, size: int, entity_tag: str) -> tuple[int, int, bool] | None:
    """First byte, last byte, and whether that is a part; None where the range can't be had."""
    found = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("Range", ""))
    condition = request.headers.get("If-Range")
    if not found or found[0] == "bytes=-" or (condition is not None and condition != entity_tag):
        return 0, size - 1, False
    if not found[1]:
        first, last = max(0, size - int(found[2])), size - 1
    else:
        first, last = int(found[1]), min(size - 1, int(found[2]) if found[2] else size - 1)
    return (first, last, True) if first <= last else None
