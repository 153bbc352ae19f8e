"""`@scalingo/APP`: an application on Scalingo as a pyinfra host."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pyinfra.connectors.base import BaseConnector
from pyinfra.connectors.util import CommandOutput, OutputLine


class ScalingoConnector(BaseConnector):
    """An application on Scalingo; connecting sends nothing."""

    handles_execution = True

    @staticmethod
    def make_names_data(name: str) -> Iterator[tuple[str, dict[str, Any], list[str]]]:
        """One host for one application name."""
        yield f"@scalingo/{name}", {"scalingo_app": name}, ["@scalingo"]

    def run_shell_command(
        self, command: Any, print_output: bool = False, print_input: bool = False, **arguments: Any
    ) -> tuple[bool, CommandOutput]:
        """Not reachable yet."""
        return False, CommandOutput([OutputLine("stderr", "Scalingo is not reachable from here yet")])

    def put_file(self, *arguments: Any, **named: Any) -> bool:
        """An application's containers keep no files."""
        return False

    def get_file(self, *arguments: Any, **named: Any) -> bool:
        """An application's containers keep no files."""
        return False
