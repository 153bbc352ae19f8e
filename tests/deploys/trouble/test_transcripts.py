"""What operators read, as files beside this one: `UPDATE_TRANSCRIPTS=1 pytest ...` writes them anew."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

Scene = Any
Operator = Any

FOLDER = Path(__file__).parent / "transcripts"

# Times, sizes, hashes, ports, versions: what differs from run to run, with the word that stands for it.
_VARYING = [
    (r"127\.0\.0\.1:\d+", "LOOPBACK"),
    (r"(?<=^Par ).+?(?=\.(?: Raison|$))", "WHO"),
    (r"\b\d{14}_\w+", "BACKUP"),
    (r"(?<!\d)\d{8}_\d{6}_[0-9a-f]{4}\b", "RUN"),
    (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "UUID"),
    (r"\b\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d)?(\.\d+)?(\+\d\d(:\d\d)?)?", "TIME"),
    (r"\b\d{4}-\d\d-\d\d\b", "DATE"),
    (r"\b\d\d/\d\d/\d{4} à \d\d:\d\d", "TIME"),
    (r"\b[0-9a-f]{40}\b", "COMMIT"),
    (r"(?<=[ (`=])(?=[0-9a-f]*\d)[0-9a-f]{8,12}(?=[ ):,`]|$)", "HASH"),
    (r"(?<=Deployment )[0-9a-f]{8}", "HASH"),
    (r"(?<![v\d.<>=])\d+\.\d+\.\d+\b", "VERSION"),
    (r"\d+(\.\d+)? (ms|s|h|kB|MB|B)\b", r"N \2"),
    (r"\d+ min (old|ago)", r"N min \1"),
    (r"\d+ free connections", "N free connections"),
    (r"about [\d,]+ rows?", "about N rows"),
    (r" at attempt \d+", ""),
    (r"\S+@\S+ (?=holds)", "WHO "),
    (r"newest: [^)]*\)", "newest: ROWS)"),
    (r"\d+ rows? (go|come|change)(es|s)?\b", r"N rows \1"),
    (r"\d+ (?=in suggestions_suggestion)", "N "),
    (r"\d+ CSV files?:", "N CSV files:"),
    (r"How long: about .*", "How long: about RANGE"),
    (r"(restore it and prove it|build and boot): .*", r"\1: RANGE (SOURCE)"),
    (r"N in auth_user, |1 in auth_user, |1 ligne dans auth_user, ", ""),
    (r"\d+ lignes? (?=dans suggestions_suggestion)", "N lignes "),
    (r"\d+ static files", "N static files"),
    (r"\bsandbox_dem_\d+", "DATABASE"),
    (r"(?<=in full: )\d+ tables", "N tables"),
]
# What only a slow machine shows, another Python, or an account that other tests have made anew.
_PASSING = re.compile(
    r"fetch and read the backup: "
    r"|(Restoring beside|Fetching the backup|Reading the backup to its end): |The swap waits"
    r"|- (auth_user|account|django_migrations) ?.*|\S+/(auth_user|django_migrations)\.csv"
    r"|\|.*(asks for|is there|Using Python)"
)


def normalised(text: str, scene: Scene) -> str:
    """The text with what varies replaced by words, or left out."""
    operator = scene.operator
    for folder, word in ((operator.sandbox.folder, "SANDBOX"), (operator.home, "HOME")):
        text = text.replace(str(folder), word)
    for pattern, word in _VARYING:
        text = re.sub(pattern, word, text, flags=re.MULTILINE)
    lines = [line.rstrip() for line in text.splitlines() if not _PASSING.match(line.strip())]
    return "\n".join(lines).strip() + "\n"


def check(name: str, text: str, scene: Scene) -> None:
    """Compare with the file of that name."""
    path, found = FOLDER / f"{name}.txt", normalised(text, scene)
    if os.environ.get("UPDATE_TRANSCRIPTS"):
        FOLDER.mkdir(exist_ok=True)
        path.write_text(found, encoding="utf-8")
    assert found.splitlines() == path.read_text(encoding="utf-8").splitlines()


@pytest.mark.slow
def test_success_then_the_same_again_then_undo(scene: Scene) -> None:
    _cold(scene)
    done = scene.roll_back(reason="la recherche ne trouve rien")
    check("success", done.text, scene)
    check("same_again", scene.roll_back().text, scene)
    check("undo", scene.operator.run("undo").text, scene)
    check("channel", scene.told(), scene)


def _cold(scene: Scene) -> Scene:
    """Nothing has been fetched yet."""
    shutil.rmtree(scene.operator.home / ".cache" / "operations" / "backups", ignore_errors=True)
    return scene


def test_plan(incident_scene: Scene) -> None:
    scene = _cold(incident_scene)
    check("plan", scene.roll_back("--dry", yes=False).text, scene)
    check("plan_in_full", scene.roll_back("--dry", "--diff", yes=False).text, scene)


@pytest.mark.slow
def test_refusal(protected_scene: Scene) -> None:
    protected_scene.operator.sandbox.folder.joinpath("journal", "sandbox_preprod.jsonl").unlink(
        missing_ok=True
    )
    _cold(protected_scene)
    check("refusal", protected_scene.roll_back().text, protected_scene)


@pytest.mark.slow
def test_failed_build(incident_scene: Scene) -> None:
    scene = _cold(incident_scene)
    scene.operator.control.scenario(scene.operator.app, fail="build-error")
    check("failed_build", scene.roll_back().text, scene)
    check("plan_after_a_failed_build", scene.roll_back("--dry", "--diff", yes=False).text, scene)


@pytest.mark.slow
def test_failed_boot(incident_scene: Scene) -> None:
    scene = _cold(incident_scene)
    scene.operator.control.scenario(scene.operator.app, fail="crashed-error")
    check("failed_boot_taken_back", scene.roll_back().text, scene)
