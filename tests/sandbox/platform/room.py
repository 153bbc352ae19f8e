"""A real platform in a thread of its own, a tiny web application, and git with a key of its own."""

from __future__ import annotations

import asyncio
import os
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import asyncssh

from sandbox.platform.model import App, Deployment, User
from sandbox.platform.platform import Hooks, Platform
from sandbox.platform.store import Store

SERVER = """\
import http.server, os, time

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path.startswith("/slow"):
            time.sleep(0.3)
        body = {body!r}.encode()
        if self.path.startswith("/env/"):
            body = os.environ.get(self.path[5:], "").encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(201)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        print("request", self.path, flush=True)

http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""

FILES = {
    ".buildpacks": "https://github.com/Scalingo/apt-buildpack\nhttps://github.com/Scalingo/python-buildpack.git#master\n",
    "Aptfile": "gdal-bin\n",
    "requirements.txt": "",
    "Procfile": "web: python server.py\nworker: sleep 1000\n",
    "server.py": SERVER.format(body="hello"),
}


class Room:
    """One platform, its user, and what tests do with both."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.violations: list[str] = []
        self.databases: dict[tuple[str, int], tuple[str, int]] = {}
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.key = folder / "id"
        folder.mkdir(parents=True, exist_ok=True)
        if not self.key.exists():
            key = asyncssh.generate_private_key("ssh-ed25519")
            self.key.touch(mode=0o600)
            self.key.write_bytes(key.export_private_key())
            key.write_public_key(folder / "id.pub")
        self.store = Store(folder / "state" / "platform.json")
        self.platform: Platform
        self.run(self._start())
        users = list(self.store.state.users.values())
        self.user: User = (
            users[0]
            if users
            else self.platform.add_user(
                "operator", "operator@example.org", "Op Erator", [(folder / "id.pub").read_text()]
            )
        )
        self.known_hosts = folder / "known_hosts"
        self.known_hosts.write_text(f"[127.0.0.1]:{self.platform.ssh_port} {self.platform.host_key}\n")
        self._names = 0

    async def _start(self) -> None:
        hooks = Hooks(
            resolve=lambda host, port: self.databases.get((host, port)),
            check_attach=lambda password: self.user.id if password == "let me in" else None,
            violation=self.violations.append,
        )
        self.platform = Platform(self.store, self.folder / "state", hooks)
        await self.platform.start()

    def run(self, work: Coroutine[Any, Any, Any], timeout: float = 60) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout)

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """A synchronous method of the platform, on its own thread."""

        async def work() -> Any:
            return function(*arguments)

        return self.run(work())

    def stop(self) -> None:
        self.run(self.platform.stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    def new_app(self) -> App:
        self._names += 1
        app: App = self.run(self.platform.create_app(f"tested-{self._names}", self.user))
        return app

    @property
    def ssh(self) -> list[str]:
        return [
            "ssh", "-F", "none", "-i", str(self.key), "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none",
            "-o", f"UserKnownHostsFile={self.known_hosts}", "-o", "StrictHostKeyChecking=yes",
            "-o", "BatchMode=yes", "-p", str(self.platform.ssh_port),
        ]  # fmt: skip

    def git_environment(self) -> dict[str, str]:
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
            "GIT_SSH_COMMAND": " ".join(self.ssh[:-2]),
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            **{
                f"GIT_{who}_{what}": "t@example.org"
                for who in ("AUTHOR", "COMMITTER")
                for what in ("NAME", "EMAIL")
            },
        }

    def git(self, folder: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, env=self.git_environment(), capture_output=True, text=True
        )
        assert not check or done.returncode == 0, done.stderr
        return done

    def repository(self, name: str, changes: dict[str, str] | None = None) -> Path:
        folder = self.folder / f"work-{name}-{time.monotonic_ns()}"
        folder.mkdir()
        self.git(folder, "init", "-q", "-b", "master")
        self.commit(folder, FILES | (changes or {}))
        return folder

    def commit(self, folder: Path, files: dict[str, str]) -> str:
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.git(folder, "add", "-A")
        self.git(folder, "commit", "-q", "--allow-empty", "-m", "change")
        return self.git(folder, "rev-parse", "HEAD").stdout.strip()

    def push(
        self, app: App, folder: Path, refspec: str = "HEAD:refs/heads/master", *options: str
    ) -> subprocess.CompletedProcess[str]:
        return self.git(
            folder, "push", "--porcelain", *options, self.platform.git_url(app), refspec, check=False
        )

    def begin_push(self, app: App, folder: Path) -> subprocess.Popen[bytes]:
        """A push in the background, in a session of its own."""
        return subprocess.Popen(
            ["git", "push", "-q", self.platform.git_url(app), "HEAD:master"],
            cwd=folder,
            env=self.git_environment(),
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def head(self, app: App, ref: str = "refs/heads/master") -> str | None:
        """What the remote's branch is at."""
        said = self.git(self.folder, "ls-remote", self.platform.git_url(app), ref).stdout.split()
        return said[0] if said else None

    def last(self, app: App) -> Deployment:
        deployments: list[Deployment] = self.call(self.platform.deployments, app)
        return deployments[0]

    def get(self, app: App, path: str = "/") -> tuple[int, str]:
        try:
            with urllib.request.urlopen(self.platform.url(app) + path, timeout=40) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def until(self, condition: Callable[[], Any], seconds: float = 10) -> Any:
        """Wait until the condition holds; its value."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            value = condition()
            if value:
                return value
            time.sleep(0.03)
        raise AssertionError("never came true")

    def deployed(self, changes: dict[str, str] | None = None) -> tuple[App, Path]:
        """A new app that runs the tiny application, and its repository."""
        app = self.new_app()
        folder = self.repository(app.name, changes)
        done = self.push(app, folder)
        assert done.returncode == 0, done.stderr
        return app, folder
