"""What a release's files say, and whether a database fits them; squashed migrations against Django itself."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tasks.django.migrations import compare
from tasks.django.release import (
    Migration,
    app_label,
    labels,
    migrations,
    migrations_ever,
    postdeploy_commands,
    procfile,
    read_migration,
)

SHA = "1" * 40
FIRST = "class A(AppConfig):\n    label = 'a'\n"


class Tree:
    """A commit's files, held in memory; `ever` are those of its ancestors as well."""

    def __init__(self, files: dict[str, str], ever: Iterable[str] = ()) -> None:
        self.files = files
        self.ever = {*files, *ever}

    def read(self, sha: str, path: str) -> str | None:
        return self.files.get(path)

    def read_all(self, sha: str, wanted: Iterable[str]) -> dict[str, str]:
        return {path: self.files[path] for path in wanted if path in self.files}

    def paths(self, sha: str, prefix: str = "") -> list[str]:
        return sorted(path for path in self.files if path.startswith(prefix))

    def paths_ever(self, sha: str, *patterns: str) -> set[str]:
        return {path for path in self.ever if any(fnmatch(path, pattern) for pattern in patterns)}


def migration(replaces: str = "") -> str:
    head = "from django.db import migrations\n\nclass Migration(migrations.Migration):\n"
    return f"{head}    {replaces or 'pass'}\n"


def test_migrations_are_found_as_django_finds_them() -> None:
    tree = Tree(
        {
            "shop/migrations/0001_initial.py": migration(),
            "shop/migrations/0002_more.py": migration(),
            "shop/migrations/__init__.py": "",
            "shop/migrations/_helpers.py": migration(),
            "shop/migrations/~backup.py": migration(),
            "shop/migrations/tool.py": "def helper(): ...\n",
            "shop/migrations/broken.py": "class Migration(:\n",
            "shop/migrations/deeper/0001_x.py": migration(),
            "core/data/migrations/0001_initial.py": migration(),
            "core/tests/testapp/migrations/0001_initial.py": migration(),
            "migrations/0001_initial.py": migration(),
        }
    )
    assert migrations(tree, SHA) == {
        "data": (Migration("0001_initial"),),
        "shop": (Migration("0001_initial"), Migration("0002_more")),
    }


@pytest.mark.parametrize(
    ("apps", "label"),
    [
        (None, "data"),
        ("", "data"),
        ("syntax error(", "data"),
        ("class A(AppConfig):\n    name = 'core.data'\n", "data"),
        ("class A(AppConfig):\n    name = 'core.information'\n", "information"),
        ("class A(apps.AppConfig):\n    name = 'core.data'\n    label = 'core_data'\n", "core_data"),
        ("class A(AppConfig):\n    label: str = 'typed'\n", "typed"),
        ("class A(AppConfig):\n    label = compute()\n", "data"),
        (
            f"{FIRST}class B(AppConfig):\n    label = 'b'\n    default = True\n",
            "b",
        ),
        (
            f"{FIRST}    default = False\nclass B(AppConfig):\n    label = 'b'\n",
            "b",
        ),
        (f"{FIRST}class B(AppConfig):\n    label = 'b'\n", "data"),
        ("class Other:\n    label = 'x'\n", "data"),
    ],
)
def test_app_label(apps: str | None, label: str) -> None:
    assert app_label("core/data", apps) == label


@pytest.mark.parametrize(
    ("source", "replaces"),
    [
        (
            "replaces = [('shop', '0001_initial'), ('shop', '0002_more')]",
            (("shop", "0001_initial"), ("shop", "0002_more")),
        ),
        ("replaces: list = (('shop', '0001_initial'),)", (("shop", "0001_initial"),)),
        ("replaces = computed()", ()),
        ("replaces = ['not a pair']", ()),
    ],
)
def test_squashed_migrations_name_what_they_replace(
    source: str, replaces: tuple[tuple[str, str], ...]
) -> None:
    assert read_migration("0003", migration(source)) == Migration("0003", replaces)


def test_the_label_of_a_release_and_its_history() -> None:
    tree = Tree(
        {
            "core/data/apps.py": "class A(AppConfig):\n    label = 'core_data'\n",
            "core/data/migrations/0003_squashed.py": migration("replaces = [('core_data', '0003_squashed')]"),
        },
        ever=["core/data/migrations/0001_initial.py", "core/data/models.py"],
    )
    assert migrations(tree, SHA) == {"core_data": (Migration("0003_squashed"),)}
    assert migrations_ever(tree, SHA) == {("core_data", "0001_initial"), ("core_data", "0003_squashed")}


def test_postdeploy_commands() -> None:
    text = (
        "web: gunicorn core.wsgi\n# postdeploy: not this\n"
        "postdeploy: python manage.py createcachetable && python manage.py migrate; ./x\r\n"
    )
    assert postdeploy_commands(Tree({"Procfile": text}), SHA) == (
        "python manage.py createcachetable",
        "python manage.py migrate",
        "./x",
    )
    assert procfile(text)["web"] == "gunicorn core.wsgi"
    assert postdeploy_commands(Tree({}), SHA) == ()


def release(**apps: str) -> dict[str, tuple[Migration, ...]]:
    return {label: tuple(map(Migration, names.split())) for label, names in apps.items()}


def rows(text: str) -> set[tuple[str, str]]:
    return {(app, name) for app, _, name in (item.partition(".") for item in text.split())}


