"""Steers a running sandbox: the client of its control API, for tests, demonstrations and the command line."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from sandbox.environment import running
from sandbox.state import SandboxDown, SandboxState

HEADER: Final = "X-Sandbox-Secret"


class ControlError(Exception):
    """The sandbox refused; the text is its sentence."""


class Control:
    """What can be made to happen in a sandbox. All calls raise SandboxDown when it doesn't answer."""

    def __init__(self, state: SandboxState, timeout: float = 120.0) -> None:
        self.state = state
        self._timeout = timeout

    @classmethod
    def load(cls, state_dir: Path | None = None) -> Control:
        """For the sandbox that runs in `state_dir` (else the default one). Raises SandboxDown."""
        return cls(running(state_dir))

    # How it is

    def status(self) -> dict[str, Any]:
        """`parts` (name: state), `apps` (name, url, git_url, status, commit), `postgresql`."""
        return self._call("GET", "status")

    def requests(self, service: str = "") -> list[dict[str, Any]]:
        """What came in (at, service, method, path, status), oldest first.

        Services: scalingo-auth, scalingo, scalingo-db, scalingo-files, github, mattermost.
        """
        found = self._call("GET", "requests")["requests"]
        return [item for item in found if not service or item["service"] == service]

    def clear_requests(self) -> None:
        """Forget what came in."""
        self._call("DELETE", "requests")

    def messages(self) -> list[dict[str, Any]]:
        """What the team's channel has received, oldest first."""
        found: list[dict[str, Any]] = self._send("mattermost", "GET", "/messages.json")
        return found

    def database(self, app: str) -> dict[str, Any]:
        """`url` on loopback, `tunnel_url`, `superuser_dsn`, the reader's role, `size`, `refused_writes`."""
        return self._call("GET", f"database?{urlencode({'app': app})}")

    # What happens next

    def scenario(self, app: str, **values: Any) -> dict[str, Any]:
        """What the app's next deployments and backups do: fields of `platform.model.Scenario`.

        `reset=True` forgets earlier values first.
        """
        found: dict[str, Any] = self._call("POST", "scenario", {"app": app, **values})["scenario"]
        return found

    def fail(
        self,
        answer: int | str,
        *,
        service: str = "",
        method: str = "",
        path: str = "",
        times: int | None = 1,
        **more: Any,
    ) -> None:
        """Make requests that match fail: a status, `html`, `cut` or `slow` (`api.failures.Failure`)."""
        match = {"service": service, "method": method, "path": path}
        self._call("POST", "failures", {"match": match, "answer": answer, "times": times, **more})

    def clear_failures(self) -> None:
        """No request fails on purpose any more."""
        self._call("DELETE", "failures")

    def expire_tokens(self) -> None:
        """All tokens that the platform has given out stop working."""
        self._call("POST", "tokens", {"expire": True})

    def token_lifetime(self, seconds: int | None) -> None:
        """How long tokens live from now on; None is the documented hour."""
        self._call("POST", "tokens", {"lifetime": seconds})

    def rate_limit(self, on: bool, per_minute: int | None = None) -> None:
        """The documented limit of 60 requests a minute (or another one); off by default."""
        self._call("POST", "rate_limit", {"on": on, "per_minute": per_minute})

    # Writes

    def forbid_writes(self, on: bool) -> None:
        """Refuse and record every write, or no longer."""
        self._call("POST", "forbid_writes", {"on": on})

    def violations(self) -> list[dict[str, Any]]:
        """What tried to write while that was forbidden: at, service, what."""
        found: list[dict[str, Any]] = self._call("GET", "violations")["violations"]
        return found

    def clear_violations(self) -> None:
        """Forget them."""
        self._call("DELETE", "violations")

    @contextmanager
    def no_writes(self) -> Iterator[list[dict[str, Any]]]:
        """Forbid writes inside the block; the list holds the violations after it."""
        found: list[dict[str, Any]] = []
        self.clear_violations()
        self.forbid_writes(True)
        try:
            yield found
        finally:
            found += self.violations()
            self.forbid_writes(False)
            self.clear_violations()

    # Databases

    def backup(self, app: str, at: datetime | None = None, *, wait: bool = True) -> dict[str, Any]:
        """Take a backup now; with `at` a nightly one that claims that time. Returns it, done or failed."""
        moment = at.isoformat() if at else None
        found: dict[str, Any] = self._call("POST", "backup", {"app": app, "at": moment, "wait": wait})[
            "backup"
        ]
        return found

    def quota(self, app: str, size: int | None) -> dict[str, Any]:
        """Let the app's database grow to so many bytes and no further; None lifts it. Sessions are cut."""
        return self._call("POST", "quota", {"app": app, "bytes": size})

    def restart_database(self) -> None:
        """Cut all database sessions, as when the platform restarts a database."""
        self._call("POST", "restart_database")

    def cut_tunnels(self, after_bytes: int = 0) -> None:
        """Cut the SSH connections that hold a tunnel, once they have carried so many more bytes."""
        self._call("POST", "tunnels", {"cut_after": after_bytes})

    def slow_tunnels(self, round_trip_ms: float) -> None:
        """Add a delay to the tunnels; 0 ends it."""
        self._call("POST", "tunnels", {"round_trip_ms": round_trip_ms})

    # Parts

    def crash(self, part: str) -> dict[str, str]:
        """Kill `postgresql` or `web-1 of APP`, or make `github` or `mattermost` not answer. All states."""
        found: dict[str, str] = self._call("POST", "crash", {"part": part})["parts"]
        return found

    def revive(self) -> dict[str, str]:
        """Start the parts again that were crashed. All states."""
        found: dict[str, str] = self._call("POST", "revive")["parts"]
        return found

    def stop(self) -> None:
        """Ask the sandbox to end; returns at once."""
        self._call("POST", "stop")

    # GitHub and Mattermost

    def github(self, method: str, path: str, content: dict[str, Any] | None = None) -> Any:
        """A call of the GitHub's own control API (`github.control`), such as PUT checks."""
        return self._send("github", method, f"/_sandbox/{path}", content)

    def mattermost(self, method: str, path: str, content: dict[str, Any] | None = None) -> Any:
        """A call of the Mattermost's own control API (`mattermost.application`), such as DELETE messages."""
        return self._send("mattermost", method, f"/_sandbox/{path}", content)

    def _call(self, method: str, path: str, content: dict[str, Any] | None = None) -> dict[str, Any]:
        found: dict[str, Any] = self._send("platform", method, f"/_sandbox/{path}", content)
        return found

    def _send(self, part: str, method: str, path: str, content: dict[str, Any] | None = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.state.port(part), timeout=self._timeout)
        try:
            connection.request(
                method,
                path,
                body=None if content is None else json.dumps(content),
                headers={HEADER: self.state.control_secret, "Content-Type": "application/json"},
            )
            answer = connection.getresponse()
            text = answer.read().decode()
        except (OSError, http.client.HTTPException) as error:
            raise SandboxDown(
                f"The sandbox's {part} does not answer ({error}): `python -m sandbox status`."
            ) from None
        finally:
            connection.close()
        if answer.status >= 300:
            try:
                raise ControlError(json.loads(text)["error"])
            except (ValueError, KeyError, TypeError):
                raise ControlError(f"{method} {path}: {answer.status} {text.strip()[:200]}") from None
        return json.loads(text) if text.strip() else None
