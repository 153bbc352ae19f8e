"""Platforms for the tests of one module, or for those of one test."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.sandbox.platform.room import Room


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    """A platform that the tests of one module share."""
    made = Room(tmp_path_factory.mktemp("platform"))
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture
def make_room(tmp_path: Path) -> Iterator[Callable[[], Room]]:
    """Platforms on the same folder, one after the other."""
    made: list[Room] = []

    def make() -> Room:
        made.append(Room(tmp_path / "platform"))
        return made[-1]

    yield make
    for room in made:
        if not room.loop.is_closed():
            with contextlib.suppress(Exception):
                room.stop()
