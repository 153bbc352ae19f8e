"""The attach endpoint of one-off containers: one HTTP answer, then raw bytes to and from a terminal.

Written on bare sockets, since no HTTP server lets go of a connection after CONNECT with a path as its target.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

from sandbox.platform.oneoffs import OneOff, OneOffs

FIRST_OUTPUT_DELAY = 0.3
"""Seconds between the answer's headers and the first output, unless the client speaks first.

The official client loses what it receives together with the headers.
"""
IDLE_SECONDS = 1800.0
"""Documented: an attached one-off without data for 30 minutes is ended."""
_LONGEST_HEAD = 16 * 1024
_LAST_OUTPUT_SECONDS = 1.0


@dataclass
class _Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class AttachServer:
    """Listens on 127.0.0.1 for CONNECT, PUT, POST …/files and GET …/wait of attach URLs."""

    def __init__(self, one_offs: OneOffs, check: Callable[[str], str | None], port: int) -> None:
        """`check` gives the user id behind a password (a JWT), or None."""
        self._one_offs = one_offs
        self._check = check
        self._port = port
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Raises OSError when the port is taken."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self._port)

    @property
    def listening(self) -> bool:
        return self._server is not None and self._server.is_serving()

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            request = await _read(reader)
            if request is not None:
                await self._answer(request, reader, writer)
        except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _answer(
        self, request: _Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        secret, _, rest = request.path.strip("/").partition("/")
        one_off = self._one_offs.by_secret(secret)
        user_id = self._user(request)
        if user_id is None:
            await _reply(writer, HTTPStatus.UNAUTHORIZED, {"error": "unauthorized"})
        elif one_off is None or one_off.user_id != user_id:
            await _reply(writer, HTTPStatus.NOT_FOUND, {"resource": "container", "error": "not found"})
        elif request.method == "CONNECT" and not rest:
            await self._connect(one_off, reader, writer)
        elif request.method == "PUT" and not rest:
            size = json.loads(request.body)
            one_off.resize(int(size["width"]), int(size["height"]))
            await _reply(writer, HTTPStatus.OK, {})
        elif request.method == "GET" and rest == "wait":
            await one_off.ended.wait()
            if one_off.idle:
                await _reply(writer, HTTPStatus.REQUEST_TIMEOUT, {"error": "killed for inactivity"})
            else:
                await _reply(writer, HTTPStatus.OK, {"exit_code": one_off.container.exit_code or 0})
        elif request.method == "POST" and rest == "files":
            await _reply(writer, HTTPStatus.FORBIDDEN, {"error": "the sandbox takes no uploads"})
        else:
            await _reply(writer, HTTPStatus.NOT_FOUND, {"resource": "route", "error": "not found"})

    def _user(self, request: _Request) -> str | None:
        scheme, _, value = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "basic":
            return None
        try:
            _, _, password = base64.b64decode(value, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        return self._check(password)

    async def _connect(
        self, one_off: OneOff, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if one_off.started or one_off.ended.is_set():
            # Whether the platform lets a second client in is not documented; here it is refused.
            await _reply(writer, HTTPStatus.CONFLICT, {"error": "somebody is attached already"})
            return
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await writer.drain()
        first = asyncio.create_task(reader.read(1 << 16))
        await asyncio.wait([first], timeout=FIRST_OUTPUT_DELAY)
        master = await one_off.start_attached()
        try:
            await _Terminal(one_off, master, reader, writer).carry(first)
        finally:
            first.cancel()
            one_off.terminal = None
            os.close(master)
            await one_off.hang_up()
            await one_off.finish()


class _Terminal:
    """Carries bytes between an attached client and a pty until one of them is gone."""

    def __init__(
        self, one_off: OneOff, master: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._one_off = one_off
        self._master = master
        self._reader = reader
        self._writer = writer
        self._loop = asyncio.get_running_loop()
        self._last_data = self._loop.time()

    async def carry(self, first: asyncio.Task[bytes]) -> None:
        """Until the command has ended and its output is sent, or the client is gone, or both are silent."""
        output = asyncio.create_task(self._output())
        typed = asyncio.create_task(self._input(first))
        ending = asyncio.create_task(self._one_off.finish())
        tasks = {output, typed, ending}
        try:
            while not output.done() and not typed.done() and not ending.done():
                quiet = self._loop.time() - self._last_data
                if quiet >= IDLE_SECONDS:
                    self._one_off.idle = True
                    await self._one_off.hang_up()
                    break
                await asyncio.wait(tasks, timeout=IDLE_SECONDS - quiet, return_when=asyncio.FIRST_COMPLETED)
            if not typed.done():
                await asyncio.wait([output], timeout=_LAST_OUTPUT_SECONDS)
                with contextlib.suppress(OSError):
                    await self._writer.drain()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _output(self) -> None:
        while True:
            await self._when(self._loop.add_reader, self._loop.remove_reader)
            try:
                data = os.read(self._master, 1 << 16)
            except BlockingIOError:
                continue
            except OSError:
                # How Linux reports that no process has the terminal open any more.
                return
            if not data:
                return
            self._last_data = self._loop.time()
            self._writer.write(data)
            await self._writer.drain()

    async def _input(self, first: asyncio.Task[bytes]) -> None:
        data = await first
        while data:
            self._last_data = self._loop.time()
            while data:
                try:
                    data = data[os.write(self._master, data) :]
                except BlockingIOError:
                    await self._when(self._loop.add_writer, self._loop.remove_writer)
                except OSError:
                    return
            data = await self._reader.read(1 << 16)

    async def _when(self, add: Callable[..., object], remove: Callable[[int], object]) -> None:
        """Until the terminal can be read (or written)."""
        possible = asyncio.Event()
        add(self._master, possible.set)
        try:
            await possible.wait()
        finally:
            remove(self._master)


async def _read(reader: asyncio.StreamReader) -> _Request | None:
    """One request's head, and its body where a length is given; None when the client said nothing."""
    head = await reader.readuntil(b"\r\n\r\n")
    if len(head) > _LONGEST_HEAD:
        return None
    lines = head.decode("latin-1").split("\r\n")
    method, path, _ = lines[0].split(" ", 2)
    headers = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    length = int(headers.get("content-length") or 0)
    body = await reader.readexactly(length) if method in ("PUT", "POST") and length <= 1 << 16 else b""
    return _Request(method, path.partition("?")[0], headers, body)


async def _reply(writer: asyncio.StreamWriter, status: HTTPStatus, body: dict[str, object]) -> None:
    payload = json.dumps(body).encode()
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(payload)}\r\nConnection: close\r\n\r\n"
    )
    writer.write(head.encode() + payload)
    await writer.drain()
