"""HTTP requests as an operator needs them: patient where repeating is harmless, and errors as one sentence.

GET and HEAD (and calls marked as repeatable) are tried again after a cut connection, a 429 and the usual
5xx; anything else only when no connection could be opened, for then nothing was sent (`patience`).
"""

from __future__ import annotations

import contextlib
import email.utils
import json as json_module
import logging
import re
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from requests.structures import CaseInsensitiveDict

from tasks.core.endpoints import host_of, is_loopback
from tasks.core.errors import NotConfigured, OpsError, Unreachable
from tasks.core.network import nothing_was_sent, reason_of
from tasks.core.patience import REPEATABLE, Patience
from tasks.core.secrets import redact

# pyinfra's own logger: a wait is seen on screen, under its prefixes.
logger: Final = logging.getLogger("pyinfra")

USER_AGENT: Final = "operations/0.1"
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS: Final = 5
_LONGEST_TEXT: Final = 300

TRY_AGAIN: Final = "check the network here, then run the same command again"
UNKNOWN: Final = "whether it was carried out is not known"
NOTHING_SENT: Final = "nothing was sent"

Parameter = str | int | bool | None


@dataclass(frozen=True)
class Reply:
    """What came back: `call` says to which request, in words that may be shown."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    call: str

    @property
    def text(self) -> str:
        """The body as text; bytes that are not UTF-8 are replaced."""
        return self.body.decode("utf-8", "replace")

    @property
    def json(self) -> Any:
        """The body as JSON; an empty one is None.

        Raises OpsError where it is something else, such as the sign-in page of a hotel's network.
        """
        if not self.body.strip():
            return None
        try:
            return json_module.loads(self.body)
        except ValueError:
            raise OpsError(
                self.call,
                f"{self.status}, but with {self.described} instead of JSON",
                next_step="check that no proxy or sign-in page of the network here stands in between",
            ) from None

    @property
    def described(self) -> str:
        """The body in a few words without secrets: an error's own text, never a page of HTML."""
        text = self.text.strip()
        if not text:
            return "an empty answer"
        if "html" in self.headers.get("Content-Type", "") or text[:1] == "<":
            return "a page of HTML"
        with contextlib.suppress(ValueError):
            text = _sentence(json_module.loads(text)) or "JSON without an error's text"
        return redact(printable(text))


class UnexpectedStatus(OpsError):
    """The server answered, with another status than was asked for; `status` and `reply` have it."""

    def __init__(self, reply: Reply, *, state: str = "", next_step: str = "") -> None:
        self.status = reply.status
        self.reply_received = reply
        try:
            name = f" {HTTPStatus(reply.status).phrase}"
        except ValueError:
            name = ""
        super().__init__(
            reply.call, f"{reply.status}{name}, {reply.described}", state=state, next_step=next_step
        )


