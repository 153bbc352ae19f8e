"""A mirror of real repositories: what is there, what moved, what is broken."""

from __future__ import annotations

import http.server
import os
import stat
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tasks.core.errors import OpsError, Refused, Unreachable
from tasks.core.process import Child
from tasks.core.secrets import Secret
from tasks.git.mirror import Mirror, Pinned
from tests import http_servers
from tests.http_servers import answering


@pytest.fixture
def releases(source: Any, mirror: Mirror) -> list[str]:
    shas = [source.commit(f"Release {number}", {"app/version": f"{number}\n"}) for number in (1, 2, 3)]
    source.git("tag", "-a", "-m", "First", "v1.0.0", shas[0], date="2025-03-01T10:00:00Z")
    source.git("tag", "v1.1.0", shas[1])
    source.git("branch", "hotfix", shas[0])
    mirror.update()
    return shas


def test_refs_of_every_kind_mean_one_commit(releases: list[str], mirror: Mirror) -> None:
    assert mirror.resolve("v1.0.0") == Pinned("v1.0.0", releases[0], "tag")
    assert mirror.resolve("v1.1.0") == Pinned("v1.1.0", releases[1], "tag")
    assert mirror.resolve("refs/tags/v1.1.0").commit == releases[1]
    assert mirror.resolve("hotfix") == Pinned("hotfix", releases[0], "branch")
    assert mirror.resolve(releases[2]) == Pinned(releases[2], releases[2], "commit")
    assert mirror.resolve(releases[2][:8].upper()).commit == releases[2]


def test_unknown_ref_names_what_is_near(releases: list[str], mirror: Mirror) -> None:
    with pytest.raises(Refused, match=r"near it: .*v1\.0\.0"):
        mirror.resolve("1.0.0")
    with pytest.raises(Refused, match=r"the newest releases: v1\.0\.0, v1\.1\.0"):
        mirror.resolve("zzzzzz")
    for hostile in ("", "--all", "v1.0.0^", "main@{0}", "HEAD~1", "refs/heads", "deadbeef" * 5):
        with pytest.raises(Refused):
            mirror.resolve(hostile)


def test_a_tag_goes_before_a_branch_of_its_name(source: Any, releases: list[str], mirror: Mirror) -> None:
    source.git("branch", "v1.0.0", releases[2])
    mirror.update()
    assert mirror.resolve("v1.0.0") == Pinned("v1.0.0", releases[0], "tag")


def test_a_tag_of_a_file_is_refused(source: Any, releases: list[str], mirror: Mirror) -> None:
    source.git("tag", "file", f"{releases[0]}:app/version")
    mirror.update()
    with pytest.raises(Refused, match="does not lead to a commit"):
        mirror.resolve("file")
    assert "file" not in [tag.name for tag in mirror.tags()]


def test_moved_and_deleted_refs_follow(source: Any, releases: list[str], mirror: Mirror) -> None:
    source.git("tag", "-f", "v1.1.0", releases[2])
    source.git("tag", "-d", "v1.0.0")
    source.git("branch", "-f", "hotfix", releases[1])
    mirror.update()
    assert mirror.resolve("v1.1.0").commit == releases[2]
    assert mirror.resolve("hotfix").commit == releases[1]
    with pytest.raises(Refused):
        mirror.resolve("v1.0.0")


def test_tags_are_dated_the_newest_first(releases: list[str], mirror: Mirror) -> None:
    first, second = mirror.tags()
    assert (first.name, first.annotated, first.commit) == ("v1.0.0", True, releases[0])
    assert first.date == datetime(2025, 3, 1, 10, tzinfo=UTC)
    assert (second.name, second.annotated) == ("v1.1.0", False)
    assert second.date == datetime(2025, 2, 2, 9, tzinfo=UTC)


def test_commits_between_two_releases(source: Any, releases: list[str], mirror: Mirror) -> None:
    odd = source.commit("Résumé with %H, \t tabs and 'quotes'")
    mirror.update()
    found = mirror.commits(releases[0], odd)
    assert [commit.sha for commit in found] == [odd, releases[2], releases[1]]
    assert found[0].subject == "Résumé with %H, \t tabs and 'quotes'"
    assert found[0].author == "Ada"
    assert found[0].date == datetime(2025, 2, 4, 9, tzinfo=UTC)
    assert found[0].date.utcoffset() == timedelta(hours=1)
    assert mirror.commit(odd) == found[0]
    assert mirror.commits(odd, releases[0]) == []
    with pytest.raises(OpsError, match="has no such commit"):
        mirror.commits("1" * 40, odd)


