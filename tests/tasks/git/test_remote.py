"""Asking a real remote over SSH, and the sentences for what can be wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.core.errors import Refused, Unreachable
from tasks.core.process import run
from tasks.git.program import QUIET_ENVIRONMENT, connection_error, last_words, ssh_address
from tasks.git.remote import remote_branch


def test_branch_is_where_the_platform_has_it(remote: Any, source: Any) -> None:
    assert remote_branch(remote.url, "master", remote.env) is None
    commit = source.commit("First")
    done = run(["git", "push", "-q", remote.url, "HEAD:refs/heads/master"], cwd=source.folder, env=remote.env)
    assert done.code == 0, done.stderr
    assert remote_branch(remote.url, "master", remote.env) == commit
    assert remote_branch(remote.url, "aster", remote.env) is None


def test_another_host_key(remote: Any, another_host_key: Callable[[], None]) -> None:
    trusted = remote.env
    another_host_key()
    with pytest.raises(Refused, match="did not show the key that is declared for it"):
        remote_branch(remote.url, "master", trusted)


def test_an_unregistered_key(remote: Any, tmp_path: Path) -> None:
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other")])
    (tmp_path / "other").replace(remote.folder / "client")
    with pytest.raises(Refused, match="knows none of the SSH keys offered") as refused:
        remote_branch(remote.url, "master", remote.env)
    assert "register the public key" in refused.value.next_step


def test_no_such_app(remote: Any) -> None:
    with pytest.raises(Refused, match="has no such repository"):
        remote_branch(remote.url.replace("app", "other"), "master", remote.env)


def test_nobody_there(remote: Any) -> None:
    trusted = remote.env
    remote.server.kill()
    remote.server.wait()
    with pytest.raises(Unreachable, match="takes no connection"):
        remote_branch(remote.url, "master", trusted)


def test_a_name_that_does_not_exist() -> None:
    with pytest.raises(Unreachable, match=r"the name host\.invalid is not known here"):
        remote_branch("ssh://git@host.invalid/app.git", "master", QUIET_ENVIRONMENT)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("git@ssh.osc.example:app.git", ("git", "ssh.osc.example", 22)),
        ("ssh.osc.example:app.git", ("", "ssh.osc.example", 22)),
        ("ssh://git@127.0.0.1:2222/app.git", ("git", "127.0.0.1", 2222)),
        ("git+ssh://git@push.example/app_1.git", ("git", "push.example", 22)),
        ("https://github.com/a/b.git", None),
        ("/srv/git/app.git", None),
        ("file:///srv/git/app.git", None),
    ],
)
def test_addresses(url: str, expected: tuple[str, str, int] | None) -> None:
    found = ssh_address(url)
    assert (None if found is None else (found.user, found.host, found.port)) == expected


SSH = "ssh: connect to host h.example port 22: "


@pytest.mark.parametrize(
    ("stderr", "reply"),
    [
        (f"{SSH}Connection refused", "h.example takes no connection"),
        (f"{SSH}Network is unreachable", "h.example takes no connection"),
        (f"{SSH}Connection timed out", "h.example does not answer"),
        (f"{SSH}Operation timed out", "h.example does not answer"),
        ("git@h.example: Permission denied (publickey).", "h.example knows none of the SSH keys offered"),
        # These may come from a connection that stood, so that something may have been sent.
        ("client_loop: send disconnect: Connection timed out", None),
        ("Read from remote host h.example: Operation timed out", None),
        ("Timeout, server h.example not responding.", None),
        ("Connection to h.example closed by remote host.", None),
    ],
)
def test_only_a_connection_that_never_stood_sent_nothing(stderr: str, reply: str | None) -> None:
    error = connection_error("Pushing", "git@h.example:app.git", stderr)
    assert (None if error is None else error.reply) == reply


def test_the_line_that_says_most_is_chosen() -> None:
    generic = "fatal: Could not read from remote repository.\n\nPlease make sure you have the correct access"
    assert (
        last_words(f"kex_exchange_identification: reset\n{generic}\n") == "kex_exchange_identification: reset"
    )
    assert last_words("warning: x\nfatal: bad revision\n") == "bad revision"
    assert last_words("") == "git failed and said nothing"
