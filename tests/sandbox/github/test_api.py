"""GitHub's REST API against the repository that git itself shows."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from sandbox.demo import repository as demo

Client = Any  # of conftest.py


def sha(github: Client, ref: str) -> str:
    return demo.resolve(github.repository, ref)


def log(github: Client, span: str) -> list[str]:
    return demo.git(github.repository, "log", "--reverse", "--format=%H", span).split()


def test_releases_newest_first_with_the_draft_for_who_may_push(github: Client, anonymous: Client) -> None:
    releases = github.get("/releases").json()
    assert [release["tag_name"] for release in releases] == ["v1.2.0", "v1.1.0", "v1.0.1", "v1.0.0", "v0.9.0"]
    assert [release["draft"] for release in releases] == [True, False, False, False, False]
    assert releases[0]["published_at"] is None
    assert releases[3]["created_at"] == "2025-01-21T16:20:00Z", "of the commit"
    assert releases[3]["published_at"] == "2025-01-22T08:30:00Z"
    assert releases[3]["author"]["login"] == "camille-m"
    assert anonymous.get("/releases").json()[0]["tag_name"] == "v1.1.0"


def test_latest_and_by_tag(github: Client) -> None:
    assert github.get("/releases/latest").json()["tag_name"] == "v1.1.0"
    assert github.get("/releases/tags/v1.0.0").json()["name"] == "v1.0.0"
    assert github.get("/releases/tags/v1.2.0").status_code == 404, "a draft"
    assert github.get("/releases/tags/v7").status_code == 404


def test_an_annotated_tag_is_peeled_in_two_steps(github: Client) -> None:
    ref = github.get("/git/ref/tags/v1.0.0").json()
    assert ref["object"]["type"] == "tag"
    tag = github.get(f"/git/tags/{ref['object']['sha']}").json()
    assert tag["tag"] == "v1.0.0"
    assert tag["object"] == {
        "sha": sha(github, "v1.0.0"),
        "type": "commit",
        "url": tag["object"]["url"],
    }
    assert github.get(f"/git/tags/{tag['object']['sha']}").status_code == 404


def test_a_light_tag_points_at_its_commit(github: Client) -> None:
    assert github.get("/git/ref/tags/v0.9.0").json()["object"]["type"] == "commit"
    assert github.get("/git/ref/tags/v0").status_code == 404
    names = [ref["ref"] for ref in github.get("/git/matching-refs/tags/v1.0").json()]
    assert names == ["refs/tags/v1.0.0", "refs/tags/v1.0.1"]


def test_tags_are_peeled(github: Client) -> None:
    tags = {tag["name"]: tag["commit"]["sha"] for tag in github.get("/tags").json()}
    assert tags == {name: sha(github, name) for name in ("v0.9.0", "v1.0.0", "v1.0.1", "v1.1.0")}


@pytest.mark.parametrize("ref", ["v1.0.0", "main", "hook-fails"])
def test_a_commit_by_any_name(github: Client, ref: str) -> None:
    commit = github.get(f"/commits/{ref}").json()
    assert commit["sha"] == sha(github, ref)
    assert github.get(f"/commits/{commit['sha'][:10]}").json() == commit
    only = github.get(f"/commits/{ref}", Accept="application/vnd.github.sha")
    assert only.text == commit["sha"]
    assert (
        commit["commit"]["author"]["name"]
        == demo.git(github.repository, "log", "-1", "--format=%an", ref).strip()
    )
    assert commit["stats"]["total"] > 0


def test_an_unknown_commit(github: Client) -> None:
    for path in ("/commits/v9", "/commits/0123456789012345678901234567890123456789/check-runs"):
        answer = github.get(path)
        assert answer.status_code == 422
        assert answer.json()["message"].startswith("No commit found for SHA: ")


def test_commits_backwards_from_a_ref(github: Client) -> None:
    commits = [commit["sha"] for commit in github.get("/commits?sha=v1.0.0&per_page=100").json()]
    assert commits == demo.git(github.repository, "log", "--format=%H", "v1.0.0").split()


def test_compare_in_both_directions(github: Client) -> None:
    lost = github.get("/compare/v1.0.0...v1.1.0").json()
    assert (lost["status"], lost["ahead_by"], lost["behind_by"], lost["total_commits"]) == ("ahead", 5, 0, 5)
    assert [commit["sha"] for commit in lost["commits"]] == log(github, "v1.0.0..v1.1.0")
    assert lost["merge_base_commit"]["sha"] == sha(github, "v1.0.0")
    statuses = {file["filename"]: file["status"] for file in lost["files"]}
    assert statuses["places/migrations/0004_lighter_places.py"] == "added"
    assert statuses["places/models.py"] == "modified"
    back = github.get("/compare/v1.1.0...v1.0.0").json()
    assert (back["status"], back["ahead_by"], back["behind_by"]) == ("behind", 0, 5)
    assert back["commits"] == back["files"] == []


def test_compare_of_branches_and_of_the_same(github: Client) -> None:
    apart = github.get("/compare/v1.1.0...hook-fails").json()
    assert (apart["status"], apart["ahead_by"], apart["behind_by"]) == ("diverged", 1, 3)
    assert apart["merge_base_commit"]["sha"] == sha(github, "v1.0.1")
    assert github.get("/compare/main...v1.1.0").json()["status"] == "identical"
    assert github.get("/compare/main...nowhere").status_code == 404


def test_removed_files_are_named(github: Client) -> None:
    files = github.get("/compare/v0.9.0...v1.0.0").json()["files"]
    assert [file["status"] for file in files if "normalize_phones" in file["filename"]] == ["removed"]


def test_pages_lead_on(github: Client) -> None:
    first = github.get("/compare/v0.9.0...v1.1.0?per_page=3")
    shown, url = [first], first.links["next"]["url"]
    assert "prev" not in first.links
    while url:
        shown.append(github.get(url))
        url = shown[-1].links.get("next", {}).get("url")
    commits = [commit["sha"] for page in shown for commit in page.json()["commits"]]
    assert commits == log(github, "v0.9.0..v1.1.0")
    assert first.json()["files"] and not any(page.json()["files"] for page in shown[1:])


def test_per_page_is_capped_and_beyond_the_end_is_empty(github: Client) -> None:
    assert len(github.get("/commits?per_page=1000").json()) == 13
    beyond = github.get("/commits?page=9")
    assert beyond.json() == []
    assert "next" not in beyond.links
    assert github.get("/commits?per_page=2&page=2").links.keys() == {"prev", "first", "next", "last"}


def test_it_answers_as_api_github_com_too(github: Client) -> None:
    answer = github.get(f"{github.address}/repos/sandbox/demo/releases/latest")
    assert answer.json()["tag_name"] == "v1.1.0"


def test_html_urls_lead_to_pages(github: Client) -> None:
    release = github.get("/releases/tags/v1.0.0").json()
    assert "Recherche rapide" in github.session.get(release["html_url"], timeout=5).text
    commit = github.get("/commits/v1.0.0").json()
    assert "Elsa Lindqvist" in github.session.get(commit["html_url"], timeout=5).text


def test_what_git_writes_is_what_the_api_reads(github: Client) -> None:
    """A message with every trap of the log's format."""
    tree = demo.git(github.repository, "rev-parse", "main^{tree}").strip()
    message = b"Sujet\n\nD\xc3\xa9tail : `x` \x1e <b>\n\n\n  fin"
    author = ["-c", "user.name=É <x", "-c", "user.email=e@example.org"]
    command = ["git", f"--git-dir={github.repository}", *author, "commit-tree", tree, "-p", "main"]
    made = subprocess.run(command, input=message, capture_output=True, check=True).stdout.decode().strip()
    commit = github.get(f"/commits/{made}").json()
    assert commit["commit"]["message"] == message.decode()
    assert commit["author"] is None
    assert commit["files"] == []