class Http:
    """One service under one address.

    + name: what people call it
    + base_url: scheme, host and the path that all calls begin with
    + headers: called before each request, for credentials; sent to this very address only
    + timeout: seconds to open a connection, and seconds without a byte
    + hints: the next step that an answer's status suggests
    + pause: seconds before the first repetition
    + most: repetitions in all, where the patience above is too much

    Cooperative where the standard library is patched by gevent; not for use by several native threads.
    """

    def __init__(
        self,
        name: str,
        base_url: str,
        *,
        headers: Callable[[], Mapping[str, str]] | None = None,
        timeout: tuple[float, float] = (5, 30),
        hints: Mapping[int, str] | None = None,
        pause: float = 1.0,
        most: int | None = None,
    ) -> None:
        self.name = name
        self.base_url = base_url.rstrip("/")
        self.hints = dict(hints or {})
        self._headers = headers
        self._timeout = timeout
        self._pause = pause
        self._most = most
        self._sessions = {repeat: self._session(repeat) for repeat in (True, False)}

    def close(self) -> None:
        """Close the connections that are kept open for the next call."""
        for session in self._sessions.values():
            session.close()

    def get(self, path: str, **options: Any) -> Reply:
        """Read; see `request`."""
        return self.request("GET", path, **options)

    def post(self, path: str, json: Any = None, **options: Any) -> Reply:
        """Create or cause something; see `request`."""
        return self.request("POST", path, json=json, **options)

    def put(self, path: str, json: Any = None, **options: Any) -> Reply:
        """Replace something; see `request`."""
        return self.request("PUT", path, json=json, **options)

    def patch(self, path: str, json: Any = None, **options: Any) -> Reply:
        """Change something; see `request`."""
        return self.request("PATCH", path, json=json, **options)

    def delete(self, path: str, **options: Any) -> Reply:
        """Remove something; see `request`."""
        return self.request("DELETE", path, **options)

    def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        params: Mapping[str, Parameter] | None = None,
        headers: Mapping[str, str] | None = None,
        expect: Collection[int] = (200,),
        repeat: bool | None = None,
        doing: str = "",
        timeout: tuple[float, float] | None = None,
        shown_path: str | None = None,
    ) -> Reply:
        """Send one request and give its answer.

        + path: below `base_url`; a whole address of the same origin is taken too (the next page of a list)
        + expect: the statuses that mean success; any other raises
        + repeat: whether it may be sent twice; by default GET and HEAD only
        + doing: what it is for, in words ("Reading the variables of demo")
        + shown_path: what errors show in place of a path that holds a secret

        Raises UnexpectedStatus for another status, Unreachable when there was no whole answer, NotConfigured
        when the declared address is none.
        """
        if repeat is None:
            repeat = method in REPEATABLE
        if not host_of(self.base_url) or not self.base_url.startswith(("http://", "https://")):
            raise NotConfigured(
                f"Reaching {self.name}",
                "the address declared for it is not http(s)://HOST",
                state=NOTHING_SENT,
            )
        url = self._address(path)
        shown = urlsplit(url).path if shown_path is None else shown_path
        call = f"{doing} ({self.name}, {method} {shown})" if doing else f"{self.name}, {method} {shown}"
        request = requests.Request(
            method,
            url,
            json=json,
            params={name: _parameter(value) for name, value in (params or {}).items() if value is not None},
            headers={"Accept": "application/json", "User-Agent": USER_AGENT, **(headers or {})},
            auth=_Credentials(self._headers),
        )
        for _ in range(_MOST_REDIRECTS + 1):
            reply = self._send(request, call, repeat, timeout or self._timeout)
            if reply.status not in _REDIRECTS or reply.status in expect:
                break
            request.url = self._redirected(reply, request.url or url, method)
            request.params = {}
        if reply.status not in expect:
            raise UnexpectedStatus(reply, next_step=self._hint(reply))
        return reply

    def _address(self, path: str) -> str:
        if not path.startswith(("http://", "https://")):
            return f"{self.base_url}{path}"
        if _origin(path) != _origin(self.base_url):
            raise OpsError(
                f"{self.name}, following a link that it gave",
                f"it leads to {urlsplit(path).netloc}, away from {urlsplit(self.base_url).netloc}",
            )
        return path

    def _redirected(self, reply: Reply, url: str, method: str) -> str:
        """Where a redirect leads, if it may be followed: reads only, and only at the same origin."""
        target = urljoin(url, reply.headers.get("Location", ""))
        if method in REPEATABLE and _origin(target) == _origin(url):
            return target
        raise UnexpectedStatus(
            reply,
            state=f"it points to {urlsplit(target).netloc or 'nowhere'}, which is not followed",
            next_step=f"check the address of {self.name} that is declared here",
        )

    def _hint(self, reply: Reply) -> str:
        if reply.status in self.hints:
            return self.hints[reply.status]
        if reply.status == 429:
            return "wait a minute, then run the same command again"
        if reply.status >= 500:
            return (
                f"{self.name} has a problem of its own: see its status page, then run the same command again"
            )
        return ""

    def _send(
        self, request: requests.Request, call: str, repeat: bool, timeout: tuple[float, float]
    ) -> Reply:
        attempts = 1 + (min(2, 2 if self._most is None else self._most) if repeat else 0)
        session = self._sessions[repeat]
        settings = session.merge_environment_settings(request.url, {}, None, None, None)
        for attempt in range(1, attempts + 1):
            try:
                response = session.send(
                    session.prepare_request(request), timeout=timeout, allow_redirects=False, **settings
                )
            except requests.RequestException as error:
                # urllib3 has repeated what it could; a body that breaks off comes after it is done.
                if attempt < attempts and _broke_off(error):
                    wait = self._pause * 2 ** (attempt - 1)
                    logger.warning(f"{self.name} broke off its answer; trying again in {wait:.0f} s")
                    time.sleep(wait)
                    continue
                state = "" if repeat else (NOTHING_SENT if nothing_was_sent(error) else UNKNOWN)
                raise Unreachable(call, reason_of(error, timeout), state=state, next_step=TRY_AGAIN) from None
            break
        return Reply(response.status_code, CaseInsensitiveDict(response.headers), response.content, call)

    def _session(self, repeat: bool) -> requests.Session:
        session = requests.Session()
        session.trust_env = not is_loopback(self.base_url)  # no proxy reaches our own machine
        adapter = HTTPAdapter(
            max_retries=Patience.of(self.name, repeat=repeat, pause=self._pause, most=self._most)
        )
        session.mount("http://", adapter)
        session.mount("https://", adapter)
        return session


class _Credentials(AuthBase):
    """Sets the caller's headers; its presence keeps requests from taking a password out of ~/.netrc."""

    def __init__(self, headers: Callable[[], Mapping[str, str]] | None) -> None:
        self._headers = headers

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._headers is not None:
            request.headers.update(self._headers())
        return request


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a Retry-After header asks for; None without one, or with one that says nothing."""
    value = headers.get("Retry-After", "").strip()
    if value.isdigit():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None


def printable(text: str) -> str:
    """Text of others on one line, without escapes that a terminal would obey, and not too long."""
    line = re.sub(r"\s+", " ", re.sub(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0e-\x1f\x7f-\x9f]", "", text))
    return line if len(line) <= _LONGEST_TEXT else f"{line[:_LONGEST_TEXT]} ..."


def _sentence(body: Any) -> str:
    """The error's text in the usual shapes of JSON errors."""
    if isinstance(body, str):
        return body
    if not isinstance(body, dict):
        return ""
    fields = body.get("errors")
    if isinstance(fields, dict) and fields:
        return "; ".join(
            f"{name} {', '.join(map(str, said)) if isinstance(said, list) else said}"
            for name, said in fields.items()
        )
    said = body.get("message") or body.get("error") or body.get("error_description")
    subject = body.get("resource")
    return f"{subject} {said}" if subject and said else str(said or "")


def _parameter(value: Parameter) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _broke_off(error: requests.RequestException) -> bool:
    if isinstance(error, requests.exceptions.ChunkedEncodingError | requests.exceptions.ContentDecodingError):
        return True
    return bool(error.args) and isinstance(error.args[0], urllib3.exceptions.ReadTimeoutError)
