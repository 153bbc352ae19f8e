"""Apps, their variables and what belongs to no app: stacks and sizes."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from sandbox.api import views
from sandbox.api.context import app_of, body, context, no_content, page, reply, user
from sandbox.platform.errors import Invalid, NotFound
from sandbox.platform.model import App, Variable, now

routes = web.RouteTableDef()
_SWITCHES = ("force_https", "sticky_session", "router_logs")


@routes.get("/v1/apps")
async def list_apps(request: web.Request) -> web.Response:
    """All apps. Nothing but lists of apps may stand beside `apps`."""
    here = context(request)
    return reply({"apps": [views.app(here, app) for app in here.platform.apps()]})


@routes.post("/v1/apps")
async def create_app(request: web.Request) -> web.Response:
    """A new app."""
    here, wanted = context(request), await body(request, "app")
    stack_id = wanted.get("stack_id") or None
    if stack_id is not None:
        _stack(stack_id)
    if request.headers.get("X-Dry-Run") == "true":
        raise Invalid({"base": ["a dry run is not offered by the sandbox"]})
    app = await here.platform.create_app(str(wanted.get("name") or ""), user(request), stack_id)
    return reply({"app": views.app(here, app)}, 201)


@routes.get("/v1/apps/{app}")
async def show_app(request: web.Request) -> web.Response:
    """One app, by id or name."""
    return reply({"app": views.app(context(request), app_of(request))})


@routes.patch("/v1/apps/{app}")
async def patch_app(request: web.Request) -> web.Response:
    """Change stack or switches; the stack takes effect at the next deployment."""
    return _update(request, app_of(request), await body(request, "app"))


@routes.put("/v1/apps/{app}")
async def put_app(request: web.Request) -> web.Response:
    """The same for the switches, unwrapped as the official client sends it; wrapped is taken too."""
    wanted = await body(request)
    return _update(request, app_of(request), wanted.get("app") or wanted)


@routes.post("/v1/apps/{app}/rename")
async def rename_app(request: web.Request) -> web.Response:
    """A new name; the present one has to be given too."""
    here, app, wanted = context(request), app_of(request), await body(request)
    if wanted.get("current_name") != app.name:
        raise Invalid({"current_name": ["doesn't match the current name of the app"]})
    await here.platform.rename_app(app, str(wanted.get("new_name") or ""))
    return reply({"app": views.app(here, app)})


@routes.delete("/v1/apps/{app}")
async def delete_app(request: web.Request) -> web.Response:
    """Remove an app with its add-ons; its name has to be given."""
    here, app = context(request), app_of(request)
    if request.query.get("current_name") != app.name:
        raise Invalid({"current_name": ["doesn't match the current name of the app"]})
    for addon in here.databases.of(app):
        await here.databases.drop(addon)
    await here.platform.delete_app(app)
    return no_content()


@routes.get("/v1/apps/{app}/variables")
async def list_variables(request: web.Request) -> web.Response:
    """The app's variables; with `aliases=false` a value `$OTHER` is shown as OTHER's."""
    app = app_of(request)
    aliases = request.query.get("aliases", "true") != "false"
    found = context(request).platform.variables(app, aliases)
    return reply({"variables": [views.variable(app, variable) for variable in found]})


@routes.post("/v1/apps/{app}/variables")
async def create_variable(request: web.Request) -> web.Response:
    """One variable: 201 for a new name, 200 where it changes one."""
    app, wanted = app_of(request), await body(request, "variable")
    status = 200 if wanted.get("name") in app.variables else 201
    (variable,) = context(request).platform.set_variables(app, _values([wanted]))
    return reply({"variable": views.variable(app, variable)}, status)


@routes.put("/v1/apps/{app}/variables")
async def put_variables(request: web.Request) -> web.Response:
    """Add or change several; others stay. Answers those that were sent."""
    app, wanted = app_of(request), await body(request)
    variables = wanted.get("variables")
    if not isinstance(variables, list):
        raise Invalid({"variables": ["can't be blank"]})
    changed = context(request).platform.set_variables(app, _values(variables))
    return reply({"variables": [views.variable(app, variable) for variable in changed]})


@routes.patch("/v1/apps/{app}/variables/{variable}")
async def patch_variable(request: web.Request) -> web.Response:
    """A new value; the name can't change."""
    app, wanted = app_of(request), await body(request, "variable")
    variable = _variable(app, request.match_info["variable"])
    (changed,) = context(request).platform.set_variables(app, {variable.name: str(wanted.get("value") or "")})
    return reply({"variable": views.variable(app, changed)})


