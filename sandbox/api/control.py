"""The control API, `/_sandbox` on the platform's port: for tests, demonstrations and `python -m sandbox`."""

from __future__ import annotations

import dataclasses
import hmac
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from aiohttp import web

from sandbox.api import views
from sandbox.api.context import Context, body, reply
from sandbox.api.failures import RATE_LIMIT_PER_MINUTE, Failure
from sandbox.api.tokens import LIFETIME
from sandbox.database.quota import QuotaUnsupported
from sandbox.platform.errors import BadRequest
from sandbox.platform.model import DEPLOYMENT_FINAL, Addon, App, Scenario

HEADER: Final = "X-Sandbox-Secret"
_SCENARIO: Final = {field.name: field for field in dataclasses.fields(Scenario)}


class Supervisor(Protocol):
    """What the control API asks of the process that runs everything."""

    def parts(self) -> dict[str, str]:
        """What runs, by part: `running`, or a sentence that says why not."""

    async def crash(self, part: str) -> None:
        """End a part abruptly. Raises BadRequest for an unknown one."""

    async def revive(self) -> None:
        """Start again what can be started. Raises OSError."""

    def request_stop(self) -> None:
        """End the sandbox, soon."""


def allowed(context: Context, request: web.Request) -> bool:
    """Whether the request holds the control secret."""
    return hmac.compare_digest(request.headers.get(HEADER, ""), context.state.control_secret)


def routes(context: Context, supervisor: Supervisor) -> list[web.RouteDef]:
    """All of its routes."""
    steer = _Control(context, supervisor)
    handlers: list[tuple[str, str, Callable[[web.Request], Awaitable[web.StreamResponse]]]] = [
        ("GET", "status", steer.status),
        ("POST", "stop", steer.stop),
        ("POST", "crash", steer.crash),
        ("POST", "revive", steer.revive),
        ("POST", "scenario", steer.scenario),
        ("GET", "failures", steer.failures),
        ("POST", "failures", steer.add_failure),
        ("DELETE", "failures", steer.clear_failures),
        ("POST", "tokens", steer.tokens),
        ("POST", "rate_limit", steer.rate_limit),
        ("POST", "forbid_writes", steer.forbid_writes),
        ("GET", "violations", steer.violations),
        ("DELETE", "violations", steer.clear_violations),
        ("GET", "requests", steer.requests),
        ("DELETE", "requests", steer.clear_requests),
        ("POST", "backup", steer.backup),
        ("POST", "quota", steer.quota),
        ("GET", "database", steer.database),
        ("POST", "tunnels", steer.tunnels),
        ("POST", "restart_database", steer.restart_database),
    ]
    return [web.route(method, f"/_sandbox/{path}", handler) for method, path, handler in handlers]


