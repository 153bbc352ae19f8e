"""Builds the demo application's repository: real git, the same commits on every machine."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Final

from sandbox.demo.history import BRANCHES, MAIN, TAGS, Commit, Person

RELEASES: Final = Path(__file__).parent / "releases"
PUBLISHED: Final = Path("github", "sandbox", "demo.git")
"""Where a sandbox keeps the repository that its GitHub publishes, in its state folder."""
EXECUTABLE: Final = ("bin/*", "manage.py")


class RepositoryError(Exception):
    """git refused; the text is what it said."""


def build(repository: Path) -> None:
    """Create the bare repository, or put its published branches and tags back. Takes a tenth of a second.

    Raises RepositoryError.
    """
    repository.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not (repository / "HEAD").exists():
        git(None, "init", "--quiet", "--bare", "--template=", f"--initial-branch={MAIN}", str(repository))
    git(repository, "fast-import", "--quiet", "--force", "--date-format=raw", input=b"".join(_stream()))


def resolve(repository: Path, ref: str) -> str:
    """The commit behind a tag, branch or commit. Raises RepositoryError for an unknown one."""
    try:
        return git(repository, "rev-parse", "--verify", "--end-of-options", f"{ref}^{{commit}}").strip()
    except RepositoryError:
        raise RepositoryError(f"There is no commit, tag or branch {ref} in {repository.name}") from None


def export(repository: Path, ref: str, folder: Path) -> None:
    """Write the files of a release into `folder`, as a checkout has them."""
    folder.mkdir(parents=True, exist_ok=True)
    git(repository, f"--work-tree={folder}", "read-tree", resolve(repository, ref), index=folder / ".index")
    git(repository, f"--work-tree={folder}", "checkout-index", "--all", index=folder / ".index")
    (folder / ".index").unlink()


def git(
    repository: Path | None, *arguments: str, input: bytes | None = None, index: Path | None = None
) -> str:
    """Run git without the user's or the system's configuration; its output. Raises RepositoryError."""
    where = [] if repository is None else [f"--git-dir={repository}"]
    done = subprocess.run(
        ["git", *where, *arguments], input=input, capture_output=True, env=environment(index), check=False
    )
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip() or f"exit code {done.returncode}"
        raise RepositoryError(f"git {' '.join(arguments[:2])}: {said}")
    return done.stdout.decode(errors="replace")


def environment(index: Path | None = None) -> dict[str, str]:
    """Variables for git that shut out configuration and repositories from around."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    variables |= {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, "LC_ALL": "C"}
    if index is not None:
        variables["GIT_INDEX_FILE"] = str(index)
    return variables


def _stream() -> Iterator[bytes]:
    """The whole history in git fast-import's language."""
    marks: dict[str, int] = {}
    mark = 0
    for tag in TAGS:
        for commit in tag.commits:
            mark += 1
            yield from _commit(f"refs/heads/{MAIN}", commit, mark, mark - 1)
        marks[tag.name] = mark
        if tag.message is None:
            yield f"reset refs/tags/{tag.name}\nfrom :{mark}\n\n".encode()
        else:
            last = tag.commits[-1]
            yield f"tag {tag.name}\nfrom :{mark}\n".encode()
            yield f"tagger {_who(tag.release.author, last)}\n".encode()
            yield _data(f"{tag.message}\n".encode())
    for branch in BRANCHES:
        parent = marks[branch.base]
        for commit in branch.commits:
            mark += 1
            yield from _commit(f"refs/heads/{branch.name}", commit, mark, parent)
            parent = mark


def _commit(ref: str, commit: Commit, mark: int, parent: int) -> Iterator[bytes]:
    yield f"commit {ref}\nmark :{mark}\n".encode()
    yield f"author {_who(commit.author, commit)}\ncommitter {_who(commit.author, commit)}\n".encode()
    yield _data(f"{commit.message}\n".encode())
    if parent:
        yield f"from :{parent}\n".encode()
    for path, content in _files(commit):
        mode = "100755" if any(fnmatch(path, pattern) for pattern in EXECUTABLE) else "100644"
        yield f"M {mode} inline {path}\n".encode()
        yield _data(content)
    for path in commit.removed:
        yield f"D {path}\n".encode()
    yield b"\n"


def _files(commit: Commit) -> list[tuple[str, bytes]]:
    overlay = RELEASES / commit.overlay
    paths = sorted(
        path.relative_to(overlay).as_posix()
        for path in overlay.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    )
    chosen = [path for path in paths if any(fnmatch(path, pattern) for pattern in commit.paths)]
    if not chosen:
        raise RepositoryError(f"No file of {commit.overlay} matches {', '.join(commit.paths)}")
    return [(path, (overlay / path).read_bytes()) for path in chosen]


def _who(person: Person, commit: Commit) -> str:
    return f"{person.name} <{person.email}> {int(commit.date.timestamp())} {commit.date:%z}"


def _data(content: bytes) -> bytes:
    return b"data %d\n%s\n" % (len(content), content)
