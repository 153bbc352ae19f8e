"""A guarded push: of one commit, over one known state of the branch, watched live, and stoppable.

The platform builds inside the push, so it lasts minutes. What git says at its end is one witness of three:
after a cut connection, or when the branch moved during the build, only the platform's list of deployments
knows what runs; the outcome is then `unknown`, and the caller asks there.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self

from tasks.core.errors import OpsError
from tasks.core.process import Child, Environment
from tasks.git.program import KEY_HELP, clean_line, connection_error, is_commit, last_words

Ending = Literal["landed", "refused", "stale", "up_to_date", "unknown"]

_BRANCH: Final = re.compile(r"(?!.*(?:\.\.|//|@\{|\.lock(?:/|\Z)))[A-Za-z0-9_][\w.@+/-]*(?<![./])\Z")
_KEPT: Final = 200


@dataclass(frozen=True, slots=True)
class PushOutcome:
    """How a push ended, as far as git knows, and the clause that says so.

    landed: the branch is at the commit. refused: it is not, and no build of this push runs; the remote said
    why. stale: somebody moved the branch since the plan, nothing was built. up_to_date: the branch was there
    already, nothing was built. unknown: ask the platform's deployments.
    """

    ending: Ending
    reason: str
    error: OpsError | None = None


def push_command(remote_url: str, commit: str, branch: str, planned_old: str | None) -> list[str]:
    """The push as a command: this commit to that branch, if it still is where the plan saw it.

    + commit: a whole commit id; a tag's name would build first and be refused last
    + planned_old: the commit that the branch was at, or None when it did not exist
    """
    if not is_commit(commit) or not (planned_old is None or is_commit(planned_old)):
        raise OpsError("Preparing the push", f"{commit!r} and {planned_old!r} must be whole commit ids")
    if not _BRANCH.match(branch):
        raise OpsError("Preparing the push", f"{branch!r} is not a branch's name")
    ref = f"refs/heads/{branch}"
    return [
        *("git", "push", "--porcelain", "--no-verify", "--no-follow-tags", "--no-signed"),
        *("--recurse-submodules=no", f"--force-with-lease={ref}:{planned_old or ''}"),
        *("--end-of-options", remote_url, f"{commit}:{ref}"),
    ]


class Push:
    """A push under way; `Push.start` makes one. Whoever waits for it gets the platform's lines live."""

    def __init__(self, url: str, on_line: Callable[[str], None] | None, key_help: str) -> None:
        self._url = url
        self._on_line = on_line
        self._key_help = key_help
        self._status: list[str] = []
        self._own: deque[str] = deque(maxlen=_KEPT)
        self._stopped = False
        self._child: Child
        self.outcome: PushOutcome | None = None
        self.tail: deque[str] = deque(maxlen=_KEPT)
        """The platform's last lines, cleaned, for the error that names a failed build."""

    @classmethod
    def start(
        cls,
        folder: Path,
        command: Sequence[str],
        env: Environment,
        *,
        on_line: Callable[[str], None] | None = None,
        key_help: str = KEY_HELP,
    ) -> Self:
        """Start a push in a process group that ends with us.

        + folder: the repository that has the commit (a mirror's)
        + command: of `push_command`
        + env: of `tasks.git.program.git_environment`
        + on_line: called with each line of the platform, cleaned, while somebody waits
        + key_help: what to do when the platform knows none of our SSH keys, in its own terms
        """
        push = cls(command[-2], on_line, key_help)
        push._child = Child.start(command, env=env, cwd=folder, on_line=push._take)
        return push

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def running(self) -> bool:
        """Whether git or ssh is still at work."""
        return self._child.running

    def wait(self, stop: Callable[[], bool] | None = None, timeout: float | None = None) -> PushOutcome:
        """Wait for its end.

        + stop: asked five times a second; when it answers yes, the push is stopped (its outcome is then
          unknown: the platform decides what a cut connection means)
        + timeout: seconds; raises TimeoutError after them, and the push goes on
        """

        def asked() -> bool:
            if stop is not None and stop():
                self._stopped = True
            return self._stopped

        code = self._child.wait(timeout, stop=asked)
        if self.outcome is None:
            self.outcome = self._judge(code)
        return self.outcome

    def stop(self) -> PushOutcome:
        """End git and ssh, and return when they are gone; a push that has ended keeps its outcome."""
        if self._child.running:
            self._stopped = True
        self._child.stop()
        return self.wait()

    def _take(self, stream: str, line: str) -> None:
        if stream == "stdout":
            self._status.append(line)
        elif line.startswith("remote:"):
            text = clean_line(line)
            self.tail.append(text)
            if self._on_line is not None:
                self._on_line(text)
        else:
            self._own.append(line)

    def _judge(self, code: int) -> PushOutcome:
        own = "\n".join(self._own)
        if self._stopped:
            return PushOutcome("unknown", "the push was stopped here while the platform was at work")
        outcome = outcome_of_status(code, self._status)
        if outcome is not None:
            return outcome
        # A build's log may hold such sentences too; they count only where no line of a platform came.
        if not self.tail:
            error = connection_error("Pushing the release", self._url, own, key_help=self._key_help)
            if error is not None:
                return PushOutcome("refused", error.reply, error)
        return PushOutcome("unknown", f"the connection ended before the platform's answer: {last_words(own)}")


def outcome_of_status(code: int, status: Sequence[str]) -> PushOutcome | None:
    """Judge by exit code and `git push --porcelain` status lines; None when there is no status.

    A status line is `FLAG<tab>FROM:TO<tab>SUMMARY (REASON)`.
    """
    for line in status:
        flag, tab, rest = line.partition("\t")
        if not tab or flag not in (" ", "+", "*", "=", "!"):
            continue
        summary = clean_line(rest.partition("\t")[2])
        if flag == "=":
            return PushOutcome("up_to_date", "the branch was at this commit already")
        if flag != "!":
            if code == 0:
                return PushOutcome("landed", summary)
            return PushOutcome("unknown", f"git says {summary}, and that it failed (exit code {code})")
        return _rejection(summary)
    return None


# Refusals that come before the platform's build or out of it; any later one may leave a build that runs.
_BUILT_NOTHING: Final = (
    "pre-receive hook declined",
    "unpacker error",
    "shallow update not allowed",
    "funny refname",
)


def _rejection(summary: str) -> PushOutcome:
    match = re.match(r"\[(?P<who>[^\]]+)\] \((?P<why>.*)\)\Z", summary)
    who, why = (match["who"], match["why"]) if match else (summary, "")
    if who == "rejected":
        return PushOutcome("stale", f"the branch is no longer where the plan saw it ({why})")
    if who == "remote rejected" and any(text in why for text in _BUILT_NOTHING):
        return PushOutcome("refused", f"the platform refused it ({why})")
    if who != "remote rejected":
        return PushOutcome("unknown", f"the platform did not report how it ended ({why or who})")
    return PushOutcome(
        "unknown", f"the platform built it, then did not move its branch ({why}): it may run all the same"
    )
