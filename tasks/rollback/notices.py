"""What the team's channel is told, in French. Pure: each notice is the text of one message."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tasks.mattermost.client import quote
from tasks.rollback.cells import Code, Data
from tasks.rollback.intent import Intent

_CODE: Final = {
    Code.OLD: "l'ancienne version",
    Code.DEPLOYING: "la version visée, en cours de déploiement",
    Code.NEW: "la version visée",
}
_DATA: Final = {
    Data.OLD: "les anciennes données",
    Data.STAGED: "les anciennes données (celles visées sont prêtes à côté)",
    Data.SWAPPED: "les données visées",
}


def state(code: Code, data: Data, intent: Intent) -> str:
    """Where code and data are; a side that the run leaves alone is left out."""
    if intent.target is None:
        return _DATA[data]
    return f"{_CODE[code]} sur {_DATA[data]}" if intent.moves_data else _CODE[code]


def origin(intent: Intent) -> str:
    """Where the data comes from."""
    if intent.backup:
        return f"sauvegarde `{intent.backup.name}` du {intent.backup.began:%d/%m/%Y à %H:%M} UTC"
    if intent.set_aside:
        return f"celles mises de côté le {intent.set_aside.since:%d/%m/%Y à %H:%M} UTC"
    return "inchangées"


def counted(rows: Mapping[str, int]) -> str:
    """Numbers of rows by table; empty where there are none."""
    return ", ".join(
        f"{number} ligne{'s' if number > 1 else ''} dans {table}" for table, number in rows.items()
    )


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
    lines += [f":warning: Contrôle « {name} » ignoré : {quote(why)}" for name, why in subject.skipped]
    return "\n".join(lines)


def succeeded(subject: Subject, seconds: float, lost: str, undo: str, failing: Sequence[str] = ()) -> str:
    """The result, what was set aside, and the line that undoes it.

    + failing: checks that fail all the same, after an undo
    """
    many = "s" if len(failing) > 1 else ""
    pages = f"{len(failing)} vérification{many} en échec, comme avant." if failing else "pages vérifiées."
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


def waiting_for_sign_off(
    subject: Subject, lost: str, administrator: str | None, exported: bool, command: str
) -> str:
    """The data administrator's turn: what would be lost, who agrees to it, the command that then goes on.

    + exported: whether the rows are files at hand of whoever ran it
    """
    return "\n".join(
        [
            f":hourglass: **{subject.verb} de `{subject.app}` ({subject.environment}) : accord attendu**",
            f"Seraient mis de côté : {lost}",
            f"Accord à demander à {administrator or 'qui répond des données'}."
            + (f" Le détail en CSV est chez {quote(subject.who)}." if exported else ""),
            f"Une fois donné :\n```\n{command.replace('```', '')}\n```",
        ]
    )
