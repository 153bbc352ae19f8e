"""The application on the platform's port: routes, who may call them, and refusals as documented bodies."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from sandbox.api import accounts, addons, apps, containers, control, databases, deployments, logs
from sandbox.api.context import ADDON, CONTEXT, USER, Context, reply
from sandbox.api.failures import CONTROL_PREFIX, Handler
from sandbox.platform.errors import BadRequest, Conflict, Forbidden, Invalid, NotFound, PlatformError

OPEN_PATHS: Final = (
    "/v1/tokens/exchange",
    "/v1/regions",
    "/v1/features/",
    "/v1/addon_providers",
)
"""Answered without a token."""
LARGEST_BODY: Final = 16 * 1024 * 1024


def application(context: Context, supervisor: control.Supervisor) -> web.Application:
    """The platform's APIs, with the control API beside them."""
    served = web.Application(
        client_max_size=LARGEST_BODY,
        middlewares=[
            context.failures.middleware(),
            context.writes.middleware("scalingo"),
            refuse_as_documented,
            authenticate,
        ],
    )
    served[CONTEXT] = context
    for part in (accounts, apps, containers, deployments, addons, databases, logs):
        served.add_routes(part.routes)
    served.add_routes(control.routes(context, supervisor))
    return served


@web.middleware
async def refuse_as_documented(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The platform's refusals, and unknown paths, as JSON with the documented status."""
    try:
        return await handler(request)
    except NotFound as error:
        return reply({"resource": error.resource, "error": "not found"}, 404)
    except Invalid as error:
        return reply({"errors": error.errors}, 422)
    except BadRequest as error:
        return reply({"error": str(error)}, 400)
    except Conflict as error:
        return reply({"error": str(error)}, 409)
    except Forbidden as error:
        return reply({"error": str(error)}, 403)
    except PlatformError as error:
        return reply({"error": str(error)}, 500)
    except web.HTTPNotFound:
        return reply({"resource": "page", "error": "not found"}, 404)
    except web.HTTPMethodNotAllowed:
        return reply({"error": "method not allowed"}, 405)
    except web.HTTPRequestEntityTooLarge:
        return reply({"error": "request entity too large"}, 413)


@web.middleware
async def authenticate(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Who asks: an account for /v1, an add-on for /api; other paths look after themselves."""
    context = request.config_dict[CONTEXT]
    if request.path.startswith("/v1/") and not request.path.startswith(OPEN_PATHS):
        claims = _bearer(context, request)
        holder = context.store.state.users.get(claims.get("uuid", "")) if claims else None
        if holder is None and request.path == "/v1/tokens":
            given = accounts.basic_password(request)
            holder = accounts.holder_of(context, given[1]) if given else None
        if holder is None:
            return reply({"error": "Invalid credentials"}, 401)
        request[USER] = holder
    elif request.path.startswith("/api/"):
        claims = _bearer(context, request)
        if not claims or claims.get("addon_uuid") not in context.store.state.addons:
            return reply({"error": "unauthorized"}, 400)
        request[ADDON] = claims["addon_uuid"]
    elif request.path.startswith(CONTROL_PREFIX) and not control.allowed(context, request):
        return reply({"error": f"the header {control.HEADER} must hold the sandbox's control secret"}, 403)
    return await handler(request)


def _bearer(context: Context, request: web.Request) -> dict[str, str] | None:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return context.tokens.read(token) if scheme.lower() == "bearer" else None
