"""A command in a one-off container, attached, without a terminal here: its lines as they come, its exit code.

Protocol (developers.scalingo.com, "One-off containers"; the `scalingo` client's `run`): the run is accepted
as an operation, whose end names an address with a secret path; a literal CONNECT to that path turns the
connection into the raw bytes of a pseudo-terminal, both outputs merged; when it closes, `ADDRESS/wait`
tells the exit code. The container starts when somebody attaches, so nothing runs before that.
"""

from __future__ import annotations

import base64
import codecs
import errno
import os
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from requests.utils import DEFAULT_CA_BUNDLE_PATH

from tasks.core.endpoints import check_loopback
from tasks.core.errors import Interrupted, OpsError, Unreachable
from tasks.core.http import TRY_AGAIN, Http, Reply, UnexpectedStatus, printable
from tasks.core.network import reason_of
from tasks.core.secrets import Secret
from tasks.scalingo.apps import Apps, Containers, operation_name
from tasks.scalingo.models import OneOffStart
from tasks.scalingo.polling import Stop, TookTooLong, poll
from tasks.scalingo.session import Session, app_path, parse_whole

LONGEST: Final = 1800.0
"""Seconds that a one-off may take, where the caller does not say: the platform's own idle limit."""

_TIMEOUT: Final = 15.0
_LOOK: Final = 0.5
_LONGEST_HEADER: Final = 16384
_UNKNOWN: Final = "whether the command ran to its end is not known"
_END_OF_INPUT: Final = b"\x04"
_ESCAPES: Final = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b\[[0-?]*[ -/]*[@-~]|\x1b[@-_]|[\x00-\x08\x0b-\x1f\x7f]"
)


@dataclass(frozen=True)
class OneOff:
    """What a one-off container did.

    + label: its name in the application's log (`one-off-1234`)
    + exit_code: the command's own
    + output: its lines, both streams merged as the pseudo-terminal gave them, colours removed
    """

    label: str
    exit_code: int
    output: list[str]


def run(
    session: Session,
    app: str,
    command: str,
    *,
    env: Mapping[str, str] | None = None,
    size: str = "M",
    on_line: Callable[[str], None] | None = None,
    limit: float = LONGEST,
    stop: Stop | None = None,
    sandbox: bool = False,
) -> OneOff:
    """Run a shell command in a one-off container of the application's release, to its end.

    + command: one line for the container's shell; it is seen in the platform's log of events
    + env: variables for this container alone, which is where a secret belongs
    + on_line: called with each line of output as it comes
    + limit: seconds in all; after them the container is stopped
    + stop: asked twice a second; when it answers yes, the container is stopped

    Raises OpsError when it was stopped for its time or its silence, Interrupted, Unreachable; a command
    that fails is no error here: its exit code says so.
    """
    doing = f"Running a command on {app}"
    deadline = time.monotonic() + limit
    started = parse_whole(
        OneOffStart,
        session.call(
            "POST",
            f"{app_path(app)}/run",
            json={
                "command": command,
                "env": {"TERM": "dumb", **(env or {})},
                "size": size,
                "detached": False,
                "has_uploads": False,
            },
            doing=doing,
        ),
    )
    try:
        operation = Apps(session).wait(
            app, operation_name(started.operation_url), doing=doing, limit=limit, stop=stop, every=1.0
        )
        if operation.attach_url is None:
            raise OpsError(doing, "the platform gave no address to attach to", state="nothing ran")
        check_loopback([operation.attach_url.reveal()], sandbox=sandbox)
        attached = _Attached(operation.attach_url, session.bearer(), doing)
        output = attached.follow(deadline, on_line, stop)
        return OneOff(started.container.label, attached.exit_code(deadline, stop), output)
    except (TookTooLong, Interrupted) as error:
        reason = "stopped as asked" if isinstance(error, Interrupted) else f"not finished after {limit:.0f} s"
        raise type(error)(doing, reason, state=_stop(session, app, started.container.id)) from None


