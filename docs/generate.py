"""Writes docs/reference/declarations.md from the typed declarations themselves (`make docs`)."""

from __future__ import annotations

import sys
import typing
from pathlib import Path

from pydantic import BaseModel

from tasks.rollback.declared import Declared
from tasks.website.checks import Admin, Form, Page, Search, Version, Website

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
    lines += ["", "## Checks of a website", ""]
    for model in (Website, Page, Search, Form, Admin, Version):
        lines += [f"### {model.__name__}", "", *_docstring(model), ""]
    return "\n".join(lines).rstrip() + "\n"


def _row(name: str, field: typing.Any) -> str:
    default = "required" if field.is_required() else f"`{field.default!r}`"
    return f"| `{name}` | {_type(field.annotation)} | {default} | {field.description} |"


def _type(annotation: typing.Any) -> str:
    text = getattr(annotation, "__name__", "") if not typing.get_args(annotation) else str(annotation)
    for package in ("typing.", "pathlib._local.", "pathlib.", "tasks.website.checks."):
        text = text.replace(package, "")
    return text.replace("|", "or")


def _docstring(model: type[BaseModel]) -> list[str]:
    return [line.strip() for line in (model.__doc__ or "").strip().splitlines()]


if __name__ == "__main__":
    if "--check" in sys.argv:
        current = PAGE.read_text(encoding="utf-8") == page()
        sys.exit(0 if current else f"{PAGE.name} is old: make docs")
    PAGE.write_text(page(), encoding="utf-8")
