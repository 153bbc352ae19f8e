"""A way to a database that only the platform's own network reaches: OpenSSH's port forwarding.

Source: doc.scalingo.com, "Access your database": `ssh -N -L LOCAL:HOST:PORT git@ssh.REGION.scalingo.com`
with a key registered on the account.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tasks.core.errors import NotConfigured, OpsError, Refused, Unreachable
from tasks.core.http import TRY_AGAIN, printable
from tasks.core.process import Child
from tasks.core.secrets import redact

LOOPBACK: Final = "127.0.0.1"
POSTGRESQL_PROBE: Final = (8).to_bytes(4, "big") + (80877103).to_bytes(4, "big")
"""The request for TLS, which every PostgreSQL server answers with one byte (SSLRequest)."""

# ssh runs its LocalCommand once it listens, which with ExitOnForwardFailure means: on our port, and not
# somebody else, who may have taken it in the moment between and would answer in the database's place.
_LISTENING: Final = "the tunnel listens"

_OPENING: Final = 30.0
_ANSWER: Final = 10.0
_LOOK: Final = 0.05
_PORTS_TRIED: Final = 3
_KEPT_LINES: Final = 50


@dataclass(frozen=True)
class Target:
    """Where a tunnel leads and through whom.

    + ssh_host, ssh_port: the platform's SSH server, of the region in use
    + host, port: the database as the platform's network knows it
    """

    ssh_host: str
    ssh_port: int
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port} through {self.ssh_host}:{self.ssh_port}"


def tunnel_command(
    target: Target, local_port: int, known_hosts: Path, identity: Path | None, compression: bool
) -> list[str]:
    """The ssh command line that forwards a local port: it trusts pinned host keys alone and asks nothing."""
    options = {
        "BatchMode": "yes",
        "Compression": "yes" if compression else "no",
        "ConnectTimeout": "15",
        "ControlMaster": "no",
        "ControlPath": "none",
        "ExitOnForwardFailure": "yes",
        "GlobalKnownHostsFile": "/dev/null",
        "LocalCommand": f"echo {_LISTENING}",
        "PermitLocalCommand": "yes",
        "ServerAliveCountMax": "3",
        "ServerAliveInterval": "10",
        "StrictHostKeyChecking": "yes",
        "UpdateHostKeys": "no",
        "UserKnownHostsFile": _quoted(known_hosts),
    }
    if identity is not None:
        options |= {"IdentitiesOnly": "yes", "IdentityFile": _quoted(identity)}
    host = f"[{target.host}]" if ":" in target.host else target.host
    return [
        *("ssh", "-N", "-T", "-a", "-x"),
        *(word for name, value in options.items() for word in ("-o", f"{name}={value}")),
        *("-L", f"{LOOPBACK}:{local_port}:{host}:{target.port}"),
        *("-p", str(target.ssh_port), f"git@{target.ssh_host}"),
    ]


class Tunnel:
    """An open tunnel; `host` and `port` are its near end, on this machine.

        with Tunnel(ssh_host, ssh_port, database_host, database_port, known_hosts) as tunnel:
            psycopg.connect(host=tunnel.host, port=tunnel.port, ...)

    + known_hosts: the pinned host keys, as `tasks.git.hostkeys` writes them
    + identity: a private key; None to take the agent's and ssh's own defaults
    + compression: worth it on slow lines; on a fast one it costs more than it brings
    + probe: what is sent once to see that the far end answers; None to only wait for ssh

    Entering raises Refused for a host key that is not the pinned one, NotConfigured for a key that the
    platform does not know, Unreachable when a server does not answer.
    """

    host: Final = LOOPBACK

    def __init__(
        self,
        ssh_host: str,
        ssh_port: int,
        remote_host: str,
        remote_port: int,
        known_hosts: Path,
        identity: Path | None = None,
        *,
        compression: bool = True,
        probe: bytes | None = POSTGRESQL_PROBE,
        limit: float = _OPENING,
    ) -> None:
        self.target = Target(ssh_host, ssh_port, remote_host, remote_port)
        self.port = 0
        self._known_hosts = known_hosts
        self._identity = identity
        self._compression = compression
        self._probe = probe
        self._limit = limit
        self._child: Child | None = None
        self._said: list[str] = []

    @property
    def address(self) -> tuple[str, int]:
        """The near end as host and port."""
        return self.host, self.port

    def __enter__(self) -> Self:
        for attempt in range(1, _PORTS_TRIED + 1):
            self.port = _free_port()
            self._said.clear()
            command = tunnel_command(
                self.target, self.port, self._known_hosts, self._identity, self._compression
            )
            self._child = Child.start(
                command, env={"SHELL": "/bin/sh"}, on_line=lambda _stream, text: self._said.append(text)
            )
            try:
                self._open(time.monotonic() + self._limit)
            except _PortTaken:
                self.close()
                if attempt == _PORTS_TRIED:
                    raise Unreachable(
                        f"Opening a tunnel to {self.target}", "no local port was free"
                    ) from None
            except BaseException:
                self.close()
                raise
            else:
                break
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End ssh and everything below it."""
        if self._child is not None:
            self._child.stop()
            self._child = None

    def failed(self) -> str | None:
        """Why the tunnel is closed although nobody closed it; None while it stands."""
        if self._child is None or self._child.running:
            return None
        return explain(self._listen()).reason

    def complaints(self) -> str:
        """The last line that ssh wrote: why a connection through the tunnel failed, where one did."""
        said = self._listen()
        return said[-1] if said else ""

    def _open(self, deadline: float) -> None:
        """Wait until ssh listens, and see that the far end answers a connection through it."""
        child = self._child
        while _LISTENING not in (said := self._listen()):
            if child is None or not child.running:
                said = self._listen()
                if any("already in use" in line.lower() for line in said):
                    raise _PortTaken
                raise self._error(said)
            if time.monotonic() > deadline:
                raise Unreachable(
                    f"Opening a tunnel to {self.target}",
                    f"not open after {self._limit:.0f} s",
                    next_step=TRY_AGAIN,
                )
        self._said.clear()
        if self._probe is not None and not self._answers(self._probe):
            raise self._error(self._listen() or ["the database does not answer through it"])

    def _answers(self, probe: bytes) -> bool:
        try:
            with socket.create_connection(self.address, _ANSWER) as connection:
                connection.sendall(probe)
                return bool(connection.recv(1))
        except OSError:
            return False

    def _listen(self) -> list[str]:
        """What ssh has written so far, redacted; whoever asks is who reads its pipe."""
        if self._child is not None:
            with contextlib.suppress(TimeoutError):
                self._child.wait(timeout=_LOOK)
        del self._said[:-_KEPT_LINES]
        return [redact(printable(line)) for line in self._said if line.strip()]

    def _error(self, said: Sequence[str]) -> OpsError:
        found = explain(said)
        return found.kind(f"Opening a tunnel to {self.target}", found.reason, next_step=found.next_step)