class _Control:
    def __init__(self, context: Context, supervisor: Supervisor) -> None:
        self._context = context
        self._supervisor = supervisor

    async def status(self, request: web.Request) -> web.Response:
        """Each part and its state, and where the apps are."""
        platform = self._context.platform
        apps = [
            {
                "name": app.name,
                "url": platform.url(app),
                "git_url": platform.git_url(app),
                "status": app.status,
                "commit": app.release.commit if app.release else None,
            }
            for app in platform.apps()
        ]
        server = self._context.databases.server
        return reply(
            {
                "parts": self._supervisor.parts(),
                "apps": apps,
                "postgresql": {"version": server.version, "programs": str(server.binaries)},
            }
        )

    async def stop(self, request: web.Request) -> web.Response:
        """End the sandbox."""
        self._supervisor.request_stop()
        return reply({"stopping": True})

    async def crash(self, request: web.Request) -> web.Response:
        """End one part abruptly."""
        await self._supervisor.crash(str((await body(request)).get("part") or ""))
        return reply({"parts": self._supervisor.parts()})

    async def revive(self, request: web.Request) -> web.Response:
        """Start the parts again that were crashed."""
        try:
            await self._supervisor.revive()
        except OSError as error:
            raise BadRequest(str(error)) from None
        return reply({"parts": self._supervisor.parts()})

    async def scenario(self, request: web.Request) -> web.Response:
        """Change what an app's next deployments and backups do; `{"reset": true}` starts anew."""
        wanted = await body(request)
        app = self._app(wanted)
        values = {name: value for name, value in wanted.items() if name not in ("app", "reset")}
        unknown = sorted(set(values) - set(_SCENARIO))
        if unknown:
            raise BadRequest(f"a scenario has no {', '.join(unknown)}")
        if values.get("fail") not in (None, *(state for state in DEPLOYMENT_FINAL if state != "success")):
            raise BadRequest(f"a deployment doesn't fail as {values['fail']}")
        start = Scenario() if wanted.get("reset") else app.scenario
        app.scenario = dataclasses.replace(start, **values)
        self._context.store.save()
        return reply({"scenario": dataclasses.asdict(app.scenario)})

    async def failures(self, request: web.Request) -> web.Response:
        """The rules in force."""
        return reply({"failures": [dataclasses.asdict(rule) for rule in self._context.failures.rules]})

    async def add_failure(self, request: web.Request) -> web.Response:
        """Make requests that match fail; see `failures.Failure`."""
        try:
            rule: Failure = self._context.failures.add(await body(request))
        except (TypeError, ValueError) as error:
            raise BadRequest(str(error)) from None
        return reply({"failure": dataclasses.asdict(rule)})

    async def clear_failures(self, request: web.Request) -> web.Response:
        """No request fails on purpose any more."""
        self._context.failures.rules.clear()
        return reply({})

    async def tokens(self, request: web.Request) -> web.Response:
        """`{"expire": true}` ends all tokens given out; `{"lifetime": seconds}` for those to come."""
        wanted = await body(request)
        if wanted.get("expire"):
            self._context.tokens.expire_all()
        if "lifetime" in wanted:
            self._context.tokens.lifetime = int(wanted["lifetime"] or LIFETIME)
        return reply({"lifetime": self._context.tokens.lifetime})

    async def rate_limit(self, request: web.Request) -> web.Response:
        """`{"on": true}`: the documented 60 requests a minute, or `per_minute`; off by default."""
        wanted = await body(request)
        limit = int(wanted.get("per_minute") or RATE_LIMIT_PER_MINUTE)
        self._context.failures.rate_limit = limit if wanted.get("on") else None
        return reply({"per_minute": self._context.failures.rate_limit})

    async def forbid_writes(self, request: web.Request) -> web.Response:
        """`{"on": true}`: refuse and record what is a write."""
        await self._context.writes.forbid(bool((await body(request)).get("on")))
        return reply({"on": self._context.writes.forbidden})

    async def violations(self, request: web.Request) -> web.Response:
        """What tried to write while that was forbidden."""
        found = await self._context.writes.read_log()
        return reply({"violations": [dataclasses.asdict(violation) for violation in found]})

    async def clear_violations(self, request: web.Request) -> web.Response:
        """Forget them."""
        await self._context.writes.read_log()
        self._context.writes.violations.clear()
        return reply({})

    async def requests(self, request: web.Request) -> web.Response:
        """What came in, oldest first."""
        return reply({"requests": [dataclasses.asdict(item) for item in self._context.failures.requests]})

    async def clear_requests(self, request: web.Request) -> web.Response:
        """Forget what came in."""
        self._context.failures.requests.clear()
        return reply({})

    async def backup(self, request: web.Request) -> web.Response:
        """Take a backup now and wait for it; `at` makes it a nightly one that claims that time."""
        wanted = await body(request)
        databases, at = self._context.databases, wanted.get("at")
        moment = datetime.fromisoformat(at).astimezone(UTC) if at else None
        method = str(wanted.get("method") or ("periodic" if moment else "manual"))
        backup = databases.backup(self._addon(wanted), method, moment)
        if wanted.get("wait", True):
            await databases.backups.wait_for(backup)
        return reply({"backup": views.backup(backup)})

    async def quota(self, request: web.Request) -> web.Response:
        """Let an app's database grow to so many bytes; `null` lifts it."""
        wanted = await body(request)
        addon = self._addon(wanted)
        try:
            await self._context.databases.set_quota(addon, wanted.get("bytes"))
        except QuotaUnsupported as error:
            raise BadRequest(str(error)) from None
        return reply({"bytes": addon.database.quota_bytes, "size": await self._context.databases.size(addon)})

    async def database(self, request: web.Request) -> web.Response:
        """How to reach an app's database on loopback, as its application and as the superuser; its size."""
        addon = self._addon({"app": request.query.get("app")})
        databases, database = self._context.databases, addon.database
        return reply(
            {
                "url": databases.url_for_containers(addon),
                "tunnel_url": databases.url_for_api(addon),
                "readonly_role": database.readonly_role,
                "readonly_password": database.readonly_password,
                "superuser_dsn": databases.server.dsn(database.name),
                "name": database.name,
                "size": await databases.size(addon),
                "refused_writes": databases.quota.refusals,
            }
        )

    async def tunnels(self, request: web.Request) -> web.Response:
        """`{"cut_after": bytes}` cuts open tunnels (or the next one), `{"round_trip_ms": n}` slows them."""
        wanted = await body(request)
        if "cut_after" in wanted:
            self._context.platform.cut_tunnels(int(wanted["cut_after"]))
        if "round_trip_ms" in wanted:
            self._context.platform.slow_tunnels(float(wanted["round_trip_ms"]))
        return reply({})

    async def restart_database(self, request: web.Request) -> web.Response:
        """Cut all sessions, as when the platform restarts a database."""
        await self._context.databases.server.restart()
        return reply({"parts": self._supervisor.parts()})

    def _app(self, wanted: dict[str, Any]) -> App:
        return self._context.platform.app(str(wanted.get("app") or ""))

    def _addon(self, wanted: dict[str, Any]) -> Addon:
        found = self._context.databases.of(self._app(wanted))
        if not found:
            raise BadRequest("the app has no database")
        return found[0]
