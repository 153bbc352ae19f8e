"""Accounts, tokens, SSH keys and regions: what auth.scalingo.com answers."""

from __future__ import annotations

import base64
import binascii
import secrets
from typing import Any

import asyncssh
from aiohttp import web

from sandbox.api import views
from sandbox.api.context import Context, body, context, no_content, reply, time, user
from sandbox.platform.errors import Invalid, NotFound
from sandbox.platform.model import User, new_id, now
from sandbox.state import REGION

routes = web.RouteTableDef()


def basic_password(request: web.Request) -> tuple[str, str] | None:
    """User name and password of a Basic `Authorization` header."""
    scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return name, password


def holder_of(context: Context, token: str) -> User | None:
    """Whose API token this is."""
    for known in context.store.state.users.values():
        if secrets.compare_digest(known.token.encode(), token.encode()):
            return known
    return None


@routes.post("/v1/tokens/exchange")
async def exchange(request: web.Request) -> web.Response:
    """API token (Basic password) against a token that lives an hour."""
    here, given = context(request), basic_password(request)
    holder = holder_of(here, given[1]) if given else None
    if holder is None:
        return reply({"error": "Invalid credentials"}, 401)
    return reply({"token": here.tokens.issue(uuid=holder.id)})


@routes.get("/v1/users/self")
async def self(request: web.Request) -> web.Response:
    """The signed-in account."""
    return reply({"user": views.user(user(request))})


@routes.get("/v1/tokens")
async def list_tokens(request: web.Request) -> web.Response:
    """The API tokens, without their secrets."""
    return reply({"tokens": [_token(user(request))]})


@routes.post("/v1/tokens")
async def create_token(request: web.Request) -> web.Response:
    """The sandbox's account has one API token: a login gets that one."""
    return reply({"token": {**_token(user(request)), "token": user(request).token}}, 201)


@routes.get("/v1/regions")
async def regions(request: web.Request) -> web.Response:
    """The one region, whose addresses are this sandbox's."""
    here = context(request)
    return reply(
        {
            "regions": [
                {
                    "name": REGION,
                    "display_name": "Sandbox on this machine",
                    "api": here.base,
                    "database_api": here.base,
                    "dashboard": here.base,
                    "ssh": f"127.0.0.1:{here.platform.ssh_port}",
                    "default": True,
                }
            ]
        }
    )


@routes.get("/v1/keys")
async def keys(request: web.Request) -> web.Response:
    """The account's public SSH keys."""
    return reply({"keys": [_key(user(request), line) for line in user(request).public_keys]})


@routes.post("/v1/keys")
async def add_key(request: web.Request) -> web.Response:
    """Register a public key: it opens git and the tunnel."""
    wanted = await body(request, "key")
    content = str(wanted.get("content") or "").strip()
    try:
        key = asyncssh.import_public_key(content)
    except asyncssh.KeyImportError:
        raise Invalid({"content": ["is invalid"]}) from None
    fingerprint = key.get_fingerprint()
    for known in context(request).store.state.users.values():
        if any(
            asyncssh.import_public_key(line).get_fingerprint() == fingerprint for line in known.public_keys
        ):
            raise Invalid({"content": ["has already been taken"]})
    line = f"{' '.join(content.split()[:2])} {wanted.get('name') or 'key'}"
    user(request).public_keys.append(line)
    context(request).store.save()
    return reply({"key": _key(user(request), line)}, 201)


@routes.get("/v1/keys/{key}")
async def show_key(request: web.Request) -> web.Response:
    """One key."""
    return reply({"key": _key(user(request), _line_of(request))})


@routes.delete("/v1/keys/{key}")
async def remove_key(request: web.Request) -> web.Response:
    """Forget a key."""
    user(request).public_keys.remove(_line_of(request))
    context(request).store.save()
    return no_content()


@routes.get("/v1/scm_integrations")
async def integrations(request: web.Request) -> web.Response:
    """No source code host is linked to the sandbox's account."""
    return reply({"scm_integrations": []})


def _line_of(request: web.Request) -> str:
    for line in user(request).public_keys:
        if _key(user(request), line)["id"] == request.match_info["key"]:
            return line
    raise NotFound("key")


def _key(owner: User, line: str) -> dict[str, Any]:
    key = asyncssh.import_public_key(line)
    fingerprint = key.get_fingerprint("md5").removeprefix("MD5:")
    return {
        "id": fingerprint.replace(":", "")[:24],
        "name": [*line.split(maxsplit=2), "key"][2],
        "content": line,
        "fingerprint": fingerprint,
        "created_at": time(now()),
        "owner": views.person(owner),
    }


def _token(owner: User) -> dict[str, Any]:
    moment = time(now())
    return {
        "id": new_id("to"),
        "name": "sandbox",
        "created_at": moment,
        "last_used_at": moment,
        "issued_at": moment,
    }
