"""One application of one environment: how a run reaches its platform, its code, its database, its channel."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tasks.core import paths
from tasks.core.errors import NotConfigured, OpsError
from tasks.core.journal import Journal
from tasks.core.secrets import Secret
from tasks.git import hostkeys
from tasks.git.mirror import Mirror
from tasks.git.program import ssh_address
from tasks.github.client import GitHub
from tasks.mattermost.client import Webhook
from tasks.postgres.connection import Target
from tasks.rollback.declared import Declared
from tasks.scalingo.client import Scalingo
from tasks.scalingo.models import Addon, App, Variable
from tasks.scalingo.tunnel import Tunnel


class Application:
    """What is reached once and kept for the run.

    + name: the application's name on its platform
    """

    def __init__(self, name: str, declared: Declared, client: Scalingo) -> None:
        self.name = name
        self.declared = declared
        self.client = client
        self.journal = Journal(declared.journal_folder, declared.environment)
        self.github = GitHub(declared.repository, sandbox=declared.sandbox)
        self.mirror = Mirror(self.github.clone_url, token=self.github.token)

    @cached_property
    def channel(self) -> Webhook | None:
        """The team's channel; None where MATTERMOST_WEBHOOK_URL is not set."""
        url = os.environ.get("MATTERMOST_WEBHOOK_URL", "").strip()
        return Webhook(Secret("MATTERMOST_WEBHOOK_URL", url), sandbox=self.declared.sandbox) if url else None

    @cached_property
    def info(self) -> App:
        """The application as the platform shows it; read once."""
        return self.client.apps.get(self.name)

    @cached_property
    def addon(self) -> Addon:
        """Its PostgreSQL add-on."""
        return self.client.addons.find(self.name)

    @cached_property
    def remote(self) -> str:
        """The git remote that deploys it."""
        return self.info.git_url

    @property
    def page_address(self) -> str:
        """Where its pages are: the declared address, else the platform's."""
        return self.declared.address or self.info.url

    @cached_property
    def known_hosts(self) -> Path:
        """The platform's SSH host keys, compared with the declared fingerprints. Raises `Refused`."""
        address = ssh_address(self.remote)
        if address is None:
            raise OpsError(f"Pushing to {self.name}", f"{self.remote} is not an SSH address")
        return self._known_hosts(address.host, address.port)

    def _known_hosts(self, host: str, port: int) -> Path:
        return hostkeys.known_hosts(
            host, port, self.declared.ssh_fingerprints, paths.cache("ssh", self.declared.environment)
        )

    @cached_property
    def variables(self) -> list[Variable]:
        """Its environment variables, aliases resolved; read once, values secret."""
        return self.client.variables.list(self.name, resolved=True)

    @cached_property
    def database_url(self) -> Secret:
        """The database's address with the application's own role, from the declared variable."""
        name = self.declared.database_variable
        for variable in self.variables:
            if variable.name == name:
                return variable.value
        raise NotConfigured(
            f"Reaching the database of {self.name}",
            f"the application has no variable {name}",
            next_step="declare the one that holds the database's URL as `database_variable`",
        )

    @contextmanager
    def database(self) -> Iterator[Target]:
        """The database through an SSH tunnel, as long as the block lasts."""
        url = urlsplit(self.database_url.reveal())
        if not (url.hostname and url.port and url.username and url.path.strip("/")):
            raise NotConfigured(
                f"Reaching the database of {self.name}",
                f"{self.declared.database_variable} is not scheme://user:password@host:port/database",
            )
        region = self.client.account.region()
        ssh_host, _, ssh_port = region.ssh.rpartition(":")
        with Tunnel(
            ssh_host,
            int(ssh_port),
            url.hostname,
            url.port,
            known_hosts=self._known_hosts(ssh_host, int(ssh_port)),
            identity=self.declared.ssh_identity,
        ) as tunnel:
            yield Target(
                host=tunnel.host,
                port=tunnel.port,
                database=unquote(url.path.strip("/")),
                user=unquote(url.username),
                password=Secret(
                    f"password in {self.declared.database_variable}", unquote(url.password or "")
                ),
                schema=self.declared.database_schema,
            )
