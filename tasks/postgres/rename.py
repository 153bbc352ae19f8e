"""A dump's SQL for another schema: `public.t` becomes `"new_X".t`, and nothing else changes.

PostgreSQL has no restore into another schema. The archive's table of contents says which names are its own,
so `public.geometry(Point,4326)`, which belongs to an extension, stays; text that looks like a name stays too.
Bodies of functions (`$$...$$`, strings) are text: they run after the swap, when `public` is right again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Final, NamedTuple

from tasks.postgres.lexer import Kind, Token, meaningful_tokens, quoted

# The types whose constants are names that the server looks up while it reads the statement.
_NAMING_TYPES: Final = frozenset(
    {
        "regclass", "regtype", "regproc", "regprocedure", "regoper", "regoperator",
        "regcollation", "regconfig", "regdictionary",
    }
)  # fmt: skip
# Functions of pg_catalog whose first argument pg_dump writes as a bare string.
_NAMING_FUNCTIONS: Final = frozenset({"setval"})


class Change(NamedTuple):
    """A part of a text to replace: where it is, what takes its place."""

    start: int
    end: int
    text: str


def rename(sql: str, *, names: Collection[str], source: str, target: str) -> str:
    """The statement with each own name of schema `source` in schema `target`.

    + names: names of relations, types, functions, operators... that the archive itself brings
    + source, target: schema names as they are, not quoted
    """
    pieces = []
    position = 0
    for change in changes(sql, names=names, source=source, target=target):
        pieces += [sql[position : change.start], change.text]
        position = change.end
    return "".join(pieces) + sql[position:]


def changes(sql: str, *, names: Collection[str], source: str, target: str) -> Iterator[Change]:
    """What `rename` replaces, from front to back."""
    if '"' not in source and source.lower() not in sql.lower():
        return
    own = names if isinstance(names, (set, frozenset)) else frozenset(names)
    found = meaningful_tokens(sql)
    for index, token in enumerate(found):
        if token.text == ".":
            schema = found[index - 1] if index else token
            if schema.name == source and _qualifies_own_name(found, index - 1, own):
                yield Change(schema.start, schema.end, quoted(target))
        elif token.kind is Kind.STRING and _is_read_as_name(found, index):
            text = string_value(token.text)
            if text is not None:
                renamed = rename(text, names=own, source=source, target=target)
                if renamed != text:
                    yield Change(token.start, token.end, _string_constant(renamed, token.text))


def _at(meaningful: Sequence[Token], index: int) -> Token | None:
    return meaningful[index] if 0 <= index < len(meaningful) else None


def _is(token: Token | None, text: str) -> bool:
    return token is not None and token.text == text


def _names(token: Token | None, name: str) -> bool:
    return token is not None and token.name == name


def _qualifies_own_name(meaningful: Sequence[Token], index: int, names: Collection[str]) -> bool:
    """Whether the name at `index` stands before the point of a qualified name of ours."""
    if not _is(_at(meaningful, index + 1), ".") or _is(_at(meaningful, index - 1), "."):
        return False
    last = _at(meaningful, index + 2)
    if last is None:
        return False
    if last.kind is Kind.OPERATOR:
        return last.text in names and (last.text != "*" or _in_operator_place(meaningful, index))
    return last.name is not None and last.name in names


def _in_operator_place(meaningful: Sequence[Token], index: int) -> bool:
    """`OPERATOR public.*`, `OPERATOR(public.*)`, `OPERATOR 1 public.*`: not all columns of something."""
    before = _at(meaningful, index - 1)
    if _names(before, "operator"):
        return True
    return (
        before is not None
        and (before.text == "(" or before.kind is Kind.NUMBER)
        and _names(_at(meaningful, index - 2), "operator")
    )


def _is_read_as_name(meaningful: Sequence[Token], index: int) -> bool:
    """Whether the string at `index` is cast to a type of names, or given to a function that wants one."""
    return (
        _names_a_naming_type(meaningful, index + 1, "::")
        or _names_a_naming_type(meaningful, index + 1, "as")
        or _is_typed_constant(meaningful, index)
        or _is_first_argument(meaningful, index)
    )


def _names_a_naming_type(meaningful: Sequence[Token], index: int, cast: str) -> bool:
    sign = _at(meaningful, index)
    if sign is None or (sign.name if cast == "as" else sign.text) != cast:
        return False
    if _names(_at(meaningful, index + 1), "pg_catalog") and _is(_at(meaningful, index + 2), "."):
        index += 2
    wanted = _at(meaningful, index + 1)
    return wanted is not None and wanted.name in _NAMING_TYPES


def _is_typed_constant(meaningful: Sequence[Token], index: int) -> bool:
    """`regclass 'public.t'`."""
    before = _at(meaningful, index - 1)
    return before is not None and before.name in _NAMING_TYPES


def _is_first_argument(meaningful: Sequence[Token], index: int) -> bool:
    """`setval('public.t_id_seq', ...)`, `pg_catalog.setval(...)`, and no other schema's setval."""
    function = _at(meaningful, index - 2)
    if not _is(_at(meaningful, index - 1), "(") or function is None or function.name not in _NAMING_FUNCTIONS:
        return False
    if _is(_at(meaningful, index - 3), "."):
        return _names(_at(meaningful, index - 4), "pg_catalog")
    return True


def string_value(constant: str) -> str | None:
    """What a string constant stands for, as far as names are written: '...' and E'...' with doubled signs."""
    body = constant[1:] if constant[0] in "Ee" else constant
    if body[0] != "'" or body[-1] != "'" or len(body) < 2:
        return None
    body = body[1:-1]
    if constant[0] in "Ee":
        if "\\" in body.replace("\\\\", ""):
            return None
        body = body.replace("\\\\", "\\")
    value = body.replace("''", "'")
    return None if value.count("'") != body.count("''") else value


def _string_constant(value: str, like: str) -> str:
    """The value as a string constant of the same form as another."""
    text = value.replace("'", "''")
    return f"{like[0]}'" + text.replace("\\", "\\\\") + "'" if like[0] in "Ee" else f"'{text}'"