def test_files_of_a_commit(source: Any, releases: list[str], mirror: Mirror) -> None:
    sha = source.commit("More", {"Procfile": "web: é\n", "app/a b/ü.py": "x", "app/version": "4\n"})
    mirror.update()
    assert mirror.read(sha, "Procfile") == "web: é\n"
    assert mirror.read(releases[0], "app/version") == "1\n"
    assert mirror.read(releases[0], "Procfile") is None
    assert mirror.read(sha, "app") is None
    assert mirror.read(sha, "app/version/deeper") is None
    assert mirror.paths(sha) == ["Procfile", "app/a b/ü.py", "app/version"]
    assert mirror.paths(sha, "app/a") == ["app/a b/ü.py"]


def test_has_knows_only_whole_ids_of_commits(source: Any, releases: list[str], mirror: Mirror) -> None:
    assert mirror.has(releases[0])
    assert not mirror.has("1" * 40)
    assert not mirror.has(releases[0][:12])
    assert not mirror.has(source.git("rev-parse", f"{releases[0]}^{{tree}}"))


def test_what_another_run_fetched_is_seen(source: Any, releases: list[str], mirror: Mirror) -> None:
    mirror.resolve("main")
    newer = source.commit("Newer")
    Mirror(mirror.url, mirror.folder).update()
    assert mirror.has(newer)
    assert mirror.read(newer, "README") is not None


def test_history_remembers_files_that_are_gone(source: Any, mirror: Mirror) -> None:
    source.commit("One", {"shop/migrations/0001_initial.py": "1", "shop/models.py": "1"})
    sha = source.commit("Two", {"shop/migrations/0001_initial.py": None})
    source.git("checkout", "-q", "-b", "other")
    source.commit("Elsewhere", {"shop/migrations/0009_later.py": "1"})
    mirror.update()
    assert mirror.paths_ever(sha, "**/migrations/*.py") == {"shop/migrations/0001_initial.py"}


def test_tarball_is_the_commit_as_a_push_deploys_it(source: Any, mirror: Mirror, tmp_path: Path) -> None:
    files = {
        ".gitattributes": "secret.txt export-ignore\nversion.txt export-subst\n",
        "secret.txt": "kept\n",
        "version.txt": "$Format:%H$\n",
        "bin/run": "#!/bin/sh\n",
    }
    source.commit("Files", files)
    (source.folder / "bin" / "run").chmod(0o755)
    sha = source.commit("Executable", {"README": "x\n"})
    mirror.update()
    target = tmp_path / "release.tar.gz"
    target.write_text("left by an earlier run")
    mirror.tarball(sha, target)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    with tarfile.open(target, "r:gz") as archive:
        assert {name.split("/")[0] for name in archive.getnames()} == {f"release-{sha[:12]}"}
        archive.extractall(tmp_path / "out")
    root = tmp_path / "out" / f"release-{sha[:12]}"
    assert {name: (root / name).read_text() for name in files} == files
    assert os.access(root / "bin" / "run", os.X_OK)


def test_progress_counts_objects(source: Any, mirror: Mirror) -> None:
    source.commit("Many", {f"files/{number}": str(number) for number in range(150)})
    seen: list[tuple[int, int | None]] = []
    mirror.update(progress=lambda done, total: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1]
    assert seen[-1][0] >= 150


def test_what_was_fetched_stays_readable_when_the_source_is_gone(
    source: Any, releases: list[str], mirror: Mirror
) -> None:
    before = mirror.updated_at
    assert before is not None
    assert datetime.now(UTC) - before < timedelta(minutes=1)
    source.folder.rename(source.folder.with_name("away"))
    with pytest.raises(OpsError, match="Fetching file://"):
        mirror.update()
    assert mirror.updated_at == before
    assert mirror.resolve("v1.0.0").commit == releases[0]


def test_never_fetched_says_so(tmp_path: Path) -> None:
    mirror = Mirror("https://git.invalid/a/b.git", tmp_path / "none")
    assert mirror.updated_at is None
    assert not mirror.has("1" * 40)
    with pytest.raises(OpsError, match="has not been fetched yet"):
        mirror.resolve("v1")
    with pytest.raises(Unreachable, match=r"the name git\.invalid is not known here"):
        mirror.update()


