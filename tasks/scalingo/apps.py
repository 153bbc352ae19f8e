"""Applications, their variables and their containers (developers.scalingo.com, pages of those names)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final
from urllib.parse import quote, urlsplit

from tasks.core.errors import OpsError
from tasks.core.http import Reply
from tasks.core.secrets import Secret
from tasks.scalingo.models import App, Container, ContainerType, Operation, Variable
from tasks.scalingo.polling import Stop, poll
from tasks.scalingo.session import Session, app_path, parse, parse_list

POLL_EVERY: Final = 2.0
"""Seconds between two looks at an operation: half of the documented 60 requests a minute."""


class Apps:
    """Applications and what the platform does to them in the background."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def list(self) -> list[App]:
        """The applications that the token's account owns or collaborates on."""
        return parse_list(App, self._session.call("GET", "/apps", doing="Listing the applications"), "apps")

    def get(self, app: str) -> App:
        """One application by name or id."""
        return parse(App, self._session.call("GET", app_path(app), doing=f"Reading {app}"), "app")

    def restart(self, app: str, types: Sequence[str] = ()) -> str:
        """Restart containers (`web`, `worker-1`); none named means all. Gives the operation's id."""
        reply = self._session.call(
            "POST",
            f"{app_path(app)}/restart",
            json={"scope": list(types)},
            expect=(202,),
            doing=f"Restarting {app}",
        )
        return operation_id(reply)

    def operation(self, app: str, operation: str) -> Operation:
        """One background operation by its id."""
        reply = self._session.call(
            "GET", f"{app_path(app)}/operations/{quote(operation, safe='')}", doing=f"Waiting for {app}"
        )
        return parse(Operation, reply, "operation")

    def wait(
        self,
        app: str,
        operation: str,
        *,
        doing: str,
        limit: float = 600,
        every: float = POLL_EVERY,
        stop: Stop | None = None,
        on_status: Callable[[str], None] | None = None,
    ) -> Operation:
        """Wait for an operation to be done.

        + doing: what it does, in words, for the errors
        + limit: seconds in all; every: seconds between two looks
        + on_status: called with each new status

        Raises OpsError with the platform's own text when it failed, Interrupted, Unreachable.
        """
        seen: list[str] = []

        def note(operation: Operation) -> None:
            if on_status is not None and operation.status not in seen:
                seen.append(operation.status)
                on_status(operation.status)

        ended = poll(
            lambda: self.operation(app, operation),
            lambda found: found.status in ("done", "error"),
            doing=doing,
            every=every,
            limit=limit,
            stop=stop,
            on_read=note,
        )
        if ended.status == "error":
            raise OpsError(doing, ended.error or "the platform says that it failed, and not why")
        return ended


class Variables:
    """Environment variables; writing them does not restart the application."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def list(self, app: str, *, resolved: bool = False) -> list[Variable]:
        """All variables of an application.

        + resolved: whether a value that is an alias (`$OTHER`) comes as what it stands for
        """
        reply = self._session.call(
            "GET",
            f"{app_path(app)}/variables",
            params={"aliases": not resolved},
            doing=f"Reading {app}'s variables",
        )
        return parse_list(Variable, reply, "variables")

    def set(self, app: str, values: Mapping[str, str | Secret]) -> None:
        """Create or change the named variables, and leave the others."""
        variables = [
            {"id": "", "name": name, "value": value.reveal() if isinstance(value, Secret) else value}
            for name, value in values.items()
        ]
        self._session.call(
            "PUT",
            f"{app_path(app)}/variables",
            json={"variables": variables},
            doing=f"Setting {', '.join(values)} of {app}",
        )

    def remove(self, app: str, variables: Iterable[Variable]) -> None:
        """Remove variables, one call each."""
        for variable in variables:
            self._session.call(
                "DELETE",
                f"{app_path(app)}/variables/{quote(variable.id, safe='')}",
                expect=(204,),
                doing=f"Removing {variable.name} of {app}",
            )


class Containers:
    """The formation (how many of which) and the containers at work."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def formation(self, app: str) -> list[ContainerType]:
        """How many containers of which size each line of the Procfile has."""
        reply = self._session.call("GET", f"{app_path(app)}/containers", doing=f"Reading {app}'s formation")
        return parse_list(ContainerType, reply, "containers")

    def running(self, app: str) -> list[Container]:
        """Every container at work, one-offs included."""
        reply = self._session.call("GET", f"{app_path(app)}/ps", doing=f"Listing {app}'s containers")
        return parse_list(Container, reply, "containers")

    def scale(self, app: str, formation: Iterable[ContainerType]) -> str | None:
        """Ask for amounts and sizes; an empty size stays as it is.

        Gives the operation's id, or None where the application was never deployed and nothing has to start.
        """
        wanted = [
            {"app_id": "", "name": line.name, "amount": line.amount, "command": "", "size": line.size}
            for line in formation
        ]
        reply = self._session.call(
            "POST",
            f"{app_path(app)}/scale",
            json={"containers": wanted},
            expect=(200, 202),
            doing=f"Scaling {app}",
        )
        return operation_id(reply) if reply.status == 202 else None

    def stop(self, app: str, container_id: str) -> None:
        """Stop a one-off container; others can't be stopped so."""
        self._session.call(
            "POST",
            f"{app_path(app)}/containers/{quote(container_id, safe='')}/stop",
            expect=(202,),
            doing=f"Stopping a one-off container of {app}",
        )


def operation_id(reply: Reply) -> str:
    """The operation that an answer's Location header names."""
    name = operation_name(reply.headers.get("Location", ""))
    if not name:
        raise OpsError(
            reply.call, f"{reply.status}, but without the operation to wait for", state="it was accepted"
        )
    return name


def operation_name(url: str) -> str:
    """The last path segment of an operation's address, which is its id."""
    return urlsplit(url).path.rstrip("/").rpartition("/")[2]
