"""What an inventory and its group data declare for a rollback, checked and typed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from tasks.core import paths
from tasks.core.errors import NotConfigured
from tasks.website.checks import Admin, Check, Form, Page, Search, Version, Website

CHECKS: Final[Mapping[str, type[Check]]] = {
    "page": Page,
    "search": Search,
    "form": Form,
    "admin": Admin,
    "version": Version,
}
"""Checks of a website by the word that declares them."""


def _with_checks(website: object) -> object:
    """A website declared as plain data, which pyinfra's `debug-inventory` can show, with its checks typed."""
    if not isinstance(website, Mapping) or not isinstance(checks := website.get("checks", ()), list | tuple):
        return website
    return {**website, "checks": tuple(_check(number, one) for number, one in enumerate(checks, 1))}


def _check(number: int, one: object) -> object:
    if not isinstance(one, Mapping):
        return one
    values = dict(one)
    model = CHECKS.get(str(values.pop("kind", "")))
    if model is None:
        raise ValueError(f"check {number}: its `kind` is one of {', '.join(CHECKS)}")
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise ValueError("; ".join(f"check {number}: {line}" for line in _faults(error))) from None


def _faults(error: ValidationError) -> list[str]:
    return [
        f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg'].removeprefix('Value error, ')}"
        for fault in error.errors()
    ]


class Drill(BaseModel):
    """Where a backup of this application is tried, and what must be true of it then.

    + on: the application of the same platform beside whose live data it is restored; it is never swapped in
    + database: the environment variable that holds the URL of a database for it, instead of `on`
    + room_bytes: the size that this database may reach, in bytes
    + newest: by `table.column`, how many hours old the newest row may be
    + checks: by what they say, SQL statements that must give true; they see the restored tables alone
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    on: str | None = None
    database: Annotated[str | None, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] = None
    room_bytes: Annotated[int | None, Field(gt=0)] = None
    newest: Mapping[Annotated[str, Field(pattern=r"^.+\..+$")], Annotated[float, Field(gt=0)]] = {}
    checks: Mapping[str, str] = {}

    @model_validator(mode="after")
    def _one_place(self) -> Drill:
        if (self.on is None) == (self.database is None):
            raise ValueError("one of `on` and `database` says where")
        return self


class Declared(BaseModel):
    """One application in one environment. Each field is a name in the inventory's or a group's data."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    environment: Annotated[str, Field(description="The inventory's word for itself, as people type it.")]
    protected: Annotated[bool, Field(description="Whether its name is typed before anything changes.")] = (
        False
    )
    sandbox: Annotated[bool, Field(description="Loopback endpoints only; else none of them.")] = False
    rehearse_in: Annotated[
        str | None, Field(description="The environment where the same rollback must have succeeded before.")
    ] = None
    rehearsal_hours: Annotated[int, Field(gt=0, description="How old a rehearsal may be, in hours.")] = 24
    journal: Annotated[
        Path | None, Field(description="The journal's folder; shared by the environments.")
    ] = None
    repository: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$", description="OWNER/NAME on GitHub.")]
    branch: Annotated[str, Field(description="The branch that the platform deploys.")] = "master"
    ssh_fingerprints: Annotated[
        tuple[str, ...], Field(description="SHA256 fingerprints of the platform's SSH host keys.")
    ] = ()
    ssh_identity: Annotated[
        Path | None, Field(description="The SSH key to use; else the agent's and the usual ones.")
    ] = None
    database_variable: Annotated[
        str, Field(description="The app's variable that holds the database's URL.")
    ] = "SCALINGO_POSTGRESQL_URL"
    database_schema: Annotated[str, Field(description="The schema that is restored.")] = "public"
    empty_tables: Annotated[
        tuple[str, ...], Field(description="Tables that come back empty (sessions, cache).")
    ] = ()
    room_bytes: Annotated[
        int | None, Field(gt=0, description="The size that the database may reach on its plan, in bytes.")
    ] = None
    workers: Annotated[int, Field(ge=1, le=8, description="Sessions that load side by side, at most.")] = 4
    data_administrator: Annotated[
        str | None, Field(description="Who signs off on lost data; any name is taken where none is declared.")
    ] = None
    sign_off: Annotated[
        bool | None,
        Field(description="Whether lost rows need a sign-off; where it is protected, by default."),
    ] = None
    sign_off_growth: Annotated[
        int, Field(ge=0, description="Rows that may be lost beyond the signed list, as users go on writing.")
    ] = 1000
    pg_restore: Annotated[
        Path | None,
        Field(description="The folder of pg_restore (strategy=drop) and pg_dump; else they are looked for."),
    ] = None
    address: Annotated[
        str | None,
        Field(pattern=r"^https?://[^/?#@]+/?$", description="The pages' address; else the platform's own."),
    ] = None
    check_account: Annotated[
        tuple[str, str] | None,
        Field(description="The app's variables that hold a check account's name and password for the admin."),
    ] = None
    count_command: Annotated[
        str | None,
        Field(description="A command whose last line is a number of rows, for a one-off; not 0 means well."),
    ] = None
    drill: Annotated[
        Drill | None, Field(description="Where backups are tried regularly, and what must be true of them.")
    ] = None
    website: Annotated[
        Website,
        BeforeValidator(_with_checks),
        Field(description="The pages to look at, and what they must show."),
    ]

    @property
    def needs_sign_off(self) -> bool:
        """Whether somebody has to agree to what is lost."""
        return self.protected if self.sign_off is None else self.sign_off

    @property
    def journal_folder(self) -> Path:
        """The journal's folder: the declared one, else in the user's state folder."""
        return (self.journal or paths.state("journal")).expanduser()


def declared(data: Mapping[str, Any], host: str) -> Declared:
    """The declaration out of a host's data.

    Raises `NotConfigured` with one line for each value that is missing or wrong.
    """
    known = {name: data[name] for name in Declared.model_fields if data.get(name) is not None}
    try:
        return Declared.model_validate(known)
    except ValidationError as error:
        faults = "\n".join(f"  {line}" for line in _faults(error))
        raise NotConfigured(
            f"Reading what is declared for {host}",
            f"\n{faults}",
            next_step="put it right in the inventory or in group_data/ (docs/reference/declarations.md)",
        ) from error
