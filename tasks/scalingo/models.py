"""What Scalingo's API answers, as far as this project uses it; unknown fields are ignored.

Fields and statuses: developers.scalingo.com, pages "Apps", "Deployments", "Addons", "Databases", "Backups".
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import AliasPath, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from tasks.core.likely_secrets import could_be_secret
from tasks.core.secrets import Secret

MOVING: Final = frozenset({"queued", "building", "pushing", "starting"})
"""Statuses of a deployment that is not finished; every other one is final."""

UNFINISHED_BACKUP: Final = frozenset({"scheduled", "pending", "running"})

Text = Annotated[str, BeforeValidator(lambda value: "" if value is None else value)]
Number = Annotated[int, BeforeValidator(lambda value: 0 if value is None else value)]


def _secret(name: str) -> BeforeValidator:
    return BeforeValidator(lambda value: Secret(name, value) if isinstance(value, str) else value)


class Model(BaseModel):
    """Common to all: frozen, tolerant of new fields, and silent about values in its errors."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", hide_input_in_errors=True, arbitrary_types_allowed=True
    )


class User(Model):
    """A person or machine with an account."""

    id: Text = ""
    username: Text = ""
    email: Text = ""
    fullname: Text = ""


class Region(Model):
    """One platform region and its addresses; `ssh` is `host:port`."""

    name: str
    display_name: Text = ""
    api: str
    database_api: str
    ssh: str
    dashboard: Text = ""
    default: bool = False


class Key(Model):
    """An SSH public key registered on the account."""

    id: str
    name: str
    content: str = ""
    fingerprint: Text = ""


class App(Model):
    """One application."""

    id: str
    name: str
    status: str
    region: Text = ""
    url: Text = ""
    git_url: Text = ""
    stack_id: Text = ""
    owner: User = User()
    created_at: datetime
    updated_at: datetime | None = None
    last_deployed_at: datetime | None = None
    last_deployed_by: Text = ""
    last_deployment_id: Text = ""


class Variable(Model):
    """One environment variable; its value is a `Secret`, redacted where it could be one."""

    id: Text = ""
    name: str
    value: Secret

    @model_validator(mode="before")
    @classmethod
    def _hide(cls, data: Any) -> Any:
        if isinstance(data, dict) and isinstance(data.get("value"), str):
            name, value = str(data.get("name")), data["value"]
            return {**data, "value": Secret(name, value, redacted=could_be_secret(name, value))}
        return data


class ContainerType(Model):
    """One line of the formation: how many containers of which size run a command of the Procfile."""

    name: str
    amount: Number
    size: Text = ""
    command: Text = ""


class Container(Model):
    """One running container, one-offs included."""

    id: str
    type: Text = ""
    type_index: Number = 0
    label: Text = ""
    state: Text = ""
    command: Text = ""
    created_at: datetime | None = None
    size: Text = Field("", alias="container_size", validation_alias=AliasPath("container_size", "name"))


class Operation(Model):
    """Work that the platform does in the background: `pending`, `running`, then `done` or `error`."""

    id: str
    type: Text = ""
    status: str
    error: Text = ""
    created_at: datetime | None = None
    finished_at: datetime | None = None
    attach_url: Annotated[Secret | None, _secret("attach address")] = Field(
        None, validation_alias=AliasPath("start_one_off_data", "attach_url")
    )
    container_id: Text = Field("", validation_alias=AliasPath("start_one_off_data", "container_id"))


class OneOffStart(Model):
    """The answer to a request for a one-off container."""

    container: Container
    operation_url: str


class Plan(Model):
    """What an add-on costs and holds."""

    id: Text = ""
    name: Text = ""


class Provider(Model):
    """The kind of an add-on: `postgresql`."""

    id: str
    name: Text = ""


class Addon(Model):
    """An add-on of an application; its `id` is also the database's in the database API."""

    id: str
    resource_id: Text = ""
    status: Text = ""
    plan: Plan = Plan()
    provider: Provider = Field(validation_alias="addon_provider")


class Feature(Model):
    """A switch of a database, such as `force-ssl`."""

    name: str
    status: Text = ""


class Database(Model):
    """A database as its own API shows it; `hostname` is `host:port`."""

    id: str
    resource_id: Text = ""
    app_name: Text = ""
    plan: Text = ""
    status: str
    type_name: Text = ""
    readable_version: Text = ""
    hostname: Text = ""
    features: Annotated[list[Feature], BeforeValidator(lambda value: value or [])] = []
    current_operation_id: str | None = None
    periodic_backups_enabled: bool | None = None
    periodic_backups_scheduled_at: Annotated[list[int], BeforeValidator(lambda value: value or [])] = []


class Backup(Model):
    """A backup of a database; `size` in bytes once it is done, `started_at` once it has begun."""

    id: str
    name: Text = ""
    created_at: datetime
    started_at: datetime | None = None
    size: int | None = None
    status: str
    method: Text = ""
    database_id: Text = ""

    @property
    def finished(self) -> bool:
        """Whether it is done or failed."""
        return self.status not in UNFINISHED_BACKUP

    @property
    def usable(self) -> bool:
        """Whether it can be fetched."""
        return self.status == "done"


class Deployment(Model):
    """One deployment; `git_ref` is a commit, or a free label where an archive was deployed."""

    id: str
    app_id: Text = ""
    status: str
    created_at: datetime
    finished_at: datetime | None = None
    git_ref: Text = ""
    previous_git_ref: Text = ""
    type: Text = ""
    duration: Number = 0
    postdeploy_hook: Text = ""
    image_size: Number = 0
    pusher: Annotated[User, BeforeValidator(lambda value: value or {})] = User()

    @property
    def finished(self) -> bool:
        """Whether its status is final."""
        return self.status not in MOVING

    @property
    def succeeded(self) -> bool:
        """Whether its release was routed."""
        return self.status == "success"


class Source(Model):
    """Where an archive is put and where the platform fetches it; both addresses live ten minutes."""

    upload_url: Annotated[Secret, _secret("upload address")]
    download_url: Annotated[Secret, _secret("download address")]
