"""The platform's objects as its API writes them (names: developers.scalingo.com, the official client)."""

from __future__ import annotations

import uuid
from typing import Any, Final

from sandbox.api.context import Context, time
from sandbox.platform.model import Addon, App, Backup, Container, Deployment, Operation, User, Variable

STACKS: Final[list[dict[str, Any]]] = [
    {
        "id": f"st-scalingo-{version}",
        "created_at": f"20{version}-06-01T00:00:00.000Z",
        "name": f"scalingo-{version}",
        "description": f"Ubuntu {version}.04 in name: a container here is a process of this machine",
        "base_image": f"scalingo/scalingo-{version}:latest",
        "default": version == 24,
        # A bare date: the official client fails on anything longer.
        "deprecated_at": "2027-04-30" if version == 22 else None,
    }
    for version in (26, 24, 22)
]

SIZES: Final = {"S": 256, "M": 512, "L": 1024, "XL": 2048, "2XL": 4096, "3XL": 8192}
"""Memory in MB by the name of a container's size."""

PLANS: Final = {
    "postgresql-sandbox": "Sandbox",
    "postgresql-starter-512": "Starter 512M",
    "postgresql-starter-1024": "Starter 1G",
    "postgresql-business-1024": "Business 1G",
}
"""Plans of the PostgreSQL add-on, by name."""


def user(user: User) -> dict[str, Any]:
    """`users/self`. Without the flag `admin`, which changes what the official client does everywhere."""
    return {
        "id": user.id,
        "username": user.username,
        "email": user.email,
        "fullname": user.fullname,
        "flags": {},
        "limits": {},
    }


def person(user: User) -> dict[str, str]:
    """The short form inside other objects."""
    return {"id": user.id, "username": user.username, "email": user.email}


def app(context: Context, app: App) -> dict[str, Any]:
    """An app."""
    url = context.platform.url(app)
    return {
        "id": app.id,
        "name": app.name,
        "region": app.region,
        "status": app.status,
        "git_url": context.platform.git_url(app),
        "url": url,
        "base_url": url,
        "owner": person(context.store.state.users[app.owner_id]),
        "project": {"id": _stable("pr", app.owner_id), "name": "default"},
        "created_at": time(app.created_at),
        "updated_at": time(app.updated_at),
        "last_deployed_at": time(app.last_deployed_at),
        "last_deployed_by": app.last_deployed_by,
        "last_deployment_id": app.last_deployment_id,
        "links": {
            "deployments_stream": f"{context.base.replace('http', 'ws', 1)}/apps/{app.id}/deployments/stream"
        },
        "force_https": app.force_https,
        "sticky_session": app.sticky_session,
        "router_logs": app.router_logs,
        "hds_resource": False,
        "stack_id": app.stack_id,
        "flags": {},
        "limits": {},
        "data_access_consent": None,
        "private_networks_ids": [],
        "parent_app_name": None,
        "git_source": None,
    }


def variable(app: App, variable: Variable) -> dict[str, Any]:
    """An environment variable."""
    return {"id": variable.id, "app_id": app.id, "name": variable.name, "value": variable.value}


def size(name: str) -> dict[str, Any]:
    """A size of containers."""
    memory = SIZES.get(name, SIZES["M"]) * 1024 * 1024
    ordinal = list(SIZES).index(name) if name in SIZES else 1
    return {
        "id": _stable("cs", name),
        "name": name,
        "human_name": {"S": "Small", "M": "Medium", "L": "Large"}.get(name, name),
        "human_cpu": "Low" if ordinal == 0 else "Medium" if ordinal < 3 else "High",
        "memory": memory,
        "swap": memory,
        "pids_limit": 128 << ordinal,
        "ordinal": ordinal,
        "hourly_price": 1 << ordinal,
        "thirtydays_price": 720 << ordinal,
        "sku": f"sandbox-container-{name.lower()}",
        "pricings": {},
    }


def formation(app: App) -> list[dict[str, Any]]:
    """How many containers of each type should run, `web` first."""
    known = sorted(app.formation.items(), key=lambda item: (item[0] != "web", item[0]))
    procfile = app.release.procfile if app.release else {}
    return [
        {
            "name": name,
            "app_id": app.id,
            "amount": wanted.amount,
            "size": wanted.size,
            "command": wanted.command or procfile.get(name, ""),
        }
        for name, wanted in known
    ]


def container(container: Container) -> dict[str, Any]:
    """A running container."""
    return {
        "id": container.id,
        "app_id": container.app_id,
        # The official client wants a whole app here, or null.
        "app": None,
        "type": container.type,
        "type_index": container.type_index,
        "label": container.label,
        "state": container.state,
        "command": container.command,
        "created_at": time(container.created_at),
        "deleted_at": time(container.deleted_at),
        "size": container.size,
        "container_size": size(container.size),
    }


