"""Scalingo's three services behind one API token: which address, which credentials, what came back.

The authentication service gives a token of one hour for the account's API token; the regional API takes
that one, and the database API one of its own for each add-on. Source: developers.scalingo.com,
"Authentication", "Addons" (token) and "Regions".
"""

from __future__ import annotations

import base64
import binascii
import json as json_module
import threading
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, TypeVar
from urllib.parse import quote

from pydantic import ValidationError

from tasks.core.endpoints import check_loopback
from tasks.core.errors import NotConfigured, OpsError
from tasks.core.http import Http, Parameter, Reply, UnexpectedStatus
from tasks.core.secrets import Secret
from tasks.scalingo.credentials import WHERE_IT_COMES_FROM, Credentials, Endpoints, find, find_endpoints
from tasks.scalingo.models import Model, Region

M = TypeVar("M", bound=Model)

MARGIN: Final = 300.0
"""Seconds before its end at which a token is no longer used."""

_LIFE_UNSAID: Final = 1800.0
_HINTS: Final = {
    401: f"the token is refused: {WHERE_IT_COMES_FROM}",
    402: "the account has to be settled at dashboard.scalingo.com",
    403: "ask the application's owner to make the token's account a full collaborator",
    404: "check the name and the region; the token's account must own it or collaborate on it",
    408: "run the same command again",
}


class Service(Enum):
    """Which of the three is asked."""

    AUTH = "auth"
    REGIONAL = "regional"
    DATABASE = "database"


@dataclass
class Token:
    """A token with its end, counted from its length and arrival: a wrong clock here does no harm."""

    secret: Secret
    ends: float

    @classmethod
    def received(cls, name: str, text: str) -> Token:
        """A token as it was just given; one that does not say its length counts as half an hour."""
        claims = _claims(text)
        begins, ends = claims.get("iat"), claims.get("exp")
        if not isinstance(ends, int | float):
            life = _LIFE_UNSAID
        else:
            life = ends - (begins if isinstance(begins, int | float) else time.time())
        return cls(Secret(name, text), time.time() + life)

    @property
    def fresh(self) -> bool:
        """Whether at least five minutes of it are left."""
        return time.time() < self.ends - MARGIN


class Session:
    """Calls on the three services; the first one finds the credentials and the region's addresses.

    + credentials: None to take the user's own (`credentials.find`), at the first call
    + region: the inventory's
    + sandbox: whether the environment is one: then every address must be on this machine, else none may be
    + pause: seconds before a failed read is repeated
    """

    def __init__(
        self,
        credentials: Credentials | None = None,
        *,
        region: str | None = None,
        sandbox: bool = False,
        pause: float = 1.0,
    ) -> None:
        self._given = credentials
        self._region_name = region
        self._sandbox = sandbox
        self._pause = pause
        self._lock = threading.RLock()
        self._credentials: Credentials | None = None
        self._services: dict[Service, Http] = {}
        self._regions: list[Region] | None = None
        self._bearer: Token | None = None
        self._addon_tokens: dict[tuple[str, str], Token] = {}

    @property
    def credentials(self) -> Credentials:
        """The token in use and where it came from; raises NotConfigured, or Refused by the sandbox's rule."""
        with self._lock:
            if self._credentials is None:
                # The rule comes before the token: a sandbox that is down needs no advice on tokens.
                check_loopback(self._endpoints.declared, sandbox=self._sandbox)
                self._credentials = self._given or find(self._region_name)
            return self._credentials

    @property
    def _endpoints(self) -> Endpoints:
        return self._given.endpoints if self._given else find_endpoints(self._region_name)

    def close(self) -> None:
        """Close the connections kept open and forget the tokens."""
        with self._lock:
            for service in self._services.values():
                service.close()
            self._services.clear()
            self._bearer = None
            self._addon_tokens.clear()

    def regions(self) -> list[Region]:
        """All regions of the platform, asked once."""
        with self._lock:
            if self._regions is None:
                reply = self.call("GET", "/regions", service=Service.AUTH, doing="Listing Scalingo's regions")
                self._regions = parse_list(Region, reply, "regions")
            return self._regions

    def region(self) -> Region:
        """The region in use: the inventory's, SCALINGO_REGION's, the client's, or the platform's default.

        Raises NotConfigured with the names that exist when there is none of that name.
        """
        regions = self.regions()
        wanted = self._region_name or self.credentials.endpoints.region
        for region in regions:
            if region.name == wanted or (not wanted and region.default):
                check_loopback(
                    [region.api, region.database_api, f"ssh://{region.ssh}"], sandbox=self._sandbox
                )
                return region
        names = ", ".join(region.name for region in regions)
        raise NotConfigured(
            "Scalingo's region",
            f"there is none called {wanted}"
            if wanted
            else "none is declared, and the platform has no default",
            next_step=f"set the host's `region`, or SCALINGO_REGION, to one of: {names}",
        )

    def call(
        self,
        method: str,
        path: str,
        *,
        service: Service = Service.REGIONAL,
        json: Any = None,
        params: Mapping[str, Parameter] | None = None,
        expect: Collection[int] = (200,),
        doing: str = "",
        addon: tuple[str, str] | None = None,
    ) -> Reply:
        """Send one call with the right credentials; a token refused before its time is renewed once.

        + addon: (application, add-on), for calls on the database API
        """
        for attempt in (1, 2):
            token = self.addon_token(*addon) if addon else self.bearer()
            try:
                return self._http(service).request(
                    method,
                    path,
                    json={} if json is None and method in ("POST", "PUT", "PATCH") else json,
                    params=params,
                    headers={"Authorization": f"Bearer {token.reveal()}"},
                    expect=expect,
                    doing=doing,
                )
            except UnexpectedStatus as error:
                if attempt == 2 or not _token_refused(error):
                    raise
                self._forget(token)
        raise AssertionError("the second attempt returns or raises")

    def bearer(self) -> Secret:
        """The token for the authentication service and the regional API, exchanged when it is due."""
        with self._lock:
            if self._bearer is None or not self._bearer.fresh:
                self._bearer = self._exchange()
            return self._bearer.secret

    def addon_token(self, app: str, addon: str) -> Secret:
        """The token for one add-on's database, kept until five minutes before its end."""
        with self._lock:
            token = self._addon_tokens.get((app, addon))
            if token is None or not token.fresh:
                reply = self.call(
                    "POST",
                    f"{app_path(app)}/addons/{quote(addon, safe='')}/token",
                    doing=f"Opening {app}'s add-on",
                )
                token = Token.received("add-on token", _text(reply, "addon", "token"))
                self._addon_tokens[app, addon] = token
            return token.secret

    def _exchange(self) -> Token:
        credentials = self.credentials
        basic = base64.b64encode(f":{credentials.token.reveal()}".encode()).decode()
        try:
            reply = self._http(Service.AUTH).post(
                "/tokens/exchange",
                {},
                headers={"Authorization": f"Basic {basic}"},
                repeat=True,
                doing="Signing in to Scalingo",
            )
        except UnexpectedStatus as error:
            if error.status != 401:
                raise
            raise NotConfigured(
                "Signing in to Scalingo",
                f"the API token from {credentials.source} is refused: {error.reply_received.described}",
                next_step=WHERE_IT_COMES_FROM,
            ) from None
        return Token.received("Scalingo's session token", _text(reply, "token"))

    def _forget(self, token: Secret) -> None:
        with self._lock:
            if self._bearer is not None and self._bearer.secret == token:
                self._bearer = None
            self._addon_tokens = {
                key: known for key, known in self._addon_tokens.items() if known.secret != token
            }

    def _http(self, service: Service) -> Http:
        with self._lock:
            if service not in self._services:
                endpoints = self.credentials.endpoints
                if service is Service.AUTH:
                    url = f"{endpoints.auth}/v1"
                elif endpoints.api and endpoints.database_api:
                    url = _url(service, endpoints.api, endpoints.database_api)
                else:
                    region = self.region()
                    url = _url(service, region.api, region.database_api)
                self._services[service] = Http("Scalingo", url, hints=_HINTS, pause=self._pause)
            return self._services[service]


