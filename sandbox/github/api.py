"""The REST API's calls, as docs.github.com/rest has them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from sandbox.demo.history import DRAFTS, TAGS, Release
from sandbox.github.answers import ApiError, RateLimit, guarded, no_commit, not_found, page, reply
from sandbox.github.checks import Checks
from sandbox.github.repository import Commit, Repository
from sandbox.github.shapes import Shapes

OWNER: Final = "sandbox"
NAME: Final = "demo"
MOST_COMPARED: Final = 250
MOST_FILES: Final = 300


class Hub:
    """One repository, its releases and what ran on its commits, as REST calls.

    `checks`, `rate` and `releases` may be changed at any time: the next answer shows it.
    """

    def __init__(self, path: Path, address: str, token: str) -> None:
        """`path`: the bare repository; `address`: `http://127.0.0.1:PORT`; `token`: the good one."""
        self.repository = Repository(path)
        self.checks = Checks()
        self.rate = RateLimit()
        self.token = token
        self.releases: dict[str, Release] = {tag.name: tag.release for tag in TAGS} | dict(DRAFTS)
        self.shapes = Shapes(f"{address}/api/v3/repos/{OWNER}/{NAME}", f"{address}/{OWNER}/{NAME}")

    def routes(self, prefix: str) -> list[web.RouteDef]:
        """The calls of docs.github.com/rest that deployments need, each behind the guard of `answers`."""
        here = f"{prefix}/repos/{OWNER}/{NAME}"
        calls = {
            f"{prefix}/user": self.user,
            here: self.about,
            f"{here}/releases": self.list_releases,
            f"{here}/releases/latest": self.latest_release,
            f"{here}/releases/tags/{{tag:.+}}": self.release_of_tag,
            f"{here}/git/ref/{{ref:.+}}": self.ref,
            f"{here}/git/matching-refs/{{ref:.+}}": self.matching_refs,
            f"{here}/git/tags/{{sha}}": self.tag_object,
            f"{here}/tags": self.list_tags,
            f"{here}/commits": self.list_commits,
            f"{here}/commits/{{ref:.+}}/check-runs": self.check_runs,
            f"{here}/commits/{{ref:.+}}/status": self.status,
            f"{here}/commits/{{ref:.+}}": self.commit,
            f"{here}/compare/{{basehead:.+}}": self.compare,
            f"{here}/actions/runs": self.workflow_runs,
            f"{prefix}/repos/{{rest:.*}}": self.nothing,
        }
        free = web.get(f"{prefix}/rate_limit", guarded(self.rate_limit, self.token, self.rate, free=True))
        return [free] + [
            web.get(path, guarded(handler, self.token, self.rate)) for path, handler in calls.items()
        ]

    # The caller and the repository

    async def rate_limit(self, request: web.Request) -> web.Response:
        """Free of the limit that it shows."""
        core = self.rate.state("token" if request.headers.get("Authorization") else "anonymous")
        return reply({"resources": {"core": core}, "rate": core})

    async def user(self, request: web.Request) -> web.Response:
        """Whose token it is."""
        if not request.headers.get("Authorization"):
            raise ApiError(401, "Requires authentication")
        return reply({"login": "operator", "id": 1, "type": "User", "site_admin": False})

    async def about(self, request: web.Request) -> web.Response:
        """The repository."""
        site = self.shapes.site
        push = bool(request.headers.get("Authorization"))
        return reply(
            {
                "id": 1,
                "name": NAME,
                "full_name": f"{OWNER}/{NAME}",
                "private": False,
                "default_branch": "main",
                "html_url": site,
                "clone_url": f"{site}.git",
                "url": self.shapes.api,
                "permissions": {"admin": False, "push": push, "pull": True},
            }
        )

    async def nothing(self, _request: web.Request) -> web.Response:
        """What isn't here, or is somebody else's."""
        raise not_found()

    # Releases

    async def published(self, drafts: bool) -> list[dict[str, Any]]:
        """Releases as JSON, newest first; what has no tag is a draft."""
        shown = []
        for tag, release in self.releases.items():
            found = await self.repository.ref(f"refs/tags/{tag}")
            sha = await self.repository.resolve(f"refs/tags/{tag}") if found else None
            if sha or drafts:
                commit = await self.repository.commit(sha) if sha else None
                shown.append(self.shapes.release(tag, release, commit))
        return sorted(shown, key=lambda item: str(item["created_at"]), reverse=True)

    async def list_releases(self, request: web.Request) -> web.Response:
        """Drafts only for a token, which has push access here."""
        items, headers = page(request, await self.published(bool(request.headers.get("Authorization"))))
        return reply(items, headers)

    async def latest_release(self, _request: web.Request) -> web.Response:
        """The published one whose commit is the newest."""
        found = await self.published(drafts=False)
        if not found:
            raise not_found()
        return reply(found[0])

    async def release_of_tag(self, request: web.Request) -> web.Response:
        """Drafts are not found by tag."""
        for item in await self.published(drafts=False):
            if item["tag_name"] == request.match_info["tag"]:
                return reply(item)
        raise not_found()

    # Refs and tags

    async def ref(self, request: web.Request) -> web.Response:
        """One reference by its exact name (`tags/v1.0.0`, `heads/main`)."""
        name = f"refs/{request.match_info['ref']}"
        found = await self.repository.ref(name)
        if not found:
            raise not_found()
        return reply(self.shapes.ref(name, *found))

    async def matching_refs(self, request: web.Request) -> web.Response:
        """All references that begin so: `tags/v1` also gives v10."""
        prefix = f"refs/{request.match_info['ref']}"
        rows = await self.repository.refs(f"{prefix.rpartition('/')[0]}/")
        return reply([self.shapes.ref(*row) for row in rows if row[0].startswith(prefix)])

    async def tag_object(self, request: web.Request) -> web.Response:
        """An annotated tag; 404 for a commit's identifier."""
        tag = await self.repository.tag_object(request.match_info["sha"])
        if tag is None:
            raise not_found()
        return reply(self.shapes.tag_object(tag))

    async def list_tags(self, request: web.Request) -> web.Response:
        """Peeled; in the order of names, backwards, which is not that of versions."""
        names = [name.removeprefix("refs/tags/") for name, _, _ in await self.repository.refs("refs/tags/")]
        items, headers = page(request, sorted(names, reverse=True))
        return reply([self.shapes.tag(name, await self._tag_commit(name)) for name in items], headers)

    # Commits

    async def list_commits(self, request: web.Request) -> web.Response:
        """From `sha` (a ref; the default branch else) backwards; `path`, `since`, `until` narrow it."""
        ref = request.query.get("sha", "main")
        sha = await self.repository.resolve(ref)
        if sha is None:
            raise not_found()
        options = [f"--{name}={request.query[name]}" for name in ("since", "until") if name in request.query]
        items, headers = page(request, await self.repository.commits(*options, sha))
        return reply([self.shapes.commit(commit) for commit in items], headers)

    async def commit(self, request: web.Request) -> web.Response:
        """By branch, tag or (abbreviated) commit; only the identifier where that media type is accepted."""
        commit = await self._commit(request.match_info["ref"])
        if "application/vnd.github.sha" in request.headers.get("Accept", ""):
            return web.Response(text=commit.sha)
        files = await self.repository.changes(commit.parents[0], commit.sha) if commit.parents else []
        shown = [self.shapes.file(change, commit.sha) for change in files]
        added, removed = sum(change.additions for change in files), sum(change.deletions for change in files)
        stats = {"additions": added, "deletions": removed, "total": added + removed}
        return reply(self.shapes.commit(commit) | {"stats": stats, "files": shown})

    async def compare(self, request: web.Request) -> web.Response:
        """`BASE...HEAD`: commits of head that base lacks, oldest first; files on the first page only."""
        match = re.fullmatch(r"(.+)\.\.\.(.+)", request.match_info["basehead"])
        base, head = [await self.repository.resolve(ref) for ref in match.groups()] if match else (None, None)
        ancestor = await self.repository.merge_base(base, head) if base and head else None
        if not base or not head or not ancestor:
            raise not_found()
        commits = await self.repository.commits("--reverse", f"{base}..{head}")
        behind = await self.repository.count(f"{head}..{base}")
        paged = {"page", "per_page"} & request.query.keys()
        shown, headers = page(request, commits) if paged else (commits[-MOST_COMPARED:], {})
        files = await self.repository.changes(ancestor, head) if request.query.get("page", "1") == "1" else []
        return reply(
            {
                "url": f"{self.shapes.api}/compare/{request.match_info['basehead']}",
                "html_url": f"{self.shapes.site}/compare/{request.match_info['basehead']}",
                "base_commit": self.shapes.commit(await self.repository.commit(base)),
                "merge_base_commit": self.shapes.commit(await self.repository.commit(ancestor)),
                "status": _direction(len(commits), behind),
                "ahead_by": len(commits),
                "behind_by": behind,
                "total_commits": len(commits),
                "commits": [self.shapes.commit(commit) for commit in shown],
                "files": [self.shapes.file(change, head) for change in files[:MOST_FILES]],
            },
            headers,
        )

    # What ran

    async def check_runs(self, request: web.Request) -> web.Response:
        """`check_name` and `status` narrow it."""
        commit = await self._commit(request.match_info["ref"])
        wanted = {"check_name": "name", "status": "status"}
        rows = [self.shapes.check_run(run, commit) for run in self.checks.of(commit.sha)]
        return _envelope(request, "check_runs", _narrow(rows, request, wanted))

    async def status(self, request: web.Request) -> web.Response:
        """The combined status: pending with no statuses where nobody set one."""
        commit = await self._commit(request.match_info["ref"])
        statuses = self.checks.statuses.get(commit.sha, ())
        return reply(
            {
                "state": self.checks.combined(commit.sha),
                "sha": commit.sha,
                "total_count": len(statuses),
                "statuses": [self.shapes.status(status, commit) for status in statuses],
                "url": f"{self.shapes.api}/commits/{commit.sha}/status",
            }
        )

    async def workflow_runs(self, request: web.Request) -> web.Response:
        """Newest first. `head_sha`, `event`, `branch` and `status` (a status or a conclusion) narrow it."""
        rows = []
        for commit, branch in await self._everywhere():
            rows += [
                self.shapes.workflow_run(run, commit, branch)
                for run in self.checks.of(commit.sha)
                if run.app == "github-actions"
            ]
        wanted = {"head_sha": "head_sha", "event": "event", "branch": "head_branch"}
        rows = _narrow(rows, request, wanted)
        if state := request.query.get("status"):
            rows = [row for row in rows if state in (row["status"], row["conclusion"])]
        return _envelope(request, "workflow_runs", rows)

    async def _everywhere(self) -> list[tuple[Commit, str]]:
        """Each commit once, newest first, with the first branch that has it (main before the others)."""
        branches = [row[0].removeprefix("refs/heads/") for row in await self.repository.refs("refs/heads/")]
        found: dict[str, tuple[Commit, str]] = {}
        for branch in sorted(branches, key=lambda name: (name != "main", name)):
            for commit in await self.repository.commits(f"refs/heads/{branch}"):
                found.setdefault(commit.sha, (commit, branch))
        return sorted(found.values(), key=lambda pair: pair[0].committer.date, reverse=True)

    async def _commit(self, ref: str) -> Commit:
        sha = await self.repository.resolve(ref)
        if sha is None:
            raise no_commit(ref)
        return await self.repository.commit(sha)

    async def _tag_commit(self, name: str) -> str:
        return await self.repository.resolve(f"refs/tags/{name}") or ""


def _direction(ahead: int, behind: int) -> str:
    if ahead and behind:
        return "diverged"
    return "ahead" if ahead else "behind" if behind else "identical"


def _narrow(rows: list[dict[str, Any]], request: web.Request, names: dict[str, str]) -> list[dict[str, Any]]:
    """The rows whose fields have the values that the query gives (by parameter, field)."""
    given = {fields: request.query[name] for name, fields in names.items() if name in request.query}
    return [row for row in rows if all(row[field] == value for field, value in given.items())]


def _envelope(request: web.Request, name: str, rows: list[dict[str, Any]]) -> web.Response:
    items, headers = page(request, rows)
    return reply({"total_count": len(rows), name: items}, headers)
