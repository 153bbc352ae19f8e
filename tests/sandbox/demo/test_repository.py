"""The repository that the overlays make: the same everywhere, with the history that the sandbox tells."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox.demo import repository as demo
from sandbox.demo.history import BRANCHES, TAGS


def test_the_same_commits_each_time(repository: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.git"
    demo.build(again)
    for ref in ("main", *(tag.name for tag in TAGS), *(branch.name for branch in BRANCHES)):
        assert demo.git(again, "rev-parse", ref) == demo.git(repository, "rev-parse", ref)


def test_building_again_puts_published_refs_back(tmp_path: Path) -> None:
    path = tmp_path / "demo.git"
    demo.build(path)
    before = demo.git(path, "for-each-ref")
    demo.git(path, "update-ref", "refs/tags/v1.0.0", demo.resolve(path, "v1.1.0"))
    demo.git(path, "update-ref", "refs/heads/main", demo.resolve(path, "v0.9.0"))
    demo.build(path)
    assert demo.git(path, "for-each-ref") == before


def test_tags_of_both_kinds_and_several_authors(repository: Path) -> None:
    kinds = {
        tag.name: demo.git(repository, "cat-file", "-t", f"refs/tags/{tag.name}").strip() for tag in TAGS
    }
    assert kinds == {"v0.9.0": "commit", "v1.0.0": "tag", "v1.0.1": "commit", "v1.1.0": "tag"}
    authors = set(demo.git(repository, "log", "--format=%an", "main").splitlines())
    assert len(authors) == 3
    assert int(demo.git(repository, "rev-list", "--count", "v1.0.0..v1.1.0")) == 5


def test_git_finds_nothing_wrong(repository: Path) -> None:
    demo.git(repository, "fsck", "--strict")


def test_each_overlay_file_is_in_its_release(repository: Path) -> None:
    for overlay in demo.RELEASES.iterdir():
        for path in overlay.rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                name = path.relative_to(overlay).as_posix()
                stored = demo.git(repository, "show", f"{overlay.name}:{name}")
                assert stored == path.read_text(encoding="utf-8"), name


def migrations(repository: Path, ref: str) -> set[str]:
    names = demo.git(repository, "ls-tree", "-r", "--name-only", ref).splitlines()
    return {name for name in names if "/migrations/0" in name}


def test_migrations_by_release(repository: Path) -> None:
    good = migrations(repository, "v1.0.0")
    assert migrations(repository, "v0.9.0") < good < migrations(repository, "v1.1.0")
    for ref in ("v1.0.1", *(branch.name for branch in BRANCHES)):
        assert migrations(repository, ref) == good, ref


def test_a_checkout_has_the_executables_and_nothing_of_ours(repository: Path, tmp_path: Path) -> None:
    demo.export(repository, "v1.0.0", tmp_path / "here")
    assert (tmp_path / "here/bin/post_compile").stat().st_mode & 0o111
    assert not (tmp_path / "here/.index").exists()
    assert not (tmp_path / "here/suggestions/management/commands/normalize_phones.py").exists()


def test_an_unknown_ref_is_said(repository: Path) -> None:
    with pytest.raises(demo.RepositoryError, match="no commit, tag or branch v9"):
        demo.resolve(repository, "v9")
