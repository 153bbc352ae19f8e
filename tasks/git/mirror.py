"""A private copy of a repository, to read without the network: refs, commits, files, archives."""

from __future__ import annotations

import contextlib
import difflib
import fcntl
import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

from git import Repo
from git.exc import BadName, GitError, ODBError
from git.objects import Blob
from git.objects import Commit as StoredCommit

from tasks.core import paths
from tasks.core.errors import Interrupted, Locked, OpsError, Refused
from tasks.core.process import Child
from tasks.core.secrets import Secret
from tasks.git.program import (
    QUIET_ENVIRONMENT,
    connection_error,
    git,
    git_environment,
    is_commit,
    last_words,
    token_environment,
)

Progress = Callable[[int, int | None], None]
Kind = Literal["tag", "branch", "commit"]

# Where a file's `export-ignore` would make an archive differ from the commit that a push deploys.
_ATTRIBUTES: Final = "* -export-ignore -export-subst\n"
_RECEIVING: Final = re.compile(r"(?:Receiving|Unpacking) objects: .*\((\d+)/(\d+)\)")
_BROKEN: Final = re.compile(
    r"object file .* is empty|loose object .* is corrupt|bad object|unable to read (?:tree|sha1)|"
    r"did not send all necessary objects|packfile .* (?:cannot be accessed|does not match)|bad signature"
)
_LONGEST_WAIT: Final = 600.0


