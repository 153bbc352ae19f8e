"""Containers: formation, scaling, restarts, one-offs, operations."""

from __future__ import annotations

from aiohttp import web

from sandbox.api import views
from sandbox.api.context import Context, app_of, body, context, no_content, reply, user
from sandbox.platform.errors import Invalid
from sandbox.platform.model import App, Formation, Operation

routes = web.RouteTableDef()


@routes.get("/v1/apps/{app}/containers")
async def formation(request: web.Request) -> web.Response:
    """How many containers of each type should run."""
    return reply({"containers": views.formation(app_of(request))})


@routes.get("/v1/apps/{app}/ps")
async def running(request: web.Request) -> web.Response:
    """The containers that exist now, one-offs included."""
    found = context(request).platform.containers(app_of(request))
    return reply({"containers": [views.container(container) for container in found]})


@routes.post("/v1/apps/{app}/scale")
async def scale(request: web.Request) -> web.Response:
    """202 with the operation's address; 200 without one where the app was never deployed."""
    here, app, wanted = context(request), app_of(request), await body(request)
    changes: dict[str, Formation] = {}
    containers = wanted.get("containers")
    if not isinstance(containers, list) or not containers:
        raise Invalid({"containers": ["can't be blank"]})
    for item in containers:
        if not isinstance(item, dict) or not isinstance(item.get("name"), str):
            raise Invalid({"containers": ["is invalid"]})
        amount, size = item.get("amount"), item.get("size") or ""
        if not isinstance(amount, int) or isinstance(amount, bool):
            raise Invalid({f"container-{item['name']}-amount": ["is not a number"]})
        if size and size not in views.SIZES:
            raise Invalid({f"container-{item['name']}-size": ["is not included in the list"]})
        changes[item["name"]] = Formation(amount, size, str(item.get("command") or ""))
    operation = await here.platform.scale(app, changes)
    content = {"containers": views.formation(app)}
    if operation is None:
        return reply(content)
    return reply(content, 202, {"Location": operation_url(here, app, operation)})


@routes.post("/v1/apps/{app}/restart")
async def restart(request: web.Request) -> web.Response:
    """202 without a body; an empty scope is everything."""
    here, app, wanted = context(request), app_of(request), await body(request)
    scope = wanted.get("scope") or []
    if not isinstance(scope, list):
        raise Invalid({"scope": ["is invalid"]})
    operation = await here.platform.restart(app, [str(item) for item in scope])
    return no_content(202, {"Location": operation_url(here, app, operation)})


@routes.post("/v1/apps/{app}/run")
async def run(request: web.Request) -> web.Response:
    """A one-off container; an attached one starts when somebody attaches."""
    here, app, wanted = context(request), app_of(request), await body(request)
    size = str(wanted.get("size") or "M")
    if size not in views.SIZES:
        raise Invalid({"size": ["is not included in the list"]})
    container, operation = await here.platform.run_one_off(
        app,
        str(wanted.get("command") or ""),
        {str(name): str(value) for name, value in (wanted.get("env") or {}).items()},
        size,
        bool(wanted.get("detached")),
        user(request),
    )
    return reply(
        {
            "container": views.container(container),
            "operation_url": operation_url(here, app, operation),
            "operation": operation.id,
        }
    )


@routes.get("/v1/apps/{app}/operations/{operation}")
async def operation(request: web.Request) -> web.Response:
    """What an operation has come to."""
    here = context(request)
    found = here.platform.operation(app_of(request), request.match_info["operation"])
    return reply({"operation": views.operation(here, found)})


@routes.post("/v1/apps/{app}/containers/{container}/stop")
async def stop(request: web.Request) -> web.Response:
    """End a one-off container."""
    platform = context(request).platform
    await platform.stop_container(platform.container(app_of(request), request.match_info["container"]))
    return no_content(202)


@routes.post("/v1/apps/{app}/containers/{container}/kill")
async def kill(request: web.Request) -> web.Response:
    """Send SIGUSR1 or SIGUSR2."""
    platform, wanted = context(request).platform, await body(request)
    container = platform.container(app_of(request), request.match_info["container"])
    await platform.signal_container(container, str(wanted.get("signal") or ""))
    return no_content()


@routes.get("/v1/apps/{app}/autoscalers")
async def autoscalers(request: web.Request) -> web.Response:
    """No app of the sandbox scales itself."""
    app_of(request)
    return reply({"autoscalers": []})


def operation_url(here: Context, app: App, operation: Operation) -> str:
    """Where an operation is polled."""
    return f"{here.base}/v1/apps/{app.name}/operations/{operation.id}"