class _PortTaken(Exception):
    """Somebody took the local port in the moment between."""


@dataclass(frozen=True)
class Explanation:
    """What ssh's lines mean: the error's kind, its reason in words, the next step."""

    kind: type[OpsError]
    reason: str
    next_step: str


_MEANINGS: Final = (
    (
        "host key verification failed",
        Explanation(
            Refused,
            "ITS HOST KEY IS NOT THE PINNED ONE: somebody may stand in between, or the platform has "
            "replaced its keys",
            "do not go on from this network; compare with the fingerprints that the platform publishes",
        ),
    ),
    (
        "permission denied",
        Explanation(
            NotConfigured,
            "the platform does not accept any SSH key from here",
            "add your key to the agent (ssh-add) and to your account (scalingo keys-add NAME KEY.pub); "
            "a key with a passphrase works through the agent only",
        ),
    ),
    (
        "administratively prohibited",
        Explanation(
            Refused,
            "the platform refuses to forward to that address (administratively prohibited)",
            "check that the database belongs to an application that this SSH key's account may reach",
        ),
    ),
    (
        "open failed",
        Explanation(
            Unreachable,
            "the database does not accept connections from the platform's SSH server",
            "look at the database's state in the dashboard",
        ),
    ),
    (
        "unprotected private key",
        Explanation(NotConfigured, "the key file is readable by others", "chmod 600 it"),
    ),
    (
        "could not resolve hostname",
        Explanation(Unreachable, "the SSH server's name is not known here", TRY_AGAIN),
    ),
)


def explain(said: Sequence[str]) -> Explanation:
    """What the lines that ssh wrote mean, the gravest first; the last one as it is where none is known."""
    text = "\n".join(said).lower()
    for words, meaning in _MEANINGS:
        if words in text:
            return meaning
    return Explanation(Unreachable, said[-1] if said else "ssh ended without a word", TRY_AGAIN)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def _quoted(path: Path) -> str:
    """A path as a value in ssh's configuration, where blanks separate and `%` begins a token."""
    return '"' + str(path).replace("%", "%%").replace('"', '\\"') + '"'