def test_what_a_killed_fetch_left_is_no_obstacle(releases: list[str], source: Any, mirror: Mirror) -> None:
    newer = source.commit("Newer")
    for left in ("refs/heads/main.lock", "packed-refs.lock", "objects/pack/tmp_pack_x"):
        (mirror.folder / left).touch()
    mirror.update()
    assert mirror.resolve("main").commit == newer
    assert not list((mirror.folder / "objects").glob("**/tmp_*"))


def test_a_damaged_copy_is_fetched_anew(releases: list[str], source: Any, mirror: Mirror) -> None:
    newer = source.commit("Newer")
    for path in (mirror.folder / "objects").glob("??/*"):
        path.chmod(0o600)
        path.write_bytes(b"")
    mirror.update()
    assert mirror.resolve("main").commit == newer
    assert mirror.read(releases[0], "app/version") == "1\n"


def test_two_runs_wait_for_each_other(releases: list[str], source: Any, mirror: Mirror) -> None:
    newer = source.commit("Newer")
    lock = mirror.folder.with_name(mirror.folder.name + ".lock")
    hold = (
        "import fcntl, sys, time; file = open(sys.argv[1]); fcntl.flock(file, fcntl.LOCK_EX)\n"
        "print('held', flush=True); time.sleep(0.5)"
    )
    with Child.start([sys.executable, "-c", hold, str(lock)]) as holder:
        assert next(holder.lines())[1] == "held"
        mirror.update()
        assert not holder.running
    assert mirror.resolve("main").commit == newer


def test_hooks_and_repositories_of_the_environment_do_not_matter(
    releases: list[str], mirror: Mirror, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nowhere"))
    monkeypatch.setenv("GIT_WORK_TREE", str(tmp_path))
    mirror.update()
    assert mirror.resolve("main").commit == releases[2]
    assert mirror.commits(releases[0], releases[2])
    assert mirror.read(releases[0], "app/version") == "1\n"


def test_greenlets_read_side_by_side(releases: list[str], mirror: Mirror) -> None:
    code = """
from gevent import monkey; monkey.patch_all()
import sys
from pathlib import Path
import gevent
from tasks.git.mirror import Mirror
mirror = Mirror(sys.argv[1], Path(sys.argv[2]))
mirror.update()
def work():
    sha = mirror.resolve("v1.0.0").commit
    return mirror.read(sha, "app/version").strip(), len(mirror.commits(sha, mirror.resolve("main").commit))
jobs = [gevent.spawn(work) for _ in range(8)]
print({job.get() for job in jobs})
"""
    arguments = [sys.executable, "-c", code, mirror.url, str(mirror.folder)]
    assert subprocess.check_output(arguments, text=True).strip() == "{('1', 2)}"


TOKEN = "gh-token-only-for-this-test"


@pytest.fixture
def https_like(releases: list[str], source: Any) -> Iterator[tuple[str, list[str]]]:
    """The repository over HTTP, for the holder of the token alone; the headers that came."""
    source.git("update-server-info")
    seen: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, directory=str(source.folder / ".git"), **options)

        def do_GET(self) -> None:
            seen.append(self.headers.get("Authorization", ""))
            if seen[-1].startswith("Basic "):
                super().do_GET()
                return
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with answering(http_servers.Server(Handler)) as server:
        yield server.url, seen


def test_a_token_opens_a_private_repository(
    https_like: tuple[str, list[str]], releases: list[str], tmp_path: Path
) -> None:
    url, seen = https_like
    with pytest.raises(Refused, match="does not let these credentials in") as refused:
        Mirror(url, tmp_path / "closed").update()
    assert "GITHUB_TOKEN" in refused.value.next_step
    mirror = Mirror(url, tmp_path / "open", Secret("GITHUB_TOKEN", TOKEN))
    mirror.update()
    assert mirror.resolve("v1.0.0").commit == releases[0]
    assert seen[-1].startswith("Basic ")
    kept = [
        path for path in mirror.folder.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()
    ]
    assert kept == []


def test_a_password_in_the_address_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="its address holds a password"):
        Mirror("https://someone:secret@example.org/a.git", tmp_path / "x")
