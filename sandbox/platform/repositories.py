"""The apps' bare git repositories, and which pushes they take."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from sandbox.platform import pre_receive
from sandbox.platform.errors import PlatformError

BRANCHES = ("refs/heads/main", "refs/heads/master")
"""Only a push to one of these deploys (documented); the other refs are refused."""


def git_environment() -> dict[str, str]:
    """Variables for the platform's own git: nothing of the operator's configuration."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": os.devnull,
        "LANG": "C.UTF-8",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
    }


def prepare(repository: Path) -> None:
    """Create the bare repository if it isn't there, and write its settings and hook anew.

    Written at each start, since the interpreter and this package may have moved. Raises PlatformError.
    """
    if not (repository / "HEAD").exists():
        repository.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _git("init", "--quiet", "--bare", "--initial-branch=master", "--template=", str(repository))
        repository.chmod(0o700)
    for name, value in {
        "receive.shallowUpdate": "false",
        "receive.denyDeletes": "true",
        "receive.autogc": "false",
        "core.hooksPath": "hooks",
    }.items():
        _git("--git-dir", str(repository), "config", name, value)
    hook = repository / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\nexec '{sys.executable}' -I -S '{pre_receive.__file__}'\n", encoding="utf-8")
    hook.chmod(0o700)
    clean_up_after_pushes(repository)


def clean_up_after_pushes(repository: Path) -> None:
    """Remove what a killed push left: objects, and locks. Only while no push to the repository is running."""
    for lock in (*repository.glob("*.lock"), *(repository / "refs").rglob("*.lock")):
        lock.unlink(missing_ok=True)
    for pattern in ("tmp_objdir-incoming-*", "incoming-*"):
        for leftover in (repository / "objects").glob(pattern):
            with contextlib.suppress(OSError):
                shutil.rmtree(leftover)


def commit_of(repository: Path, name: str, quarantine: dict[str, str]) -> str:
    """The commit that `name` (a commit or an annotated tag) stands for, with all of its history.

    Raises PlatformError. git itself refuses a shallow push only after its hook, here the whole deployment.
    """
    here = ("--git-dir", str(repository))
    commit = _git(*here, "rev-parse", "--verify", f"{name}^{{commit}}", extra=quarantine)
    try:
        _git(*here, "rev-list", "--quiet", commit, "--not", "--all", extra=quarantine)
    except PlatformError:
        raise PlatformError(
            "Shallow pushes are refused: run git fetch --unshallow, then push again."
        ) from None
    return commit


def refusal(updates: Sequence[tuple[str, str, str]]) -> str | None:
    """Why a push of these (old, new, ref) is refused before any build, or None.

    The documentation says that it is refused, not in which words: these are the sandbox's.
    """
    if any(ref.startswith("refs/tags/") for _, _, ref in updates):
        return "Tags are not accepted: push a commit to main or master (and disable push.followTags)."
    if any(ref not in BRANCHES for _, _, ref in updates):
        return "Only the branches main and master are deployed: git push scalingo BRANCH:master"
    if len(updates) != 1:
        return "One branch at a time: main and master can't be pushed together."
    if not updates[0][1].strip("0"):
        return "The deployed branch can't be deleted."
    return None


def _git(*arguments: str, extra: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        ["git", *arguments],
        env=git_environment() | (extra or {}),
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise PlatformError(f"git {arguments[0]} failed: {done.stderr.strip()}")
    return done.stdout.strip()