class _Attached:
    """The connection to one container's pseudo-terminal, and the question for its exit code."""

    def __init__(self, url: Secret, token: Secret, doing: str) -> None:
        self._url = urlsplit(url.reveal())
        self._doing = doing
        self._basic = "Basic " + base64.b64encode(f":{token.reveal()}".encode()).decode()

    def follow(self, deadline: float, on_line: Callable[[str], None] | None, stop: Stop | None) -> list[str]:
        """The lines until the other side closes."""
        lines: list[str] = []
        with self._attach() as connection:
            connection.settimeout(_LOOK)
            for line in terminal_lines(self._blocks(connection, deadline, stop)):
                lines.append(line)
                if on_line is not None:
                    on_line(line)
        return lines

    def exit_code(self, deadline: float, stop: Stop | None) -> int:
        """Ask for the exit code, which is known when the command has ended."""
        origin = f"{self._url.scheme}://{self._url.netloc}"
        # Repeating is `poll`'s business here, which knows of the deadline.
        http = Http("Scalingo", origin, headers=lambda: {"Authorization": self._basic}, most=0)
        doing = f"{self._doing}, asking for its exit code"

        def ask() -> Reply:
            left = max(1.0, min(deadline - time.monotonic(), 60.0))
            return http.get(
                f"{self._url.path}/wait", shown_path="/.../wait", doing=doing, timeout=(_TIMEOUT, left)
            )

        try:
            reply = poll(
                ask,
                lambda _: True,
                doing=doing,
                every=1.0,
                limit=max(0.0, deadline - time.monotonic()),
                stop=stop,
            )
        except Unreachable as error:
            raise Unreachable(doing, error.reply, state=_UNKNOWN, next_step=TRY_AGAIN) from None
        except UnexpectedStatus as error:
            if error.status != 408:
                raise
            raise OpsError(
                self._doing,
                "the platform ended the container because it was silent for too long",
                next_step="have the command say something now and then, or run it detached",
            ) from None
        finally:
            http.close()
        code = reply.json.get("exit_code") if isinstance(reply.json, dict) else None
        if not isinstance(code, int):
            raise OpsError(self._doing, "it ended, and the platform did not say with which exit code")
        return code

    def _attach(self) -> socket.socket:
        """A connection on which the command's output comes."""
        doing = f"{self._doing}, attaching to its container"
        connection: socket.socket | None = None
        try:
            connection = self._connection()
            status = self._handshake(connection)
            # As the official client does when its own input is empty: a command that reads gets its end.
            connection.sendall(_END_OF_INPUT)
        except OSError as error:
            if connection is not None:
                connection.close()
            reason = reason_of(error, (_TIMEOUT, _TIMEOUT))
            raise Unreachable(doing, reason, state=_UNKNOWN, next_step=TRY_AGAIN) from None
        if not re.match(r"HTTP/1\.[01] 200\b", status):
            connection.close()
            raise OpsError(doing, printable(status), state="nothing ran")
        return connection

    def _connection(self) -> socket.socket:
        host = self._url.hostname or ""
        port = self._url.port or (443 if self._url.scheme == "https" else 80)
        connection = socket.create_connection((host, port), timeout=_TIMEOUT)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if self._url.scheme != "https":
            return connection
        try:
            return trusted().wrap_socket(connection, server_hostname=host)
        except OSError:
            connection.close()
            raise

    def _handshake(self, connection: socket.socket) -> str:
        """Send the literal request and read its answer byte by byte: what follows it is output already."""
        request = (
            f"CONNECT {self._url.path or '/'} HTTP/1.1\r\n"
            f"Host: {self._url.netloc}\r\n"
            f"Authorization: {self._basic}\r\n\r\n"
        )
        connection.sendall(request.encode())
        header = b""
        while not header.endswith(b"\r\n\r\n"):
            byte = connection.recv(1)
            if not byte or len(header) > _LONGEST_HEADER:
                raise ConnectionAbortedError(errno.ECONNABORTED, "no whole answer")
            header += byte
        return header.split(b"\r\n", 1)[0].decode("latin-1")

    def _blocks(self, connection: socket.socket, deadline: float, stop: Stop | None) -> Iterator[bytes]:
        while True:
            if stop is not None and stop():
                raise Interrupted(self._doing)
            if time.monotonic() > deadline:
                raise TookTooLong(self._doing)
            try:
                block = connection.recv(65536)
            except TimeoutError:
                continue
            except OSError:
                return  # cut rather than closed: the exit code is asked for all the same
            if not block:
                return
            yield block


def terminal_lines(blocks: Iterator[bytes]) -> Iterator[str]:
    """What a pseudo-terminal sent, as clean lines; of a line written over itself the last state counts."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    rest = ""
    for block in blocks:
        *lines, rest = (rest + decoder.decode(block)).split("\n")
        yield from map(_clean, lines)
    rest += decoder.decode(b"", final=True)
    if rest.strip("\r"):
        yield _clean(rest)


def _clean(line: str) -> str:
    return _ESCAPES.sub("", line.rstrip("\r").rpartition("\r")[2])


def trusted() -> ssl.SSLContext:
    """The certificate authorities that `requests` trusts, for a connection that is not one of its own."""
    declared = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    path = Path(declared or DEFAULT_CA_BUNDLE_PATH)
    if path.is_dir():
        return ssl.create_default_context(capath=path)
    return ssl.create_default_context(cafile=path)


def _stop(session: Session, app: str, container_id: str) -> str:
    try:
        Containers(session).stop(app, container_id)
    except OpsError:
        return "the container could not be stopped and may still be at work"
    return "the container was stopped"
