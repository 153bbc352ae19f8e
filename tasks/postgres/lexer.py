"""SQL as the tokens that PostgreSQL itself sees, with their exact places in the text.

The rules are those of PostgreSQL's scanner with `standard_conforming_strings` on, as pg_dump writes and as
every server since 9.1 is set (https://www.postgresql.org/docs/current/sql-syntax-lexical.html). Nothing is
judged: any text at all becomes tokens, and their texts joined are that text again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum, auto
from typing import Final, NamedTuple


class Kind(Enum):
    """What a token is."""

    SPACE = auto()
    COMMENT = auto()
    NAME = auto()
    QUOTED_NAME = auto()
    STRING = auto()
    DOLLAR_STRING = auto()
    PARAMETER = auto()
    NUMBER = auto()
    OPERATOR = auto()
    PUNCTUATION = auto()
    OTHER = auto()


class Token(NamedTuple):
    """A piece of SQL: what it is, its text as written, and the index of its first character.

    A string, quoted name or comment that the text's end cuts off is a token of its kind as well.
    """

    kind: Kind
    text: str
    start: int

    @property
    def end(self) -> int:
        """The index after its last character."""
        return self.start + len(self.text)

    @property
    def name(self) -> str | None:
        """The identifier that it stands for: lower case unless quoted; None when it is none.

        None also for `U&"..."`, whose meaning depends on a later UESCAPE, and which pg_dump never writes.
        """
        if self.kind is Kind.NAME:
            return _folded(self.text)
        if (
            self.kind is Kind.QUOTED_NAME
            and self.text[0] == '"'
            and self.text[-1] == '"'
            and len(self.text) > 2
        ):
            return self.text[1:-1].replace('""', '"')
        return None

    @property
    def means_something(self) -> bool:
        """Neither space nor comment."""
        return self.kind is not Kind.SPACE and self.kind is not Kind.COMMENT


# Only single characters are repeated possessively: Python before 3.11.5 loses its place after a group.
_LETTER: Final = "A-Za-z_\x80-\U0010ffff"
_SPACE: Final = r"[ \t\n\r\f\v]"
# What may stand between the parts of one string constant: at least one line break, and comments to line ends.
_CONTINUED: Final = r"(?:[ \t\f\v]|--[^\n\r]*+)*[\n\r](?:[ \t\n\r\f\v]|--[^\n\r]*+[\n\r])*(?=')"
_PLAIN_PART: Final = r"'[^']*+(?:''[^']*+)*(?:'|\Z)"
_ESCAPED_PART: Final = r"'[^'\\]*+(?:(?:''|\\.)[^'\\]*+)*(?:'|\\?\Z)"
_DIGITS: Final = r"[0-9](?:_?[0-9])*"

_TOKEN: Final = re.compile(
    rf"""
      (?P<SPACE> {_SPACE}++ )
    | (?P<COMMENT> --[^\n\r]*+ | /\* )
    | (?P<DOLLAR_STRING> \$(?:[{_LETTER}][{_LETTER}0-9]*+)?\$ )
    | (?P<PARAMETER> \$[0-9]++ )
    | (?P<ESCAPED> [Ee]{_ESCAPED_PART}(?:{_CONTINUED}{_ESCAPED_PART})* )
    | (?P<STRING> (?:[BbXxNn]|[Uu]&)?{_PLAIN_PART}(?:{_CONTINUED}{_PLAIN_PART})* )
    | (?P<QUOTED_NAME> (?:[Uu]&)?"[^"]*+(?:""[^"]*+)*(?:"|\Z) )
    | (?P<NAME> [{_LETTER}][{_LETTER}0-9$]*+ )
    | (?P<NUMBER>
          0[xX](?:_?[0-9A-Fa-f])+ | 0[oO](?:_?[0-7])+ | 0[bB](?:_?[01])+
        | (?: {_DIGITS}(?:\.(?!\.)(?:{_DIGITS})?)? | \.{_DIGITS} ) (?:[eE][+-]?{_DIGITS})?
      )
    | (?P<PUNCTUATION> :: | := | \.\. | [,()\[\].;:] )
    | (?P<OPERATOR> (?: (?!/\*|--) [~!@#^&|`?+\-*/%<>=] ){{1,64}} )
    | (?P<OTHER> . )
    """,
    re.VERBOSE | re.DOTALL,
)
_KINDS: Final = {**{kind.name: kind for kind in Kind}, "ESCAPED": Kind.STRING}
_COMMENT_EDGE: Final = re.compile(r"/\*|\*/")
_KEEPS_A_SIGN: Final = frozenset("~!@#^&|`?%")
_UPPER: Final = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")


def meaningful_tokens(sql: str) -> list[Token]:
    """The tokens of a text without spaces and comments."""
    return [token for token in tokens(sql, spaces=False) if token.kind is not Kind.COMMENT]


def tokens(sql: str, *, spaces: bool = True) -> Iterator[Token]:
    """The tokens of a text, spaces and comments included; joined they are the text.

    + spaces: without them half of a schema's tokens need not be made
    """
    position = 0
    while position < len(sql):
        found = _TOKEN.match(sql, position)
        assert found is not None and found.lastgroup is not None  # the last alternative takes any character
        group = found.lastgroup
        end = found.end()
        if group == "COMMENT" and found.group().startswith("/*"):
            end = _comment_end(sql, end)
        elif group == "DOLLAR_STRING":
            closing = sql.find(found.group(), end)
            end = len(sql) if closing < 0 else closing + len(found.group())
        elif group == "OPERATOR":
            end = position + len(_operator(found.group()))
        if spaces or group != "SPACE":
            yield Token(_KINDS[group], sql[position:end], position)
        position = end


def quoted(name: str) -> str:
    """The name as a quoted identifier, whatever it holds."""
    return '"' + name.replace('"', '""') + '"'


def _folded(name: str) -> str:
    """As the server lower-cases unquoted names: ASCII letters only, where a letter may take several bytes."""
    return name.translate(_UPPER)


def _comment_end(sql: str, inside: int) -> int:
    """Where the comment ends whose `/*` ends at `inside`; comments nest."""
    depth = 1
    while depth:
        edge = _COMMENT_EDGE.search(sql, inside)
        if edge is None:
            return len(sql)
        depth += 1 if edge.group() == "/*" else -1
        inside = edge.end()
    return inside


def _operator(run: str) -> str:
    """The operator that a run of operator characters begins with.

    A sign at its end belongs to what follows (`=-1`), unless it has a character that SQL's own operators
    don't. A run ends where a comment begins; the server has no operator longer than 63 characters.
    """
    if len(run) > 1 and run[-1] in "+-" and not _KEEPS_A_SIGN.intersection(run):
        run = run.rstrip("+-") or run[0]
    return run
