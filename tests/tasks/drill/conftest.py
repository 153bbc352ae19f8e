"""The servers of the engine's tests."""

from tests.tasks.postgres.conftest import database, server  # noqa: F401
