"""Pushes over real SSH into a build that lasts, told apart by what really happened to the branch."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.core.errors import OpsError, Refused, Unreachable
from tasks.core.process import environment
from tasks.git.push import Push, PushOutcome, outcome_of_status, push_command

OLD, NEW = "1" * 40, "2" * 40


@pytest.fixture
def commits(source: Any, mirror: Any, remote: Any) -> list[str]:
    """Three commits in the mirror, the first of which is deployed."""
    shas = [source.commit(f"Release {number}") for number in (1, 2, 3)]
    source.git("tag", "-a", "-m", "Second", "v2", shas[1])
    mirror.update()
    assert push(remote, mirror, shas[0], None).ending == "landed"
    return shas


def start(remote: Any, mirror: Any, commit: str, old: str | None, **options: Any) -> Push:
    command = push_command(remote.url, commit, "master", old)
    return Push.start(mirror.folder, command, remote.env, **options)


def push(remote: Any, mirror: Any, commit: str, old: str | None, **options: Any) -> PushOutcome:
    with start(remote, mirror, commit, old, **options) as running:
        return running.wait()


def test_command_pins_the_commit_and_the_planned_state() -> None:
    assert push_command("ssh://git@h/a.git", NEW, "master", OLD) == [
        "git", "push", "--porcelain", "--no-verify", "--no-follow-tags", "--no-signed",
        "--recurse-submodules=no", f"--force-with-lease=refs/heads/master:{OLD}",
        "--end-of-options", "ssh://git@h/a.git", f"{NEW}:refs/heads/master",
    ]  # fmt: skip
    assert "--force-with-lease=refs/heads/main:" in push_command("u", NEW, "main", None)


@pytest.mark.parametrize(
    ("commit", "branch", "old"),
    [
        ("v1.2.3", "master", OLD),
        (NEW, "master", "master"),
        (NEW, "-f", OLD),
        (NEW, "a..b", OLD),
        (NEW, "", OLD),
    ],
)
def test_command_takes_nothing_that_could_mean_something_else(commit: str, branch: str, old: str) -> None:
    with pytest.raises(OpsError, match="Preparing the push"):
        push_command("ssh://git@h/a.git", commit, branch, old)


def test_a_build_that_succeeds_lands_forwards_and_backwards(
    remote: Any, mirror: Any, commits: list[str]
) -> None:
    assert push(remote, mirror, commits[2], commits[0]).ending == "landed"
    assert remote.at() == commits[2]
    back = push(remote, mirror, commits[1], commits[2])
    assert (back.ending, remote.at()) == ("landed", commits[1])
    assert "forced update" in back.reason


def test_a_build_that_fails_is_refused_and_leaves_its_last_lines(
    remote: Any, mirror: Any, commits: list[str]
) -> None:
    remote.build("echo ' !   Error deploying the application'; echo ' !   → crashed' >&2; exit 1")
    seen: list[str] = []
    with start(remote, mirror, commits[1], commits[0], on_line=seen.append) as running:
        outcome = running.wait()
    assert (outcome.ending, remote.at()) == ("refused", commits[0])
    assert "pre-receive hook declined" in outcome.reason
    assert sorted(seen) == [" !   Error deploying the application", " !   → crashed"] == sorted(running.tail)


def test_lines_arrive_live_and_clean(remote: Any, mirror: Any, commits: list[str]) -> None:
    remote.build(
        r"""
        for i in 1 2 3 4 5 6 7; do date +%s.%N; sleep 0.1; done
        printf '\033[1;32m-----> Build\033[0m complete, shipping   \n       indented\n\n50%%\r100%%\nno end'
        """
    )
    delays: list[float] = []
    seen: list[str] = []

    def on_line(text: str) -> None:
        if text[:2].isdigit() and "%" not in text:
            delays.append(time.time() - float(text))
        else:
            seen.append(text)

    assert push(remote, mirror, commits[1], commits[0], on_line=on_line).ending == "landed"
    assert seen == ["-----> Build complete, shipping", "       indented", "", "50%", "100%", "no end"]
    assert len(delays) == 7
    assert sorted(delays)[3] < 0.05


def test_somebody_elses_deployment_in_between_makes_it_stale(
    remote: Any, mirror: Any, commits: list[str]
) -> None:
    assert push(remote, mirror, commits[1], commits[0]).ending == "landed"
    remote.build("echo built >> ../built")
    assert push(remote, mirror, commits[2], commits[0]).ending == "stale"
    assert push(remote, mirror, commits[2], None).ending == "stale"
    assert remote.at() == commits[1]
    assert not (remote.folder / "built").exists()


def test_a_branch_that_moves_during_the_build_leaves_it_unknown(
    remote: Any, mirror: Any, commits: list[str]
) -> None:
    assert push(remote, mirror, commits[1], commits[0]).ending == "landed"
    remote.build(f"echo built; env -u GIT_QUARANTINE_PATH git update-ref refs/heads/master {commits[0]}")
    outcome = push(remote, mirror, commits[2], commits[1])
    assert (outcome.ending, remote.at()) == ("unknown", commits[0])
    assert "may run all the same" in outcome.reason


def test_a_push_of_what_is_there_builds_nothing(remote: Any, mirror: Any, commits: list[str]) -> None:
    remote.build("echo built >> ../built")
    assert push(remote, mirror, commits[0], commits[0]).ending == "up_to_date"
    assert not (remote.folder / "built").exists()


def test_stop_ends_the_build_and_the_branch_stays(remote: Any, mirror: Any, commits: list[str]) -> None:
    remote.build("echo begun; sleep 2; echo through")
    begun: list[str] = []
    running = start(remote, mirror, commits[1], commits[0], on_line=begun.append)
    before = time.monotonic()
    outcome = running.wait(stop=lambda: bool(begun))
    assert time.monotonic() - before < 1.9
    assert outcome == PushOutcome("unknown", "the push was stopped here while the platform was at work")
    assert running.stop() == outcome
    assert not running.running
    assert remote.stays_at(commits[0], 2.5)


def test_a_stopped_push_may_land_all_the_same(remote: Any, mirror: Any, commits: list[str]) -> None:
    """Where the server lets a build outlive its connection: why the outcome is "unknown"."""
    (remote.folder / "outlives").touch()
    remote.build("echo begun; trap '' PIPE HUP; sleep 1; exit 0")
    begun: list[str] = []
    running = start(remote, mirror, commits[1], commits[0], on_line=begun.append)
    assert running.wait(stop=lambda: bool(begun)).ending == "unknown"
    deadline = time.monotonic() + 5
    while remote.at() == commits[0] and time.monotonic() < deadline:
        time.sleep(0.1)
    assert remote.at() == commits[1]


def test_a_server_that_dies_leaves_it_unknown(remote: Any, mirror: Any, commits: list[str]) -> None:
    remote.build("echo begun; sleep 3")

    def end_the_server(_: str) -> None:
        remote.server.kill()

    outcome = push(remote, mirror, commits[1], commits[0], on_line=end_the_server)
    assert outcome.ending == "unknown"
    assert "the connection ended before the platform's answer" in outcome.reason


@pytest.mark.parametrize("patched", [False, True], ids=["plain", "gevent"])
def test_kill_9_of_the_pushing_python_stops_the_push(
    remote: Any, mirror: Any, commits: list[str], patched: bool
) -> None:
    remote.build("echo begun; sleep 2; echo through")
    code = ("from gevent import monkey; monkey.patch_all()\n" if patched else "") + textwrap.dedent(
        """
        import json, os, sys
        from pathlib import Path
        from tasks.git.push import Push
        command, env, folder = json.loads(sys.argv[1])
        Push.start(Path(folder), command, env, on_line=lambda line: print(line, flush=True)).wait()
        """
    )
    command = push_command(remote.url, commits[1], "master", commits[0])
    argument = json.dumps([command, remote.env, str(mirror.folder)])
    pusher = subprocess.Popen(
        [sys.executable, "-c", code, argument], stdout=subprocess.PIPE, text=True, env=environment()
    )
    assert pusher.stdout is not None
    assert pusher.stdout.readline() == "begun\n"
    os.kill(pusher.pid, signal.SIGKILL)
    pusher.communicate()
    assert remote.stays_at(commits[0], 3)


def test_another_host_key_is_refused_before_anything_is_sent(
    remote: Any, mirror: Any, commits: list[str], another_host_key: Callable[[], None]
) -> None:
    trusted = remote.env
    another_host_key()
    command = push_command(remote.url, commits[1], "master", commits[0])
    outcome = Push.start(mirror.folder, command, trusted).wait()
    assert outcome.ending == "refused"
    assert isinstance(outcome.error, Refused)
    assert "somebody may be in between" in outcome.reason


def test_an_unregistered_key_is_refused_with_what_to_do(
    remote: Any, mirror: Any, commits: list[str], tmp_path: Path
) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other")], check=True)
    (remote.folder / "client").unlink()
    (tmp_path / "other").rename(remote.folder / "client")
    outcome = push(remote, mirror, commits[1], commits[0], key_help="add it under Account, SSH keys")
    assert outcome.ending == "refused"
    assert outcome.error is not None
    assert outcome.error.next_step == "add it under Account, SSH keys"


def test_a_closed_port_is_refused_as_unreachable(remote: Any, mirror: Any, commits: list[str]) -> None:
    trusted = remote.env
    remote.server.kill()
    remote.server.wait()
    command = push_command(remote.url, commits[1], "master", commits[0])
    outcome = Push.start(mirror.folder, command, trusted).wait()
    assert outcome.ending == "refused"
    assert isinstance(outcome.error, Unreachable)


def test_a_build_log_cannot_pass_for_a_refused_connection(
    remote: Any, mirror: Any, commits: list[str]
) -> None:
    remote.build("echo 'Permission denied (publickey).'; sleep 3")
    outcome = push(remote, mirror, commits[1], commits[0], on_line=lambda _: remote.server.kill())
    assert outcome.ending == "unknown"


@pytest.mark.parametrize(
    ("code", "status", "ending"),
    [
        (0, ["To ssh://h/a.git", f" \t{NEW}:refs/heads/master\t1111111..2222222", "Done"], "landed"),
        (0, [f"+\t{NEW}:refs/heads/master\t1111111...2222222 (forced update)", "Done"], "landed"),
        (0, [f"*\t{NEW}:refs/heads/master\t[new branch]", "Done"], "landed"),
        (0, [f"=\t{NEW}:refs/heads/master\t[up to date]", "Done"], "up_to_date"),
        (1, [f"!\t{NEW}:refs/heads/master\t[rejected] (stale info)", "Done"], "stale"),
        (1, [f"!\t{NEW}:refs/heads/master\t[remote rejected] (pre-receive hook declined)"], "refused"),
        (1, [f"!\t{NEW}:refs/heads/master\t[remote rejected] (failed to update ref)"], "unknown"),
        (1, [f"!\t{NEW}:refs/heads/master\t[remote failure] (remote failed to report status)"], "unknown"),
        (128, [f" \t{NEW}:refs/heads/master\t1111111..2222222"], "unknown"),
    ],
)
def test_status_lines(code: int, status: list[str], ending: str) -> None:
    outcome = outcome_of_status(code, status)
    assert outcome is not None
    assert outcome.ending == ending


def test_no_status_is_no_outcome() -> None:
    assert outcome_of_status(0, []) is None
    assert outcome_of_status(128, ["To ssh://h/a.git"]) is None
