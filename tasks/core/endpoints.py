"""Which machine an address means: a sandbox is on this one, and nothing else is."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit

from tasks.core.errors import Refused


def host_of(address: str) -> str:
    """The host in a URL, in `host:port`, or in a bare host name; empty where there is none."""
    try:
        return (urlsplit(address if "://" in address else f"//{address}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def is_loopback(address: str) -> bool:
    """Whether an address can only mean this machine; names are judged as written, never looked up."""
    host = host_of(address)
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        number = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = number.ipv4_mapped if isinstance(number, ipaddress.IPv6Address) else None
    return (mapped or number).is_loopback or number.is_unspecified


def require_loopback(urls: Iterable[str]) -> None:
    """Raise Refused unless every address is on this machine: the rule of a sandbox environment."""
    outside = sorted({host_of(url) for url in urls if not is_loopback(url)})
    if outside:
        raise Refused(
            "This inventory is a sandbox",
            f"{', '.join(outside)} is not on this machine",
            state="nothing was sent there",
            next_step="start the sandbox, or take the inventory of the environment that you mean",
        )


def refuse_loopback(urls: Iterable[str]) -> None:
    """Raise Refused when an address is on this machine: the rule of every environment but a sandbox."""
    inside = sorted({host_of(url) for url in urls if is_loopback(url)})
    if inside:
        raise Refused(
            "This inventory is not a sandbox",
            f"{', '.join(inside)} is on this machine",
            state="nothing was sent there",
            next_step="look for variables of a sandbox that are still set here (env | grep SCALINGO), "
            "or take the sandbox's own inventory",
        )


def check_loopback(urls: Iterable[str], *, sandbox: bool) -> None:
    """Hold addresses to the rule of their environment; raises Refused."""
    if sandbox:
        require_loopback(urls)
    else:
        refuse_loopback(urls)
