"""Why no answer came, in words: what a library's chain of exceptions means to a person."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Iterator

import requests
import urllib3


def reason_of(error: BaseException, timeout: tuple[float, float] | None = None) -> str:
    """One clause for what went wrong, without addresses, which may hold secrets.

    + timeout: seconds to connect and seconds without a byte, to be named where they ran out
    """
    chain = list(causes(error))
    connect, read = timeout or (None, None)
    return (
        _certificate(chain)
        or _name(chain)
        or _timeout(chain, connect, read)
        or _proxy(chain)
        or _system(chain)
        or "the connection was cut before the whole answer had come"
    )


def nothing_was_sent(error: BaseException) -> bool:
    """Whether it failed before a connection stood, so that the request can't have been carried out."""
    chain = list(causes(error))
    return any(
        isinstance(
            cause,
            urllib3.exceptions.ConnectTimeoutError
            | urllib3.exceptions.NewConnectionError
            | ssl.SSLCertVerificationError,
        )
        for cause in chain
    )


def causes(error: BaseException) -> Iterator[BaseException]:
    """The exception and all that it wraps, by whatever means its library wraps."""
    seen: set[int] = set()
    waiting: list[BaseException] = [error]
    while waiting:
        cause = waiting.pop(0)
        if id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        inner = [*cause.args, getattr(cause, "reason", None), cause.__cause__, cause.__context__]
        waiting.extend(item for item in inner if isinstance(item, BaseException))


def _certificate(chain: list[BaseException]) -> str:
    for cause in chain:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not accepted ({cause.verify_message})"
    for cause in chain:
        if isinstance(cause, ssl.SSLEOFError):
            return "the connection was cut"
        if isinstance(cause, ssl.SSLError):
            return f"no encrypted connection ({(cause.reason or 'TLS failure').replace('_', ' ').lower()})"
    return ""


def _name(chain: list[BaseException]) -> str:
    for cause in chain:
        if isinstance(cause, socket.gaierror | urllib3.exceptions.NameResolutionError):
            return "its name is not known here: no network, or a wrong address"
    return ""


def _timeout(chain: list[BaseException], connect: float | None, read: float | None) -> str:
    if any(isinstance(cause, urllib3.exceptions.NewConnectionError) for cause in chain):
        return ""  # refused at once, though urllib3 and requests count it as one of their time-outs
    for cause in chain:
        if isinstance(cause, urllib3.exceptions.ConnectTimeoutError | requests.ConnectTimeout):
            return "no connection" + (f" within {connect:g} s" if connect else " in time")
    for cause in chain:
        if isinstance(cause, urllib3.exceptions.ReadTimeoutError | requests.ReadTimeout | TimeoutError):
            return "no answer" + (f" within {read:g} s" if read else " in time")
    return ""


def _proxy(chain: list[BaseException]) -> str:
    if any(
        isinstance(cause, urllib3.exceptions.ProxyError | requests.exceptions.ProxyError) for cause in chain
    ):
        return f"the proxy in between: {_system(chain) or 'it refused'}"
    return ""


def _system(chain: list[BaseException]) -> str:
    for cause in reversed(chain):
        if isinstance(cause, OSError) and isinstance(cause.errno, int):
            return os.strerror(cause.errno).lower()
    return ""
