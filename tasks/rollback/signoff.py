"""The data administrator's agreement to what a swap would take away, computed once the data is staged."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from tasks.core import paths
from tasks.core.errors import AwaitingSignOff
from tasks.core.prompts import ask_text, at_terminal
from tasks.core.screen import Screen
from tasks.core.wording import number_of
from tasks.postgres.loss import Loss, grown
from tasks.rollback import notices
from tasks.rollback.application import Application
from tasks.rollback.command_line import typed_again
from tasks.rollback.inputs import NONE
from tasks.rollback.intent import Deploy
from tasks.rollback.losses import Losses
from tasks.rollback.situation import Situation

_LINES_SHOWN = 40
_FILES_SHOWN = 10


class SignOff:
    """Asks once a run: at a terminal by name, unattended by `signoff=NAME` and the list's token.

    + tell: says something in the team's channel
    """

    def __init__(
        self,
        app: Application,
        situation: Situation,
        losses: Losses,
        screen: Screen,
        tell: Callable[[str], None],
        subject: notices.Subject,
    ) -> None:
        self._app = app
        self._situation = situation
        self._inputs = situation.inputs
        self._losses = losses
        self._screen = screen
        self._tell = tell
        self._subject = subject
        self._given = False
        self._files: list[Path] = []

    def require(self) -> None:
        """Return once the loss has been shown and, where that is asked for, agreed to.

        Raises `AwaitingSignOff` where nobody has agreed; the stage stays, and the next run goes on from it.
        """
        if self._given:
            return
        if self._situation.intent.strategy == "drop":
            self._require_for_a_drop()
            return
        folder = paths.state("losses", self._app.declared.environment, self._situation.intent.run)
        token_shown, counts_shown = self._losses.signed()
        loss, self._files = self._losses.compute(folder)
        self._show(loss)
        if loss.nothing:
            self._screen.good("Nothing is lost.")
        elif self._app.declared.needs_sign_off and "signoff" not in self._inputs.skips:
            self._agreed(loss, token_shown, counts_shown)
        self._given = True

    def _require_for_a_drop(self) -> None:
        """Its own agreement: everything newer than the backup goes, and comes back slowly if at all."""
        loss = self._losses.estimate()
        self._screen.warn("strategy=drop: the pages go down, and what is newer than the backup is dropped.")
        self._show(loss)
        if self._app.declared.needs_sign_off and "signoff" not in self._inputs.skips:
            token = self._losses.backup_token
            agreed = self._inputs.signoff and self._inputs.loss == token
            if not (agreed and self._by_the_right_person(str(self._inputs.signoff))) and not self._asked():
                self._stop_before_anything(loss, token)
        self._given = True

    def _show(self, loss: Loss) -> None:
        if loss.nothing:
            return
        fate = "dropped" if self._situation.intent.strategy == "drop" else "set aside"
        self._screen.warn(f"What is live now and would be {fate}:")
        lines = loss.lines()
        for line in lines[:_LINES_SHOWN]:
            self._screen.warn(f"  - {line}")
        if len(lines) > _LINES_SHOWN:
            self._screen.warn(f"  and {number_of(len(lines) - _LINES_SHOWN, 'line')} more")
        if self._files:
            self._screen.line(f"Exported, row by row, as {number_of(len(self._files), 'CSV file')}:")
        for path in self._files[:_FILES_SHOWN]:
            self._screen.line(f"  {path}")
        if len(self._files) > _FILES_SHOWN:
            self._screen.line(f"  and {len(self._files) - _FILES_SHOWN} more beside them")

    def _agreed(self, loss: Loss, token_shown: str, counts_shown: dict[str, int]) -> None:
        inputs = self._inputs
        if inputs.signoff and inputs.loss and inputs.loss in (loss.token, token_shown):
            more = grown(counts_shown, loss) if inputs.loss == token_shown else {}
            if sum(more.values()) <= self._app.declared.sign_off_growth and self._by_the_right_person(
                inputs.signoff
            ):
                self._say_growth(more)
                self._screen.good(f"Signed off by {inputs.signoff}.")
                return
        self._losses.remember_shown(loss)
        if not self._asked():
            self._stop_at_staged(loss)

    def _asked(self) -> bool:
        """Whether somebody at this terminal has agreed by name."""
        if not at_terminal():
            return False
        name = ask_text(f"Data administrator{self._expected()}: type your name to agree, Enter to stop here")
        if not name or not self._by_the_right_person(name):
            return False
        self._screen.good(f"Signed off by {name}.")
        return True

    def _by_the_right_person(self, name: str) -> bool:
        wanted = self._app.declared.data_administrator
        if wanted is None or name.casefold() == wanted.casefold():
            return True
        self._screen.bad(f"{name!r} is not the declared data administrator, {wanted}.")
        return False

    def _expected(self) -> str:
        wanted = self._app.declared.data_administrator
        return f" ({wanted})" if wanted else ""

    def _say_growth(self, more: dict[str, int]) -> None:
        if more:
            text = ", ".join(f"{count:,} in {table}" for table, count in sorted(more.items()))
            self._screen.warn(f"Lost beyond the signed list, since users went on writing: {text}")

    def _stop_before_anything(self, loss: Loss, token: str) -> None:
        self._stop(loss, token, self._situation.unchanged)

    def _stop_at_staged(self, loss: Loss) -> None:
        ready = "the wanted data is ready beside the live data; nothing that users see was changed"
        self._stop(loss, loss.token, ready)

    def _stop(self, loss: Loss, token: str, state: str) -> None:
        administrator = self._app.declared.data_administrator
        command = self._command(administrator or "NAME", token)
        self._tell(
            notices.waiting_for_sign_off(
                self._subject, notices.counted(loss.counts()), administrator, bool(self._files), command
            )
        )
        files = f" and the files in {self._files[0].parent}" if self._files else ""
        whom = (
            f"{administrator}, the data administrator," if administrator else "whoever answers for the data"
        )
        raise AwaitingSignOff(
            "Signing off on what is lost",
            f"{administrator or 'the data administrator'} has not agreed yet",
            state=state,
            next_step=f"send {whom} the list above{files}; once it is agreed to, this goes on:\n  {command}",
        )

    def _command(self, administrator: str, token: str) -> str:
        """The whole command that goes on from here, with what was answered to this one's questions."""
        intent, inputs = self._situation.intent, self._inputs
        chosen = {}
        if intent.deploy is Deploy.ROLLBACK:
            chosen["tag"] = (intent.target.tag or intent.target.commit) if intent.target else NONE
        if intent.backup and inputs.backup is None:
            chosen["backup"] = f"id:{intent.backup.id}"
        return typed_again(sys.argv[1:], {"signoff": administrator, "loss": token}, chosen)
