"""What is, on Scalingo: each fact is one read of the API.

    pyinfra inventories/prod.py fact tasks.scalingo.facts.Deployments

A value is plain data, so that it prints as JSON; times are aware `datetime`s. No fact holds a secret.
"""

from __future__ import annotations

from typing import Any, Final

from pyinfra.api.facts import FactBase

from tasks.scalingo import models
from tasks.scalingo.request import Answer, ApiRequest, RegionRequest
from tasks.scalingo.session import Service

Data = dict[str, Any]

APP: Final = Answer(models.App, "app")
VARIABLES: Final = Answer(models.Variable, "variables", many=True)
DEPLOYMENTS: Final = Answer(models.Deployment, "deployments", many=True)
FORMATION: Final = Answer(models.ContainerType, "containers", many=True)
CONTAINERS: Final = Answer(models.Container, "containers", many=True)
ADDONS: Final = Answer(models.Addon, "addons", many=True)
DATABASE: Final = Answer(models.Database, "database")
BACKUPS: Final = Answer(models.Backup, "database_backups", many=True)
REGION: Final = Answer(models.Region, "region")


class AppInfo(FactBase[Data]):
    """The application: id, status, region, address, owner, last deployment.

    Source: developers.scalingo.com, "Apps".
    """

    def command(self) -> ApiRequest:
        return ApiRequest("/apps/{app}", APP)

    def process(self, output: list[str]) -> Data:
        return APP.one(output).model_dump()


class Variables(FactBase[dict[str, str]]):
    """The environment variables: their names, each with a fingerprint that is the same for the same value
    within one run. The values are never part of a fact; operations take them from the client.

    Source: developers.scalingo.com, "Environment variables".
    """

    def command(self) -> ApiRequest:
        return ApiRequest("/apps/{app}/variables", VARIABLES, params={"aliases": True})

    def process(self, output: list[str]) -> dict[str, str]:
        found = VARIABLES.all(output)
        return {variable.name: variable.value.fingerprint for variable in sorted(found, key=lambda v: v.name)}


class Deployments(FactBase[list[Data]]):
    """The last deployments, newest first, with status, commit and who pushed.

    + count: how many

    Source: developers.scalingo.com, "Deployments".
    """

    def command(self, count: int = 20) -> ApiRequest:
        return ApiRequest("/apps/{app}/deployments", DEPLOYMENTS, params={"page": 1, "per_page": count})

    def process(self, output: list[str]) -> list[Data]:
        return [item.model_dump() for item in DEPLOYMENTS.all(output)]


class Containers(FactBase[dict[str, Data]]):
    """The formation: for each line of the Procfile the amount, size and command.

    Source: developers.scalingo.com, "Containers".
    """

    def command(self) -> ApiRequest:
        return ApiRequest("/apps/{app}/containers", FORMATION)

    def process(self, output: list[str]) -> dict[str, Data]:
        formation = FORMATION.all(output)
        return {line.name: line.model_dump(exclude={"name"}) for line in formation}


class Processes(FactBase[list[Data]]):
    """The containers at work, one-offs included.

    Source: developers.scalingo.com, "Containers".
    """

    def command(self) -> ApiRequest:
        return ApiRequest("/apps/{app}/ps", CONTAINERS)

    def process(self, output: list[str]) -> list[Data]:
        return [item.model_dump() for item in CONTAINERS.all(output)]


class Addons(FactBase[list[Data]]):
    """The add-ons with their plans.

    Source: developers.scalingo.com, "Addons".
    """

    def command(self) -> ApiRequest:
        return ApiRequest("/apps/{app}/addons", ADDONS)

    def process(self, output: list[str]) -> list[Data]:
        return [item.model_dump() for item in ADDONS.all(output)]


class Database(FactBase[Data]):
    """The database behind an add-on: status, version, features, backup hours.

    + addon: the add-on's kind or id

    Source: developers.scalingo.com, "Databases".
    """

    def command(self, addon: str = "postgresql") -> ApiRequest:
        return ApiRequest("/databases/{addon}", DATABASE, service=Service.DATABASE, addon=addon)

    def process(self, output: list[str]) -> Data:
        return DATABASE.one(output).model_dump()


class Backups(FactBase[list[Data]]):
    """The backups that the platform keeps of a database, newest first.

    + addon: the add-on's kind or id

    Source: developers.scalingo.com, "Backups".
    """

    def command(self, addon: str = "postgresql") -> ApiRequest:
        return ApiRequest("/databases/{addon}/backups", BACKUPS, service=Service.DATABASE, addon=addon)

    def process(self, output: list[str]) -> list[Data]:
        found = BACKUPS.all(output)
        found.sort(key=lambda backup: backup.created_at, reverse=True)
        return [backup.model_dump() for backup in found]


class Region(FactBase[Data]):
    """The region in use, with the addresses of its services.

    Source: developers.scalingo.com, "Regions".
    """

    def command(self) -> ApiRequest:
        return RegionRequest("/regions", REGION, service=Service.AUTH)

    def process(self, output: list[str]) -> Data:
        return REGION.one(output).model_dump()
