"""What the team's channel is told of a backup, in French. Pure."""

from __future__ import annotations

from tasks.core.screen import amount_text
from tasks.mattermost.client import quote


def made(
    app: str, environment: str, who: str, reason: str | None, what: str, size: int, seconds: float
) -> str:
    """A backup that is there, of which size, and how long it took."""
    amount = amount_text(size, "bytes").replace(".", ",").replace("B", "o")
    why = f" Raison : {quote(reason)}." if reason else ""
    return (
        f":white_check_mark: **Sauvegarde de `{app}` ({environment}) : réussie** en {seconds:.0f} s\n"
        f"Par {quote(who)}.{why} {what} : {amount}."
    )


def failed(app: str, environment: str, who: str, error: str) -> str:
    """What failed; nothing of the application's has changed."""
    return "\n".join(
        [
            f":x: **Sauvegarde de `{app}` ({environment}) : échec**",
            f"Par {quote(who)}. L'application et ses données n'ont pas changé.",
            f"```\n{error.replace('```', '')}\n```",
        ]
    )
