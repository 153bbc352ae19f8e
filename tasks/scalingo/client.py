"""Scalingo's API as typed calls, one topic an attribute."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

from tasks.scalingo import oneoff
from tasks.scalingo.account import Account
from tasks.scalingo.apps import Apps, Containers, Variables
from tasks.scalingo.credentials import Credentials
from tasks.scalingo.databases import Addons, Databases
from tasks.scalingo.deployments import Deployments
from tasks.scalingo.logs import Logs
from tasks.scalingo.polling import Stop
from tasks.scalingo.session import Session


class Scalingo:
    """One account on one region; nothing is sent before the first call.

    + credentials: None to take the user's own, at the first call
    + region: the inventory's; None to take the user's, or the platform's default
    + sandbox: whether the environment is one: every address must then be on this machine, else none may be
    + pause: seconds before a failed read is repeated

    Every call raises `UnexpectedStatus`, `Unreachable`, `NotConfigured` or `Refused` of this project, each a
    sentence that names the call and the application.
    """

    def __init__(
        self,
        credentials: Credentials | None = None,
        *,
        region: str | None = None,
        sandbox: bool = False,
        pause: float = 1.0,
    ) -> None:
        self._sandbox = sandbox
        self.session = Session(credentials, region=region, sandbox=sandbox, pause=pause)
        self.account = Account(self.session)
        self.apps = Apps(self.session)
        self.variables = Variables(self.session)
        self.containers = Containers(self.session)
        self.deployments = Deployments(self.session)
        self.logs = Logs(self.session, sandbox=sandbox)
        self.addons = Addons(self.session)
        self.databases = Databases(self.session, sandbox=sandbox)

    def run(
        self,
        app: str,
        command: str,
        *,
        env: Mapping[str, str] | None = None,
        size: str = "M",
        on_line: Callable[[str], None] | None = None,
        limit: float = oneoff.LONGEST,
        stop: Stop | None = None,
    ) -> oneoff.OneOff:
        """Run a shell command in a one-off container to its end; see `oneoff.run`."""
        return oneoff.run(
            self.session,
            app,
            command,
            env=env,
            size=size,
            on_line=on_line,
            limit=limit,
            stop=stop,
            sandbox=self._sandbox,
        )

    def require_credentials(self) -> None:
        """Raise NotConfigured, saying where to get it, where there is no API token; sends nothing."""
        _ = self.session.credentials

    def close(self) -> None:
        """Close the connections kept open."""
        self.session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
