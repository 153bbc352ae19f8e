"""GitHub's REST API as typed calls: releases, what a tag means, what a deployment gains and loses, checks.

Reads only. Without a token it works for public repositories, 60 requests an hour.
Source: docs.github.com/rest ("Releases", "Git references", "Commits", "Checks", "Commit statuses",
"Rate limits").
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeVar
from urllib.parse import quote

from pydantic import ValidationError
from requests.utils import parse_header_links

from tasks.core.endpoints import check_loopback
from tasks.core.errors import OpsError
from tasks.core.http import Http, Parameter, Reply, UnexpectedStatus, retry_after
from tasks.core.secrets import Secret
from tasks.github.models import Check, CheckRun, Commit, Comparison, Model, Release, Status, Tag

M = TypeVar("M", bound=Model)

API_VERSION: Final = "2022-11-28"
_PAGE: Final = 100
_MOST_PAGES: Final = 10
_MOST_TAG_OBJECTS: Final = 10
_LONGEST_WAIT: Final = 90.0


class GitHub:
    """One repository.

    + repository: `OWNER/NAME`
    + token: None to take GITHUB_TOKEN or GH_TOKEN, if one is set
    + api_url: None to take GITHUB_API_URL, else GitHub's own
    + sandbox: whether the environment is one: the address must then be on this machine, and otherwise must
      not; None asks for neither
    + pause: seconds before a failed read is repeated

    Every call raises `UnexpectedStatus` or `Unreachable`, each a sentence that names the call.
    """

    def __init__(
        self,
        repository: str,
        token: Secret | None = None,
        api_url: str | None = None,
        *,
        sandbox: bool | None = None,
        pause: float = 1.0,
    ) -> None:
        self.repository = repository
        self.token = token or _token_of_environment()
        self.server_url = (os.environ.get("GITHUB_SERVER_URL") or "https://github.com").rstrip("/")
        self._sandbox = sandbox
        self._http = Http(
            "GitHub",
            api_url or os.environ.get("GITHUB_API_URL") or "https://api.github.com",
            headers=self._headers,
            pause=pause,
        )

    @property
    def clone_url(self) -> str:
        """Where git fetches the repository from, over HTTPS."""
        return f"{self.server_url}/{self.repository}.git"

    @property
    def web_url(self) -> str:
        """The repository's page."""
        return f"{self.server_url}/{self.repository}"

    def releases(self, count: int = 30) -> list[Release]:
        """The newest published releases; drafts, which only some tokens see, are left out."""
        found: list[Release] = []
        for item in self._pages("/releases", doing="Listing the releases of"):
            release = self._parsed(Release, item, "releases")
            if not release.draft:
                found.append(release)
            if len(found) == count:
                break
        return found

    def tags(self) -> list[Tag]:
        """All tags with their commits, in no useful order."""
        return [self._parsed(Tag, item, "tags") for item in self._pages("/tags", doing="Listing the tags of")]

    def tag_commit(self, tag: str) -> str | None:
        """The commit that a tag means now, through annotated tags; None when there is no such tag."""
        doing = f"Looking up {tag} in"
        try:
            found = self._object(self._get(f"/git/ref/tags/{quote(tag)}", doing=doing))
        except UnexpectedStatus as error:
            if error.status != 404:
                raise
            self._get("", doing="Looking for")  # a repository that can't be seen has no tags either
            return None
        for _ in range(_MOST_TAG_OBJECTS):
            kind, sha = found
            if kind == "commit":
                return sha
            if kind != "tag":
                break
            found = self._object(self._get(f"/git/tags/{sha}", doing=doing))
        raise OpsError(f"{doing} {self.repository}", f"the tag means no commit but a {found[0]}")

    def commit(self, ref: str) -> Commit:
        """The commit that a branch, tag or commit id means now."""
        reply = self._get(f"/commits/{quote(ref, safe='')}", doing=f"Looking up {ref} in")
        return self._parsed(Commit, reply.json, "commit")

    def compare(self, old: str, new: str) -> Comparison:
        """What going from one commit to another gains and loses; two comparisons, one in each direction."""
        gained, gained_in_all = self._ahead(old, new)
        lost, lost_in_all = self._ahead(new, old)
        return Comparison(gained, lost, gained_in_all, lost_in_all)

    def checks(self, sha: str) -> list[Check]:
        """Every opinion on a commit, check runs and statuses alike. None at all is no approval."""
        return self.check_runs(sha) + self.statuses(sha)

    def check_runs(self, sha: str) -> list[Check]:
        """The newest check run of each app and name on a commit."""
        newest: dict[tuple[str, str], CheckRun] = {}
        pages = self._pages(
            f"/commits/{quote(sha, safe='')}/check-runs", key="check_runs", doing="Listing the checks of"
        )
        for item in pages:
            run = self._parsed(CheckRun, item, "check_runs")
            known = newest.get((run.app, run.name))
            if known is None or run.id > known.id:
                newest[run.app, run.name] = run
        return [Check(run.name, run.app, run.verdict, run.url) for run in newest.values()]

    def statuses(self, sha: str) -> list[Check]:
        """The newest status of each context on a commit."""
        pages = self._pages(
            f"/commits/{quote(sha, safe='')}/status", key="statuses", doing="Listing the statuses of"
        )
        found = [self._parsed(Status, item, "statuses") for item in pages]
        return [Check(status.context, "status", status.verdict, status.url) for status in found]

    def _ahead(self, base: str, head: str) -> tuple[list[Commit], int]:
        """The commits that `head` has and `base` has not, oldest first, and how many they are."""
        doing = f"Comparing {base[:12]} with {head[:12]} in"
        path = f"/compare/{quote(base, safe='')}...{quote(head, safe='')}"
        commits: list[Commit] = []
        in_all = 0
        for reply in self._replies(path, doing=doing):
            body = reply.json
            in_all = int(_member(reply, body, "ahead_by"))
            commits += [self._parsed(Commit, item, "commits") for item in _member(reply, body, "commits")]
        return commits, in_all

    def _pages(self, path: str, *, doing: str, key: str | None = None) -> Iterator[Any]:
        """The items of a list, page by page as they are asked for."""
        for reply in self._replies(path, doing=doing):
            items = reply.json if key is None else _member(reply, reply.json, key)
            if not isinstance(items, list):
                raise _undocumented(reply, key or "list")
            yield from items

    def _replies(self, path: str, *, doing: str) -> Iterator[Reply]:
        reply = self._get(path, doing=doing, params={"per_page": _PAGE})
        for _ in range(_MOST_PAGES - 1):
            yield reply
            following = [
                link["url"]
                for link in parse_header_links(reply.headers.get("Link", ""))
                if link.get("rel") == "next"
            ]
            if not following:
                return
            reply = self._get(following[0], doing=doing)
        yield reply

    def _get(self, path: str, *, doing: str, params: Mapping[str, Parameter] | None = None) -> Reply:
        """One read; a rate limit that ends soon is waited for once."""
        if self._sandbox is not None:
            check_loopback([self._http.base_url], sandbox=self._sandbox)
        url = path if path.startswith("http") else f"/repos/{quote(self.repository)}{path}"
        doing = f"{doing} {self.repository}"
        try:
            return self._http.get(url, params=params, doing=doing)
        except UnexpectedStatus as error:
            wait = _limited_for(error)
            if wait is None:
                raise self._explained(error) from None
            if wait > _LONGEST_WAIT:
                raise self._used_up(error, wait) from None
        time.sleep(wait)
        return self._http.get(url, params=params, doing=doing)

    def _headers(self) -> dict[str, str]:
        headers = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": API_VERSION}
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token.reveal()}"
        return headers

    def _explained(self, error: UnexpectedStatus) -> UnexpectedStatus:
        if error.status == 401:
            hint = "GITHUB_TOKEN is refused: make a new one at github.com/settings/tokens"
        elif error.status == 403:
            hint = "give the token the read permissions Contents, Checks and Commit statuses"
        elif error.status == 404 and self.token is None:
            hint = "check the name; a private repository needs GITHUB_TOKEN"
        elif error.status == 404:
            hint = f"check the name; GitHub also says so when the token may not see {self.repository}"
        else:
            return error
        return UnexpectedStatus(error.reply_received, next_step=hint)

    def _used_up(self, error: UnexpectedStatus, wait: float) -> OpsError:
        when = time.strftime("%H:%M", time.localtime(time.time() + wait))
        hint = f"run the same command again after {when}"
        if self.token is None:
            hint += "; with GITHUB_TOKEN set there are 5,000 requests an hour instead of 60"
        return UnexpectedStatus(
            error.reply_received, state=f"GitHub's rate limit is used up until {when}", next_step=hint
        )

    def _object(self, reply: Reply) -> tuple[str, str]:
        target = _member(reply, reply.json, "object")
        if not isinstance(target, dict):
            raise _undocumented(reply, "object")
        return str(target.get("type")), str(target.get("sha"))

    def _parsed(self, model: type[M], data: Any, what: str) -> M:
        try:
            return model.model_validate(data)
        except ValidationError as error:
            place = ".".join(map(str, error.errors(include_url=False, include_input=False)[0]["loc"]))
            raise OpsError(
                f"Reading {what} of {self.repository} (GitHub)",
                f"the answer has no {place} as documented",
            ) from None


def _token_of_environment() -> Secret | None:
    for name in ("GITHUB_TOKEN", "GH_TOKEN"):
        if value := os.environ.get(name, "").strip():
            return Secret(name, value)
    return None


def _limited_for(error: UnexpectedStatus) -> float | None:
    """Seconds until the rate limit lets calls through again; None when the answer means something else."""
    headers = error.reply_received.headers
    if error.status not in (403, 429):
        return None
    if (wait := retry_after(headers)) is not None:
        return wait
    if headers.get("x-ratelimit-remaining") == "0":
        reset = headers.get("x-ratelimit-reset", "")
        return max(1.0, float(reset) - time.time()) if reset.isdigit() else 60.0
    if error.status == 429 or "rate limit" in error.reply_received.described.lower():
        return 60.0
    return None


def _member(reply: Reply, body: Any, key: str) -> Any:
    if not isinstance(body, dict) or key not in body:
        raise _undocumented(reply, key)
    return body[key]


def _undocumented(reply: Reply, what: str) -> OpsError:
    return OpsError(reply.call, f"{reply.status}, but its answer has no {what} as documented")
