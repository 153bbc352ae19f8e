"""GitHub's client against a server on loopback that answers as its documentation says."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tasks.core.errors import OpsError, Refused
from tasks.core.http import UnexpectedStatus
from tasks.core.secrets import Secret
from tasks.github.client import GitHub
from tests import http_servers
from tests.http_servers import answering

R = "/repos/acme/site"
A, B = "a" * 40, "b" * 40


class Server(http_servers.Server):
    """Answers a path with what `routes` has for it: body, or (status, body, headers), or a list of those."""

    def __init__(self) -> None:
        super().__init__(Handler)
        self.routes: dict[str, Any] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []


class Handler(http_servers.Handler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append((self.path, dict(self.headers)))
        route = self.server.routes.get(self.path, self.server.routes.get(self.path.partition("?")[0]))
        if isinstance(route, list) and route and isinstance(route[0], tuple):
            route = route.pop(0) if len(route) > 1 else route[0]
        if route is None:
            route = (404, {"message": "Not Found"})
        status, body, headers = (*route, {})[:3] if isinstance(route, tuple) else (200, route, {})
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("GITHUB_TOKEN", "GH_TOKEN", "GITHUB_API_URL", "GITHUB_SERVER_URL"):
        monkeypatch.delenv(name, raising=False)
    server = Server()
    server.routes[R] = {"full_name": "acme/site"}
    with answering(server):
        yield server


@pytest.fixture
def github(server: Server) -> GitHub:
    return GitHub("acme/site", api_url=server.url, pause=0.01)


def commit(sha: str, message: str = "Subject\n\nBody") -> dict[str, Any]:
    author = {"name": "Jane", "date": "2026-03-01T10:00:00Z"}
    return {"sha": sha, "commit": {"message": message, "author": author}, "html_url": f"https://g/{sha}"}


def run(name: str, identifier: int, conclusion: str | None, app: str = "github-actions") -> dict[str, Any]:
    status = "completed" if conclusion else "in_progress"
    return {
        "id": identifier,
        "name": name,
        "status": status,
        "conclusion": conclusion,
        "app": {"slug": app},
        "html_url": f"https://g/{identifier}",
        "started_at": "2026-03-01T10:00:00Z",
    }


def release(tag: str, *, draft: bool = False) -> dict[str, Any]:
    return {
        "tag_name": tag,
        "name": None,
        "draft": draft,
        "prerelease": False,
        "body": None,
        "published_at": None if draft else "2026-03-01T10:00:00Z",
        "html_url": f"https://g/{tag}",
    }


def test_drafts_are_no_releases_and_pages_are_followed(server: Server, github: GitHub) -> None:
    link = {"Link": f'<{server.url}{R}/releases?per_page=100&page=2>; rel="next", <x>; rel="last"'}
    server.routes[f"{R}/releases?per_page=100"] = (200, [release("v3", draft=True), release("v2")], link)
    server.routes[f"{R}/releases?per_page=100&page=2"] = [release("v1")]
    assert [found.tag for found in github.releases()] == ["v2", "v1"]
    assert [found.tag for found in github.releases(1)] == ["v2"]
    assert len(server.asked) == 3


def test_the_next_page_is_never_on_another_server(server: Server, github: GitHub) -> None:
    link = {"Link": '<https://evil.example/x>; rel="next"'}
    server.routes[f"{R}/releases"] = (200, [release("v2")], link)
    with pytest.raises(OpsError, match=r"leads to evil\.example"):
        github.releases()


def test_a_tag_means_a_commit_through_annotated_tags(server: Server, github: GitHub) -> None:
    server.routes[f"{R}/git/ref/tags/v1"] = {"object": {"type": "commit", "sha": A}}
    server.routes[f"{R}/git/ref/tags/v2/rc"] = {"object": {"type": "tag", "sha": "1" * 40}}
    server.routes[f"{R}/git/tags/{'1' * 40}"] = {"object": {"type": "tag", "sha": "2" * 40}}
    server.routes[f"{R}/git/tags/{'2' * 40}"] = {"object": {"type": "commit", "sha": B}}
    server.routes[f"{R}/git/ref/tags/tree"] = {"object": {"type": "tree", "sha": A}}
    assert github.tag_commit("v1") == A
    assert github.tag_commit("v2/rc") == B
    assert github.tag_commit("v9") is None
    with pytest.raises(OpsError, match="means no commit but a tree"):
        github.tag_commit("tree")


def test_a_repository_that_can_not_be_seen_is_not_a_missing_tag(server: Server, github: GitHub) -> None:
    del server.routes[R]
    with pytest.raises(UnexpectedStatus) as caught:
        github.tag_commit("v1")
    assert caught.value.next_step == "check the name; a private repository needs GITHUB_TOKEN"
    with pytest.raises(UnexpectedStatus) as caught:
        GitHub("acme/site", Secret("GITHUB_TOKEN", "ghp_0123456789"), server.url).commit("main")
    assert (
        caught.value.next_step == "check the name; GitHub also says so when the token may not see acme/site"
    )
    assert "ghp_0123456789" not in str(caught.value)


def test_a_commit_and_the_tags(server: Server, github: GitHub) -> None:
    server.routes[f"{R}/commits/feature%2Fx"] = commit(A)
    server.routes[f"{R}/tags"] = [{"name": "v1", "commit": {"sha": A}}]
    found = github.commit("feature/x")
    assert (found.sha, found.subject, found.author) == (A, "Subject", "Jane")
    assert [(tag.name, tag.commit) for tag in github.tags()] == [("v1", A)]


def test_a_comparison_says_what_is_gained_and_what_is_lost(server: Server, github: GitHub) -> None:
    server.routes[f"{R}/compare/{A}...{B}"] = {"ahead_by": 1, "commits": [commit(B, "new")]}
    link = {"Link": f'<{server.url}{R}/compare/{B}...{A}?per_page=100&page=2>; rel="next"'}
    first = {"ahead_by": 101, "commits": [commit(A, f"old {index}") for index in range(100)]}
    server.routes[f"{R}/compare/{B}...{A}?per_page=100"] = (200, first, link)
    server.routes[f"{R}/compare/{B}...{A}?per_page=100&page=2"] = {
        "ahead_by": 101,
        "commits": [commit(A, "last")],
    }
    found = github.compare(A, B)
    assert [one.subject for one in found.gained] == ["new"]
    assert (len(found.lost), found.lost[-1].subject, found.lost_in_all) == (101, "last", 101)


def test_the_newest_run_of_each_check_counts_and_statuses_too(server: Server, github: GitHub) -> None:
    server.routes[f"{R}/commits/{A}/check-runs"] = {
        "total_count": 6,
        "check_runs": [
            run("tests", 1, "failure"),
            run("tests", 3, "success"),
            run("tests", 2, "failure"),
            run("tests", 4, "failure", app="other"),
            run("lint", 5, "skipped"),
            run("build", 6, None),
        ],
    }
    server.routes[f"{R}/commits/{A}/status"] = {
        "state": "pending",
        "total_count": 2,
        "statuses": [
            {"context": "ci/ok", "state": "success", "target_url": None},
            {"context": "ci/bad", "state": "error", "target_url": "https://g/ci"},
        ],
    }
    verdicts = {(check.by, check.name): check.verdict for check in github.checks(A)}
    assert verdicts == {
        ("github-actions", "tests"): "passed",
        ("other", "tests"): "failed",
        ("github-actions", "lint"): "passed",
        ("github-actions", "build"): "running",
        ("status", "ci/ok"): "passed",
        ("status", "ci/bad"): "failed",
    }


def test_the_headers_that_the_documentation_asks_for(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.routes[f"{R}/tags"] = []
    GitHub("acme/site", api_url=server.url).tags()
    monkeypatch.setenv("GH_TOKEN", "ghp_from_environment")
    monkeypatch.setenv("GITHUB_API_URL", server.url)
    monkeypatch.setenv("GITHUB_SERVER_URL", "http://127.0.0.1:1/")
    github = GitHub("acme/site")
    github.tags()
    anonymous, known = (headers for _, headers in server.asked)
    assert "Authorization" not in anonymous
    assert known["Authorization"] == "Bearer ghp_from_environment"
    assert known["X-GitHub-Api-Version"] == "2022-11-28"
    assert known["Accept"] == "application/vnd.github+json"
    assert github.clone_url == "http://127.0.0.1:1/acme/site.git"
    assert github.token == Secret("x", "ghp_from_environment")


def test_a_renamed_repository_is_followed(server: Server, github: GitHub) -> None:
    server.routes[f"{R}/tags"] = (301, {"message": "Moved Permanently"}, {"Location": "/repositories/1/tags"})
    server.routes["/repositories/1/tags"] = [{"name": "v1", "commit": {"sha": A}}]
    assert [tag.name for tag in github.tags()] == ["v1"]


def test_a_rate_limit_that_ends_soon_is_waited_for(server: Server, github: GitHub) -> None:
    limited = (403, {"message": "secondary rate limit"}, {"Retry-After": "1"})
    server.routes[f"{R}/tags"] = [limited, (200, [])]
    began = time.monotonic()
    assert github.tags() == []
    assert time.monotonic() - began >= 1


def test_a_rate_limit_that_lasts_says_until_when(server: Server, github: GitHub) -> None:
    reset = time.time() + 1800
    headers = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(reset))}
    server.routes[f"{R}/tags"] = (403, {"message": "API rate limit exceeded"}, headers)
    with pytest.raises(UnexpectedStatus) as caught:
        github.tags()
    when = time.strftime("%H:%M", time.localtime(reset))
    assert caught.value.state.startswith("GitHub's rate limit is used up until ")
    assert when[:2] in caught.value.state
    assert "with GITHUB_TOKEN set there are 5,000" in caught.value.next_step
    assert len(server.asked) == 1


def test_a_permission_that_is_missing_is_no_rate_limit(server: Server, github: GitHub) -> None:
    server.routes[f"{R}/tags"] = (
        403,
        {"message": "Resource not accessible"},
        {"x-ratelimit-remaining": "4000"},
    )
    with pytest.raises(UnexpectedStatus) as caught:
        github.tags()
    assert "read permissions" in caught.value.next_step


@pytest.mark.parametrize("answer", [{"x": 1}, [{"name": "v1"}]])
def test_an_undocumented_answer_is_one_line(server: Server, github: GitHub, answer: Any) -> None:
    server.routes[f"{R}/tags"] = answer
    with pytest.raises(OpsError, match="answer has no"):
        github.tags()


def test_each_environment_keeps_to_its_side(server: Server) -> None:
    with pytest.raises(Refused):
        GitHub("acme/site", api_url=server.url, sandbox=False).tags()
    with pytest.raises(Refused):
        GitHub("acme/site", api_url="https://api.github.com", sandbox=True).tags()
    assert server.asked == []
