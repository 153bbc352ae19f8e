"""Looking at an application as people use it, after a change and whenever somebody asks."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from tasks.core.errors import OpsError
from tasks.core.screen import Screen
from tasks.rollback import restored_rows
from tasks.rollback.application import Application
from tasks.rollback.work import Work
from tasks.website import visit, witness
from tasks.website.checks import Account, Admin, Check, Form, Version

_TRIES_BEFORE_TAKING_BACK: Final = 3
_PAUSE_SECONDS: Final = 2.0


class Verification:
    """The declared checks on one application's pages.

    + work: of the run whose restored rows are counted; None where nothing runs
    """

    def __init__(self, app: Application, work: Work | None, screen: Screen) -> None:
        self._app = app
        self._work = work
        self._screen = screen

    def require(self) -> None:
        """Do every check and say how it went. Raises `OpsError` where one fails."""
        failed = self.failures()
        if failed:
            raise OpsError(
                f"Verifying {self._app.name}",
                "\n" + "\n".join(f"  {line}" for line in failed),
                state="nothing was changed",
                next_step="look at the pages; deploys/rollback.py goes back to an earlier release",
            )
        self._screen.good("Everything that was looked at is as declared.")

    def failures(self, *, patient: bool = True) -> list[str]:
        """Do every check, the row counts first, and give a sentence for each that fails.

        + patient: whether an application that boots is waited for
        """
        rows = restored_rows.differences(self._work) if self._work else []
        results = visit.run(
            self._app.page_address,
            self._checks(),
            version=self._release(),
            deadline=self._app.declared.website.deadline if patient else 0,
        )
        for result in results:
            (self._screen.good if result.ok else self._screen.bad)(
                f"{'ok' if result.ok else 'FAILED'}  {result}"
            )
        if not self._has_check_account:
            rows += self._rows_by_one_off()
        return [str(result) for result in results if not result.ok] + rows

    def passing(self) -> frozenset[str]:
        """The names of the checks that pass now, tried once; forms are not sent."""
        results = visit.run(self._app.page_address, self._harmless(), deadline=0)
        return frozenset(result.name for result in results if result.ok)

    def broken_since(self, healthy_before: frozenset[str]) -> list[str]:
        """The checks that passed before and now fail three times, seen from the platform as well.

        A laptop's own network is no witness: a page that a one-off finds as declared is not broken.
        """
        broken = healthy_before
        for attempt in range(_TRIES_BEFORE_TAKING_BACK):
            if attempt:
                time.sleep(_PAUSE_SECONDS)
            broken = broken - self.passing()
            if not broken:
                return []
        suspects = [check for check in self._harmless() if check.name in broken]
        return [check.name for check in suspects if self._broken_for_the_platform(check)]

    def _broken_for_the_platform(self, check: Check) -> bool:
        look = witness.command(self._app.page_address, check)
        return look is not None and self._app.client.run(self._app.name, look).exit_code == witness.BROKEN

    def _checks(self) -> Sequence[Check]:
        account = self._account()
        return [
            check.model_copy(update={"account": account})
            if isinstance(check, Admin) and check.account is None and account
            else check
            for check in self._app.declared.website.checks
        ]

    def _harmless(self) -> list[Check]:
        return [c for c in self._app.declared.website.checks if not isinstance(c, Form | Version)]

    @property
    def _has_check_account(self) -> bool:
        return self._account() is not None

    def _account(self) -> Account | None:
        """The check account, from the application's own variables."""
        names = self._app.declared.check_account
        if names is None:
            return None
        variables = {variable.name: variable.value for variable in self._app.variables}
        name, password = variables.get(names[0]), variables.get(names[1])
        return Account(username=name.reveal(), password=password) if name and password else None

    def _release(self) -> str | None:
        newest = self._app.client.deployments.newest(self._app.name, 20)
        return next((deployment.git_ref for deployment in newest if deployment.succeeded), None)

    def _rows_by_one_off(self) -> list[str]:
        """Without a check account: what a container of the running release counts, behind no login."""
        command = self._app.declared.count_command
        if command is None:
            self._screen.warn("No check account is declared: the admin was looked at from outside alone.")
            return []
        done = self._app.client.run(self._app.name, command)
        counted = done.output[-1].strip() if done.output else ""
        self._screen.line(f"No check account is declared: a one-off counts {counted or '?'} rows instead.")
        if done.exit_code or not counted.isdigit() or counted == "0":
            return [f"rows counted by a one-off: {counted or 'nothing'} (exit code {done.exit_code})"]
        return []
