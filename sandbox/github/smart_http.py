"""git over HTTP, to read only: `git http-backend` as the CGI program that it is."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path
from typing import Final

from aiohttp import web

from sandbox.github.repository import git_environment

SERVICE: Final = "git-upload-pack"
CHUNK: Final = 64 * 1024


def routes(root: Path) -> list[web.RouteDef]:
    """Clone and fetch of every bare repository under `root`, at `/OWNER/NAME.git` (or without `.git`)."""

    async def advertise(request: web.Request) -> web.StreamResponse:
        if request.query.get("service") != SERVICE:
            raise web.HTTPForbidden(text="This remote can only be cloned and fetched, over smart HTTP.\n")
        return await _cgi(request, _path(root, request), "info/refs")

    async def upload_pack(request: web.Request) -> web.StreamResponse:
        return await _cgi(request, _path(root, request), SERVICE)

    async def refuse(_request: web.Request) -> web.StreamResponse:
        raise web.HTTPForbidden(text="This remote is read-only.\n")

    return [
        web.get("/{owner}/{name}/info/refs", advertise),
        web.post("/{owner}/{name}/git-upload-pack", upload_pack),
        web.post("/{owner}/{name}/git-receive-pack", refuse),
    ]


def _path(root: Path, request: web.Request) -> Path:
    owner, name = request.match_info["owner"], request.match_info["name"].removesuffix(".git")
    path = (root / owner / f"{name}.git").resolve()
    if not path.is_relative_to(root.resolve()) or not (path / "HEAD").is_file():
        raise web.HTTPNotFound(text="Repository not found.\n")
    return path


async def _cgi(request: web.Request, repository: Path, service: str) -> web.StreamResponse:
    process = await asyncio.create_subprocess_exec(
        "git",
        "http-backend",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
        env=git_environment()
        | {
            "GIT_PROJECT_ROOT": str(repository),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": f"/{service}",
            "REQUEST_METHOD": request.method,
            "QUERY_STRING": request.query_string,
            "CONTENT_TYPE": request.headers.get("Content-Type", ""),
            "GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
            "REMOTE_ADDR": request.remote or "",
        },
    )
    assert process.stdin is not None and process.stdout is not None
    feeding = asyncio.create_task(_feed(request, process.stdin))
    try:
        answer = await _head(process.stdout)
        await answer.prepare(request)
        while chunk := await process.stdout.read(CHUNK):
            await answer.write(chunk)
        await answer.write_eof()
        return answer
    finally:
        feeding.cancel()
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def _feed(request: web.Request, stdin: asyncio.StreamWriter) -> None:
    """The request's body (aiohttp has already undone gzip) to the program's input, then its end."""
    with contextlib.suppress(ConnectionError):
        async for chunk in request.content.iter_chunked(CHUNK):
            stdin.write(chunk)
            await stdin.drain()
    stdin.close()


async def _head(stdout: asyncio.StreamReader) -> web.StreamResponse:
    """The status and headers that the program prints first."""
    headers: dict[str, str] = {}
    while line := (await stdout.readline()).decode("latin-1").strip():
        name, _, value = line.partition(":")
        headers[name.title()] = value.strip()
    status = headers.pop("Status", "200") if headers else "500"
    return web.StreamResponse(status=int(status.split()[0]), headers=headers)