@routes.delete("/v1/apps/{app}/variables/{variable}")
async def delete_variable(request: web.Request) -> web.Response:
    """Remove one variable."""
    context(request).platform.unset_variable(app_of(request), request.match_info["variable"])
    return no_content()


@routes.delete("/v1/apps/{app}/variables")
async def delete_variables(request: web.Request) -> web.Response:
    """Remove several, named in the body or in the query."""
    app, wanted = app_of(request), await body(request)
    identifiers = [*wanted.get("variable_ids", []), *request.query.getall("variable_ids[]", [])]
    for identifier in identifiers:
        _variable(app, identifier)
    for identifier in identifiers:
        context(request).platform.unset_variable(app, identifier)
    return no_content()


@routes.get("/v1/features/stacks")
async def stacks(request: web.Request) -> web.Response:
    """The stacks."""
    return reply({"stacks": views.STACKS})


@routes.get("/v1/features/container_sizes")
async def container_sizes(request: web.Request) -> web.Response:
    """The sizes of containers."""
    return reply({"container_sizes": [views.size(name) for name in views.SIZES]})


@routes.get("/v1/apps/{app}/scm_repo_link")
async def scm_repo_link(request: web.Request) -> web.Response:
    """No app of the sandbox follows a repository."""
    app_of(request)
    raise NotFound("scm_repo_link")


@routes.get("/v1/apps/{app}/events")
async def events(request: web.Request) -> web.Response:
    """The app's deployments as events; other events are not kept."""
    here, app = context(request), app_of(request)
    found = []
    for deployment in here.platform.deployments(app):
        shown = views.deployment(here, deployment)
        found.append(
            {
                "id": shown["id"],
                "created_at": shown["created_at"],
                "type": "deployment",
                "app_id": app.id,
                "app_name": app.name,
                "user": shown["pusher"],
                "project_id": "",
                "project_name": "default",
                "type_data": {
                    "deployment_id": shown["id"],
                    "deployment_uuid": shown["id"],
                    "pusher": shown["pusher"]["username"],
                    "git_ref": shown["git_ref"],
                    "status": shown["status"],
                    "duration": shown["duration"],
                },
            }
        )
    return page(request, found, "events", per_page=30)


def _update(request: web.Request, app: App, wanted: dict[str, Any]) -> web.Response:
    here = context(request)
    if "stack_id" in wanted:
        stack = _stack(str(wanted["stack_id"]))
        app.stack_id, app.stack = stack["id"], stack["name"]
    for name in _SWITCHES:
        if name in wanted:
            if not isinstance(wanted[name], bool):
                raise Invalid({name: ["is invalid"]})
            setattr(app, name, wanted[name])
    app.updated_at = now()
    here.store.save()
    return reply({"app": views.app(here, app)})


def _stack(identifier: str) -> dict[str, Any]:
    for stack in views.STACKS:
        if identifier in (stack["id"], stack["name"]):
            return stack
    raise NotFound("stack")


def _variable(app: App, identifier: str) -> Variable:
    for variable in app.variables.values():
        if variable.id == identifier:
            return variable
    raise NotFound("variable")


def _values(wanted: list[Any]) -> dict[str, str]:
    values: dict[str, str] = {}
    for item in wanted:
        if not isinstance(item, dict) or not isinstance(item.get("name"), str):
            raise Invalid({"name": ["can't be blank"]})
        value = item.get("value")
        if not isinstance(value, str) or value == "":
            raise Invalid({"value": ["can't be blank"]})
        values[item["name"]] = value
    return values
