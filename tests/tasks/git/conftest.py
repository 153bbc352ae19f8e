"""Real repositories, and a real remote over SSH whose build is a hook that each test writes."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import asyncssh
import pytest

from tasks.core.process import Environment, environment, run
from tasks.git.hostkeys import known_hosts
from tasks.git.mirror import Mirror
from tasks.git.program import QUIET_ENVIRONMENT, git_environment

WHO: Environment = {
    **QUIET_ENVIRONMENT,
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.org",
    "GIT_CONFIG_GLOBAL": "/dev/null",
}


def git(folder: Path, *arguments: str, date: str | None = None) -> str:
    env = dict(WHO)
    if date:
        env |= {"GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date}
    done = run(["git", *arguments], cwd=folder, env=env)
    assert done.code == 0, done.stderr
    return done.stdout.strip()


@dataclass
class Source:
    """A repository in which the tests make commits."""

    folder: Path
    count: int = field(default=0)

    def __post_init__(self) -> None:
        self.folder.mkdir()
        self.git("init", "-q", "-b", "main")

    def git(self, *arguments: str, date: str | None = None) -> str:
        return git(self.folder, *arguments, date=date)

    def commit(self, subject: str, files: dict[str, str | None] | None = None) -> str:
        """Commit these files (None deletes one); each commit is a day younger than the one before."""
        self.count += 1
        for name, text in (files or {"README": f"{self.count}\n"}).items():
            path = self.folder / name
            if text is None:
                path.unlink()
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))
        self.git("add", "-A")
        self.git("commit", "-q", "-m", subject, date=f"2025-02-{self.count:02}T10:00:00+01:00")
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return Source(tmp_path / "source")


@pytest.fixture
def mirror(source: Source, tmp_path: Path) -> Mirror:
    return Mirror(source.folder.as_uri(), tmp_path / "cache" / "mirror")


@dataclass
class Remote:
    """The platform's remote: `repository` behind `url`, built by the hook that `build` writes."""

    folder: Path
    port: int
    fingerprint: str
    server: subprocess.Popen[str]

    @property
    def repository(self) -> Path:
        return self.folder / "app.git"

    @property
    def url(self) -> str:
        return f"ssh://git@127.0.0.1:{self.port}/app.git"

    @property
    def env(self) -> Environment:
        trusted = known_hosts("127.0.0.1", self.port, [self.fingerprint], self.folder / "known")
        return self.env_with(trusted)

    def env_with(self, trusted: Path) -> Environment:
        return {**git_environment(trusted, self.folder / "client"), "SSH_AUTH_SOCK": None}

    def build(self, script: str) -> None:
        hook = self.repository / "hooks" / "pre-receive"
        hook.write_text("#!/bin/sh\n" + textwrap.dedent(script))
        hook.chmod(0o755)

    def at(self, branch: str = "master") -> str | None:
        done = run(
            ["git", "rev-parse", "-q", "--verify", f"refs/heads/{branch}"], cwd=self.repository, env=WHO
        )
        return done.stdout.strip() or None

    def stays_at(self, commit: str | None, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.at() != commit:
                return False
            time.sleep(0.1)
        return True


def new_key(path: Path) -> str:
    """Write a key pair where it is told, and give its fingerprint."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    path.unlink(missing_ok=True)
    key.write_private_key(path)
    key.write_public_key(path.with_suffix(".pub"))
    path.chmod(0o600)
    return str(key.get_fingerprint())


def kill(server: subprocess.Popen[str]) -> None:
    server.kill()
    server.wait()
    if server.stdout is not None:
        server.stdout.close()


def serve(folder: Path, port: int = 0) -> tuple[subprocess.Popen[str], int]:
    script = Path(__file__).with_name("ssh_remote.py")
    server = subprocess.Popen(
        [sys.executable, str(script), str(folder), str(port)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(WHO),
        start_new_session=True,
    )
    assert server.stdout is not None
    return server, int(server.stdout.readline())


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[Remote]:
    folder = tmp_path / "remote"
    folder.mkdir()
    for name in ("client", "host"):
        fingerprint = new_key(folder / name)
    git(folder, "init", "-q", "--bare", "-b", "master", "app.git")
    server, port = serve(folder)
    remote = Remote(folder, port, fingerprint, server)
    yield remote
    kill(remote.server)


@pytest.fixture
def another_host_key(remote: Remote) -> Callable[[], None]:
    """Have the remote's address answered by a server with another key, as an impostor would."""

    def exchange() -> None:
        kill(remote.server)
        new_key(remote.folder / "host")
        remote.server, _ = serve(remote.folder, remote.port)

    return exchange
