"""Visiting a website for its declared checks: every attempt in a session of its own, within a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urljoin, urlsplit

import requests
from requests.auth import AuthBase

from tasks.core.endpoints import is_loopback
from tasks.core.errors import Interrupted
from tasks.core.network import reason_of
from tasks.core.secrets import redact
from tasks.website.checks import (
    BOOTING,
    Admin,
    Check,
    Form,
    Judgement,
    Page,
    Reply,
    Search,
    Version,
    form_with,
    judge_behind_login,
    judge_login_page,
    judge_reply,
    judge_version,
    login_form,
)

_TIMEOUT: Final = (5.0, 20.0)
_PAUSE: Final = 1.0
_LARGEST_PAGE: Final = 5_000_000
_USER_AGENT: Final = "operations/0.1 (verification)"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """How a check went.

    + seen: what came back, as a clause that follows the check's name
    + milliseconds: how long its last attempt took
    """

    name: str
    ok: bool
    seen: str
    milliseconds: int

    def __str__(self) -> str:
        return f"{self.name}: {self.seen} ({self.milliseconds} ms)"


def run(
    base_url: str,
    checks: Sequence[Check],
    *,
    version: str | None = None,
    deadline: float = 60,
    headers: Mapping[str, str] | None = None,
    stop: Callable[[], bool] | None = None,
    progress: Callable[[int, int | None], None] | None = None,
) -> list[CheckResult]:
    """Do each check, one after the other, and say how it went; failures are results, never raised.

    + base_url: the website's address; the checks' paths are added to it
    + version: the release that must answer a `Version` check (a tag or a commit, as the page names it)
    + deadline: seconds for all of them together. What fails is tried again until then, for the application
      may be booting; a form is sent again only while no container answers. 0 tries each check once
    + headers: for every request, such as those that open a preproduction
    + stop: asked between attempts; when it answers yes, Interrupted is raised
    + progress: checks done, and how many there are
    """
    ends = time.monotonic() + deadline
    results = []
    for check in checks:
        attempts = 0
        while True:
            if stop is not None and stop():
                raise Interrupted(f"Verifying {base_url}", "stopped")
            attempts += 1
            began = time.monotonic()
            attempt = _Visit(base_url, headers or {}).attempt(check, version)
            elapsed = time.monotonic() - began
            again = not attempt.judgement.ok and (attempt.booting or not isinstance(check, Form))
            if not again or time.monotonic() + _PAUSE > ends:
                break
            time.sleep(_PAUSE)
        seen = attempt.judgement.seen
        if not attempt.judgement.ok and attempts > 1:
            seen += f", at the last of {attempts} attempts"
        results.append(CheckResult(check.name, attempt.judgement.ok, redact(seen), round(elapsed * 1000)))
        if progress is not None:
            progress(len(results), len(checks))
    return results


@dataclass(frozen=True, slots=True)
class _Attempt:
    judgement: Judgement
    booting: bool


class _NoAuth(AuthBase):
    """Keeps requests from sending what ~/.netrc holds for the host."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


class _Visit:
    """One attempt, as a browser without a past."""

    def __init__(self, base_url: str, headers: Mapping[str, str]) -> None:
        self._base_url = base_url.rstrip("/")
        self._session = requests.Session()
        self._session.headers.update({"User-Agent": _USER_AGENT, **headers})
        self._session.auth = _NoAuth()
        self._session.max_redirects = 10
        self._session.trust_env = not is_loopback(base_url)
        self._last_status = 0

    def attempt(self, check: Check, version: str | None) -> _Attempt:
        try:
            with self._session:
                judgement = self._judge(check, version)
        except requests.TooManyRedirects:
            return _Attempt(Judgement(False, "redirects in a circle"), booting=False)
        except requests.RequestException as error:
            # Sent or not: only before the first answer is it sure that a form was not.
            unanswered = self._last_status == 0
            return _Attempt(Judgement(False, f"no answer: {reason_of(error, _TIMEOUT)}"), booting=unanswered)
        return _Attempt(judgement, booting=self._last_status in BOOTING)

    def _judge(self, check: Check, version: str | None) -> Judgement:
        match check:
            case Page():
                return judge_reply(self._get(check.path), check.status, check.pattern)
            case Search():
                reply = self._get(check.path, {check.parameter: check.term})
                return judge_reply(reply, 200, check.pattern)
            case Form():
                return self._form(check)
            case Admin():
                return self._admin(check)
            case Version():
                return judge_version(check, self._get(check.path), version)
            case _:
                raise TypeError(f"{type(check).__name__} is no check of a website")

    def _form(self, check: Form) -> Judgement:
        page = self._get(check.path)
        if page.status != 200:
            return Judgement(False, f"its page answered {page.status} instead of 200")
        form = form_with(page, check.fields)
        if form is None:
            return Judgement(False, f"its page has no form with the fields {', '.join(check.fields)}")
        return judge_reply(
            self._submit(page, form.action, form.method, form.filled(check.fields)),
            check.status,
            check.pattern,
        )

    def _admin(self, check: Admin) -> Judgement:
        page = self._get(check.path)
        if check.account is None or page.status != 200:
            return judge_login_page(page)
        form = login_form(page)
        if form is None or form.password_field is None or form.text_field is None:
            return Judgement(False, "shows no login form")
        target = urljoin(page.url, form.action)
        if _origin(target) != _origin(self._base_url):
            return Judgement(False, f"its login form goes to another website, {urlsplit(target).netloc}")
        fields = {
            form.text_field: check.account.username,
            form.password_field: check.account.password.reveal(),
        }
        reply = self._submit(page, form.action, form.method, form.filled(fields))
        if reply.status == 200 and login_form(reply) is None:
            reply = self._get(check.path)
        return judge_behind_login(check, reply)

    def _get(self, path: str, query: Mapping[str, str] | None = None) -> Reply:
        return self._send("GET", self._base_url + path, params=query)

    def _submit(self, page: Reply, action: str, method: str, fields: Mapping[str, str]) -> Reply:
        url = urljoin(page.url, action)
        if method != "post":
            return self._send("GET", url, params=fields)
        # Django compares both with the host that it serves.
        parts = urlsplit(page.url)
        headers = {"Referer": page.url, "Origin": f"{parts.scheme}://{parts.netloc}"}
        return self._send("POST", url, data=fields, headers=headers)

    def _send(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, str] | None = None,
        data: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        response = self._session.request(
            method, url, params=params, data=data, headers=headers, timeout=_TIMEOUT, stream=True
        )
        with response:
            body = b""
            for chunk in response.iter_content(65536):
                body += chunk
                if len(body) > _LARGEST_PAGE:
                    break
        self._last_status = response.status_code
        encoding = response.encoding if "charset" in response.headers.get("Content-Type", "") else None
        try:
            text = body.decode(encoding or "utf-8", "replace")
        except LookupError:
            text = body.decode("utf-8", "replace")
        return Reply(response.url, response.status_code, text)


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc
