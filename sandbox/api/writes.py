"""The switch that forbids writes, and what tried to write while it was on.

A write is any request but GET, HEAD and the two token exchanges, a push, a one-off, and any SQL that changes
something in a session whose application name begins with `ops/` (the tool's own; the application's own
processes go on writing).
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import psycopg
from aiohttp import web
from aiohttp.typedefs import Middleware

from sandbox.api.failures import CONTROL_PREFIX, Handler
from sandbox.database.server import PostgresServer

READING: Final = ("GET", "HEAD", "OPTIONS")
TOKEN_EXCHANGES: Final = re.compile(r"^/v1/(tokens/exchange|apps/[^/]+/addons/[^/]+/token)$")
FETCHES: Final = re.compile(r"/git-upload-pack$")
"""git over HTTP asks for what it reads by POST."""
_LOGGED: Final = re.compile(
    r"^\d{4}-\d\d-\d\d [\d:.]+ \w+ \[(?P<pid>\d+)\] app=(?P<app>.*?) user=.*? db=.*?: LOG:  "
    r"(?:statement|execute [^:]*|fastpath function call): (?P<text>.*)"
)
_READING_SQL: Final = re.compile(
    r"^\s*(?:--[^\n]*\n|/\*.*?\*/|\s)*(select|with|show|set|reset|begin|start|commit|end|rollback|abort|savepoint|"
    r"release|fetch|move|close|declare|explain|discard|values|table|listen|unlisten|prepare|execute|deallocate|"
    r"copy\s*\(|copy\b(?:[^;]*)\bto\b)",
    re.IGNORECASE | re.DOTALL,
)
_WRITING_CALL: Final = re.compile(
    r"\b(setval|nextval|lo_\w+|pg_reload_conf|into\s+(?:un)?logged|insert\s+into|update\s+\S+\s+set|delete\s+from)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Violation:
    """One write that was tried while writes were forbidden."""

    at: float
    service: str
    what: str


class Writes:
    """Whether writes are forbidden, and the list of violations."""

    def __init__(self, server: PostgresServer, switch_platform: Callable[[bool], None]) -> None:
        self.forbidden = False
        self.violations: list[Violation] = []
        self._server = server
        self._switch_platform = switch_platform
        self._log_position = 0

    async def forbid(self, on: bool) -> None:
        """Switch; returns once the database's log records statements (or no longer does)."""
        if on == self.forbidden:
            return
        if not on:
            await self.read_log()
        self.forbidden = on
        self._switch_platform(on)
        await asyncio.to_thread(self._log_statements, on)
        self._log_position = self._server.log_path.stat().st_size

    def add(self, service: str, what: str) -> None:
        """Record one violation."""
        self.violations.append(Violation(time.time(), service, what))

    async def read_log(self) -> list[Violation]:
        """All violations so far, those that the database's log tells of included."""
        if self.forbidden:
            with self._server.log_path.open("rb") as file:
                file.seek(self._log_position)
                content = file.read()
            self._log_position += len(content)
            for statement in written_by_operations(content.decode(errors="replace")):
                self.add("postgresql", statement)
        return self.violations

    def middleware(self, service: str) -> Middleware:
        """Refuses and records what is a write, while they are forbidden."""

        @web.middleware
        async def forbid_writes(request: web.Request, handler: Handler) -> web.StreamResponse:
            if (
                self.forbidden
                and request.method not in READING
                and not request.path.startswith(CONTROL_PREFIX)
                and not (TOKEN_EXCHANGES.match(request.path) or FETCHES.search(request.path))
            ):
                self.add(service, f"{request.method} {request.path}")
                return web.json_response({"error": "writes are forbidden in this sandbox now"}, status=503)
            return await handler(request)

        return forbid_writes

    def _log_statements(self, on: bool) -> None:
        with psycopg.connect(self._server.dsn(), autocommit=True) as connection:
            connection.execute(
                "ALTER SYSTEM SET log_statement = 'all'" if on else "ALTER SYSTEM RESET log_statement"
            )
            connection.execute("SELECT pg_reload_conf()")
        # Sessions that are open read the new setting at their next statement; the postmaster within moments.
        time.sleep(0.1)


def written_by_operations(log: str) -> list[str]:
    """The statements in a server's log that change something and come from a session named `ops/…`."""
    found: list[str] = []
    current: tuple[str, str] | None = None
    for line in [*log.splitlines(), "end"]:
        if current and line.startswith("\t"):
            current = (current[0], f"{current[1]}\n{line[1:]}")
            continue
        if current and current[0].startswith("ops/") and is_write(current[1]):
            found.append(current[1][:500])
        match = _LOGGED.match(line)
        current = (match["app"], match["text"]) if match else None
    return found


def is_write(statement: str) -> bool:
    """Whether a statement may change something, judged by its words; several in one message count each."""
    parts = [part for part in statement.split(";") if part.strip()]
    return any(not _READING_SQL.match(part) or _WRITING_CALL.search(part) for part in parts)
