"""What is, on Scalingo: each fact is one read of the API.

    pyinfra inventories/prod.py fact tasks.scalingo.facts.Deployments

A value is plain data, so that it prints as JSON; times are aware `datetime`s. No fact holds a secret.
"""

from __future__ import annotations

import json
from typing import Any, TypeVar

from pydantic import ValidationError
from pyinfra.api.exceptions import FactProcessError
from pyinfra.api.facts import FactBase
from pyinfra.context import host

from tasks.scalingo import models
from tasks.scalingo.request import ApiRequest
from tasks.scalingo.session import Service

Data = dict[str, Any]
M = TypeVar("M", bound=models.Model)


def _read(model: type[M], output: list[str], key: str) -> M:
    return _validated(model, _member(output, key))


def _read_all(model: type[M], output: list[str], key: str) -> list[M]:
    return [_validated(model, item) for item in _member(output, key) or []]


def _member(output: list[str], key: str) -> Any:
    body = json.loads("\n".join(output))
    if key not in body:
        raise FactProcessError(f"Scalingo's answer has no {key} as documented")
    return body[key]


def _validated(model: type[M], data: Any) -> M:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        place = ".".join(map(str, error.errors(include_url=False, include_input=False)[0]["loc"]))
        raise FactProcessError(f"Scalingo's answer has no {place} as documented") from None


class AppInfo(FactBase[Data]):
    """The application: id, status, region, address, owner, last deployment.

    Source: developers.scalingo.com, "Apps".
    """

    def command(self) -> ApiRequest:
        return ApiRequest("/apps/{app}")

    def process(self, output: list[str]) -> Data:
        return _read(models.App, output, "app").model_dump()


class Variables(FactBase[dict[str, str]]):
    """The environment variables: their names, each with a fingerprint that is the same for the same value
    within one run. The values are never part of a fact; operations take them from the client.

    Source: developers.scalingo.com, "Environment variables".
    """

    def command(self) -> ApiRequest:
        return ApiRequest("/apps/{app}/variables", params={"aliases": True})

    def process(self, output: list[str]) -> dict[str, str]:
        found = _read_all(models.Variable, output, "variables")
        return {variable.name: variable.value.fingerprint for variable in sorted(found, key=lambda v: v.name)}


class Deployments(FactBase[list[Data]]):
    """The last deployments, newest first, with status, commit and who pushed.

    + count: how many

    Source: developers.scalingo.com, "Deployments".
    """

    def command(self, count: int = 20) -> ApiRequest:
        return ApiRequest("/apps/{app}/deployments", params={"page": 1, "per_page": count})

    def process(self, output: list[str]) -> list[Data]:
        return [item.model_dump() for item in _read_all(models.Deployment, output, "deployments")]


class Containers(FactBase[dict[str, Data]]):
    """The formation: for each line of the Procfile the amount, size and command.

    Source: developers.scalingo.com, "Containers".
    """

    def command(self) -> ApiRequest:
        return ApiRequest("/apps/{app}/containers")

    def process(self, output: list[str]) -> dict[str, Data]:
        formation = _read_all(models.ContainerType, output, "containers")
        return {line.name: line.model_dump(exclude={"name"}) for line in formation}


class Processes(FactBase[list[Data]]):
    """The containers at work, one-offs included.

    Source: developers.scalingo.com, "Containers".
    """

    def command(self) -> ApiRequest:
        return ApiRequest("/apps/{app}/ps")

    def process(self, output: list[str]) -> list[Data]:
        return [item.model_dump() for item in _read_all(models.Container, output, "containers")]


class Addons(FactBase[list[Data]]):
    """The add-ons with their plans.

    Source: developers.scalingo.com, "Addons".
    """

    def command(self) -> ApiRequest:
        return ApiRequest("/apps/{app}/addons")

    def process(self, output: list[str]) -> list[Data]:
        return [item.model_dump() for item in _read_all(models.Addon, output, "addons")]


class Database(FactBase[Data]):
    """The database behind an add-on: status, version, features, backup hours.

    + addon: the add-on's kind or id

    Source: developers.scalingo.com, "Databases".
    """

    def command(self, addon: str = "postgresql") -> ApiRequest:
        return ApiRequest("/databases/{addon}", service=Service.DATABASE, addon=addon)

    def process(self, output: list[str]) -> Data:
        return _read(models.Database, output, "database").model_dump()


class Backups(FactBase[list[Data]]):
    """The backups that the platform keeps of a database, newest first.

    + addon: the add-on's kind or id

    Source: developers.scalingo.com, "Backups".
    """

    def command(self, addon: str = "postgresql") -> ApiRequest:
        return ApiRequest("/databases/{addon}/backups", service=Service.DATABASE, addon=addon)

    def process(self, output: list[str]) -> list[Data]:
        found = _read_all(models.Backup, output, "database_backups")
        found.sort(key=lambda backup: backup.created_at, reverse=True)
        return [backup.model_dump() for backup in found]


class Region(FactBase[Data]):
    """The region in use, with the addresses of its services.

    Source: developers.scalingo.com, "Regions".
    """

    def command(self) -> ApiRequest:
        return ApiRequest("/regions", service=Service.AUTH)

    def process(self, output: list[str]) -> Data:
        # Which of them is in use is declared in four places; the connector's client knows the order.
        connector: Any = host.connector
        wanted = connector.client.account.region().name
        regions = _read_all(models.Region, output, "regions")
        return next(region.model_dump() for region in regions if region.name == wanted)
