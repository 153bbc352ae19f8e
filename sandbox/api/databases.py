"""The database API: one database, its features and its backups."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from aiohttp import web

from sandbox.api import views
from sandbox.api.context import ADDON, body, context, reply
from sandbox.api.files import send_file
from sandbox.platform.errors import BadRequest, Invalid, NotFound
from sandbox.platform.model import Addon, Backup

routes = web.RouteTableDef()
DOWNLOAD_SECONDS: Final = 3600
"""How long a backup's address is valid."""
FEATURES: Final = ("force-ssl", "publicly-available")


@routes.get("/api/databases/{addon}")
async def show(request: web.Request) -> web.Response:
    """The database behind an add-on."""
    return reply({"database": views.database(context(request), _addon(request))})


async def update(request: web.Request) -> web.Response:
    """When periodic backups are taken: one hour goes in, a list comes out."""
    addon, wanted = _addon(request), await body(request, "database")
    if "periodic_backups_enabled" in wanted:
        addon.database.periodic_backups_enabled = bool(wanted["periodic_backups_enabled"])
    if "periodic_backups_scheduled_at" in wanted:
        hour = wanted["periodic_backups_scheduled_at"]
        if not isinstance(hour, int) or not 0 <= hour <= 23:
            raise Invalid({"periodic_backups_scheduled_at": ["is not an hour of the day"]})
        addon.database.periodic_backups_scheduled_at = [hour]
    context(request).store.save()
    return reply({"database": views.database(context(request), addon)})


routes.patch("/api/databases/{addon}")(update)
routes.put("/api/databases/{addon}")(update)


@routes.post("/api/databases/{addon}/features")
async def enable_feature(request: web.Request) -> web.Response:
    """The server has no TLS and is on loopback, so that neither feature can be had: FAILED, and why."""
    _addon(request)
    name = (await body(request, "feature")).get("name")
    if name not in FEATURES:
        raise BadRequest(f"unknown feature {name}")
    return reply(
        {"name": name, "status": "FAILED", "message": "not offered: the sandbox is on loopback only"}
    )


@routes.delete("/api/databases/{addon}/features")
async def disable_feature(request: web.Request) -> web.Response:
    """None is ever on."""
    _addon(request)
    return reply({"message": f"Feature {request.query.get('feature', '')} is disabled"})


@routes.get("/api/databases/{addon}/users")
async def users(request: web.Request) -> web.Response:
    """The application's role and the read-only one."""
    database = _addon(request).database
    attributes = {"password_encryption": "SCRAM-SHA-256"}
    listed = [
        {"name": name, "read_only": read_only, "protected": True, "dbms_attributes": attributes}
        for name, read_only in ((database.role, False), (database.readonly_role, True))
    ]
    return reply({"database-users": listed})


@routes.get("/api/databases/{addon}/backups")
async def list_backups(request: web.Request) -> web.Response:
    """Newest first."""
    found = context(request).databases.backups.of(_addon(request))
    return reply({"database_backups": [views.backup(backup) for backup in found]})


@routes.post("/api/databases/{addon}/backups")
async def create_backup(request: web.Request) -> web.Response:
    """Begin a backup: it is `scheduled`, then `running`, then `done` or `error`."""
    backup = context(request).databases.backup(_addon(request))
    return reply({"database_backup": views.backup(backup)}, 201)


@routes.get("/api/backups/{backup}")
async def show_backup(request: web.Request) -> web.Response:
    """One backup. Its address is not under the database's."""
    return reply({"database_backup": views.backup(_backup(request))})


@routes.get("/api/databases/{addon}/backups/{backup}/archive")
async def archive(request: web.Request) -> web.Response:
    """An address that opens the archive to whoever has it, for an hour."""
    _addon(request)
    backup = _backup(request)
    if backup.status != "done":
        raise BadRequest("backup is not done")
    path = f"/backups/{backup.id}/{backup.name}.tar.gz"
    here = context(request)
    return reply({"download_url": here.base + here.tokens.sign_address(path, DOWNLOAD_SECONDS)})


@routes.get("/backups/{backup}/{name}")
async def download(request: web.Request) -> web.StreamResponse:
    """The archive: no header is needed, ranges are honoured."""
    here = context(request)
    backup = here.store.state.backups.get(request.match_info["backup"])
    if not here.tokens.opens(request.path, request.query.get("token", "")):
        return web.Response(
            status=403, text="<Error><Code>AccessDenied</Code></Error>", content_type="text/xml"
        )
    if backup is None or backup.path is None:
        return web.Response(status=404, text="<Error><Code>NoSuchKey</Code></Error>", content_type="text/xml")
    return await send_file(request, Path(backup.path), "application/gzip")


def _addon(request: web.Request) -> Addon:
    # The token opens one add-on's database and no other.
    if request.match_info["addon"] != request[ADDON]:
        raise NotFound("database")
    addon = context(request).store.state.addons.get(request[ADDON])
    if addon is None:
        raise NotFound("database")
    return addon


def _backup(request: web.Request) -> Backup:
    backup = context(request).store.state.backups.get(request.match_info["backup"])
    if backup is None or backup.addon_id != request[ADDON]:
        raise NotFound("backup")
    return backup
