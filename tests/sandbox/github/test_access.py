"""Who may ask what, how often, and what ran on a commit."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from sandbox.demo import repository as demo

Client = Any  # of conftest.py


def test_a_wrong_token_is_401_and_none_is_fine(github: Client, anonymous: Client) -> None:
    assert anonymous.get("/tags").status_code == 200
    github.token = "ghp_wrong"
    answer = github.get("/tags")
    assert answer.status_code == 401
    assert answer.json()["message"] == "Bad credentials"


def test_somebody_else_s_repository_is_404(github: Client) -> None:
    for path in ("sandbox/other", "sandbox/other/releases", "nobody/demo"):
        answer = github.get(f"{github.address}/api/v3/repos/{path}")
        assert answer.status_code == 404
        assert answer.json()["message"] == "Not Found"


def test_the_rate_limit(anonymous: Client) -> None:
    anonymous.control("PUT", "rate_limit", {"anonymous": 3})
    answers = [anonymous.get("/tags") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 403]
    assert [answer.headers["x-ratelimit-remaining"] for answer in answers] == ["2", "1", "0", "0"]
    assert "rate limit exceeded" in answers[3].json()["message"]
    free = anonymous.get(f"{anonymous.address}/api/v3/rate_limit").json()
    assert free["rate"]["remaining"] == 0
    assert free["rate"]["used"] == 3


def test_an_answer_that_is_known_is_free_with_a_token(github: Client) -> None:
    first = github.get("/tags")
    again = github.get("/tags", **{"If-None-Match": first.headers["ETag"]})
    assert again.status_code == 304
    assert again.headers["x-ratelimit-used"] == first.headers["x-ratelimit-used"] == "1"


def test_versions_of_the_api(github: Client) -> None:
    assert github.get("/tags").headers["x-github-api-version-selected"] == "2022-11-28"
    assert github.get("/tags", **{"X-GitHub-Api-Version": "2026-03-10"}).status_code == 200
    assert github.get("/tags", **{"X-GitHub-Api-Version": "2020-01-01"}).status_code == 400


def test_every_commit_is_green_unless_a_scenario_says_otherwise(github: Client) -> None:
    runs = github.get("/commits/v1.0.0/check-runs").json()
    assert runs["total_count"] == 1
    assert (runs["check_runs"][0]["name"], runs["check_runs"][0]["conclusion"]) == ("test", "success")
    status = github.get("/commits/v1.0.0/status").json()
    assert (status["state"], status["total_count"]) == ("pending", 0)


def test_a_scenario_sets_what_ran(github: Client) -> None:
    given = {
        "ref": "v1.0.0",
        "runs": [
            {"name": "test", "conclusion": "failure"},
            {"name": "deploy", "status": "in_progress", "conclusion": None},
            {"name": "lint", "conclusion": "skipped", "app": "other-app"},
        ],
        "statuses": [{"context": "audit", "state": "success"}],
    }
    assert github.control("PUT", "checks", given).status_code == 200
    runs = github.get("/commits/v1.0.0/check-runs").json()["check_runs"]
    assert [(run["name"], run["status"], run["conclusion"]) for run in runs] == [
        ("test", "completed", "failure"),
        ("deploy", "in_progress", None),
        ("lint", "completed", "skipped"),
    ]
    assert runs[1]["completed_at"] is None
    assert github.get("/commits/v1.0.0/check-runs?check_name=test").json()["total_count"] == 1
    assert github.get("/commits/v1.0.0/status").json()["state"] == "success"
    sha = demo.resolve(github.repository, "v1.0.0")
    workflows = github.get(f"/actions/runs?head_sha={sha}").json()
    assert [run["name"] for run in workflows["workflow_runs"]] == ["test", "deploy"], "of Actions only"
    assert github.get(f"/actions/runs?head_sha={sha}&status=failure").json()["total_count"] == 1
    assert github.get("/commits/v1.0.1/check-runs").json()["check_runs"][0]["conclusion"] == "success"
    github.control("DELETE", "checks")
    assert github.get("/commits/v1.0.0/check-runs").json()["total_count"] == 1


def test_nothing_ran_is_not_success(github: Client) -> None:
    github.control("PUT", "checks", {"ref": "main", "runs": []})
    assert github.get("/commits/main/check-runs").json() == {"total_count": 0, "check_runs": []}


def test_a_scenario_says_only_what_github_says(github: Client) -> None:
    for run in (
        {"name": "test", "conclusion": "great"},
        {"name": "test", "status": "queued"},
        {"title": "x"},
    ):
        assert github.control("PUT", "checks", {"ref": "main", "runs": [run]}).status_code == 422
    assert github.control("PUT", "checks", {"ref": "nope", "runs": []}).status_code == 422


def test_control_needs_the_secret(github: Client) -> None:
    assert github.control("DELETE", "checks", secret="wrong").status_code == 403
    assert github.control("PUT", "tags/v1.0.0", {"ref": "main"}, secret="").status_code == 403


def test_all_workflow_runs_newest_first(github: Client) -> None:
    runs = github.get("/actions/runs?per_page=100&branch=main").json()["workflow_runs"]
    assert [run["head_sha"] for run in runs] == demo.git(
        github.repository, "log", "--format=%H", "main"
    ).split()
    assert github.get("/actions/runs?event=pull_request").json()["total_count"] == 0


def test_a_tag_can_move(github: Client) -> None:
    github.control("PUT", "tags/v1.0.0", {"ref": "v1.0.1"})
    assert github.get("/commits/v1.0.0").json()["sha"] == demo.resolve(github.repository, "v1.0.1")


def test_clone_and_fetch_over_http(github: Client, tmp_path: Path) -> None:
    url = f"{github.address}/sandbox/demo.git"
    git("clone", "--quiet", url, str(tmp_path / "clone"))
    assert git("-C", str(tmp_path / "clone"), "rev-parse", "v1.0.0^{commit}") == demo.resolve(
        github.repository, "v1.0.0"
    )
    git("clone", "--quiet", "--mirror", f"{github.address}/sandbox/demo", str(tmp_path / "mirror"))
    assert "refs/heads/hook-fails" in git("-C", str(tmp_path / "mirror"), "for-each-ref")
    git("clone", "--quiet", "--depth=1", "--branch=v0.9.0", url, str(tmp_path / "shallow"))
    assert "normalize_phones" in git("-C", str(tmp_path / "shallow"), "show", "HEAD:Procfile")


def test_a_push_is_refused(github: Client, tmp_path: Path) -> None:
    url = f"{github.address}/sandbox/demo.git"
    pushed = subprocess.run(
        ["git", f"--git-dir={github.repository}", "push", url, "main:refs/heads/other"],
        capture_output=True,
        text=True,
        check=False,
        env=demo.environment(),
    )
    assert pushed.returncode != 0
    assert "403" in pushed.stderr


def test_what_is_not_a_repository_is_not_found(github: Client) -> None:
    demo.build(github.state.folder / "outside.git")
    for path in ("/sandbox/other.git", "/../github.git", "/sandbox/..%2F..%2Foutside.git"):
        answer = github.session.get(f"{github.address}{path}/info/refs?service=git-upload-pack", timeout=5)
        assert answer.status_code == 404, path


def git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], capture_output=True, text=True, check=False, env=demo.environment(), timeout=30
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
