"""`@scalingo/APP`: an application on Scalingo as a pyinfra host.

Connecting sends nothing. A fact is a read of the API, any other command a one-off container, and files have
no place to go: an application's containers keep none.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import InventoryError
from pyinfra.connectors.base import BaseConnector, ConnectorData, DataMeta
from pyinfra.connectors.util import CommandOutput, OutputLine

from tasks.core import paths
from tasks.core.errors import NotConfigured, OpsError
from tasks.core.journal import Journal
from tasks.core.screen import HostScreen
from tasks.core.secrets import redact
from tasks.scalingo.client import Scalingo
from tasks.scalingo.oneoff import LONGEST
from tasks.scalingo.request import ApiRequest

_UNSUPPORTED: Final = {
    "_sudo": "a one-off runs as the application's own user",
    "_su_user": "a one-off runs as the application's own user",
    "_doas": "a one-off runs as the application's own user",
    "_dzdo": "a one-off runs as the application's own user",
    "_stdin": "a one-off reads nothing from here: give it a variable with _env",
}


class ScalingoConnectorData(ConnectorData):
    """Host data that the connector reads."""

    scalingo_app: str
    scalingo_region: str
    sandbox: bool


class ScalingoConnector(BaseConnector):
    """An application on Scalingo.

    Examples:

        pyinfra @scalingo/my-app fact tasks.scalingo.facts.Deployments
        pyinfra @scalingo/my-app exec -- python manage.py showmigrations
    """

    handles_execution = True
    data_cls = ScalingoConnectorData
    data_meta = {  # noqa: RUF012 - as the base class declares it
        "scalingo_app": DataMeta("The application's name, from the host's own"),
        "scalingo_region": DataMeta(
            "The region's name; else SCALINGO_REGION, else the client's configuration"
        ),
        "sandbox": DataMeta("Whether every address must be on this machine; else none may be", default=False),
    }

    _client: Scalingo | None = None

    @staticmethod
    def make_names_data(name: str) -> Iterator[tuple[str, dict[str, Any], list[str]]]:
        """One host for one application name."""
        # pyinfra's spinner writes over a question's answer five times a second.
        os.environ.setdefault("PYINFRA_PROGRESS", "off")
        if not name:
            raise InventoryError("@scalingo needs the application's name: @scalingo/NAME")
        yield f"@scalingo/{name}", {"scalingo_app": name}, ["@scalingo"]

    @property
    def app(self) -> str:
        """The application's name."""
        return str(self.data["scalingo_app"])

    @property
    def client(self) -> Scalingo:
        """The client of this host's account and region, for operations; sends nothing by itself."""
        if self._client is None:
            self._client = Scalingo(region=self.data["scalingo_region"], sandbox=bool(self.data["sandbox"]))
        return self._client

    def disconnect(self) -> None:
        """Close the connections that are kept open."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def run_shell_command(
        self,
        command: StringCommand | str,
        print_output: bool = False,
        print_input: bool = False,
        **arguments: Any,
    ) -> tuple[bool, CommandOutput]:
        """Read the API for an `ApiRequest`, run anything else in a one-off container.

        An error is given back as the lines of its sentences on standard error; nothing is raised.
        """
        screen = HostScreen(self.host)
        if print_input:
            screen.line(f">>> {command}")
        try:
            if isinstance(command, ApiRequest):
                return True, CommandOutput([OutputLine("stdout", command.send(self.client, self.app))])
            code, lines = self._run(command, print_output, screen, arguments)
        except OpsError as error:
            if isinstance(command, ApiRequest):
                # `pyinfra ... fact` would exit 0 after a fact that could not be read.
                self.state.failed_hosts.add(self.host)
            text = redact(str(error))
            if print_output:
                screen.bad(text)
            return False, CommandOutput([OutputLine("stderr", line) for line in text.splitlines()])
        accepted = arguments.get("_success_exit_codes") or (0,)
        return code in accepted, CommandOutput([OutputLine("stdout", line) for line in lines])

    def put_file(
        self,
        filename_or_io: Any,
        remote_filename: str,
        remote_temp_filename: str | None = None,
        print_output: bool = False,
        print_input: bool = False,
        **arguments: Any,
    ) -> bool:
        """Always fails, and says what to use instead."""
        return self._no_files(
            f"Writing {remote_filename} to {self.app}",
            "commit the file to the application's repository and deploy it, or set a variable",
        )

    def get_file(
        self,
        remote_filename: str,
        filename_or_io: Any,
        remote_temp_filename: str | None = None,
        print_output: bool = False,
        print_input: bool = False,
        **arguments: Any,
    ) -> bool:
        """Always fails, and says what to use instead."""
        return self._no_files(
            f"Reading {remote_filename} from {self.app}",
            "have a command print it (pyinfra INVENTORY exec -- cat FILE), or have it sent to a bucket",
        )

    def _run(
        self,
        command: StringCommand | str,
        print_output: bool,
        screen: HostScreen,
        arguments: Mapping[str, Any],
    ) -> tuple[int, list[str]]:
        for name, reason in _UNSUPPORTED.items():
            if arguments.get(name):
                raise NotConfigured(f"Running a command on {self.app} with {name}", reason)
        raw = command.get_raw_value() if isinstance(command, StringCommand) else command
        if folder := arguments.get("_chdir"):
            raw = f"cd {shlex.quote(folder)} && {raw}"
        self.client.variables.list(self.app, resolved=True)  # known from here on, so that output is redacted
        result = self.client.run(
            self.app,
            raw,
            env={name: str(value) for name, value in (arguments.get("_env") or {}).items()},
            on_line=screen.line if print_output else None,
            limit=float(arguments.get("_timeout") or LONGEST),
        )
        screen.line(f"exit code {result.exit_code}")
        self._journal(str(command), result.exit_code, screen)
        return result.exit_code, [redact(line) for line in result.output]

    def _journal(self, command: str, exit_code: int, screen: HostScreen) -> None:
        """Note what was run in the environment's journal; a bare @scalingo/APP belongs to no environment."""
        environment = self.host.data.get("environment")
        if environment is None:
            return
        folder = Path(self.host.data.get("journal") or paths.state("journal")).expanduser()
        try:
            Journal(folder, str(environment)).append(
                app=self.app,
                deploy="exec",
                command=redact(command),
                exit_code=exit_code,
                result="succeeded" if exit_code == 0 else "failed",
                moved=False,
            )
        except OpsError as error:
            screen.warn(str(error))

    def _no_files(self, attempted: str, next_step: str) -> bool:
        error = OpsError(attempted, "an application's containers keep no files", next_step=next_step)
        HostScreen(self.host).bad(str(error))
        return False
