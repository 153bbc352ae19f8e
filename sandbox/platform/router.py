"""The front of each app: a reverse proxy on a port of its own, told where the web containers are."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import uuid
from collections import Counter
from collections.abc import Iterable

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from sandbox.platform.logbook import ROUTER, Logbook
from sandbox.platform.model import App

FIRST_BYTE_SECONDS = 30.0
"""Documented limit from the request to the answer's first byte."""
IDLE_SECONDS = 60.0
"""Documented limit between two parts of an answer after that."""

_HOP_BY_HOP = {
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "expect",
}

_PAGE = """<!DOCTYPE html><html lang="en"><head><title>{title}</title></head>\
<body><h1>{title}</h1><p>{text}</p></body></html>
"""


class Router:
    """Routes one app's requests, in turn, to its present web containers.

    `switch()` moves new requests at once; `drained()` waits until a container that was left has answered its
    last, so that a deployment between healthy releases loses none.
    """

    def __init__(self, app: App, port: int, logbook: Logbook) -> None:
        self.port = port
        self._app = app
        self._logbook = logbook
        self._targets: list[int] = []
        self._turn = itertools.count()
        self._in_flight: Counter[int] = Counter()
        self._idle = asyncio.Condition()
        self._runner: web.AppRunner | None = None
        self._client: aiohttp.ClientSession | None = None
        self._expects_containers = False

    async def start(self) -> None:
        """Listen. Raises OSError when the port is taken."""
        # A connection for each request: one kept open could be closed by the container just as a request is
        # sent, an error that a reader would see.
        self._client = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, force_close=True),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=IDLE_SECONDS),
        )
        application = web.Application(client_max_size=0)
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1, auto_decompress=False)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        if self._client is not None:
            await self._client.close()

    @property
    def listening(self) -> bool:
        return self._runner is not None and bool(self._runner.sites)

    def switch(self, ports: Iterable[int], expects_containers: bool = True) -> None:
        """From now on requests go to these ports of 127.0.0.1.

        Without any, the answer is 502 where containers are expected (they crashed), else 503 (scaled to 0).
        """
        self._targets = list(ports)
        self._expects_containers = expects_containers

    async def drained(self, port: int, seconds: float = FIRST_BYTE_SECONDS) -> bool:
        """Wait until no request is being answered by `port`; False when one still is after `seconds`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._idle:
                await self._idle.wait_for(lambda: self._in_flight[port] == 0)
                return True
        return False

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        request_id = request.headers.get("X-Request-ID") or str(uuid.uuid4())
        targets = self._targets
        if not targets and not self._expects_containers:
            return self._page(503, "No application", "No web container is running.", request_id)
        first = next(self._turn)
        for attempt in range(len(targets)):
            port = targets[(first + attempt) % len(targets)]
            self._in_flight[port] += 1
            try:
                return await self._forward(request, port, request_id)
            except aiohttp.ClientConnectorError:
                continue
            finally:
                self._in_flight[port] -= 1
                async with self._idle:
                    self._idle.notify_all()
        return self._page(502, "Application error", "No web container accepts connections.", request_id)

    async def _forward(self, request: web.Request, port: int, request_id: str) -> web.StreamResponse:
        assert self._client is not None
        has_body = request.body_exists
        answer: web.StreamResponse | None = None
        try:
            async with asyncio.timeout(FIRST_BYTE_SECONDS) as first_byte:
                reply = await self._client.request(
                    request.method,
                    URL(f"http://127.0.0.1:{port}{request.raw_path}", encoded=True),
                    headers=self._request_headers(request, request_id),
                    data=request.content.iter_any() if has_body else None,
                    allow_redirects=False,
                    skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
                )
                first_byte.reschedule(None)
            async with reply:
                answer = web.StreamResponse(status=reply.status, reason=reply.reason)
                for name, value in reply.headers.items():
                    if name.lower() not in _HOP_BY_HOP:
                        answer.headers.add(name, value)
                answer.headers["X-Request-ID"] = request_id
                await answer.prepare(request)
                async for part in reply.content.iter_any():
                    await answer.write(part)
                await answer.write_eof()
            if self._app.router_logs:
                self._logbook.write(ROUTER, f'{request.method} "{request.path}" {reply.status} {request_id}')
            return answer
        except aiohttp.ClientConnectorError:
            raise
        except ConnectionResetError:
            # The reader is gone; a container that resets its connection is a ClientOSError.
            if answer is not None:
                return answer
            raise
        except TimeoutError:
            if answer is None:
                return self._page(504, "Timeout", "The application took too long to answer.", request_id)
        except aiohttp.ClientError as error:
            self._logbook.write(ROUTER, f"{request.method} {request.path} failed: {type(error).__name__}")
            if answer is None:
                return self._page(
                    502, "Application error", "The application broke off its answer.", request_id
                )
        # The answer has begun: only a cut connection tells the client that it is not whole.
        if request.transport is not None:
            request.transport.abort()
        return answer

    def _request_headers(self, request: web.Request, request_id: str) -> CIMultiDict[str]:
        headers = CIMultiDict(
            (name, value) for name, value in request.headers.items() if name.lower() not in _HOP_BY_HOP
        )
        if not request.body_exists:
            headers.popall("Content-Length", None)
        headers["X-Request-ID"] = request_id
        headers["X-Forwarded-For"] = ", ".join(
            filter(None, (request.headers.get("X-Forwarded-For"), request.remote))
        )
        headers["X-Forwarded-Proto"] = "http"
        headers["X-Forwarded-Port"] = str(self.port)
        headers["X-Real-IP"] = request.remote or ""
        return headers

    def _page(self, status: int, title: str, text: str, request_id: str) -> web.Response:
        return web.Response(
            status=status,
            text=_PAGE.format(title=title, text=text),
            content_type="text/html",
            headers={"X-Request-ID": request_id, "Cache-Control": "no-store"},
        )
