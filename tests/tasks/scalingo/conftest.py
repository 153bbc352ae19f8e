"""A server on loopback that answers as the documentation of Scalingo's three services says."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tasks.core.secrets import Secret
from tasks.scalingo.client import Scalingo
from tasks.scalingo.credentials import Credentials, Endpoints
from tests import http_servers
from tests.http_servers import answering

API_TOKEN = "tk-us-" + "0123456789abcdef" * 2
TIME = "2026-03-01T10:00:00.000+01:00"


def jwt(name: str, life: float = 3600, skew: float = 0) -> str:
    """A token as the platform gives: its clock may differ from ours."""
    now = time.time() + skew
    parts = ({"alg": "HS512", "typ": "JWT"}, {"iat": int(now), "exp": int(now + life), "name": name})
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    return ".".join([*encoded, name])


@dataclass
class Asked:
    method: str
    path: str
    query: str
    headers: dict[str, str]
    json: Any


Reaction = tuple[int, Any] | tuple[int, Any, dict[str, str]]
Route = Reaction | Callable[["Platform", Asked], Reaction] | list[Any]


@dataclass
class Platform:
    """What is answered to `METHOD /path`; a list is used up one by one, its last item stays."""

    url: str
    routes: dict[str, Route] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    life: float = 3600
    skew: float = 0
    issued: list[str] = field(default_factory=list)
    attach: Callable[[Any], None] | None = None

    def calls(self, text: str = "") -> list[str]:
        """`METHOD /path` of everything asked that contains the text."""
        return [f"{a.method} {a.path}" for a in self.asked if text in f"{a.method} {a.path}"]

    def give(self, call: str, *reactions: Any) -> None:
        self.routes[call] = list(reactions)

    def react(self, asked: Asked) -> Reaction:
        route = self.routes.get(f"{asked.method} {asked.path}")
        if isinstance(route, list):
            route = route.pop(0) if len(route) > 1 else route[0]
        if route is None:
            return 404, {"resource": "app", "error": "not found"}
        return route(self, asked) if callable(route) else route

    def exchange(self, asked: Asked) -> Reaction:
        if asked.headers.get("Authorization") != basic(API_TOKEN):
            return 401, {"error": "Invalid credentials"}
        self.issued.append(jwt(f"session{len(self.issued)}", self.life, self.skew))
        return 200, {"token": self.issued[-1]}

    def addon_token(self, asked: Asked) -> Reaction:
        return 200, {"addon": {"id": "ad-1", "token": jwt(f"addon{len(self.calls('/token'))}", self.life)}}


def basic(password: str) -> str:
    return "Basic " + base64.b64encode(f":{password}".encode()).decode()


class Handler(http_servers.Handler):
    platform: Platform

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path, _, query = self.path.partition("?")
        try:
            content = json.loads(body) if body else None
        except ValueError:
            content = body
        asked = Asked(self.command, path, query, dict(self.headers), content)
        self.platform.asked.append(asked)
        public = path.endswith("/exchange") or path.startswith("/files") or path.startswith("/attach")
        if not public and not self.headers.get("Authorization", "").startswith("Bearer "):
            self.answer(401, {"error": "unauthenticated"})
            return
        self.answer(*self.platform.react(asked))

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any

    def do_CONNECT(self) -> None:
        self.close_connection = True
        self.platform.asked.append(Asked("CONNECT", self.path, "", dict(self.headers), None))
        assert self.platform.attach is not None
        self.platform.attach(self)

    def answer(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        headers = {"Content-Type": "application/json", **(headers or {})}
        if isinstance(content, str):
            headers["Content-Type"] = "text/html" if content.startswith("<") else "text/plain"
        body = (
            content
            if isinstance(content, bytes)
            else (content if isinstance(content, str) else json.dumps(content)).encode()
        )
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def platform() -> Iterator[Platform]:
    handler = type("PlatformHandler", (Handler,), {})
    server = http_servers.Server(handler)
    url = server.url
    handler.platform = platform = Platform(url)  # type: ignore[attr-defined]
    platform.routes = {
        "POST /v1/tokens/exchange": Platform.exchange,
        "GET /v1/regions": (200, {"regions": [region(url, "osc-fr1", True), region(url, "other", False)]}),
        "GET /v1/users/self": (
            200,
            {"user": {"id": "us-1", "username": "jane", "email": "j@x", "fullname": None}},
        ),
        "GET /v1/apps": (200, {"apps": [app()]}),
        "GET /v1/apps/demo": (200, {"app": app()}),
        "GET /v1/apps/demo/variables": (
            200,
            {
                "variables": [
                    {"id": "v1", "name": "SECRET_KEY", "value": "very-secret-key-1"},
                    {"id": "v2", "name": "DATABASE_URL", "value": "$SCALINGO_POSTGRESQL_URL"},
                ]
            },
        ),
        "GET /v1/apps/demo/containers": (
            200,
            {
                "containers": [
                    {"name": "web", "amount": 2, "size": "M", "command": "gunicorn", "app_id": "ap-1"},
                    {"name": "worker", "amount": None, "size": "S", "command": None, "app_id": "ap-1"},
                ]
            },
        ),
        "GET /v1/apps/demo/ps": (
            200,
            {
                "containers": [
                    {
                        "id": "c1",
                        "type": "web",
                        "type_index": 1,
                        "label": "web-1",
                        "state": "running",
                        "command": "x",
                        "created_at": TIME,
                        "container_size": {"name": "M"},
                    },
                ]
            },
        ),
        "GET /v1/apps/demo/addons": (200, {"addons": [addon("ad-1", "postgresql"), addon("ad-2", "redis")]}),
        "POST /v1/apps/demo/addons/ad-1/token": Platform.addon_token,
        "GET /api/databases/ad-1": (
            200,
            {
                "database": {
                    "id": "d1",
                    "resource_id": "demo_1",
                    "app_name": "demo",
                    "plan": "postgresql-starter-512",
                    "status": "running",
                    "type_name": "postgresql",
                    "readable_version": "15.8.0-1",
                    "hostname": "demo-1.postgresql.dbs.example:31000",
                    "features": None,
                    "current_operation_id": None,
                    "periodic_backups_enabled": True,
                    "periodic_backups_scheduled_at": [2],
                }
            },
        ),
        "GET /api/databases/ad-1/backups": (
            200,
            {
                "database_backups": [
                    backup("b1", "2026-03-01T01:00:00Z"),
                    backup("b2", "2026-03-02T01:00:00Z"),
                ]
            },
        ),
        "GET /v1/apps/demo/deployments": (
            200,
            {
                "deployments": [deployment("d2", "success"), deployment("d1", "build-error")],
                "meta": {"pagination": {"current_page": 1, "next_page": None}},
            },
        ),
    }
    with answering(server):
        yield platform


@pytest.fixture
def credentials(platform: Platform) -> Credentials:
    endpoints = Endpoints(platform.url, None, None, None)
    return Credentials(Secret("SCALINGO_API_TOKEN", API_TOKEN), "SCALINGO_API_TOKEN", endpoints)


@pytest.fixture
def client(credentials: Credentials) -> Iterator[Scalingo]:
    with Scalingo(credentials, sandbox=True, pause=0.01) as client:
        yield client


@pytest.fixture
def environ(platform: Platform, tmp_path: Path) -> dict[str, str]:
    """The variables of a user whose only Scalingo is this one."""
    return {
        "SCALINGO_API_TOKEN": API_TOKEN,
        "SCALINGO_AUTH_URL": platform.url,
        "AUTH_FILE": str(tmp_path / "auth"),
        "CONFIG_FILE_PATH": str(tmp_path / "config.json"),
    }


def region(url: str, name: str, default: bool) -> dict[str, Any]:
    return {
        "name": name,
        "display_name": name,
        "api": url,
        "database_api": url,
        "dashboard": url,
        "ssh": "127.0.0.1:2222",
        "default": default,
    }


def app() -> dict[str, Any]:
    return {
        "id": "ap-1",
        "name": "demo",
        "region": "osc-fr1",
        "status": "running",
        "url": "https://demo.example",
        "git_url": "git@ssh.example:demo.git",
        "owner": {"id": "us-1", "username": "jane", "email": "j@x"},
        "created_at": TIME,
        "updated_at": TIME,
        "last_deployed_at": None,
        "last_deployed_by": None,
        "last_deployment_id": "d2",
        "stack_id": "st-1",
        "flags": {},
        "links": {},
    }


def addon(identifier: str, provider: str) -> dict[str, Any]:
    return {
        "id": identifier,
        "resource_id": "demo_1",
        "status": "running",
        "plan": {"id": "p", "name": "small"},
        "addon_provider": {"id": provider, "name": provider},
        "provisioned_at": TIME,
    }


def backup(identifier: str, created_at: str, status: str = "done") -> dict[str, Any]:
    return {
        "id": identifier,
        "name": f"{identifier}_demo",
        "created_at": created_at,
        "started_at": created_at,
        "size": 1000 if status == "done" else None,
        "status": status,
        "method": "periodic",
    }


def deployment(identifier: str, status: str) -> dict[str, Any]:
    return {
        "id": identifier,
        "app_id": "ap-1",
        "created_at": TIME,
        "finished_at": None,
        "status": status,
        "git_ref": "a" * 40,
        "duration": 3,
        "postdeploy_hook": None,
        "image_size": None,
        "pusher": {"id": "us-1", "username": "jane", "email": "j@x"},
        "links": {"output": "x"},
    }
