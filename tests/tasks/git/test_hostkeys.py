"""Host keys of a real SSH server, compared with what an inventory declares."""

from __future__ import annotations

import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.core.errors import Refused, Unreachable
from tasks.git.hostkeys import fingerprint, known_hosts, normal_fingerprint

OTHER = "SHA256:vMMyB6vYf+U68JFAcK/vAL6g4DOKGmT/LMwLhzI9+3E"


def test_the_declared_key_is_written_for_ssh_alone(remote: Any, tmp_path: Path) -> None:
    path = known_hosts("127.0.0.1", remote.port, [OTHER, remote.fingerprint], tmp_path / "keys")
    [line] = path.read_text().splitlines()
    assert line.startswith(f"[127.0.0.1]:{remote.port} ssh-ed25519 ")
    assert f"SHA256:{fingerprint(line)}" == remote.fingerprint
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_the_host_is_asked_once_a_run(remote: Any, tmp_path: Path) -> None:
    first = known_hosts("127.0.0.1", remote.port, [remote.fingerprint], tmp_path)
    remote.server.kill()
    remote.server.wait()
    assert known_hosts("127.0.0.1", remote.port, [remote.fingerprint], tmp_path) == first


def test_another_key_is_refused_and_nothing_is_written(
    remote: Any, tmp_path: Path, another_host_key: Callable[[], None]
) -> None:
    another_host_key()
    with pytest.raises(Refused, match="IT SHOWS NONE OF THE KEYS DECLARED FOR IT") as refused:
        known_hosts("127.0.0.1", remote.port, [remote.fingerprint], tmp_path / "keys")
    assert remote.fingerprint in str(refused.value)
    assert "do not go on from this network" in refused.value.next_step
    assert list((tmp_path / "keys").iterdir()) == []


def test_no_declared_fingerprint_is_refused_with_the_way_to_it(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="declares no fingerprint") as refused:
        known_hosts("ssh.example.org", 22, [], tmp_path)
    assert "publishes for ssh.example.org" in refused.value.next_step


def test_no_ssh_server_is_unreachable(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    with pytest.raises(Unreachable, match="does not answer as an SSH server"):
        known_hosts("127.0.0.1", port, [OTHER], tmp_path)


@pytest.mark.parametrize("text", [OTHER, OTHER.removeprefix("SHA256:"), f" {OTHER}= "])
def test_fingerprints_are_read_as_they_are_published(text: str) -> None:
    assert normal_fingerprint(text) == OTHER.removeprefix("SHA256:")


@pytest.mark.parametrize(
    "text", ["", "SHA256:", "MD5:16:27:ac:a5:76:28:2d:36:63:1b:56:4d:eb:df:a6:48", "SHA256:abc"]
)
def test_what_is_not_sha256_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="not a SHA256 fingerprint"):
        normal_fingerprint(text)
