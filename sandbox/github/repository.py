"""What GitHub reads from a bare repository, as its REST API shows it. Asks real git, keeps nothing."""

from __future__ import annotations

import asyncio
import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

COMMIT_FORMAT: Final = "%x00".join(("%H", "%T", "%P", "%an", "%ae", "%aI", "%cn", "%ce", "%cI", "%B"))
SHA: Final = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Signature:
    """Who and when, of a commit's author or committer or of a tagger."""

    name: str
    email: str
    date: datetime


@dataclass(frozen=True)
class Commit:
    """One commit, with its parents in order."""

    sha: str
    tree: str
    parents: tuple[str, ...]
    author: Signature
    committer: Signature
    message: str


@dataclass(frozen=True)
class TagObject:
    """An annotated tag."""

    sha: str
    name: str
    target: str
    target_type: str
    tagger: Signature
    message: str


@dataclass(frozen=True)
class FileChange:
    """One file of a comparison; `status` in GitHub's words."""

    path: str
    blob: str
    status: str
    additions: int
    deletions: int


class Repository:
    """A bare repository. Refs are given as GitHub takes them: branch, tag or (abbreviated) commit."""

    def __init__(self, path: Path) -> None:
        self.path = path

    async def resolve(self, ref: str) -> str | None:
        """The commit behind a branch, a tag or a commit; None for none."""
        for candidate in (f"refs/heads/{ref}", f"refs/tags/{ref}", ref):
            if candidate is ref and not re.fullmatch(r"[0-9a-f]{7,40}|HEAD|refs/.+", ref):
                break
            code, text = await self._git("rev-parse", "--verify", "--quiet", f"{candidate}^{{commit}}")
            if code == 0:
                return text.strip()
        return None

    async def commit(self, sha: str) -> Commit:
        """One commit by its full identifier."""
        return (await self.commits("-1", sha))[0]

    async def commits(self, *arguments: str) -> list[Commit]:
        """Commits as `git log` orders them; `arguments` are its options and ranges (`A..B`, `--reverse`)."""
        text = await self._read("log", "-z", f"--format={COMMIT_FORMAT}", *arguments, "--")
        fields = text.split("\0")
        return [_commit(fields[at : at + 10]) for at in range(0, len(fields) - 9, 10)]

    async def refs(self, prefix: str) -> list[tuple[str, str, str]]:
        """References under a prefix: (full name, identifier, type of the object: commit or tag)."""
        text = await self._read("for-each-ref", "--format=%(refname)%00%(objectname)%00%(objecttype)", prefix)
        rows = [line.split("\0") for line in text.splitlines()]
        return [(name, sha, kind) for name, sha, kind in rows]

    async def ref(self, name: str) -> tuple[str, str] | None:
        """Identifier and type of what one full reference name points at."""
        return next(((sha, kind) for full, sha, kind in await self.refs(name) if full == name), None)

    async def tag_object(self, sha: str) -> TagObject | None:
        """An annotated tag by its own identifier; None for anything else."""
        if not SHA.fullmatch(sha):
            return None
        code, text = await self._git("cat-file", "tag", sha)
        if code != 0:
            return None
        head, _, message = text.partition("\n\n")
        fields = dict(line.split(" ", 1) for line in head.splitlines())
        who = re.fullmatch(r"(.*) <(.*)> (\d+) [+-]\d{4}", fields["tagger"])
        name, email, seconds = who.groups() if who else ("", "", "0")
        return TagObject(
            sha=sha,
            name=fields["tag"],
            target=fields["object"],
            target_type=fields["type"],
            tagger=Signature(name, email, datetime.fromtimestamp(int(seconds), UTC)),
            message=message.rstrip("\n"),
        )

    async def merge_base(self, one: str, other: str) -> str | None:
        """The best common ancestor; None where the two share no history."""
        code, text = await self._git("merge-base", one, other)
        return text.strip() if code == 0 else None

    async def count(self, span: str) -> int:
        """How many commits a range holds."""
        return int(await self._read("rev-list", "--count", span, "--"))

    async def changes(self, old: str, new: str) -> list[FileChange]:
        """Files that differ between two commits."""
        numbers = await self._read("diff", "--numstat", "--no-renames", "-z", old, new, "--")
        counts = {}
        for row in numbers.split("\0")[:-1]:
            added, removed, path = row.split("\t", 2)
            counts[path] = (int(added), int(removed)) if added != "-" else (0, 0)
        raw = (await self._read("diff", "--raw", "--no-renames", "--no-abbrev", "-z", old, new, "--")).split(
            "\0"
        )
        words = {"A": "added", "D": "removed", "M": "modified", "T": "changed"}
        changes = []
        for head, path in zip(raw[0::2], raw[1::2], strict=False):
            _, _, before, after, letter = head.split(" ")
            blob = before if letter == "D" else after
            changes.append(FileChange(path, blob, words.get(letter, "modified"), *counts.get(path, (0, 0))))
        return changes

    async def _read(self, *arguments: str) -> str:
        code, text = await self._git(*arguments)
        if code != 0:
            raise RuntimeError(f"git {arguments[0]} in {self.path.name}: exit code {code}")
        return text

    async def _git(self, *arguments: str) -> tuple[int, str]:
        process = await asyncio.create_subprocess_exec(
            "git",
            f"--git-dir={self.path}",
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=git_environment(),
        )
        out, _ = await process.communicate()
        return process.returncode or 0, out.decode(errors="replace")


def git_environment() -> dict[str, str]:
    """Variables for git that shut out configuration and repositories from around."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return kept | {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, "LC_ALL": "C"}


def _commit(fields: list[str]) -> Commit:
    sha, tree, parents, *who, message = fields
    return Commit(
        sha=sha.strip(),
        tree=tree,
        parents=tuple(parents.split()),
        author=Signature(who[0], who[1], datetime.fromisoformat(who[2])),
        committer=Signature(who[3], who[4], datetime.fromisoformat(who[5])),
        message=message.rstrip("\n"),
    )
