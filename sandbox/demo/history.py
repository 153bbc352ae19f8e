"""What the demo application's repository holds: commits, tags and branches with fixed authors and dates.

Each commit takes files from one overlay under `releases/`; what it does not name stays as its parent has it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Final

PARIS_WINTER: Final = timezone(timedelta(hours=1))


@dataclass(frozen=True)
class Person:
    """An author, as commits and GitHub name one."""

    name: str
    email: str
    login: str


CAMILLE: Final = Person("Camille Moreau", "camille.moreau@example.org", "camille-m")
YANIS: Final = Person("Yanis Benali", "yanis.benali@example.org", "ybenali")
ELSA: Final = Person("Elsa Lindqvist", "elsa.lindqvist@example.org", "elsalindqvist")
PEOPLE: Final = (CAMILLE, YANIS, ELSA)


@dataclass(frozen=True)
class Commit:
    """One commit: files of `overlay` that match one of `paths` (shell patterns), less `removed`."""

    overlay: str
    paths: tuple[str, ...]
    author: Person
    date: datetime
    message: str
    removed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Tag:
    """A tag at the end of `commits`; annotated where it has a message. GitHub publishes `release` of it."""

    name: str
    commits: tuple[Commit, ...]
    release: Release
    message: str | None = None


@dataclass(frozen=True)
class Release:
    """A GitHub release."""

    author: Person
    published_at: datetime
    title: str
    body: str


@dataclass(frozen=True)
class Branch:
    """A branch that leaves the main line at a tag."""

    name: str
    base: str
    commits: tuple[Commit, ...]


def _day(month: int, day: int, hour: int, minute: int) -> datetime:
    return datetime(2025, month, day, hour, minute, tzinfo=PARIS_WINTER)


MAIN: Final = "main"

TAGS: Final = (
    Tag(
        "v0.9.0",
        (
            Commit(
                "v0.9.0",
                ("README.md", "manage.py", "requirements.txt", ".python-version"),
                CAMILLE,
                _day(1, 6, 10, 12),
                "Début du projet : Django 5.2, psycopg, waitress",
            ),
            Commit(
                "v0.9.0",
                ("places/*",),
                YANIS,
                _day(1, 7, 16, 40),
                "Lieux, pays et langues, chargés de GeoNames\n\n"
                "Toutes les villes de France, et les plus grandes du monde.",
            ),
            Commit(
                "v0.9.0",
                ("suggestions/*",),
                ELSA,
                _day(1, 9, 11, 5),
                "Suggestions from visitors: a form",
            ),
            Commit(
                "v0.9.0",
                ("carte/*", "serve.py"),
                CAMILLE,
                _day(1, 10, 9, 31),
                "Réglages, gabarits et serveur web",
            ),
            Commit(
                "v0.9.0",
                ("Procfile", "Aptfile", ".buildpacks", "bin/*"),
                YANIS,
                _day(1, 13, 14, 22),
                "Déploiement : buildpacks, Procfile, postdeploy",
            ),
        ),
        Release(
            YANIS,
            _day(1, 13, 15, 0),
            "v0.9.0",
            "Première version en ligne : la carte, le formulaire, l'administration.",
        ),
    ),
    Tag(
        "v1.0.0",
        (
            Commit(
                "v1.0.0",
                ("places/*", "carte/settings.py"),
                YANIS,
                _day(1, 20, 10, 48),
                "Search by trigrams, rank each place within its country\n\n"
                "The worker refreshes the materialized view that holds the ranks.",
            ),
            Commit(
                "v1.0.0",
                ("suggestions/*",),
                ELSA,
                _day(1, 21, 17, 3),
                "Suggestions : le courriel remplace le téléphone",
            ),
            Commit(
                "v1.0.0",
                ("Procfile",),
                ELSA,
                _day(1, 21, 17, 20),
                "Postdeploy : plus de téléphones à normaliser",
                removed=("suggestions/management/commands/normalize_phones.py",),
            ),
        ),
        Release(
            CAMILLE,
            _day(1, 22, 9, 30),
            "v1.0.0",
            "- Recherche rapide dans tous les noms\n- Rang de chaque ville dans son pays\n"
            "- Le courriel remplace le téléphone",
        ),
        "Version 1.0.0: search, ranks, email",
    ),
    Tag(
        "v1.0.1",
        (
            Commit(
                "v1.0.1",
                ("places/*",),
                CAMILLE,
                _day(1, 29, 11, 55),
                "Carte : dire combien de lieux sont affichés",
            ),
            Commit("v1.0.1", ("carte/*",), ELSA, _day(1, 30, 9, 14), "Colours with more contrast on the map"),
        ),
        Release(ELSA, _day(1, 30, 10, 0), "v1.0.1", "Petites améliorations de la carte."),
    ),
    Tag(
        "v1.1.0",
        (
            Commit(
                "v1.1.0",
                ("places/models.py", "places/migrations/*"),
                YANIS,
                _day(2, 4, 18, 47),
                "Lieux : une seule colonne pour la position, seulement les grandes villes",
            ),
            Commit(
                "v1.1.0",
                ("suggestions/*",),
                ELSA,
                _day(2, 5, 16, 31),
                "Suggestions: one column for name and email, no duplicates",
            ),
            Commit(
                "v1.1.0",
                ("places/context.py",),
                YANIS,
                _day(2, 5, 18, 58),
                "Ne compter que les lieux situés",
            ),
        ),
        Release(
            YANIS,
            _day(2, 5, 19, 5),
            "v1.1.0",
            "- Carte plus légère\n- Suggestions sans doublons",
        ),
        "Version 1.1.0: lighter map",
    ),
)
"""The main line, oldest first. v1.1.0 is the faulty one: its migrations destroy data, its pages fail."""

BRANCHES: Final = (
    Branch(
        "broken-build",
        "v1.0.1",
        (Commit("broken-build", ("*",), CAMILLE, _day(2, 6, 10, 2), "Compresser les fichiers statiques"),),
    ),
    Branch(
        "crash-at-boot",
        "v1.0.1",
        (Commit("crash-at-boot", ("*",), YANIS, _day(2, 6, 11, 26), "Fond de carte configurable"),),
    ),
    Branch(
        "hook-fails",
        "v1.0.1",
        (Commit("hook-fails", ("*",), ELSA, _day(2, 6, 15, 9), "Postdeploy: check the settings first"),),
    ),
    Branch(
        "never-listens",
        "v1.0.1",
        (Commit("never-listens", ("*",), YANIS, _day(2, 7, 9, 45), "Un seul processus pour tout"),),
    ),
)
"""Releases that fail in one documented way each; all have the migrations of v1.0.0."""

DRAFTS: Final = {
    "v1.2.0": Release(
        CAMILLE,
        _day(2, 7, 17, 30),
        "v1.2.0",
        "Brouillon : fonds de carte au choix.",
    )
}
"""Releases that GitHub shows only to those with push access, by the tag that they will have."""
