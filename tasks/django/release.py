"""What the files of a release say, without running it: its migrations and its commands."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final, Protocol

Applied = tuple[str, str]
"""A row of django_migrations: app label and migration name."""

_FILES: Final = re.compile(r"(?:(?P<folder>.+)/)?migrations/(?P<name>[^/_~][^/]*)\.py\Z")
_NOT_INSTALLED: Final = frozenset(
    {"tests", "test", "testing", "node_modules", "site-packages", "venv", ".venv"}
)


class Repository(Protocol):
    """What is needed of `tasks.git.mirror.Mirror`."""

    def read(self, sha: str, path: str) -> str | None: ...
    def read_all(self, sha: str, wanted: Iterable[str]) -> dict[str, str]: ...
    def paths(self, sha: str, prefix: str = "") -> list[str]: ...
    def paths_ever(self, sha: str, *patterns: str) -> set[str]: ...


@dataclass(frozen=True, slots=True)
class Migration:
    """A migration of a release; `replaces` are those that it squashes."""

    name: str
    replaces: tuple[Applied, ...] = ()


def migrations(repository: Repository, commit: str) -> dict[str, tuple[Migration, ...]]:
    """The migrations in a commit's files, by app label, sorted by name.

    Found as Django finds them: `APP/migrations/NAME.py` with a class `Migration`. Those that a package
    brings are not here, nor those moved by the setting MIGRATION_MODULES; test folders are left out.
    """
    found: dict[str, list[Migration]] = defaultdict(list)
    files = _migration_files(repository.paths(commit))
    texts = repository.read_all(commit, [path for _, _, path in files])
    labels = _labels(repository, commit, files)
    for folder, name, path in files:
        migration = read_migration(name, texts.get(path, ""))
        if migration is not None:
            label = labels[folder]
            others = tuple(old for old in migration.replaces if old != (label, name))
            found[label].append(Migration(name, others))
    return {label: tuple(sorted(items, key=lambda item: item.name)) for label, items in sorted(found.items())}


def migrations_ever(repository: Repository, commit: str) -> frozenset[Applied]:
    """Every migration that a commit or its ancestors have had: a row that none of them knows is newer."""
    files = _migration_files(repository.paths_ever(commit, "**/migrations/*.py"))
    labels = _labels(repository, commit, files)
    return frozenset((labels[folder], name) for folder, name, _ in files)


def read_migration(name: str, source: str) -> Migration | None:
    """A migration out of its source; None when the file defines none (or is not Python)."""
    for node in _classes(source):
        if node.name == "Migration":
            replaces = _assigned(node, "replaces")
            pairs = replaces if isinstance(replaces, list | tuple) else ()
            whole = (pair for pair in pairs if isinstance(pair, list | tuple) and len(pair) == 2)
            return Migration(name, tuple((str(app), str(old)) for app, old in whole))
    return None


def app_label(folder: str, apps: str | None) -> str:
    """An app's label: its configuration's `label`, or the last part of its `name`, or of its folder.

    + folder: the app's path in the repository
    + apps: the text of its apps.py
    """
    configurations = [
        node
        for node in _classes(apps or "")
        if any(ast.unparse(base).endswith("AppConfig") for base in node.bases)
        and _assigned(node, "default") is not False
    ]
    chosen = [node for node in configurations if _assigned(node, "default") is True] or configurations
    if len(chosen) == 1:
        label, name = _assigned(chosen[0], "label"), _assigned(chosen[0], "name")
        if isinstance(label, str):
            return label
        if isinstance(name, str):
            return name.rpartition(".")[2]
    return PurePosixPath(folder).name


def postdeploy_commands(repository: Repository, commit: str) -> tuple[str, ...]:
    """The commands that the platform runs after a deployment of this commit, from its Procfile.

    A line's commands joined by `&&` or `;` are given one by one, in order.
    """
    line = procfile(repository.read(commit, "Procfile") or "").get("postdeploy", "")
    return tuple(part.strip() for part in re.split(r"\s*(?:&&|;)\s*", line) if part.strip())


def procfile(text: str) -> dict[str, str]:
    """A Procfile's process types and their commands."""
    entries = (re.match(r"([A-Za-z0-9_-]+)\s*:\s*(.+?)\s*\Z", line) for line in text.splitlines())
    return {entry[1]: entry[2] for entry in entries if entry}


def labels(*releases: Mapping[str, tuple[Migration, ...]]) -> frozenset[str]:
    """The apps whose migrations any of these releases ships itself."""
    return frozenset(label for release in releases for label in release)


def _labels(repository: Repository, commit: str, files: Iterable[tuple[str, str, str]]) -> dict[str, str]:
    folders = {folder for folder, _, _ in files}
    texts = repository.read_all(commit, [f"{folder}/apps.py" for folder in folders])
    return {folder: app_label(folder, texts.get(f"{folder}/apps.py")) for folder in folders}


def _migration_files(paths: Iterable[str]) -> list[tuple[str, str, str]]:
    found = []
    for path in sorted(paths):
        match = _FILES.match(path)
        if match and match["folder"] and not _NOT_INSTALLED.intersection(path.split("/")):
            found.append((match["folder"], match["name"], path))
    return found


def _classes(source: str) -> list[ast.ClassDef]:
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return []
    return [node for node in tree.body if isinstance(node, ast.ClassDef)]


def _assigned(node: ast.ClassDef, name: str) -> object:
    """The literal that a class gives an attribute; None where it gives none, or computes it."""
    for statement in node.body:
        if isinstance(statement, ast.Assign):
            targets, value = statement.targets, statement.value
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            targets, value = [statement.target], statement.value
        else:
            continue
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            try:
                literal: object = ast.literal_eval(value)
            except ValueError:
                return None
            return literal
    return None
