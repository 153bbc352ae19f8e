"""What the team's channel is told, in French. Pure: each notice is the text of one message."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tasks.mattermost.client import quote
from tasks.rollback.notices import counted


@dataclass(frozen=True)
class Subject:
    """What a run is about, in words.

    + source: the schema that rows are taken from, or the run that is taken back
    + undoing: whether rows that were brought back go again
    """

    app: str
    environment: str
    who: str
    reason: str | None
    source: str
    undoing: bool

    @property
    def title(self) -> str:
        verb = "Retrait de données récupérées" if self.undoing else "Récupération de données"
        return f"{verb} dans `{self.app}` ({self.environment})"


def succeeded(subject: Subject, rows: Mapping[str, int], replaced: Mapping[str, int], undo: str) -> str:
    """Who did what, why, how many rows of which tables, and the line that undoes it."""
    lines = [
        f":white_check_mark: **{subject.title} : réussi**",
        f"Par {quote(subject.who)}." + (f" Raison : {quote(subject.reason)}." if subject.reason else ""),
    ]
    origin = f"du lancement `{subject.source}`" if subject.undoing else f"de `{subject.source}`"
    if rows:
        verb = "Retirées" if subject.undoing else "Remises en service"
        lines.append(f"{verb}, {origin} : {counted(rows)}")
    if replaced:
        lines.append(f"Valeurs remplacées, {origin} : {counted(replaced)}")
    if undo:
        lines.append(f"Pour annuler : `{undo}`")
    return "\n".join(lines)


def failed(subject: Subject, error: str, state: str) -> str:
    """What failed, and the state that things are in now."""
    return "\n".join(
        [
            f":x: **{subject.title} : échec**",
            f"Par {quote(subject.who)}.",
            f"```\n{error.replace('```', '')}\n```",
            f"État actuel : {state}",
        ]
    )
