"""SQL text built safely by pure functions: names and values quoted by PostgreSQL's own rules.

Statements here travel many to a message, which rules out bound parameters, so every name and value goes
through these functions.
"""

from __future__ import annotations

from collections.abc import Iterable


def ident(name: str) -> str:
    """A name as an identifier, always quoted."""
    if "\x00" in name or not name:
        raise ValueError("not a name")
    return '"' + name.replace('"', '""') + '"'


def qualified(schema: str, name: str) -> str:
    """`"schema"."name"`."""
    return f"{ident(schema)}.{ident(name)}"


def literal(value: str) -> str:
    r"""A text as a literal that means the same whatever `standard_conforming_strings` says."""
    if "\x00" in value:
        raise ValueError("a text of PostgreSQL holds no zero byte")
    quoted = "'" + value.replace("'", "''") + "'"
    return "E" + quoted.replace("\\", "\\\\") if "\\" in value else quoted


def names(schema: str, tables: Iterable[str]) -> str:
    """Qualified names joined by commas, for LOCK TABLE, ANALYZE and DROP."""
    return ", ".join(qualified(schema, table) for table in tables)


def message(statements: Iterable[str]) -> str:
    """Statements as one message to the server, each ended by a semicolon."""
    parts = (statement.strip() for statement in statements)
    return "\n".join(part if part.endswith(";") else part + ";" for part in parts if part)
