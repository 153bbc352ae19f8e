"""Writes docs/reference/declarations.md from the typed declarations themselves (`make docs`)."""

from __future__ import annotations

import sys
import typing
from pathlib import Path

from pydantic import BaseModel

from tasks.rollback.declared import CHECKS, Declared, Drill
from tasks.website.checks import Website

PAGE = Path(__file__).parent / "reference" / "declarations.md"


def page() -> str:
    """The whole page."""
    lines = [
        "# Declarations",
        "",
        "What an inventory or its group data may declare for an application. `group_data/demo.py` is a whole",
        "example. `make docs` writes this page from the code (`tasks/rollback/declared.py`).",
        "",
        "| name | type | default | meaning |",
        "|---|---|---|---|",
    ]
    lines += [_row(name, field) for name, field in Declared.model_fields.items()]
    lines += [
        "",
        "`scalingo_region` names the platform's region; else SCALINGO_REGION, else the client's own.",
    ]
    lines += [
        "",
        "All of it is plain data: `pyinfra INVENTORY debug-inventory` shows what each application is.",
        "",
        "## `drill`",
        "",
        *_docstring(Drill),
        "",
        "## `website`",
        "",
        *_docstring(Website),
        "",
        "Each of its `checks` says its `kind`, the `path` to look at, and what that kind needs more:",
        '`{"kind": "page", "path": "/carte", "pattern": "Lyon"}`.',
        "",
    ]
    for kind, model in CHECKS.items():
        lines += [f"### {kind}", "", *_docstring(model), ""]
    return "\n".join(lines).rstrip() + "\n"


def _row(name: str, field: typing.Any) -> str:
    default = "required" if field.is_required() else f"`{field.default!r}`"
    return f"| `{name}` | {_type(field.annotation)} | {default} | {field.description} |"


def _type(annotation: typing.Any) -> str:
    text = getattr(annotation, "__name__", "") if not typing.get_args(annotation) else str(annotation)
    for package in (
        "typing.",
        "pathlib._local.",
        "pathlib.",
        "tasks.website.checks.",
        "tasks.rollback.declared.",
    ):
        text = text.replace(package, "")
    return text.replace("|", "or")


def _docstring(model: type[BaseModel]) -> list[str]:
    return [line.strip() for line in (model.__doc__ or "").strip().splitlines()]


if __name__ == "__main__":
    if "--check" in sys.argv:
        current = PAGE.read_text(encoding="utf-8") == page()
        sys.exit(0 if current else f"{PAGE.name} is old: make docs")
    PAGE.write_text(page(), encoding="utf-8")