@dataclass(frozen=True, slots=True)
class Pinned:
    """What a person called a release, and the one commit that it meant when it was resolved."""

    ref: str
    commit: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit as the plan lists it; `date` is the author's, with its time zone."""

    sha: str
    author: str
    date: datetime
    subject: str


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag, the commit it leads to, and when it was made (a lightweight one: when its commit was)."""

    name: str
    commit: str
    date: datetime
    annotated: bool


class Mirror:
    """A bare mirror of a repository in the user's cache.

    + url: what to fetch from, without credentials
    + folder: where the copy is kept; by default in the user's cache folder
    + token: for HTTPS; given to git in its environment alone
    """

    def __init__(self, url: str, folder: Path | None = None, token: Secret | None = None) -> None:
        if urlsplit(url).password:
            raise Refused(
                "Reading the repository",
                "its address holds a password",
                next_step="take it out of the address, and give it as GITHUB_TOKEN",
            )
        self.url = url
        self.folder = folder or paths.cache("git", hashlib.sha256(url.encode()).hexdigest()[:24])
        self._token = token

    @property
    def updated_at(self) -> datetime | None:
        """When it last agreed with its source; None when it never has."""
        try:
            return datetime.fromtimestamp(self._stamp.stat().st_mtime, UTC)
        except FileNotFoundError:
            return None

    @property
    def _stamp(self) -> Path:
        return self.folder / "operations-updated"

    def update(self, progress: Progress | None = None, stop: Callable[[], bool] | None = None) -> None:
        """Make branches and tags what they are at the source, moved and deleted ones included.

        + progress: objects received, and how many there are
        + stop: asked five times a second; when it answers yes, Interrupted is raised

        Raises Unreachable, Refused (no access), Locked (another run has been at it for ten minutes).
        What was fetched before stays readable.
        """
        with self._lock(stop):
            self._prepare()
            try:
                self._fetch(progress, stop)
            except _BrokenMirror:
                shutil.rmtree(self.folder)
                self._prepare()
                self._fetch(progress, stop)
            self._stamp.touch()

    def resolve(self, ref: str) -> Pinned:
        """The commit that a tag, a branch, or a whole or shortened commit id means; a tag goes first.

        Raises Refused, with names that come near, when nothing is called so.
        """
        asked = ref.strip()
        attempted = f"Looking for the release {asked!r}"
        with self._opened() as repository:
            refs = {str(found.path): found for found in repository.refs}
            kinds: tuple[tuple[Kind, str], ...] = (("tag", "refs/tags/"), ("branch", "refs/heads/"))
            for kind, prefix in kinds:
                found = refs.get(prefix + asked.removeprefix(prefix))
                if found is not None:
                    try:
                        return Pinned(asked, found.commit.hexsha, kind)
                    except ValueError:
                        raise Refused(attempted, f"this {kind} does not lead to a commit") from None
        if re.fullmatch(r"[0-9a-fA-F]{4,64}", asked):
            commits = self._commits_beginning_with(asked.lower())
            if len(commits) == 1:
                return Pinned(asked, commits[0], "commit")
            if commits:
                raise Refused(
                    attempted,
                    f"{len(commits)} commits begin so",
                    next_step=f"give more of its characters: {', '.join(sha[:12] for sha in commits[:5])}",
                )
        names = [path.split("/", 2)[2] for path in refs]
        near = difflib.get_close_matches(asked, names, n=5, cutoff=0.6)
        newest = [tag.name for tag in self.tags()[:5]]
        raise Refused(
            attempted,
            f"no tag, branch or commit of {self.url} is called so",
            next_step=f"near it: {', '.join(near)}"
            if near
            else f"the newest releases: {', '.join(newest)}"
            if newest
            else "the repository has no tags; give a branch or a commit",
        )

    def tags(self) -> list[Tag]:
        """All tags that lead to a commit, the newest first."""
        found = []
        with self._opened() as repository:
            for tag in repository.tags:
                try:
                    commit = tag.commit
                    annotation = tag.tag
                except ValueError:
                    continue  # leads to a file or a tree
                moment = annotation.tagged_date if annotation is not None else commit.committed_date
                date = datetime.fromtimestamp(moment, UTC)
                found.append(Tag(tag.name, commit.hexsha, date, annotation is not None))
        return sorted(found, key=lambda tag: (tag.date, tag.name), reverse=True)

    def commits(self, old: str, new: str) -> list[Commit]:
        """What `new` has and `old` has not, the newest first; both are commit ids.

        Raises OpsError when one of them is not in the repository.
        """
        self._check(old, new)
        output = git(
            self.folder,
            "log",
            "--no-show-signature",
            "--format=%H%x00%an%x00%aI%x00%s%x00",
            "--end-of-options",
            f"{old}..{new}",
            attempted=f"Listing the commits between {old[:12]} and {new[:12]}",
        )
        fields = output.split("\0")
        return [
            Commit(sha.strip(), author, datetime.fromisoformat(date), subject)
            for sha, author, date, subject in zip(*(fields[start::4] for start in range(4)), strict=False)
        ]

    def commit(self, sha: str) -> Commit:
        """One commit by its whole id; raises OpsError when it is not in the repository."""
        with self._opened() as repository:
            found = self._commit(repository, sha)
            subject = found.summary
            text = subject if isinstance(subject, str) else subject.decode("utf-8", "replace")
            return Commit(found.hexsha, found.author.name or "", found.authored_datetime, text)

    def has(self, sha: str) -> bool:
        """Whether a whole commit id is known here."""
        try:
            self._check(sha)
        except OpsError:
            return False
        return True

    def read(self, sha: str, path: str) -> str | None:
        """A file's text at a commit; None where there is no such file."""
        return self.read_all(sha, [path]).get(path)

    def read_all(self, sha: str, wanted: Iterable[str]) -> dict[str, str]:
        """The texts of those of these files that a commit has, by path."""
        found = {}
        with self._opened() as repository:
            tree = self._commit(repository, sha).tree
            for path in wanted:
                with contextlib.suppress(KeyError):
                    item = tree / path.strip("/")
                    if isinstance(item, Blob):
                        found[path] = item.data_stream.read().decode("utf-8", "replace")
        return found

    def paths(self, sha: str, prefix: str = "") -> list[str]:
        """The files of a commit whose path begins with `prefix`, sorted."""
        self._check(sha)
        output = git(
            self.folder,
            *("ls-tree", "-r", "-z", "--full-tree", "--name-only", "--end-of-options", sha),
            attempted=f"Listing the files of {sha[:12]}",
        )
        return sorted(path for path in output.split("\0") if path and path.startswith(prefix))

    def paths_ever(self, sha: str, *patterns: str) -> set[str]:
        """The files that a commit or any of its ancestors has had, by git's path patterns."""
        self._check(sha)
        output = git(
            self.folder,
            *("log", "--no-renames", "--diff-filter=A", "--name-only", "-z", "--format="),
            *("--end-of-options", sha, "--", *(f":(glob){pattern}" for pattern in patterns)),
            attempted=f"Reading the history of {sha[:12]}",
        )
        return {path.strip("\n") for path in output.split("\0") if path.strip("\n")}

    def tarball(self, sha: str, to: Path) -> None:
        """Write a commit as a private gzip tar with one root folder, exactly as a push would deploy it."""
        self._check(sha)
        os.close(os.open(to, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600))
        to.chmod(0o600)
        git(
            self.folder,
            *("-c", "core.attributesFile=/dev/null", "archive", "--format=tar.gz"),
            *(f"--prefix=release-{sha[:12]}/", f"--output={to.absolute()}", sha),
            attempted=f"Packing {sha[:12]} for an archive deployment",
            timeout=600,
        )

    @contextlib.contextmanager
    def _opened(self) -> Iterator[Repo]:
        """GitPython on the copy, for one reading: its `git cat-file` child must not serve two greenlets."""
        try:
            repository = Repo(self.folder)
        except (GitError, OSError):
            raise OpsError(
                f"Reading the copy of {self.url}",
                "it has not been fetched yet",
                next_step="run it once with the network: it is fetched into the cache",
            ) from None
        # GitPython can't take a variable away, and git's hooks set this one.
        repository.git.update_environment(GIT_DIR=str(self.folder.absolute()))
        try:
            yield repository
        finally:
            repository.close()

    def _check(self, *shas: str) -> None:
        with self._opened() as repository:
            for sha in shas:
                self._commit(repository, sha)

    def _commit(self, repository: Repo, sha: str) -> StoredCommit:
        attempted = f"Reading the commit {sha[:12]}"
        if not is_commit(sha):
            raise OpsError(attempted, "this is not a whole commit id")
        try:
            found = repository.rev_parse(sha)
        except (BadName, ODBError, ValueError):
            raise OpsError(attempted, f"{self.url} has no such commit, or not any more") from None
        if not isinstance(found, StoredCommit):
            raise OpsError(attempted, "this is not a commit")
        return found

    def _commits_beginning_with(self, short: str) -> list[str]:
        output = git(
            self.folder, "rev-parse", f"--disambiguate={short}", attempted=f"Looking for the commit {short}"
        )
        return sorted(sha for sha in output.split() if self.has(sha))

    def _prepare(self) -> None:
        paths.private(self.folder)
        git(self.folder, "init", "--quiet", "--bare", ".", attempted="Preparing the copy of the repository")
        (self.folder / "info").mkdir(exist_ok=True)
        (self.folder / "info" / "attributes").write_text(_ATTRIBUTES)
        # Left by a git that was killed; as the lock is ours, none of them is in use.
        left = [*self.folder.glob("*.lock"), *(self.folder / "refs").rglob("*.lock")]
        for path in (*left, *(self.folder / "objects").glob("**/tmp_*")):
            path.unlink(missing_ok=True)

    def _fetch(self, progress: Progress | None, stop: Callable[[], bool] | None) -> None:
        said: list[str] = []

        def on_line(_: str, line: str) -> None:
            receiving = _RECEIVING.search(line)
            if receiving is None:
                said.append(line)
            elif progress is not None:
                progress(int(receiving[1]), int(receiving[2]))

        command = [
            *("git", "-c", "gc.auto=0", "-c", "maintenance.auto=false", "-c", "core.hooksPath=/dev/null"),
            *("fetch", "--progress", "--prune", "--force", "--no-tags", "--no-write-fetch-head"),
            *("--no-recurse-submodules", "--end-of-options", self.url),
            *("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"),
        ]
        env = {**QUIET_ENVIRONMENT, **git_environment(), **token_environment(self.url, self._token)}
        with Child.start(command, env=env, cwd=self.folder, on_line=on_line) as child:
            code = child.wait(stop=stop)
        if code == 0:
            return
        attempted = f"Fetching {self.url}"
        if stop is not None and stop():
            raise Interrupted(attempted, "stopped", state="what was fetched before can still be read")
        stderr = "\n".join(said)
        if _BROKEN.search(stderr):
            raise _BrokenMirror(attempted, last_words(stderr))
        error = connection_error(attempted, self.url, stderr)
        raise error or OpsError(attempted, last_words(stderr))

    @contextlib.contextmanager
    def _lock(self, stop: Callable[[], bool] | None) -> Iterator[None]:
        paths.private(self.folder.parent)
        deadline = time.monotonic() + _LONGEST_WAIT
        path = self.folder.with_name(self.folder.name + ".lock")
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if stop is not None and stop():
                        raise Interrupted(f"Fetching {self.url}", "stopped") from None
                    if time.monotonic() > deadline:
                        raise Locked(
                            f"Fetching {self.url}",
                            "another run on this machine has been fetching it for ten minutes",
                            next_step="let that run end, or end it",
                        ) from None
                    time.sleep(0.1)
            yield
        finally:
            os.close(descriptor)


class _BrokenMirror(OpsError):
    """Files of the copy are damaged: it is only a copy, and is fetched anew."""
