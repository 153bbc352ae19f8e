"""One run, from where code and data are to where they are to be; whatever ends it leaves both whole.

The run looks at the state, takes the next action from the table in `cells`, does it, and looks again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from tasks.core.errors import Interrupted, OpsError, PersonNeeded, PutBack
from tasks.core.screen import Screen
from tasks.rollback.cells import CODE_ALONE, DATA_ALONE, MEANING, NEXT, Action, Code, Data
from tasks.rollback.code import CodeSide
from tasks.rollback.data import DataSide
from tasks.rollback.dropping import Dropping
from tasks.rollback.intent import Deploy, Intent
from tasks.rollback.standstill import Standstill, brought_back_after
from tasks.rollback.verification import Verification

DROP_AND_RESTORE: Final = "drop what is live and restore the backup in its place"
_SAME_ACTION_AT_MOST = 3


@dataclass
class StepTaken:
    """One action of a run, as the journal keeps it."""

    title: str
    seconds: float
    result: str


@dataclass
class Transaction:
    """Owns the push, the stage and the swap of one run.

    + sign_off: called with nothing between staging and the first action that users could see; raises
      `Refused` where the data administrator has not agreed
    + check_lock: raises when the environment's lock is no longer ours
    + stop: whether a person or a signal asked to stop
    """

    intent: Intent
    code: CodeSide
    data: DataSide
    dropping: Dropping
    standstill: Standstill
    verification: Verification
    screen: Screen
    sign_off: Callable[[], None]
    check_lock: Callable[[], None]
    stop: Callable[[], bool]
    steps: list[StepTaken] = field(default_factory=list)
    failing: tuple[str, ...] = ()
    """Checks that fail at the end of an undo, as they may have before."""

    def run(self) -> None:
        """Bring the intent about. Raises an `OpsError` whose text says in which state things are."""
        taken: list[Action] = []
        while True:
            self.check_lock()
            code, data = self.state()
            if not taken:
                self.screen.line(f"Where things are: {self._meaning(code, data)}.")
            action = NEXT[code, data]
            if self.stop():
                raise Interrupted(
                    "Stopped as asked", state=self._meaning(code, data), next_step="run it again to go on"
                )
            if taken[-_SAME_ACTION_AT_MOST:].count(action) == _SAME_ACTION_AT_MOST:
                raise PersonNeeded(
                    f"Trying to {action.value}",
                    f"it was done {_SAME_ACTION_AT_MOST} times and the state is the same",
                    state=self._meaning(code, data),
                    next_step="look at the app on its platform, then run the same command again",
                )
            taken.append(action)
            if self._takes_data_away(action, data):
                self.sign_off()
            self._timed(self._title(action), partial(self._perform, action, data))
            if action is Action.VERIFY:
                return

    def state(self) -> tuple[Code, Data]:
        """Where code and data are now, read from the platform's deployments and the database's marks."""
        code = self.code.state() if self.intent.target else Code.NEW
        data = self.data.state() if self.intent.moves_data else Data.SWAPPED
        return code, data

    def _meaning(self, code: Code, data: Data) -> str:
        """The state in words; a side that this run leaves alone is left out."""
        if self.intent.target is None:
            return DATA_ALONE[data]
        return MEANING[code, data] if self.intent.moves_data else CODE_ALONE[code]

    @property
    def moved(self) -> bool:
        """Whether something that users see has changed and stayed so."""
        done = {step.title for step in self.steps if step.result == "done"}
        changing = {Action.PUSH.value, Action.CUT_OVER.value, self._title(Action.STAGE)}
        staged_alone = {Action.STAGE.value} if self.intent.strategy != "drop" else set()
        return bool(done & (changing - staged_alone)) and "take the swap back" not in done

    def described(self) -> str:
        """The state in words; for a person, so it never fails."""
        try:
            return self._meaning(*self.state())
        except OpsError as error:
            return f"not known: {error.attempted}: {error.reply}"

    def _title(self, action: Action) -> str:
        if action is Action.STAGE and self.intent.strategy == "drop":
            return DROP_AND_RESTORE
        return action.value

    def _takes_data_away(self, action: Action, data: Data) -> bool:
        """Whether what follows this action exchanges what users see."""
        if action is Action.STAGE:
            return self.intent.strategy == "drop"
        return data is Data.STAGED and action in (Action.PUSH, Action.CUT_OVER)

    def _perform(self, action: Action, data: Data) -> None:
        match action:
            case Action.STAGE if self.intent.strategy == "drop":
                self._replace()
            case Action.STAGE:
                self.data.stage(self.stop)
            case Action.PUSH:
                self._push(data)
            case Action.WAIT:
                self.code.wait(self.stop)
            case Action.CUT_OVER:
                self._cut_over_beside_the_release()
            case Action.VERIFY:
                self._verify()

    def _replace(self) -> None:
        """strategy=drop: a standstill until the wanted release is there; in it a fresh backup, then the drop.

        In this order, so that nothing is written between the backup and the drop.
        """
        self.standstill.stop()
        try:
            safety = self.dropping.take_safety_backup(self.stop)
            self.dropping.replace_live(safety, self.standstill.as_details(), self.stop)
        except PersonNeeded:
            raise  # half dropped: the containers stay stopped, the same command goes on
        except OpsError as error:
            raise brought_back_after(self.standstill, error) from None
        if self.intent.catch_up:
            self._timed("run the postdeploy command", self.code.run_postdeploy)

    def _push(self, data: Data) -> None:
        swapped_first = data is Data.SWAPPED and self.intent.moves_data
        swapped = swapped_first

        def built() -> None:
            nonlocal swapped
            if data is Data.STAGED and self.intent.before_boot:
                self._timed(Action.CUT_OVER.value, self.data.cut_over)
                swapped = True

        try:
            self.code.push(built, self.stop)
        except OpsError as error:
            if not swapped:
                raise
            if self._settled_code(error) is Code.NEW:
                self.screen.warn(f"{error.attempted}: {error.reply}. The release came up all the same.")
            elif self.data.can_be_taken_back():
                self._take_back_after(error)
            else:
                raise

    def _settled_code(self, error: OpsError) -> Code:
        """Where the code is once no deployment moves: a push that failed here may have landed there."""
        try:
            self.code.wait(lambda: False)
            return self.code.state()
        except OpsError as unread:
            raise PersonNeeded(
                error.attempted,
                f"{error.reply}\nThen the platform could not be read: {unread.attempted}: {unread.reply}",
                state="the wanted data is live; whether the wanted release serves it is not known",
                next_step="run the same command again: it reads where things are and goes on",
            ) from unread

    def _take_back_after(self, error: OpsError) -> None:
        """The release did not come up on the restored data: the old one gets its old data back."""
        self.screen.warn("Taking the swap back: the old release goes on with the data that it knows.")
        try:
            self._timed("take the swap back", self.data.take_back)
        except OpsError as worse:
            raise PersonNeeded(
                error.attempted,
                f"{error.reply}\nThen the swap could not be taken back: {worse.reply or worse.attempted}",
                state=self.described(),
                next_step="run the same command again: it goes on from here",
            ) from worse
        raise PutBack(
            error.attempted,
            error.reply,
            state="the old release on the old data, as before; what was restored is kept beside it",
            next_step=error.next_step or "mend the cause, then run the same command again",
        ) from error

    def _cut_over_beside_the_release(self) -> None:
        healthy_before = self.verification.passing() if self.intent.target is None else frozenset[str]()
        self.data.cut_over()
        if self.intent.catch_up or self.intent.before_boot:
            self._timed("run the postdeploy command", self.code.run_postdeploy)
            self._timed("restart", self.code.restart)
        if self.intent.target is None:
            self._take_back_where_it_broke(healthy_before)

    def _take_back_where_it_broke(self, healthy_before: frozenset[str]) -> None:
        """After a restore of data alone: pages that were fine before must be fine still."""
        broken = self.verification.broken_since(healthy_before)
        if not broken or not self.data.can_be_taken_back():
            return
        self.screen.warn(f"Broken since the swap: {', '.join(broken)}. Taking it back.")
        self._timed("take the swap back", self.data.take_back)
        raise PutBack(
            "Restoring the data",
            f"pages that were fine before fail with it: {', '.join(broken)}",
            state="the data that was live before is live again; what was restored is kept beside it",
            next_step="try another backup, or roll code and data back together: deploys/rollback.py",
        )

    def _verify(self) -> None:
        self.standstill.start(self.dropping.stopped_containers())
        undoing = self.intent.deploy is Deploy.UNDO
        failed = self.verification.failures(patient=not undoing)
        if failed and undoing:
            self.failing = tuple(failed)
            self.screen.warn("Code and data are as they were before; with them, these fail:")
            for line in failed:
                self.screen.warn(f"  {line}")
        elif failed:
            raise PersonNeeded(
                "Verifying what users see",
                "\n" + "\n".join(f"  {line}" for line in failed),
                state=self.described(),
                next_step="look at the pages; run it again to verify, or deploys/undo.py to take it back",
            )
        if self.intent.moves_data:
            self.data.settle(self.stop, analyse=not undoing)
            self.data.confirm()

    def _timed(self, title: str, action: Callable[[], Any]) -> None:
        began = time.monotonic()
        self.screen.line(f"Step: {title}")
        result = "failed"
        try:
            action()
            result = "done"
        finally:
            self.steps.append(StepTaken(title, round(time.monotonic() - began, 2), result))
