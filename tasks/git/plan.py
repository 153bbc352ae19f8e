"""What a push would change: which commits the app loses and regains, and by which way the release goes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from tasks.git.mirror import Commit

Way = Literal["nothing", "push", "archive"]


@dataclass(frozen=True, slots=True)
class PushPlan:
    """From the running release to the target.

    + old_remote: where the platform's branch is (None: no such branch); the push is held to it
    + running: the commit of the last successful deployment, which need not be where the branch is
    + lost: commits that run now and will not, the newest first
    + regained: commits that do not run now and will, the newest first
    + comparable: whether the running commit is known here; if not, both lists are empty and say nothing
    """

    old_remote: str | None
    running: str | None
    target: str
    lost: tuple[Commit, ...]
    regained: tuple[Commit, ...]
    comparable: bool

    @property
    def way(self) -> Way:
        """By push; by archive deployment where a push would change nothing; not at all when it runs."""
        if self.running == self.target:
            return "nothing"
        return "archive" if self.old_remote == self.target else "push"

    @property
    def needs_archive(self) -> bool:
        """Whether the branch is at the target while another release runs, so that a push would be a no-op."""
        return self.way == "archive"


def plan_push(
    *,
    old_remote: str | None,
    running: str | None,
    target: str,
    has: Callable[[str], bool],
    commits: Callable[[str, str], Sequence[Commit]],
) -> PushPlan:
    """Compare the running release with the target; `has` and `commits` are a mirror's."""
    comparable = running is not None and has(running)
    if running is None or not comparable:
        return PushPlan(old_remote, running, target, (), (), comparable=False)
    return PushPlan(
        old_remote,
        running,
        target,
        lost=tuple(commits(target, running)),
        regained=tuple(commits(running, target)),
        comparable=True,
    )
