"""Host keys pinned by fingerprint: fetched, compared, and written where ssh trusts nothing else."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import Final

from tasks.core import paths
from tasks.core.errors import Refused, Unreachable
from tasks.core.process import run

_SECONDS: Final = 15
_found: dict[tuple[str, int, frozenset[str], Path], Path] = {}


def known_hosts(
    host: str, port: int = 22, fingerprints: Collection[str] = (), folder: Path | None = None
) -> Path:
    """A private known_hosts file that holds those keys of a host whose fingerprints are declared.

    + fingerprints: as the platform publishes them, `SHA256:…` with or without the prefix
    + folder: where to write it; by default in the user's cache

    The host is asked once a run. Raises Refused when no fingerprint is declared, or none of them is shown;
    Unreachable when the host does not answer.
    """
    attempted = f"Checking the host key of {host}:{port}"
    declared = frozenset(normal_fingerprint(text) for text in fingerprints)
    if not declared:
        raise Refused(
            attempted,
            "the inventory declares no fingerprint for it, so nobody could tell it from an impostor",
            state="nothing was sent",
            next_step=f"find the SHA256 fingerprints that the platform publishes for {host} in its "
            "documentation, over HTTPS, and declare them in the inventory (what the network shows now, "
            f"`ssh-keyscan -p {port} {host} | ssh-keygen -lf -`, is for comparing, not for copying)",
        )
    folder = paths.private(folder) if folder is not None else paths.cache("hostkeys")
    wanted = (host, port, declared, folder)
    if wanted in _found and _found[wanted].exists():
        return _found[wanted]
    keys = scan(host, port)
    trusted = [line for line in keys if fingerprint(line) in declared]
    if not trusted:
        shown = ", ".join(sorted(f"{line.split()[1]} SHA256:{fingerprint(line)}" for line in keys))
        raise Refused(
            attempted,
            "IT SHOWS NONE OF THE KEYS DECLARED FOR IT. Somebody may be reading and changing what you send, "
            f"or the platform has replaced its keys. It shows {shown}; "
            f"declared: {', '.join(sorted(f'SHA256:{text}' for text in declared))}",
            state="nothing was sent",
            next_step="do not go on from this network. Compare with the fingerprints that the platform "
            "publishes, and change the inventory only if they are the ones shown, and by review",
        )
    name = f"{hashlib.sha256(repr((host, port, sorted(declared))).encode()).hexdigest()[:24]}.known_hosts"
    _found[wanted] = _write_private(folder / name, "".join(f"{line}\n" for line in trusted))
    return _found[wanted]


def scan(host: str, port: int = 22) -> list[str]:
    """The keys that a host shows now, as lines of a known_hosts file; raises Unreachable when none."""
    done = run(["ssh-keyscan", "-T", str(_SECONDS), "-p", str(port), "--", host], timeout=3 * _SECONDS)
    keys = [line for line in done.stdout.splitlines() if line.strip() and not line.startswith("#")]
    if not keys:
        raise Unreachable(
            f"Asking {host}:{port} for its host key",
            "it does not answer as an SSH server",
            state="nothing was sent",
            next_step="check the network here and the platform's status page, then run it again",
        )
    return keys


def fingerprint(line: str) -> str:
    """The SHA256 fingerprint of a known_hosts line's key, as `ssh-keygen -l` shows it, without its prefix."""
    try:
        key = base64.b64decode(line.split()[2], validate=True)
    except (IndexError, binascii.Error):
        return ""
    return base64.b64encode(hashlib.sha256(key).digest()).decode().rstrip("=")


def normal_fingerprint(text: str) -> str:
    """A declared fingerprint without prefix and padding; raises Refused for what is not SHA256."""
    bare = text.strip().removeprefix("SHA256:").rstrip("=")
    try:
        length = len(base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True))
    except binascii.Error:
        length = 0
    if length != 32:
        raise Refused(
            f"Reading the declared host key fingerprint {text!r}",
            "this is not a SHA256 fingerprint (43 characters, such as SHA256:vMMyB6vY…)",
            next_step="take the SHA256 form from the platform's documentation; MD5 proves nothing",
        )
    return bare


def _write_private(path: Path, text: str) -> Path:
    """Written beside and moved into place, so that a run next to this one never reads half of it."""
    descriptor, beside = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    Path(beside).replace(path)
    return path
