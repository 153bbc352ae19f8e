"""What GitHub's REST API answers, as far as it is used here (docs.github.com/rest, version 2022-11-28)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import AliasPath, BaseModel, BeforeValidator, ConfigDict, Field

Text = Annotated[str, BeforeValidator(lambda value: "" if value is None else value)]
Verdict = Literal["passed", "failed", "running"]

ACCEPTABLE: Final = frozenset({"success", "neutral", "skipped"})
"""Conclusions of a check run that don't speak against its commit."""


class Model(BaseModel):
    """Common to all: frozen and tolerant of new fields."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class Release(Model):
    """A published release; `created_at` is its commit's date, `published_at` its own."""

    tag: str = Field(validation_alias="tag_name")
    name: Text = ""
    url: Text = Field("", validation_alias="html_url")
    body: Text = ""
    draft: bool = False
    prerelease: bool = False
    created_at: datetime | None = None
    published_at: datetime | None = None


class Tag(Model):
    """A tag and the commit that it means."""

    name: str
    commit: str = Field(validation_alias=AliasPath("commit", "sha"))


class Commit(Model):
    """One commit."""

    sha: str
    message: Text = Field("", validation_alias=AliasPath("commit", "message"))
    author: Text = Field("", validation_alias=AliasPath("commit", "author", "name"))
    date: datetime | None = Field(None, validation_alias=AliasPath("commit", "author", "date"))
    url: Text = Field("", validation_alias="html_url")

    @property
    def subject(self) -> str:
        """The first line of its message."""
        return (self.message.splitlines() or [""])[0]


class CheckRun(Model):
    """One run of a check, as the API lists it."""

    id: int
    name: str
    app: Text = Field("", validation_alias=AliasPath("app", "slug"))
    status: Text = ""
    conclusion: Text = ""
    started_at: datetime | None = None
    url: Text = Field("", validation_alias="html_url")

    @property
    def verdict(self) -> Verdict:
        """What it says of its commit."""
        if self.status != "completed":
            return "running"
        return "passed" if self.conclusion in ACCEPTABLE else "failed"


class Status(Model):
    """The newest state that one context reported for a commit."""

    context: str
    state: str
    url: Text = Field("", validation_alias="target_url")

    @property
    def verdict(self) -> Verdict:
        """What it says of its commit."""
        verdicts: dict[str, Verdict] = {"success": "passed", "pending": "running"}
        return verdicts.get(self.state, "failed")


@dataclass(frozen=True)
class Check:
    """One opinion on a commit, be it a check run or a status: who holds it, which, and where to read on."""

    name: str
    by: str
    verdict: Verdict
    url: str


@dataclass(frozen=True)
class Comparison:
    """Going from one commit to another: what is gained and what is lost, oldest first.

    + gained_in_all, lost_in_all: how many there are, which may be more than are listed
    """

    gained: list[Commit]
    lost: list[Commit]
    gained_in_all: int
    lost_in_all: int
