"""What a platform's git remote says about its branch."""

from __future__ import annotations

from typing import Final

from tasks.core.errors import OpsError, Unreachable
from tasks.core.process import Environment, run
from tasks.git.program import KEY_HELP, connection_error, last_words

_SECONDS: Final = 60


def remote_branch(url: str, branch: str, env: Environment, *, key_help: str = KEY_HELP) -> str | None:
    """The commit that a remote's branch is at; None when it has no such branch.

    + env: of `tasks.git.program.git_environment`
    + key_help: what to do when the platform knows none of our SSH keys, in its own terms

    Raises Refused (host key, our key, no such repository) or Unreachable, each with the next step.
    """
    attempted = f"Asking {url} where {branch} is"
    try:
        done = run(
            ["git", "ls-remote", "--end-of-options", url, f"refs/heads/{branch}"], env=env, timeout=_SECONDS
        )
    except Unreachable:
        raise Unreachable(
            attempted,
            f"no answer within {_SECONDS} s",
            state="nothing was sent",
            next_step="check the network here and the platform's status page, then run it again",
        ) from None
    if done.code != 0:
        raise connection_error(attempted, url, done.stderr, key_help=key_help) or OpsError(
            attempted, last_words(done.stderr), state="nothing was sent"
        )
    for line in done.stdout.splitlines():
        sha, _, name = line.partition("\t")
        if name == f"refs/heads/{branch}":
            return sha
    return None
