"""What ran on each commit: check runs, commit statuses, workflow runs. A scenario sets them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

TEST: Final = "test"
WORKFLOW: Final = ".github/workflows/test.yml"
DURATION: Final = timedelta(minutes=3)

RUN_STATUSES: Final = ("queued", "in_progress", "completed", "waiting", "requested", "pending")
CONCLUSIONS: Final = (
    "success",
    "failure",
    "neutral",
    "cancelled",
    "skipped",
    "timed_out",
    "action_required",
    "startup_failure",
    "stale",
)
CONTEXT_STATES: Final = ("error", "failure", "pending", "success")


@dataclass(frozen=True)
class CheckRun:
    """One check run; of GitHub Actions where `app` is github-actions, and then also a workflow run."""

    name: str
    status: str = "completed"
    conclusion: str | None = "success"
    app: str = "github-actions"
    path: str = WORKFLOW
    event: str = "push"

    def __post_init__(self) -> None:
        """Raises ValueError for what GitHub never says."""
        if self.status not in RUN_STATUSES:
            raise ValueError(f"status is one of {', '.join(RUN_STATUSES)}")
        if (self.conclusion is None) == (self.status == "completed"):
            raise ValueError("conclusion is set exactly when status is completed")
        if self.conclusion is not None and self.conclusion not in CONCLUSIONS:
            raise ValueError(f"conclusion is one of {', '.join(CONCLUSIONS)}")


@dataclass(frozen=True)
class Status:
    """One commit status."""

    context: str
    state: str

    def __post_init__(self) -> None:
        """Raises ValueError for what GitHub never says."""
        if self.state not in CONTEXT_STATES:
            raise ValueError(f"state is one of {', '.join(CONTEXT_STATES)}")


@dataclass
class Checks:
    """By commit. A commit that no scenario names has one green run of the test workflow and no status."""

    runs: dict[str, tuple[CheckRun, ...]] = field(default_factory=dict)
    statuses: dict[str, tuple[Status, ...]] = field(default_factory=dict)

    def of(self, sha: str) -> tuple[CheckRun, ...]:
        """The check runs of a commit."""
        return self.runs.get(sha, (CheckRun(TEST),))

    def set(self, sha: str, runs: tuple[CheckRun, ...], statuses: tuple[Status, ...] = ()) -> None:
        """From now on this and nothing else ran on the commit."""
        self.runs[sha], self.statuses[sha] = runs, statuses

    def reset(self) -> None:
        """All commits are green again."""
        self.runs.clear()
        self.statuses.clear()

    def combined(self, sha: str) -> str:
        """The combined state: pending where there is no status at all, as on GitHub."""
        states = {status.state for status in self.statuses.get(sha, ())}
        if states & {"error", "failure"}:
            return "failure"
        return "pending" if not states or "pending" in states else "success"


def period(run: CheckRun, committed: datetime) -> tuple[datetime, datetime | None]:
    """When a run started and ended: shortly after the commit."""
    started = committed + timedelta(seconds=20)
    return started, started + DURATION if run.status == "completed" else None
