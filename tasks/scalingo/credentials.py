"""Whose token, and which addresses: the official client's own variables and files.

Sources: the `scalingo` command-line client's configuration (github.com/Scalingo/cli, `config/`) and
developers.scalingo.com, "Authentication" and "Regions".
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from tasks.core.errors import NotConfigured
from tasks.core.secrets import Secret

AUTH_URL: Final = "https://auth.scalingo.com"
WHERE_IT_COMES_FROM: Final = (
    "run `scalingo login`, or put a token into SCALINGO_API_TOKEN "
    "(dashboard.scalingo.com > Account settings > API tokens > Create new token)"
)


@dataclass(frozen=True)
class Endpoints:
    """Addresses as far as they are declared here; what is None comes from the platform's list of regions.

    + auth: the authentication service
    + api, database_api: a region's two services, declared both or neither
    + region: its name; None means the platform's default
    """

    auth: str
    api: str | None
    database_api: str | None
    region: str | None

    @property
    def declared(self) -> list[str]:
        """The addresses that are known without asking anybody."""
        return [url for url in (self.auth, self.api, self.database_api) if url]


@dataclass(frozen=True)
class Credentials:
    """An API token, where it was found, and the addresses that it is for."""

    token: Secret
    source: str
    endpoints: Endpoints


def find(region: str | None = None, environ: Mapping[str, str] = os.environ) -> Credentials:
    """The token and addresses of this user; reads variables and files and sends nothing.

    + region: the inventory's; it goes before SCALINGO_REGION and the client's configuration file

    Raises NotConfigured, with where to get it, when there is no token, or the client's file can't be read.
    """
    endpoints = find_endpoints(region, environ)
    if token := environ.get("SCALINGO_API_TOKEN", "").strip():
        return Credentials(Secret("SCALINGO_API_TOKEN", token), "SCALINGO_API_TOKEN", endpoints)
    path = _path("AUTH_FILE", "auth", environ)
    host = urlsplit(endpoints.auth).hostname or ""
    token = _token(_read(path), host)
    if not token:
        raise NotConfigured(
            "Scalingo's API token",
            f"neither SCALINGO_API_TOKEN nor {path} has one for {host}",
            next_step=WHERE_IT_COMES_FROM,
        )
    return Credentials(Secret("Scalingo's API token", token), str(path), endpoints)


def find_endpoints(region: str | None = None, environ: Mapping[str, str] = os.environ) -> Endpoints:
    """The addresses of this environment, as far as they are declared.

    Raises NotConfigured when one of SCALINGO_API_URL and SCALINGO_DB_URL is set without the other.
    """
    api = environ.get("SCALINGO_API_URL") or None
    database_api = environ.get("SCALINGO_DB_URL") or None
    if (api is None) != (database_api is None):
        raise NotConfigured(
            "Scalingo's addresses",
            "SCALINGO_API_URL and SCALINGO_DB_URL go together, and only one is set",
            next_step="set both, or neither to use the platform's own regions",
        )
    configured = _read(_path("CONFIG_FILE_PATH", "config.json", environ))
    return Endpoints(
        auth=(environ.get("SCALINGO_AUTH_URL") or AUTH_URL).rstrip("/"),
        api=api,
        database_api=database_api,
        region=region or environ.get("SCALINGO_REGION") or str(configured.get("region") or "") or None,
    )


def _path(variable: str, name: str, environ: Mapping[str, str]) -> Path:
    home = Path(environ["HOME"]) if environ.get("HOME") else Path.home()
    return Path(environ.get(variable) or home / ".config" / "scalingo" / name)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise NotConfigured(
            f"Reading {path}", (error.strerror or "it can't be read").lower(), next_step=WHERE_IT_COMES_FROM
        ) from None
    except ValueError:
        raise NotConfigured(
            f"Reading {path}",
            "it is not the JSON that the scalingo client writes",
            next_step=WHERE_IT_COMES_FROM,
        ) from None
    return content if isinstance(content, dict) else {}


def _token(content: Any, host: str) -> str:
    """`auth_config_data.HOST.tokens.token`, the host without its port."""
    for key in ("auth_config_data", host, "tokens", "token"):
        content = content.get(key) if isinstance(content, dict) else None
    return content.strip() if isinstance(content, str) else ""
