"""The SSH server: git pushes and fetches, and tunnels to the databases. Nothing else is let in."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shlex
import socket
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import asyncssh

from sandbox.platform import repositories
from sandbox.platform.deployments import Deployments, Run
from sandbox.platform.errors import NotFound, PlatformError
from sandbox.platform.model import App, User
from sandbox.platform.processes import Child
from sandbox.platform.services import Services
from sandbox.platform.sources import Commit
from sandbox.platform.tunnels import Tunnels

KEEPALIVE_SECONDS = 2
KEEPALIVE_COUNT = 3
"""A client that is silent for both together is gone, and its push with it."""
_USER = "git"
_TIME_TO_UNLOCK = 1.0
"""Seconds in which git removes its lock files when it is terminated; killed, it leaves them."""
_COMMANDS = {"git-receive-pack": "receive-pack", "git-upload-pack": "upload-pack"}
_BLOCK = 1 << 16


class SshServer:
    """Listens on 127.0.0.1 for the accounts' public keys, user `git`."""

    def __init__(
        self,
        services: Services,
        deployments: Deployments,
        find_app: Callable[[str], App],
        writes_forbidden: Callable[[], bool],
        port: int,
    ) -> None:
        self.tunnels = Tunnels()
        self._services = services
        self._deployments = deployments
        self._find_app = find_app
        self._writes_forbidden = writes_forbidden
        self._port = port
        self._key = host_key(services.folder / "ssh_host_ed25519_key")
        self._server: asyncssh.SSHAcceptor | None = None
        self._pushes: Counter[str] = Counter()
        self._connections: set[asyncssh.SSHServerConnection] = set()

    @property
    def public_key(self) -> str:
        """`ssh-ed25519 AAAA…`."""
        return self._key.export_public_key().decode().strip()

    @property
    def fingerprint(self) -> str:
        """`SHA256:…`."""
        return self._key.get_fingerprint()

    @property
    def listening(self) -> bool:
        return self._server is not None and bool(self._server.sockets)

    async def start(self) -> None:
        """Raises OSError when the port is taken."""
        self._server = await asyncssh.listen(
            "127.0.0.1",
            self._port,
            server_host_keys=[self._key],
            server_factory=lambda: _Gatekeeper(self),
            process_factory=self._serve,
            encoding=None,
            allow_pty=False,
            agent_forwarding=False,
            x11_forwarding=False,
            keepalive_interval=KEEPALIVE_SECONDS,
            keepalive_count_max=KEEPALIVE_COUNT,
        )

    async def stop(self) -> None:
        """Cut all connections; pushes under way end as their connections do."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.abort()
        if self._server is not None:
            await self._server.wait_closed()
        while +self._pushes:
            await asyncio.sleep(0.02)

    def user_of(self, key: asyncssh.SSHKey) -> User | None:
        """Whose public key this is."""
        for user in self._services.store.state.users.values():
            for line in user.public_keys:
                with contextlib.suppress(asyncssh.KeyImportError):
                    if asyncssh.import_public_key(line).public_data == key.public_data:
                        return user
        return None

    def opened(self, connection: asyncssh.SSHServerConnection) -> None:
        self._connections.add(connection)

    def closed(self, connection: asyncssh.SSHServerConnection) -> None:
        self._connections.discard(connection)

    async def tunnel(
        self, connection: asyncssh.SSHServerConnection, host: str, port: int
    ) -> asyncssh.SSHTCPSession[bytes]:
        """A session to the database of that name. Raises ChannelOpenError for any other destination."""
        address = self._services.hooks.resolve(host, port)
        if address is None:
            raise asyncssh.ChannelOpenError(
                asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, f"{host}:{port} is no database of this platform"
            )
        return await self.tunnels.to(connection, *address)

    async def _serve(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        try:
            code = await self._command(process)
        except PlatformError as refusal:
            process.stderr.write(f" !     {refusal}\n".encode())
            code = 1
        except (asyncssh.Error, OSError):
            code = 1
        with contextlib.suppress(OSError):
            process.exit(code)

    async def _command(self, process: asyncssh.SSHServerProcess[bytes]) -> int:
        # With encoding None the command line is bytes, whatever the annotation says.
        line = cast("str | bytes | None", process.command) or ""
        try:
            words = shlex.split(line.decode() if isinstance(line, bytes) else line)
        except ValueError:
            words = []
        if len(words) != 2 or words[0] not in _COMMANDS:
            raise PlatformError("Only git pushes and fetches, and tunnels to databases, are possible here.")
        name = words[1].strip("/").removesuffix(".git")
        try:
            app = self._find_app(name)
        except NotFound:
            raise PlatformError(
                f"The application {name} doesn't exist, or you have no access to it."
            ) from None
        if words[0] == "git-upload-pack":
            return await self._exchange(process, app, "upload-pack", {}, None)
        if self._writes_forbidden():
            self._services.hooks.violation(f"git push to {app.name}")
            raise PlatformError("Writes are forbidden at present (a switch of the sandbox).")
        return await self._push(process, app)

    async def _push(self, process: asyncssh.SSHServerProcess[bytes], app: App) -> int:
        """Run git-receive-pack, whose hook speaks with `_decide` over a socket pair."""
        ours, theirs = socket.socketpair()
        user = cast("_Gatekeeper", process.get_extra_info("gatekeeper")).user
        deciding = asyncio.create_task(self._decide(ours, app, user, process))
        self._pushes[app.id] += 1
        try:
            environment = {"SANDBOX_HOOK_FD": str(theirs.fileno())}
            return await self._exchange(process, app, "receive-pack", environment, theirs)
        finally:
            # Closed here too where git never started: the deciding side then reads the end.
            theirs.close()
            await asyncio.wait([deciding])
            self._pushes[app.id] -= 1
            if not self._pushes[app.id]:
                repositories.clean_up_after_pushes(self._services.repository(app))

    async def _exchange(
        self,
        process: asyncssh.SSHServerProcess[bytes],
        app: App,
        command: str,
        environment: dict[str, str],
        handed_over: socket.socket | None,
    ) -> int:
        """Connect the client with a git program until that ends; a client that is gone ends it at once."""
        repository = self._services.repository(app)
        child = await self._services.guard.spawn(
            ["git", command, str(repository)],
            env=repositories.git_environment() | environment,
            cwd=repository,
            feed=True,
            separate_errors=True,
            pass_fds=[handed_over.fileno()] if handed_over is not None else [],
        )
        if handed_over is not None:
            handed_over.close()
        feeding = asyncio.create_task(_feed(process.stdin, child))
        output = asyncio.gather(_copy(child.output, process.stdout), _copy(child.errors, process.stderr))
        gone = asyncio.create_task(process.channel.wait_closed())
        ends: list[asyncio.Future[Any]] = [output, gone]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if gone.done():
                return await child.stop(_TIME_TO_UNLOCK)
            return await child.wait()
        finally:
            if child.running:
                await child.stop(_TIME_TO_UNLOCK)
            for task in (feeding, output, gone):
                task.cancel()
            await asyncio.gather(feeding, output, gone, return_exceptions=True)

    async def _decide(
        self, ours: socket.socket, app: App, user: User, process: asyncssh.SSHServerProcess[bytes]
    ) -> None:
        """The platform's side of the hook: refuse, or deploy and pass the log on, then give the verdict."""
        reader, writer = await asyncio.open_connection(sock=ours)

        def say(text: str) -> None:
            if not writer.is_closing():
                writer.write(json.dumps({"text": text}).encode() + b"\n")

        try:
            line = await reader.readline()
            if not line:
                return
            request = json.loads(line)
            updates = [(old, new, ref) for old, new, ref in request["updates"]]
            refusal = repositories.refusal(updates)
            if refusal is not None:
                raise PlatformError(refusal)
            repository = self._services.repository(app)
            quarantine = dict(request["quarantine"])
            commit = repositories.commit_of(repository, updates[0][1], quarantine)
            connection = process.channel.get_connection()
            run = self._deployments.begin(
                app, Commit(repository, commit, quarantine), user, heard=say, cut=connection.abort
            )
            succeeded = await self._accompany(run, reader)
            writer.write(json.dumps({"exit": 0 if succeeded else 1}).encode() + b"\n")
        except PlatformError as refused:
            say(f" !     {refused}\n")
            writer.write(json.dumps({"exit": 1}).encode() + b"\n")
        except ConnectionError:
            pass
        finally:
            with contextlib.suppress(OSError):
                await writer.drain()
            writer.close()

    async def _accompany(self, run: Run, reader: asyncio.StreamReader) -> bool:
        """Until the deployment has ended; when the hook goes away, the deployment is told."""
        finished = asyncio.create_task(run.finished())
        gone = asyncio.create_task(reader.read(1))
        try:
            await asyncio.wait([finished, gone], return_when=asyncio.FIRST_COMPLETED)
            if not finished.done():
                run.abort()
                if run.deployment.status != "starting":
                    await finished
                return False
            return (await finished).status == "success"
        finally:
            finished.cancel()
            gone.cancel()
            await asyncio.gather(finished, gone, return_exceptions=True)


