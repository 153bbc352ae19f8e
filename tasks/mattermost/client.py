"""Messages to a team channel through an incoming webhook, whose address is the only secret.

Source: developers.mattermost.com, "Incoming webhooks". A message that can't be delivered never fails a run.
"""

from __future__ import annotations

from typing import Final

from tasks.core.endpoints import is_loopback
from tasks.core.errors import OpsError
from tasks.core.http import Http, UnexpectedStatus
from tasks.core.secrets import Secret, redact

LONGEST: Final = 16383
"""Characters that one post holds; the server splits a longer text into several."""

_CUT: Final = "[...]"
_FENCE: Final = "```"
_ZERO_WIDTH_SPACE: Final = "\u200b"


class Webhook:
    """One incoming webhook.

    + url: its whole address
    + sandbox: whether the environment is one: the address must then be on this machine, and otherwise must
      not; None asks for neither
    + pause: seconds before a message is sent again
    """

    def __init__(self, url: Secret, *, sandbox: bool | None = None, pause: float = 1.0) -> None:
        self._sandbox = sandbox
        self._address = url.reveal()
        self._http = Http("Mattermost", self._address, timeout=(5, 15), pause=pause, most=1)

    def post(self, text: str, *, username: str | None = None, icon_emoji: str | None = None) -> str | None:
        """Post a message; gives None when it was taken, else a warning sentence. Never raises.

        + text: Markdown; parts that others wrote go through `quote` first; what is too long is cut at a line
        + username, icon_emoji: how it is signed, where the server allows that
        """
        if self._sandbox is not None and is_loopback(self._address) != self._sandbox:
            place = "not on this machine" if self._sandbox else "on this machine"
            return f"The team channel was not told: its webhook is {place}, which this environment refuses"
        message = {"text": fit(redact(text)), "username": username, "icon_emoji": icon_emoji}
        try:
            self._http.post(
                "",
                {name: value for name, value in message.items() if value},
                repeat=True,
                shown_path="a webhook",
                doing="Telling the team channel",
            )
        except UnexpectedStatus as error:
            return (
                f"The team channel was not told: Mattermost answered {error.status}, "
                f"{error.reply_received.described}"
            )
        except OpsError as error:
            return f"The team channel was not told: {error.reply}"
        return None


def quote(text: str) -> str:
    """Text of others, such as a commit's subject, so that it notifies nobody and keeps its line."""
    line = " ".join(text.split())
    return line.replace("@", f"@{_ZERO_WIDTH_SPACE}").replace("<!", f"<{_ZERO_WIDTH_SPACE}!")


def fit(text: str, longest: int = LONGEST) -> str:
    """The text as one post holds it: cut after a whole line, an open code fence closed, and the cut shown."""
    if len(text) <= longest:
        return text
    room = longest - len(f"\n{_FENCE}\n{_CUT}")
    head, line_end, _ = text[: room + 1].rpartition("\n")
    kept = head if line_end else text[:room]
    opened = sum(line.lstrip().startswith(_FENCE) for line in kept.split("\n")) % 2 == 1
    return f"{kept}\n{_FENCE}\n{_CUT}" if opened else f"{kept}\n{_CUT}"
