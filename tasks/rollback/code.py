"""The code side of a run: where the application's code is, and bringing a pinned commit to run.

What runs is read from the platform's deployments and their final status, never from git's exit code or the
remote's branch: a push whose connection was cut may have landed, and archive deployments move no branch.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from tasks.core.errors import Interrupted, OpsError, Stale, Unreachable
from tasks.core.screen import Screen
from tasks.git.program import clean_line, git_environment
from tasks.git.push import Push, PushOutcome, push_command
from tasks.git.remote import remote_branch
from tasks.rollback.application import Application
from tasks.rollback.cells import Code
from tasks.rollback.intent import Target
from tasks.scalingo.models import Deployment

BUILT: Final = "Build complete"
"""What the platform's build log says between the end of the build and the boot of the release."""

_NEWEST: Final = 20
_POLL_SECONDS: Final = 1.0
_LAST_LINES: Final = 15
_LOG_LINES_READ: Final = 500
_AT_BOOT: Final = frozenset({"crashed-error", "timeout-error"})
_OLD_SERVES: Final = "the release that ran before goes on serving"


class CodeSide:
    """An application's code, for one run.

    + target: the release that is to run; None where the code stays
    + planned_branch: the commit at which the plan saw the remote's branch; a push is held to it
    + planned_running: the commit that ran then; an archive deployment in between moves no branch
    + postdeploy: the release's own postdeploy command, for a swap beside a release that runs already
    """

    def __init__(
        self,
        application: Application,
        target: Target | None,
        screen: Screen,
        *,
        planned_branch: str | None,
        planned_running: str | None,
        postdeploy: str | None,
    ) -> None:
        self._app = application
        self._target = target
        self._screen = screen
        self._planned_branch = planned_branch
        self._planned_running = planned_running
        self._postdeploy = postdeploy
        self._environment = git_environment(application.known_hosts, application.declared.ssh_identity)

    @property
    def _wanted(self) -> Target:
        if self._target is None:
            raise OpsError(f"Deploying to {self._app.name}", "this run has no release to deploy")
        return self._target

    def state(self) -> Code:
        """Old, deploying or new, as the platform's deployments say."""
        newest = self._newest()
        if any(not deployment.finished for deployment in newest):
            return Code.DEPLOYING
        return Code.NEW if running_commit(newest) == self._wanted.commit else Code.OLD

    def push(self, built: Callable[[], None], stop: Callable[[], bool]) -> None:
        """Bring the release to run; returns when the platform says that it serves.

        + built: called once between the end of the build and the boot, if that moment is seen
        + stop: asked until then; afterwards the deployment is awaited

        Raises `OpsError` with the build's last lines when it does not serve, `Stale` when somebody else
        deployed since the plan, `Interrupted`; in each case the release before goes on serving.
        """
        newest = self._newest()
        self._check_nobody_deployed(newest)
        known = frozenset(deployment.id for deployment in newest)
        moment = _Once(built)

        def stop_before_the_moment() -> bool:
            return not moment.passed and stop()

        if self._branch() == self._wanted.commit:
            self._screen.line("The platform's branch is there already: deploying the commit as an archive.")
            deployment = self._deploy_archive(stop_before_the_moment)
            ended, reason = self._follow(deployment, moment, stop_before_the_moment), ""
        else:
            outcome = self._push(moment, stop_before_the_moment)
            found = self._find(known)
            if found is None:
                raise self._not_deployed(outcome, stopped=stop_before_the_moment())
            ended, reason = self._follow(found, moment, None), outcome.reason
        moment.error_if_any()
        if not ended.succeeded:
            if stop_before_the_moment():
                raise Interrupted("Stopped as asked", f"the deployment is {ended.status}", state=_OLD_SERVES)
            raise self._failed(ended, reason)

    def wait(self, stop: Callable[[], bool]) -> None:
        """Wait for the deployment under way, ours or somebody's, to be final."""
        for deployment in self._newest():
            if not deployment.finished:
                self._follow(deployment, _Once(lambda: None), stop)

    def run_postdeploy(self) -> None:
        """Run the release's postdeploy command as a one-off: what the platform ran before the swap."""
        if not self._postdeploy:
            return
        done = self._app.client.run(self._app.name, self._postdeploy, on_line=self._build_line)
        if done.exit_code:
            raise OpsError(
                f"Running the postdeploy command of {self._app.name}",
                f"exit code {done.exit_code}",
                state="the release runs on the restored data, without what that command does",
                next_step="read the lines above; run it again with `pyinfra INVENTORY exec`, or undo",
            )

    def restart(self) -> None:
        """Restart all containers and wait for them."""
        apps = self._app.client.apps
        operation = apps.restart(self._app.name)
        apps.wait(self._app.name, operation, doing=f"Restarting {self._app.name}", every=_POLL_SECONDS)

    def _newest(self) -> list[Deployment]:
        return self._app.client.deployments.newest(self._app.name, _NEWEST)

    def _branch(self) -> str | None:
        return remote_branch(self._app.remote, self._app.declared.branch, self._environment)

    def _push(self, moment: _Once, stop: Callable[[], bool]) -> PushOutcome:
        def on_line(text: str) -> None:
            self._build_line(text)
            if BUILT in text:
                moment.come()

        command = push_command(
            self._app.remote, self._wanted.commit, self._app.declared.branch, self._planned_branch
        )
        folder = self._app.mirror.folder
        with Push.start(folder, command, self._environment, on_line=on_line) as push:
            return push.wait(lambda: stop() or moment.failed)

    def _deploy_archive(self, stop: Callable[[], bool]) -> Deployment:
        with tempfile.TemporaryDirectory(prefix="operations-") as folder:
            archive = Path(folder) / "release.tar.gz"
            self._app.mirror.tarball(self._wanted.commit, archive)
            return self._app.client.deployments.deploy_archive(
                self._app.name, archive, self._wanted.commit, stop=stop
            )

    def _follow(self, deployment: Deployment, moment: _Once, stop: Callable[[], bool] | None) -> Deployment:
        def on_status(found: Deployment) -> None:
            self._screen.line(f"Deployment {found.id[:8]}: {found.status}")
            if found.status == "pushing":
                moment.come()

        return self._app.client.deployments.follow(
            self._app.name, deployment.id, on_status=on_status, stop=stop, every=_POLL_SECONDS
        )

    def _find(self, known: frozenset[str]) -> Deployment | None:
        """The deployment that the push began, if the platform began one."""
        for deployment in self._newest():
            if deployment.id not in known and deployment.git_ref == self._wanted.commit:
                return deployment
        return None

    def _check_nobody_deployed(self, newest: Sequence[Deployment]) -> None:
        running = running_commit(newest)
        if running != self._planned_running:
            raise self._stale(f"{_short(self._planned_running)} ran, and {_short(running)} runs now")

    def _stale(self, reason: str) -> Stale:
        return Stale(
            f"Pushing {self._wanted.title} to {self._app.name}",
            reason,
            state="somebody else deployed since the plan was made; nothing was built, their release serves",
            next_step="talk to them, then run the same command again and read the new plan",
        )

    def _not_deployed(self, outcome: PushOutcome, *, stopped: bool) -> OpsError:
        attempted = f"Pushing {self._wanted.title} to {self._app.name}"
        if outcome.ending == "stale":
            return self._stale(outcome.reason)
        if stopped:
            return Interrupted(
                "Stopped as asked",
                "nothing was deployed",
                state=_OLD_SERVES,
                next_step="run the same command again to go on",
            )
        if outcome.error is not None:
            return outcome.error
        kind = Unreachable if outcome.ending == "unknown" else OpsError
        return kind(
            attempted,
            outcome.reason,
            state=f"the platform has begun no deployment of it; {_OLD_SERVES}",
            next_step="run the same command again",
        )

    def _failed(self, deployment: Deployment, reason: str) -> OpsError:
        app = self._app.name
        output = self._app.client.deployments.output(app, deployment.id)
        lines = [clean_line(line) for line in output.splitlines() if line.strip()][-_LAST_LINES:]
        if deployment.status in _AT_BOOT:
            lines += self._last_words(deployment)
        log = "".join(f"\n  | {line}" for line in lines)
        return OpsError(
            f"Deploying {self._wanted.title} to {app}",
            f"{deployment.status}{f', {reason}' if reason else ''}{log}",
            state=_OLD_SERVES,
            next_step="read the lines above; all of them: "
            f"`scalingo --app {app} deployment-logs {deployment.id}`, `scalingo --app {app} logs -n 500`",
        )

    def _last_words(self, deployment: Deployment) -> list[str]:
        """What containers have said since the deployment began; the build's log does not have it."""
        try:
            found = self._app.client.logs.last(self._app.name, _LOG_LINES_READ)
        except OpsError as error:
            return [f"{error.attempted}: {error.reply}"]
        since = [
            line
            for line in found
            if line.at >= deployment.created_at and line.source not in ("manager", "router")
        ]
        return [f"[{line.source}] {clean_line(line.text)}" for line in since][-_LAST_LINES:]

    def _build_line(self, text: str) -> None:
        self._screen.line(f"  | {text}")


class _Once:
    """The moment between build and boot: what is to be done then is done once, and its error is kept.

    It comes inside a callback of the push, where an exception would leave the push unattended.
    """

    def __init__(self, action: Callable[[], None]) -> None:
        self._action = action
        self._error: OpsError | None = None
        self.passed = False

    @property
    def failed(self) -> bool:
        return self._error is not None

    def come(self) -> None:
        if self.passed:
            return
        self.passed = True
        try:
            self._action()
        except OpsError as error:
            self._error = error

    def error_if_any(self) -> None:
        if self._error is not None:
            raise self._error


def _short(commit: str | None) -> str:
    return commit[:8] if commit else "nothing"


def running_commit(newest_first: Sequence[Deployment]) -> str | None:
    """The commit of the last deployment that succeeded: what the platform routes to."""
    return next((deployment.git_ref for deployment in newest_first if deployment.succeeded), None)