def operation(context: Context, operation: Operation) -> dict[str, Any]:
    """An operation; `start_one_off_data` once a one-off can be attached to."""
    data = None
    if operation.type == "start-one-off" and operation.status == "done":
        data = {"attach_url": context.platform.attach_url(operation), "container_id": operation.container_id}
    return {
        "id": operation.id,
        "app_id": operation.app_id,
        "type": operation.type,
        "status": operation.status,
        "created_at": time(operation.created_at),
        "finished_at": time(operation.finished_at),
        "error": operation.error,
        "start_one_off_data": data,
    }


def deployment(context: Context, deployment: Deployment) -> dict[str, Any]:
    """A deployment."""
    where = f"{context.base}/v1/apps/{deployment.app_id}/deployments/{deployment.id}"
    return {
        "id": deployment.id,
        "app_id": deployment.app_id,
        "created_at": time(deployment.created_at),
        "finished_at": time(deployment.finished_at),
        "status": deployment.status,
        "git_ref": deployment.git_ref,
        "previous_git_ref": deployment.previous_git_ref,
        "type": deployment.type,
        "image": deployment.image or None,
        "registry": "registry.sandbox.test",
        "duration": deployment.duration,
        "postdeploy_hook": deployment.postdeploy_hook,
        "image_size": deployment.image_size,
        "stack_base_image": "scalingo/scalingo-24:latest",
        "pusher": person(context.store.state.users[deployment.pusher_id]),
        "links": {"output": f"{where}/output"},
    }


def plan(name: str) -> dict[str, Any]:
    """A plan of the PostgreSQL add-on."""
    return {
        "id": plan_id(name),
        "name": name,
        "display_name": PLANS.get(name, name),
        "description": "A database on this machine",
        "position": list(PLANS).index(name) if name in PLANS else None,
        "on_demand": False,
        "disabled": False,
        "disabled_alternative_plan_id": None,
        "sku": f"sandbox-{name}",
        "hds_available": False,
    }


def plan_id(name: str) -> str:
    """A plan's identifier, the same in every sandbox."""
    return _stable("pl", name)


PROVIDER: Final[dict[str, Any]] = {
    "id": "postgresql",
    "name": "PostgreSQL",
    "short_description": "Object-relational SQL database",
    "description": "Object-relational SQL database",
    "category": {"id": "databases", "name": "Databases", "description": "", "position": 1},
    "provider_name": "Sandbox",
    "provider_url": "",
    "logo_url": "",
    "hds_available": False,
}


def addon(addon: Addon) -> dict[str, Any]:
    """An add-on."""
    return {
        "id": addon.id,
        "app_id": addon.app_id,
        "resource_id": addon.resource_id,
        "status": addon.status,
        "plan": plan(addon.plan),
        "addon_provider": {key: PROVIDER[key] for key in ("id", "name", "logo_url")},
        "provisioned_at": time(addon.created_at),
        "deprovisioned_at": None,
    }


def database(context: Context, addon: Addon) -> dict[str, Any]:
    """A database as the database API shows it."""
    database = addon.database
    version = context.databases.server.version
    host = f"{database.hostname}:{context.databases.server.port}"
    status = "running" if context.databases.server.problem is None else "stopped"
    features = [{"name": name, "status": state} for name, state in database.features.items()]
    return {
        "id": database.id,
        "resource_id": addon.resource_id,
        "app_name": context.store.state.apps[addon.app_id].name,
        "created_at": time(addon.created_at),
        "encryption_at_rest": False,
        "features": features,
        "plan": addon.plan,
        "status": status,
        "type_id": "5bb3ea0a28a0b8d7c5b4c8d1",
        "type_name": "postgresql",
        "version_id": _stable("ve", version),
        "readable_version": f"{version}.0-1",
        "next_version_id": None,
        "hostname": host,
        "instances": [
            {
                "id": _stable("in", database.id),
                "hostname": database.hostname,
                "port": context.databases.server.port,
                "status": "running" if status == "running" else "stopped",
                "type": "db-node",
                "features": [],
                "private_ip": "127.0.0.1",
            }
        ],
        "current_operation_id": None,
        "cluster": False,
        "periodic_backups_enabled": database.periodic_backups_enabled,
        "periodic_backups_scheduled_at": database.periodic_backups_scheduled_at,
        "maintenance_window": {"weekday_utc": 2, "starting_hour_utc": 2, "duration_in_hour": 4},
        "mongo_repl_set_name": None,
    }


def backup(backup: Backup) -> dict[str, Any]:
    """A backup. There is no time at which it ended."""
    return {
        "id": backup.id,
        "name": backup.name,
        "created_at": time(backup.created_at),
        "started_at": time(backup.started_at),
        "size": backup.size,
        "status": backup.status,
        "database_id": backup.addon_id,
        "method": backup.method,
        "type": "postgresql",
    }


def _stable(prefix: str, name: str) -> str:
    return f"{prefix}-{uuid.uuid5(uuid.NAMESPACE_URL, name)}"
