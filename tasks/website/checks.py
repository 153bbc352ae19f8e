"""Checks of a website as an inventory declares them, and the judgement of what came back; no network here."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from tasks.core.secrets import Secret
from tasks.website.forms import HtmlForm, forms_of


def _compiles(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    return pattern


def _absolute(path: str) -> str:
    if not path.startswith("/") or path.startswith("//"):
        raise ValueError("a path begins with one slash; the website's address comes from the app")
    return path


Pattern = Annotated[str, AfterValidator(_compiles)]
"""A regular expression, looked for anywhere in the page's text, character references resolved."""

UrlPath = Annotated[str, AfterValidator(_absolute)]
"""A path of the website, from its first slash."""


class Account(BaseModel):
    """An account made for checking: it needs to see one page, and nothing else."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    username: str
    password: Secret


class Check(BaseModel):
    """One thing that people do on the website, and what it must give."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: UrlPath

    @property
    def name(self) -> str:
        """What the check is called in the plan and in its result."""
        return f"{type(self).__name__.lower()} {self.path}"


class Page(Check):
    """A page that opens.

    + status: the answer's status, after redirects
    + pattern: what it must show
    """

    status: int = 200
    pattern: Pattern | None = None


class Search(Check):
    """A search that finds.

    + parameter, term: as in the address, `?parameter=term`
    + pattern: what only a search that has found something shows
    """

    parameter: str
    term: str
    pattern: Pattern

    @property
    def name(self) -> str:
        return f"search {self.path} for {self.term!r}"


class Form(Check):
    """A form that accepts; it is really sent, so declare one that does no harm.

    + fields: what a person would fill in; hidden fields and Django's CSRF token are sent as the page has them
    + pattern: what only an accepted form shows (a refused one is shown again with status 200)
    """

    fields: dict[str, str] = Field(min_length=1)
    status: int = 200
    pattern: Pattern


class Admin(Check):
    """The administration's login.

    + path: a page behind the login
    + account: with it the login is done and the page looked at; without, the login form must show
    + pattern: what the page behind shows, such as a restored row
    """

    path: UrlPath = "/admin/"
    account: Account | None = None
    pattern: Pattern | None = None


class Version(Check):
    """A page that says which release answers; its first group, or all that matches, is compared."""

    regex: Pattern


class Website(BaseModel):
    """Where the application answers people, and what is checked there.

    + deadline: seconds for a booting application to give all that is declared
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    checks: tuple[Page | Search | Form | Admin | Version, ...] = ()
    deadline: float = Field(default=60, ge=0)


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back for one request, redirects followed."""

    url: str
    status: int
    text: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """Whether a reply is what was declared, and the clause that says what was seen."""

    ok: bool
    seen: str


BOOTING: Final = frozenset({502, 503, 504})
"""Statuses of a platform's router while no container answers."""


def judge_reply(reply: Reply, status: int, pattern: str | None) -> Judgement:
    """A reply by its status and by what it must show."""
    if reply.status != status:
        return Judgement(False, f"answered {reply.status} instead of {status}")
    if pattern is None:
        return Judgement(True, f"answered {status}")
    found = find(pattern, reply.text)
    if found is None:
        return Judgement(False, f"answered {status}, but nothing on it matches {pattern!r}")
    return Judgement(True, f"answered {status} and shows {_short(found[0])!r}")


def judge_version(check: Version, reply: Reply, expected: str | None) -> Judgement:
    """The release that a page names; a shortened commit id counts as the whole one."""
    if reply.status != 200:
        return Judgement(False, f"answered {reply.status} instead of 200")
    found = find(check.regex, reply.text)
    if found is None:
        return Judgement(False, f"names no release: nothing on it matches {check.regex!r}")
    shown = (found[1] if found.re.groups else found[0]) or ""
    if expected is None or shown == expected or _same_commit(shown, expected):
        return Judgement(True, f"release {_short(shown)} answers")
    return Judgement(False, f"release {_short(shown)} answers instead of {_short(expected)}")


def login_form(reply: Reply) -> HtmlForm | None:
    """The form of a page that asks for a password."""
    return next((form for form in forms_of(reply.text) if form.password_field), None)


def form_with(reply: Reply, fields: dict[str, str]) -> HtmlForm | None:
    """The form of a page that has all these fields."""
    return next((form for form in forms_of(reply.text) if fields.keys() <= form.values.keys()), None)


def judge_login_page(reply: Reply) -> Judgement:
    """A page of the administration as somebody without an account sees it."""
    if reply.status != 200:
        return Judgement(False, f"answered {reply.status} instead of 200")
    if login_form(reply) is None:
        return Judgement(False, "shows no login form")
    return Judgement(True, "shows its login form")


def judge_behind_login(check: Admin, reply: Reply) -> Judgement:
    """A page of the administration after the login."""
    if login_form(reply) is not None:
        return Judgement(False, "does not let the check's account in: its login form shows again")
    judged = judge_reply(reply, 200, check.pattern)
    return Judgement(judged.ok, f"let the check's account in, {judged.seen}")


def find(pattern: str, text: str) -> re.Match[str] | None:
    """The pattern in a page's text as sent, or with its character references resolved."""
    return re.search(pattern, text) or re.search(pattern, html.unescape(text))


def _same_commit(shown: str, expected: str) -> bool:
    hexadecimal = re.compile(r"[0-9a-f]{7,64}\Z")
    both = hexadecimal.match(shown) and hexadecimal.match(expected)
    return bool(both) and (shown.startswith(expected) or expected.startswith(shown))


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else line[:57] + "..."
