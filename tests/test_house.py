"""The house rules that a tool can hold: what a newcomer relies on when looking for a room."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from docs.generate import PAGE, page

ROOT = Path(__file__).parent.parent
NAMES = re.compile(r"sandbox-demo|quefairedemes|qfdmo|lvao|osc-fr1|app_[0-9a-f]{8}|Christian", re.IGNORECASE)
DEPLOYS = sorted((ROOT / "deploys").glob("*.py"))


def test_tasks_name_no_app_bucket_or_region() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in sorted((ROOT / "tasks").rglob("*.py"))
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if NAMES.search(line)
    ]
    assert found == []


@pytest.mark.parametrize("path", DEPLOYS, ids=lambda path: path.stem)
def test_deploys_are_prose(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) < 60
    imports = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import | ast.ImportFrom)]
    modules = {node.module for node in imports if isinstance(node, ast.ImportFrom)}
    assert modules <= {"pyinfra", "tasks.backup", "tasks.bring_back", "tasks.drill", "tasks.rollback"}
    assert not [node for node in imports if isinstance(node, ast.Import)]


def test_locked_dependencies_name_no_index_and_have_hashes() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    assert not re.search(r"https?:|file:|--(extra-)?index|find-links", lock)
    pinned = re.findall(
        r"^[a-z0-9][\w.-]*==[^\n]*\\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", lock, re.M
    )
    assert len(pinned) == len(re.findall(r"^[a-z0-9][\w.-]*==", lock, re.M)) > 20


def test_reference_of_declarations_is_that_of_the_code() -> None:
    assert PAGE.read_text() == page()


def test_documents_lead_somewhere() -> None:
    for document in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]:
        for link in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
            if "://" not in link:
                assert (document.parent / link).exists(), f"{document.name}: {link}"


def test_documents_name_deploys_and_inventories_that_exist() -> None:
    for document in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for path in re.findall(r"\b((?:deploys|inventories|group_data)/\w+\.py)\b", document.read_text()):
            assert (ROOT / path).exists(), f"{document.name}: {path}"
