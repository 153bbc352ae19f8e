"""Add-ons of an app, and what can be added."""

from __future__ import annotations

from aiohttp import web

from sandbox.api import views
from sandbox.api.context import app_of, body, context, no_content, reply
from sandbox.database.databases import ALIAS_VARIABLE, URL_VARIABLE
from sandbox.platform.errors import BadRequest, NotFound
from sandbox.platform.model import Addon

routes = web.RouteTableDef()


@routes.get("/v1/apps/{app}/addons")
async def list_addons(request: web.Request) -> web.Response:
    """The app's add-ons."""
    found = context(request).databases.of(app_of(request))
    return reply({"addons": [views.addon(addon) for addon in found]})


@routes.get("/v1/apps/{app}/addons/{addon}")
async def show_addon(request: web.Request) -> web.Response:
    """One add-on."""
    return reply({"addon": views.addon(_addon(request))})


@routes.post("/v1/apps/{app}/addons")
async def create_addon(request: web.Request) -> web.Response:
    """Provision a database; the app's variables for it are set."""
    here, app, wanted = context(request), app_of(request), await body(request, "addon")
    if wanted.get("addon_provider_id") != views.PROVIDER["id"]:
        raise NotFound("addon_provider")
    if not wanted.get("plan_id"):
        raise BadRequest("plan_id is required")
    addon = await here.databases.create(app, _plan(str(wanted["plan_id"])))
    return reply(
        {
            "addon": views.addon(addon),
            "message": "Your database is being provisioned",
            "variables": [URL_VARIABLE, ALIAS_VARIABLE],
        },
        201,
    )


@routes.patch("/v1/apps/{app}/addons/{addon}")
async def change_plan(request: web.Request) -> web.Response:
    """Another plan: only its name changes here."""
    addon, wanted = _addon(request), await body(request, "addon")
    addon.plan = _plan(str(wanted.get("plan_id") or ""))
    context(request).store.save()
    return reply({"addon": views.addon(addon), "message": "Plan changed", "variables": None})


@routes.delete("/v1/apps/{app}/addons/{addon}")
async def delete_addon(request: web.Request) -> web.Response:
    """Remove the database with its data and backups."""
    await context(request).databases.drop(_addon(request))
    return no_content()


@routes.post("/v1/apps/{app}/addons/{addon}/token")
async def addon_token(request: web.Request) -> web.Response:
    """What opens the database API for this add-on, for an hour."""
    addon = _addon(request)
    token = context(request).tokens.issue(addon_uuid=addon.id)
    return reply({"addon": {**views.addon(addon), "token": token}})


@routes.get("/v1/addon_providers")
async def providers(request: web.Request) -> web.Response:
    """PostgreSQL alone."""
    plans = [views.plan(name) for name in views.PLANS]
    return reply({"addon_providers": [{**views.PROVIDER, "plans": plans}]})


@routes.get("/v1/addon_providers/{provider}/plans")
async def plans(request: web.Request) -> web.Response:
    """Its plans."""
    if request.match_info["provider"] != views.PROVIDER["id"]:
        raise NotFound("addon_provider")
    return reply({"plans": [views.plan(name) for name in views.PLANS]})


def _addon(request: web.Request) -> Addon:
    for addon in context(request).databases.of(app_of(request)):
        if addon.id == request.match_info["addon"]:
            return addon
    raise NotFound("addon")


def _plan(identifier: str) -> str:
    for name in views.PLANS:
        if identifier in (views.plan_id(name), name):
            return name
    raise NotFound("plan")
