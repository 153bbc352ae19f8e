"""What the team's channel is told, in French. Pure: each notice is the text of one message."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tasks.mattermost.client import quote


@dataclass(frozen=True)
class Subject:
    """What a run is about, in words.

    + verb: `Retour arrière`, `Restauration des données`, `Annulation`
    + code, data: from what to what; empty where that side stays
    """

    verb: str
    app: str
    environment: str
    who: str
    reason: str | None
    code: str = ""
    data: str = ""
    skipped: tuple[tuple[str, str], ...] = ()


def started(subject: Subject) -> str:
    """Who does what, why, from what to what, and which gates were skipped for which reason."""
    lines = [
        f":rotating_light: **{subject.verb} de `{subject.app}` ({subject.environment}) : début**",
        f"Par {quote(subject.who)}." + (f" Raison : {quote(subject.reason)}." if subject.reason else ""),
    ]
    if subject.code:
        lines.append(f"Code : {subject.code}")
    if subject.data:
        lines.append(f"Données : {subject.data}")
    lines += [f":warning: Contrôle « {name} » passé outre : {quote(why)}" for name, why in subject.skipped]
    return "\n".join(lines)


def succeeded(subject: Subject, seconds: float, lost: str, undo: str, failing: Sequence[str] = ()) -> str:
    """The result, what was set aside, and the line that undoes it.

    + failing: checks that fail all the same, after an undo
    """
    pages = f"{len(failing)} vérifications en échec, comme avant." if failing else "pages vérifiées."
    lines = [
        f":white_check_mark: **{subject.verb} de `{subject.app}` ({subject.environment}) : réussi**"
        f" en {seconds:.0f} s, {pages}"
    ]
    if lost:
        lines.append(f"Données mises de côté (récupérables) : {lost}")
    lines.append(f"Pour annuler : `{undo}`")
    return "\n".join(lines)


def failed(subject: Subject, error: str, state: str) -> str:
    """What failed, and the state that things are in now."""
    return "\n".join(
        [
            f":x: **{subject.verb} de `{subject.app}` ({subject.environment}) : échec**",
            f"```\n{error.replace('```', '')}\n```",
            f"État actuel : {state}",
        ]
    )


def waiting_for_sign_off(subject: Subject, lost: str, command: str) -> str:
    """The data administrator's turn: what would be lost, and how to agree."""
    return "\n".join(
        [
            f":hourglass: **{subject.verb} de `{subject.app}` ({subject.environment}) : accord attendu**",
            f"Seraient mis de côté : {lost}",
            f"Pour accepter : `{command}`",
        ]
    )
