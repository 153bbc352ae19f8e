"""What the team's channel is told of a drill, in French. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tasks.core.screen import amount_text
from tasks.mattermost.client import quote


@dataclass(frozen=True)
class Subject:
    """Which drill.

    + backup: the backup's name; "" where none was found yet
    """

    app: str
    environment: str
    who: str
    reason: str | None
    backup: str = ""

    @property
    def by(self) -> str:
        """Who, why, of which backup."""
        why = f" Raison : {quote(self.reason)}." if self.reason else ""
        return f"Par {quote(self.who)}.{why}" + (f" Sauvegarde `{self.backup}`." if self.backup else "")


def succeeded(subject: Subject, rows: int, size: int, seconds: float, checks: int) -> str:
    """It could be restored, how long that takes, and what was checked."""
    amount = amount_text(size, "bytes").replace(".", ",").replace("B", "o")
    return (
        f":white_check_mark: **Exercice de restauration de `{subject.app}` ({subject.environment}) : réussi**"
        f"\n{subject.by} {rows} lignes ({amount}) restaurées et prouvées en {seconds:.0f} s, "
        f"{checks} vérifications réussies, copie supprimée."
    )


def failed(subject: Subject, error: str, failing: Sequence[str] = ()) -> str:
    """That a backup could not be restored, or is not what it must be."""
    lines = [
        f":x: **Exercice de restauration de `{subject.app}` ({subject.environment}) : échec**",
        f"{subject.by} Les données en service n'ont pas été touchées.",
    ]
    if failing:
        lines.append("En échec : " + ", ".join(f"« {name} »" for name in failing))
    return "\n".join([*lines, f"```\n{error.replace('```', '')}\n```"])
