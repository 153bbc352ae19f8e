"""Forwarding to the databases through the SSH server, with the switches that tests need: cut, slow."""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections import deque

import asyncssh

_MOST_DELAYED_BYTES = 8 << 20


class Tunnels:
    """The open tunnels of all connections, and what is to happen to them."""

    def __init__(self) -> None:
        self.one_way_seconds = 0.0
        """Delay of each part of the traffic, in each direction."""
        self._open: set[Tunnel] = set()
        self._bytes_left: int | None = None

    def cut_after(self, count: int) -> None:
        """Once the tunnels have carried `count` more bytes together, cut the connections that hold one."""
        self._bytes_left = count
        if count <= 0:
            self.carried(0)

    def carried(self, count: int) -> None:
        """Count bytes that passed."""
        if self._bytes_left is None:
            return
        self._bytes_left -= count
        if self._bytes_left <= 0:
            self._bytes_left = None
            for connection in {tunnel.connection for tunnel in self._open}:
                connection.abort()

    @property
    def open_count(self) -> int:
        return len(self._open)

    def add(self, tunnel: Tunnel) -> None:
        self._open.add(tunnel)

    def remove(self, tunnel: Tunnel) -> None:
        self._open.discard(tunnel)

    async def to(
        self, connection: asyncssh.SSHServerConnection, host: str, port: int
    ) -> asyncssh.SSHTCPSession[bytes]:
        """A session that forwards to (host, port). Raises ChannelOpenError when nothing listens there."""
        tunnel = Tunnel(self, connection)
        try:
            await asyncio.get_running_loop().create_connection(lambda: tunnel.peer, host, port)
        except OSError as error:
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, str(error)) from None
        return tunnel


class _Lane(ABC):
    """One direction: passes data on, late when the tunnels are slow, and in order."""

    def __init__(self, tunnels: Tunnels) -> None:
        self._tunnels = tunnels
        self._waiting: deque[tuple[float, bytes | None]] = deque()
        self._size = 0
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    def put(self, data: bytes | None) -> None:
        """Pass data on; None is the end of the data."""
        delay = self._tunnels.one_way_seconds
        if delay <= 0 and not self._waiting:
            self.deliver(data)
            return
        self._waiting.append((self._loop.time() + delay, data))
        self._size += len(data or b"")
        if self._size > _MOST_DELAYED_BYTES:
            self.hold(True)
        if self._timer is None:
            self._timer = self._loop.call_at(self._waiting[0][0], self._due)

    def drop(self) -> None:
        """The direction is closed: forget what is under way."""
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    @abstractmethod
    def deliver(self, data: bytes | None) -> None:
        """Write data to the other end; None is the end of the data."""

    @abstractmethod
    def hold(self, held: bool) -> None:
        """Stop, or go on, reading from where the data comes from."""

    def _due(self) -> None:
        self._timer = None
        while self._waiting and self._waiting[0][0] <= self._loop.time():
            _, data = self._waiting.popleft()
            self._size -= len(data or b"")
            self.deliver(data)
        if self._size <= _MOST_DELAYED_BYTES // 2:
            self.hold(False)
        if self._waiting:
            self._timer = self._loop.call_at(self._waiting[0][0], self._due)


class _ToDatabase(_Lane):
    def __init__(self, tunnel: Tunnel) -> None:
        super().__init__(tunnel.tunnels)
        self._tunnel = tunnel

    def deliver(self, data: bytes | None) -> None:
        transport = self._tunnel.peer.transport
        if transport is None or transport.is_closing():
            return
        if data is None:
            if transport.can_write_eof():
                transport.write_eof()
        else:
            transport.write(data)

    def hold(self, held: bool) -> None:
        channel = self._tunnel.channel
        if channel is not None and not channel.is_closing():
            if held:
                channel.pause_reading()
            else:
                channel.resume_reading()


class _ToClient(_Lane):
    def __init__(self, tunnel: Tunnel) -> None:
        super().__init__(tunnel.tunnels)
        self._tunnel = tunnel

    def deliver(self, data: bytes | None) -> None:
        channel = self._tunnel.channel
        if channel is None or channel.is_closing():
            return
        if data is None:
            channel.write_eof()
            channel.close()
        else:
            channel.write(data)

    def hold(self, held: bool) -> None:
        transport = self._tunnel.peer.transport
        if transport is not None and not transport.is_closing():
            if held:
                transport.pause_reading()
            else:
                transport.resume_reading()


class _Peer(asyncio.Protocol):
    """The connection to the database."""

    def __init__(self, tunnel: Tunnel) -> None:
        self._tunnel = tunnel
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        # Nothing is read before the client's channel can take it.
        transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        self._tunnel.tunnels.carried(len(data))
        self._tunnel.to_client.put(data)

    def eof_received(self) -> bool:
        self._tunnel.to_client.put(None)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._tunnel.to_client.put(None)

    def pause_writing(self) -> None:
        if self._tunnel.channel is not None:
            self._tunnel.channel.pause_reading()

    def resume_writing(self) -> None:
        if self._tunnel.channel is not None:
            self._tunnel.channel.resume_reading()


class Tunnel(asyncssh.SSHTCPSession[bytes]):
    """One forwarded connection."""

    def __init__(self, tunnels: Tunnels, connection: asyncssh.SSHServerConnection) -> None:
        self.tunnels = tunnels
        self.connection = connection
        self.channel: asyncssh.SSHTCPChannel[bytes] | None = None
        self.peer = _Peer(self)
        self.to_client = _ToClient(self)
        self._to_database = _ToDatabase(self)

    def connection_made(self, chan: asyncssh.SSHTCPChannel[bytes]) -> None:
        self.channel = chan
        self.tunnels.add(self)

    def session_started(self) -> None:
        if self.peer.transport is not None and not self.peer.transport.is_closing():
            self.peer.transport.resume_reading()

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        self.tunnels.carried(len(data))
        self._to_database.put(data)

    def eof_received(self) -> bool:
        self._to_database.put(None)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.tunnels.remove(self)
        self._to_database.drop()
        self.to_client.drop()
        if self.peer.transport is not None:
            with contextlib.suppress(OSError):
                self.peer.transport.abort()

    def pause_writing(self) -> None:
        self.to_client.hold(True)

    def resume_writing(self) -> None:
        self.to_client.hold(False)
