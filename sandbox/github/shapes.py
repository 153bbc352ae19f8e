"""The REST API's objects as JSON, made from what the repository holds."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

from sandbox.demo.history import PEOPLE, Person, Release
from sandbox.github.checks import CheckRun, Status, period
from sandbox.github.repository import Commit, FileChange, Signature, TagObject

Json = dict[str, Any]


class Shapes:
    """JSON of one repository's objects. `api` and `site` are the addresses of its API and of its pages."""

    def __init__(self, api: str, site: str) -> None:
        self.api = api
        self.site = site

    def user(self, person: Person | None) -> Json | None:
        """A person with an account here; None for an address that nobody registered."""
        if person is None:
            return None
        return {
            "login": person.login,
            "id": number(person.login),
            "type": "User",
            "site_admin": False,
            "html_url": f"{self.site.rsplit('/', 2)[0]}/{person.login}",
        }

    def signature(self, who: Signature) -> Json:
        """Of a commit's author or committer."""
        return {"name": who.name, "email": who.email, "date": stamp(who.date)}

    def commit(self, commit: Commit) -> Json:
        """As lists and comparisons show a commit."""
        return {
            "sha": commit.sha,
            "commit": {
                "author": self.signature(commit.author),
                "committer": self.signature(commit.committer),
                "message": commit.message,
                "tree": {"sha": commit.tree, "url": f"{self.api}/git/trees/{commit.tree}"},
                "url": f"{self.api}/git/commits/{commit.sha}",
                "comment_count": 0,
                "verification": unsigned(),
            },
            "url": f"{self.api}/commits/{commit.sha}",
            "html_url": f"{self.site}/commit/{commit.sha}",
            "author": self.user(account(commit.author)),
            "committer": self.user(account(commit.committer)),
            "parents": [
                {"sha": sha, "url": f"{self.api}/commits/{sha}", "html_url": f"{self.site}/commit/{sha}"}
                for sha in commit.parents
            ],
        }

    def file(self, change: FileChange, sha: str) -> Json:
        """One file of a commit or a comparison, without its patch."""
        return {
            "sha": change.blob,
            "filename": change.path,
            "status": change.status,
            "additions": change.additions,
            "deletions": change.deletions,
            "changes": change.additions + change.deletions,
            "contents_url": f"{self.api}/contents/{change.path}?ref={sha}",
        }

    def ref(self, name: str, sha: str, kind: str) -> Json:
        """One reference; `object.type` is tag for an annotated tag."""
        folder = "tags" if kind == "tag" else "commits"
        return {
            "ref": name,
            "url": f"{self.api}/git/{name}",
            "object": {"sha": sha, "type": kind, "url": f"{self.api}/git/{folder}/{sha}"},
        }

    def tag_object(self, tag: TagObject) -> Json:
        """An annotated tag."""
        return {
            "tag": tag.name,
            "sha": tag.sha,
            "url": f"{self.api}/git/tags/{tag.sha}",
            "message": tag.message,
            "tagger": self.signature(tag.tagger),
            "object": {
                "sha": tag.target,
                "type": tag.target_type,
                "url": f"{self.api}/git/{tag.target_type}s/{tag.target}",
            },
            "verification": unsigned(),
        }

    def tag(self, name: str, sha: str) -> Json:
        """One line of the list of tags: `sha` is always the commit's."""
        return {
            "name": name,
            "commit": {"sha": sha, "url": f"{self.api}/commits/{sha}"},
            "zipball_url": f"{self.api}/zipball/refs/tags/{name}",
            "tarball_url": f"{self.api}/tarball/refs/tags/{name}",
        }

    def release(self, tag: str, release: Release, commit: Commit | None) -> Json:
        """A release; a draft has no tag yet, hence no commit and no date of publication."""
        identifier = number(f"release {tag}")
        created = commit.committer.date if commit else release.published_at
        return {
            "id": identifier,
            "url": f"{self.api}/releases/{identifier}",
            "html_url": f"{self.site}/releases/tag/{tag}",
            "tag_name": tag,
            "target_commitish": "main",
            "name": release.title,
            "body": release.body,
            "draft": commit is None,
            "prerelease": False,
            "created_at": stamp(created),
            "published_at": stamp(release.published_at) if commit else None,
            "author": self.user(release.author),
            "assets": [],
        }

    def check_run(self, run: CheckRun, commit: Commit) -> Json:
        """One check run of a commit."""
        started, ended = period(run, commit.committer.date)
        identifier = number(f"check {commit.sha} {run.app} {run.name}")
        return {
            "id": identifier,
            "name": run.name,
            "head_sha": commit.sha,
            "status": run.status,
            "conclusion": run.conclusion,
            "started_at": stamp(started),
            "completed_at": stamp(ended) if ended else None,
            "url": f"{self.api}/check-runs/{identifier}",
            "html_url": f"{self.site}/runs/{identifier}",
            "details_url": f"{self.site}/runs/{identifier}",
            "app": {"id": number(run.app), "slug": run.app, "name": run.app.replace("-", " ").title()},
            "check_suite": {"id": number(f"suite {commit.sha} {run.app}")},
        }

    def status(self, status: Status, commit: Commit) -> Json:
        """One commit status."""
        when = stamp(commit.committer.date)
        return {
            "id": number(f"status {commit.sha} {status.context}"),
            "context": status.context,
            "state": status.state,
            "description": None,
            "target_url": None,
            "created_at": when,
            "updated_at": when,
        }

    def workflow_run(self, run: CheckRun, commit: Commit, branch: str) -> Json:
        """The workflow run behind a check run of GitHub Actions."""
        started, ended = period(run, commit.committer.date)
        identifier = number(f"run {commit.sha} {run.path} {run.event}")
        return {
            "id": identifier,
            "name": run.name,
            "path": run.path,
            "workflow_id": number(run.path),
            "head_sha": commit.sha,
            "head_branch": branch,
            "event": run.event,
            "status": run.status,
            "conclusion": run.conclusion,
            "run_number": 1,
            "run_attempt": 1,
            "created_at": stamp(commit.committer.date),
            "run_started_at": stamp(started),
            "updated_at": stamp(ended or started),
            "check_suite_id": number(f"suite {commit.sha} {run.app}"),
            "url": f"{self.api}/actions/runs/{identifier}",
            "html_url": f"{self.site}/actions/runs/{identifier}",
            "head_commit": {"id": commit.sha, "message": commit.message},
        }


def stamp(when: datetime) -> str:
    """`2025-01-31T12:00:00Z`."""
    return f"{when.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def number(name: str) -> int:
    """A numeric identifier that is the same each time."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:5])


def account(who: Signature) -> Person | None:
    """The account that registered this address."""
    return next((person for person in PEOPLE if person.email == who.email), None)


def unsigned() -> Json:
    """The verification of an object without a signature."""
    return {"verified": False, "reason": "unsigned", "signature": None, "payload": None}