@pytest.mark.parametrize(
    ("archive", "live", "fit", "names"),
    [
        ("shop.1 shop.2 auth.1", "shop.1 shop.2 auth.1", "same", ()),
        ("shop.1 auth.1", "shop.1 shop.2 auth.1", "behind", ("shop.2",)),
        ("shop.1 shop.2 shop.3 auth.1", "shop.1 auth.1", "ahead", ("shop.3",)),
        ("shop.1 shop.3 auth.1", "shop.1 auth.1", "diverged", ("shop.3", "shop.2")),
        ("shop.1 shop.2 newer.1 auth.1", "auth.1", "ahead", ("newer.1",)),
        ("shop.1 shop.2 auth.1", "shop.1 shop.2 auth.1 auth.2", "unknown", ("auth.2",)),
        ("shop.1 shop.2 auth.1 auth.2", "shop.1 shop.2 auth.1", "unknown", ("auth.2",)),
        ("shop.1 shop.2 auth.1", None, "unknown", ()),
        ("shop.1 shop.2", None, "same", ()),
        ("shop.0 shop.1 shop.2", "", "same", ()),
        ("", "", "behind", ("shop.1", "shop.2")),
    ],
)
def test_verdicts(archive: str, live: str | None, fit: str, names: tuple[str, ...]) -> None:
    target, running = release(shop="1 2"), release(shop="1 2", newer="1")
    verdict = compare(
        rows(archive),
        target,
        None if live is None else rows(live),
        labels(target, running),
        retired=rows("shop.0"),
    )
    assert (verdict.fit, verdict.names) == (fit, names)
    assert "the archive" in verdict.sentence() or fit == "unknown"
    assert all(name in verdict.sentence() for name in names)


def test_what_was_retired_is_said() -> None:
    verdict = compare(
        rows("shop.0 shop.1"), release(shop="1"), set(), {"shop"}, retired=rows("shop.0 shop.1")
    )
    assert (verdict.fit, verdict.retired) == ("same", (("shop", "0"),))


SQUASHED = {
    "0001_initial": "",
    "0002_more": "",
    "0003_third": "",
    "0001_squashed_0002": "replaces = [('shop', '0001_initial'), ('shop', '0002_more')]",
    "0004_last": "",
}
DEPENDENCIES = {
    "0001_initial": [],
    "0002_more": ["0001_initial"],
    "0003_third": ["0002_more"],
    "0001_squashed_0002": [],
    "0004_last": ["0003_third"],
}


def test_squashed_migrations_are_judged_as_django_judges_them(tmp_path: Path) -> None:
    """Every consistent set of applied rows, given to Django's own plan and to ours."""
    files = {}
    for name, replaces in SQUASHED.items():
        needs = [("shop", other) for other in DEPENDENCIES[name]]
        files[f"shop/migrations/{name}.py"] = migration(f"dependencies = {needs}\n    {replaces}")
    files |= {"shop/__init__.py": "", "shop/migrations/__init__.py": ""}
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    chain_ = ["0001_initial", "0002_more", "0003_third", "0004_last"]
    cases = [chain_[:count] for count in range(5)] + [["0001_squashed_0002", *chain_[:n]] for n in (2, 3, 4)]
    cases += [["0001_squashed_0002"], ["0001_squashed_0002", "0003_third"]]
    script = textwrap.dedent(
        """
        import json, sys
        from django.conf import settings
        settings.configure(INSTALLED_APPS=["shop"], DATABASES={"default": {
            "ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}})
        import django; django.setup()
        from django.db import connection
        from django.db.migrations.executor import MigrationExecutor
        from django.db.migrations.recorder import MigrationRecorder
        recorder, answers = MigrationRecorder(connection), []
        recorder.ensure_schema()
        for case in json.loads(sys.argv[1]):
            recorder.migration_qs.all().delete()
            for name in case:
                recorder.record_applied("shop", name)
            executor = MigrationExecutor(connection)
            plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
            answers.append([migration.name for migration, _ in plan])
        print(json.dumps(answers))
        """
    )
    arguments = [sys.executable, "-c", script, json.dumps(cases)]
    django = json.loads(subprocess.check_output(arguments, cwd=tmp_path, text=True))
    found = migrations(Tree(files), SHA)
    for case, expected in zip(cases, django, strict=True):
        verdict = compare([("shop", name) for name in case], found, [], ["shop"])
        assert [name for _, name in verdict.missing] == sorted(expected), case
        assert verdict.fit == ("behind" if expected else "same"), case


def test_a_squash_whose_files_are_gone() -> None:
    squashed = {"shop": (Migration("3", (("shop", "1"), ("shop", "2"))),)}
    assert compare(rows("shop.1 shop.2"), squashed, [], ["shop"]).fit == "same"
    assert compare(rows("shop.1 shop.2 shop.3"), squashed, [], ["shop"]).fit == "same"
    assert compare(rows("shop.1"), squashed, [], ["shop"]).names == ("shop.3",)
    nested = {
        "shop": (
            Migration("3", (("shop", "1"), ("shop", "2"))),
            Migration("9", (("shop", "3"), ("shop", "4"))),
        )
    }
    assert compare(rows("shop.1 shop.2 shop.4"), nested, [], ["shop"]).fit == "same"
    assert compare(rows("shop.1 shop.2"), nested, [], ["shop"]).names == ("shop.9",)


def test_long_lists_are_cut() -> None:
    verdict = compare([], release(shop=" ".join(map(str, range(10)))), [], [])
    assert verdict.sentence("the live database").endswith("shop.4, shop.5 and 4 more")
    assert len(verdict.names) == 10