def app_path(app: str) -> str:
    """The path of an application by its name or id, which must not reach beyond it."""
    return f"/apps/{quote(app, safe='')}"


def parse(model: type[M], reply: Reply, key: str) -> M:
    """The one object that an answer wraps; raises OpsError where it is not as documented."""
    return _validated(model, _member(reply, key), reply)


def parse_whole(model: type[M], reply: Reply) -> M:
    """The object that an answer is; raises OpsError where it is not as documented."""
    return _validated(model, reply.json, reply)


def parse_list(model: type[M], reply: Reply, key: str) -> list[M]:
    """The list that an answer wraps; null counts as empty."""
    items = _member(reply, key)
    if not isinstance(items, list | None):
        raise _undocumented(reply, key)
    return [_validated(model, item, reply) for item in items or []]


def _url(service: Service, api: str, database_api: str) -> str:
    return f"{api.rstrip('/')}/v1" if service is Service.REGIONAL else f"{database_api.rstrip('/')}/api"


def _member(reply: Reply, key: str) -> Any:
    body = reply.json
    if not isinstance(body, dict) or key not in body:
        raise _undocumented(reply, key)
    return body[key]


def _text(reply: Reply, *keys: str) -> str:
    value = reply.json
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    if not isinstance(value, str):
        raise _undocumented(reply, ".".join(keys))
    return value


def _validated(model: type[M], data: Any, reply: Reply) -> M:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise _undocumented(reply, ".".join(map(str, first["loc"])) or model.__name__) from None


def _undocumented(reply: Reply, what: str) -> OpsError:
    return OpsError(
        reply.call,
        f"{reply.status}, but its answer has no {what} as documented",
        next_step="the platform's API has changed, or something stands in between",
    )


def _token_refused(error: UnexpectedStatus) -> bool:
    """401, or what the database API answers to a token that has ended."""
    return error.status == 401 or (error.status == 400 and error.reply_received.described == "unauthorized")


def _claims(token: str) -> dict[str, Any]:
    """What a JSON web token says of itself; its signature is the server's business."""
    try:
        middle = token.split(".")[1]
        claims = json_module.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))
    except (IndexError, ValueError, binascii.Error):
        return {}
    return claims if isinstance(claims, dict) else {}
