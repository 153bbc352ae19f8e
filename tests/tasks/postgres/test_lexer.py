"""PostgreSQL's lexical rules: cases with spoken names, any text rejoined, the server itself as judge."""

from __future__ import annotations

import random
import time

import psycopg
import pytest

from tasks.postgres.lexer import Kind, quoted, tokens

CASES = {
    "names, one with a dollar": ("a$b é _1", ["NAME a$b", "NAME é", "NAME _1"]),
    "quoted name with a quote": ('"a""b"."c"', ['QUOTED_NAME "a""b"', "PUNCTUATION .", 'QUOTED_NAME "c"']),
    "string with a quote": ("'a''b' 'c'", ["STRING 'a''b'", "STRING 'c'"]),
    "backslash is ordinary in a plain string": (r"'a\' b", [r"STRING 'a\'", "NAME b"]),
    "backslash escapes in an E string": (r"E'a\' b' c", [r"STRING E'a\' b'", "NAME c"]),
    "a name that ends in e, then a string": ("the'x'", ["NAME the", "STRING 'x'"]),
    "string continued on the next line": ("'a' -- no\n  'b' 'c'", ["STRING 'a' -- no\n  'b'", "STRING 'c'"]),
    "string not continued on the same line": (
        "'a' /* \n */ 'b'",
        ["STRING 'a'", "COMMENT /* \n */", "STRING 'b'"],
    ),
    "E string continued keeps its rules": ("E'a'\n'\\'' b", ["STRING E'a'\n'\\''", "NAME b"]),
    "bits, hex, national": ("b'01' X'ff' n'x'", ["STRING b'01'", "STRING X'ff'", "STRING n'x'"]),
    "Unicode": (
        "U&'d' U&\"d\" U & d",
        ["STRING U&'d'", 'QUOTED_NAME U&"d"', "NAME U", "OPERATOR &", "NAME d"],
    ),
    "dollar quotes": ("$$a'$x$ $$ $x$ $$ $x$", ["DOLLAR_STRING $$a'$x$ $$", "DOLLAR_STRING $x$ $$ $x$"]),
    "no dollar quote within a name": ("a$$b$$", ["NAME a$$b$$"]),
    "parameters": ("$1 $23", ["PARAMETER $1", "PARAMETER $23"]),
    "nested comment": ("a /* b /* c */ d */ e", ["NAME a", "COMMENT /* b /* c */ d */", "NAME e"]),
    "line comment": ("a -- 'b\nc", ["NAME a", "COMMENT -- 'b", "NAME c"]),
    "line comment ends an operator": ("a#--b", ["NAME a", "OPERATOR #", "COMMENT --b"]),
    "comment ends an operator": ("+/*c*/-", ["OPERATOR +", "COMMENT /*c*/", "OPERATOR -"]),
    "sign after an equals": ("a=-1", ["NAME a", "OPERATOR =", "OPERATOR -", "NUMBER 1"]),
    "sign after a comparison": ("a<=-b", ["NAME a", "OPERATOR <=", "OPERATOR -", "NAME b"]),
    "sign that belongs to an operator": ("a@-b", ["NAME a", "OPERATOR @-", "NAME b"]),
    "whole numbers": ("1 0xFF 1_000", ["NUMBER 1", "NUMBER 0xFF", "NUMBER 1_000"]),
    "numbers with a point": ("1.5 .5 5. 1.e-3", ["NUMBER 1.5", "NUMBER .5", "NUMBER 5.", "NUMBER 1.e-3"]),
    "range between numbers": ("1..10", ["NUMBER 1", "PUNCTUATION ..", "NUMBER 10"]),
    "cast": ("a::b", ["NAME a", "PUNCTUATION ::", "NAME b"]),
    "unfinished string": ("'a", ["STRING 'a"]),
    "unfinished E string": ("E'a\\", ["STRING E'a\\"]),
    "unfinished name": ('"a', ['QUOTED_NAME "a']),
    "unfinished dollar quote": ("$a$ b", ["DOLLAR_STRING $a$ b"]),
    "unfinished comment": ("/* /* */", ["COMMENT /* /* */"]),
    "a lone backslash": ("\\", ["OTHER \\"]),
}


@pytest.mark.parametrize("case", CASES)
def test_tokens_of(case):
    sql, expected = CASES[case]
    assert [
        f"{token.kind.name} {token.text}" for token in tokens(sql) if token.kind is not Kind.SPACE
    ] == expected


def test_names_are_folded_as_the_server_does(server):
    with psycopg.connect(server.superuser_conninfo) as connection:
        for written in ("Abc", "ÉTÉ", '"Abc"', '"a""B"', "İx", "ǅ$1"):
            column = connection.execute(f"SELECT 1 AS {written}").description[0].name
            [token] = tokens(written)
            assert token.name == column


PARTS = [
    "'", '"', "$$", "$a$", "$1", "E'", "\\", "''", "/*", "*/", "--", "\n", "\r", " ", ".", "..", "::", "U&'",
    "public", "é", "a", "1", "1e", "0x", "_", "+", "-", "<", "@", "U&", "\x00", "\u2028", "😀", "b'", ";",
    "(", "*", "=", "/",
]  # fmt: skip


def test_any_text_becomes_tokens_that_are_that_text():
    chance = random.Random(17)
    for _ in range(4000):
        sql = "".join(chance.choices(PARTS, k=chance.randrange(25)))
        found = list(tokens(sql))
        assert "".join(token.text for token in found) == sql
        position = 0
        for token in found:
            assert token.start == position and token.text
            position = token.end


def test_time_grows_with_the_text_alone():
    """Comments, spaces and quotes in rows must not make the scanner try all divisions."""
    began = time.process_time()
    for part in ("--", "'a' ", "''", "/*", "$a", "1_", "- ", "'\n--", "E'\\", '"" ', "+-", "$a$"):
        sql = "'x' " + part * 20_000
        assert "".join(token.text for token in tokens(sql)) == sql
    assert time.process_time() - began < 10


def test_the_server_ends_strings_and_comments_in_the_same_places(server):
    """A marker outside all strings and comments is a syntax error there for the server, inside it is not."""
    chance = random.Random(23)
    parts = ["'", "''", '"', "$$", "$a$", " ", "\n", "--", "/*", "*/", "E'", "\\", "x", ",", "1"]
    judged = 0
    with psycopg.connect(server.superuser_conninfo, autocommit=True) as connection:
        for _ in range(3000):
            text = "".join(chance.choices(parts, k=chance.randrange(1, 12)))
            sql = f"SELECT {text}\n, §"
            found = list(tokens(sql))
            cut_off = found[-1].text != "§"
            try:
                connection.execute(sql)
            except psycopg.errors.SyntaxError as error:
                message = str(error)
                if "unterminated" in message:
                    assert cut_off, sql
                    judged += 1
                elif "zero-length" not in message and not cut_off:
                    judged += 1
            except psycopg.Error:
                assert not cut_off, sql
                judged += 1
    assert judged > 1500


def test_quoted():
    assert quoted('a"b') == '"a""b"'
    [token] = tokens(quoted('a"b'))
    assert token.name == 'a"b'