class _Gatekeeper(asyncssh.SSHServer):
    """One connection: who it is, and what it may ask for."""

    user: User

    def __init__(self, server: SshServer) -> None:
        self._server = server
        self._connection: asyncssh.SSHServerConnection

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        conn.set_extra_info(gatekeeper=self)
        self._server.opened(conn)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.closed(self._connection)

    def begin_auth(self, username: str) -> bool:
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        user = self._server.user_of(key)
        if username != _USER or user is None:
            return False
        self.user = user
        return True

    async def connection_requested(
        self, dest_host: str, dest_port: int, orig_host: str, orig_port: int
    ) -> asyncssh.SSHTCPSession[bytes]:
        return await self._server.tunnel(self._connection, dest_host, dest_port)


def host_key(path: Path) -> asyncssh.SSHKey:
    """The server's key from the private file at `path`, made at first use."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(mode=0o600)
        path.write_bytes(asyncssh.generate_private_key("ssh-ed25519").export_private_key())
    return asyncssh.read_private_key(path)


async def _feed(source: asyncssh.SSHReader[bytes], child: Child) -> None:
    stdin = child.stdin
    with contextlib.suppress(OSError, asyncssh.Error, asyncssh.SignalReceived, asyncssh.BreakReceived):
        while data := await source.read(_BLOCK):
            stdin.write(data)
            await stdin.drain()
    stdin.close()


async def _copy(source: asyncio.StreamReader, target: asyncssh.SSHWriter[bytes]) -> None:
    while data := await source.read(_BLOCK):
        with contextlib.suppress(OSError, asyncssh.Error):
            target.write(data)
            await target.drain()
