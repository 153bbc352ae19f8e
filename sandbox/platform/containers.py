"""Containers as records: those that exist, one by its name, and what a killed predecessor left of them."""

from __future__ import annotations

from typing import Final

from sandbox.platform import processes
from sandbox.platform.errors import Invalid, NotFound
from sandbox.platform.guardian import signal_session
from sandbox.platform.model import App, Container, State, now

KEPT: Final = 500
"""How many ended ones stay known."""


def existing(state: State, app: App) -> list[Container]:
    """Those of the app that exist now, one-offs included."""
    return [
        container
        for container in state.containers.values()
        if container.app_id == app.id and container.deleted_at is None
    ]


def find(state: State, app: App, id_or_label: str) -> Container:
    """The newest with this id or label, ended ones too. Raises NotFound("container")."""
    for container in reversed(state.containers.values()):
        if container.app_id == app.id and id_or_label in (container.id, container.label):
            return container
    raise NotFound("container")


def send_signal(container: Container, number: int) -> None:
    """To all of its processes. Raises Invalid where it has ended."""
    if container.pid is None or processes.start_time(container.pid) != container.process_started:
        raise Invalid({"container": ["is not running"]})
    signal_session(container.pid, number)


def end_leftovers(state: State) -> None:
    """End the processes of a predecessor that was killed together with its guardian; forget the oldest."""
    for container in state.containers.values():
        if container.deleted_at is None:
            if container.pid is not None:
                processes.end_leftover(container.pid, container.process_started)
            container.state, container.deleted_at = "stopped", now()
    for key in list(state.containers)[:-KEPT]:
        del state.containers[key]
