"""PostgreSQL add-ons: what the platform's API, its containers and its tunnel ask of the database side."""

from __future__ import annotations

import asyncio
import re
import secrets
from datetime import datetime
from pathlib import Path
from typing import Final
from urllib.parse import quote

from sandbox.database import roles
from sandbox.database.backups import Backups
from sandbox.database.quota import DiskQuota
from sandbox.database.server import PostgresServer
from sandbox.platform.model import Addon, App, Backup, DatabaseState, Variable, new_id, new_object_id, now
from sandbox.platform.store import Store

PROVIDER: Final = "postgresql"
DOMAIN: Final = "postgresql.sandbox-dbs.test"
"""Names under it exist for the platform's SSH tunnel alone; `.test` never resolves anywhere (RFC 6761)."""
URL_VARIABLE: Final = "SCALINGO_POSTGRESQL_URL"
ALIAS_VARIABLE: Final = "DATABASE_URL"


class Databases:
    """All PostgreSQL add-ons of a sandbox. `await start()` first; `await stop()` leaves no process."""

    def __init__(self, store: Store, server: PostgresServer, folder: Path) -> None:
        self.server = server
        self.backups = Backups(store, server, folder / "backups")
        self.quota = DiskQuota(server)
        self._store = store

    async def start(self) -> None:
        """Start the server and bring every add-on's database and roles to what they must be."""
        await self.server.start()
        self.backups.start()
        for addon in self._store.state.addons.values():
            self._take_present_port(addon)
            await asyncio.to_thread(roles.provision, self.server, addon.database)
            if addon.database.quota_bytes is not None:
                await self.quota.set(addon.database.name, addon.database.quota_bytes)

    async def stop(self) -> None:
        """End backups under way, then the server."""
        await self.backups.stop()
        await self.server.stop()
        self.quota.stop()

    # Add-ons

    async def create(self, app: App, plan: str = "postgresql-starter-512") -> Addon:
        """Provision a database for `app`; sets SCALINGO_POSTGRESQL_URL and its alias DATABASE_URL."""
        taken = {addon.resource_id for addon in self._store.state.addons.values()}
        while (resource := f"{_resource_prefix(app.name)}_{secrets.randbelow(9000) + 1000}") in taken:
            pass
        database = DatabaseState(
            id=new_object_id(),
            name=resource,
            role=resource,
            password=secrets.token_urlsafe(24),
            hostname=f"{resource.replace('_', '-')}.{DOMAIN}",
            port=self.server.port,
            readonly_role=f"{resource}_ro",
            readonly_password=secrets.token_urlsafe(24),
            version=self.server.version,
        )
        addon = Addon(new_id("ad"), app.id, resource, plan, now(), database)
        await asyncio.to_thread(roles.provision, self.server, database)
        self._store.state.addons[addon.id] = addon
        app.addon_ids.append(addon.id)
        _set(app, URL_VARIABLE, self.url_for_api(addon))
        if ALIAS_VARIABLE not in app.variables:
            _set(app, ALIAS_VARIABLE, f"${URL_VARIABLE}")
        self._store.save()
        return addon

    async def drop(self, addon: Addon) -> None:
        """Remove the database, its roles and its backups, and the app's variables for it."""
        await self.quota.set(addon.database.name, None)
        await asyncio.to_thread(roles.remove, self.server, addon.database)
        self.backups.remove_of(addon)
        app = self._store.state.apps.get(addon.app_id)
        if app:
            app.addon_ids.remove(addon.id)
            for name, value in (
                (URL_VARIABLE, self.url_for_api(addon)),
                (ALIAS_VARIABLE, f"${URL_VARIABLE}"),
            ):
                if name in app.variables and app.variables[name].value == value:
                    del app.variables[name]
        del self._store.state.addons[addon.id]
        self._store.save()

    def of(self, app: App) -> list[Addon]:
        """The app's add-ons, oldest first."""
        return [self._store.state.addons[identifier] for identifier in app.addon_ids]

    # Addresses

    def url_for_api(self, addon: Addon) -> str:
        """The database's URL as the platform gives it out: its host name resolves in the tunnel only."""
        return _url(addon.database, f"{addon.database.hostname}:{self.server.port}")

    def url_for_containers(self, addon: Addon) -> str:
        """The same URL as the app's own processes get it, on loopback."""
        return _url(addon.database, f"127.0.0.1:{self.server.port}")

    def variables_for_containers(self, app: App) -> dict[str, str]:
        """The app's variables that name one of its databases, with the host replaced by loopback."""
        replaced: dict[str, str] = {}
        for addon in self.of(app):
            for variable in app.variables.values():
                value = replaced.get(variable.name, variable.value)
                if addon.database.hostname in value:
                    replaced[variable.name] = value.replace(addon.database.hostname, "127.0.0.1")
        return replaced

    def resolve(self, hostname: str, port: int) -> tuple[str, int] | None:
        """Where the tunnel connects for a database's host name; None when it is no database of ours."""
        for addon in self._store.state.addons.values():
            if addon.database.hostname == hostname and port == self.server.port:
                return ("127.0.0.1", self.server.port)
        return None

    # What tests and the database API ask for

    def backup(self, addon: Addon, method: str = "manual", at: datetime | None = None) -> Backup:
        """Begin a backup of the add-on; see `Backups.schedule`."""
        scenario = self._store.state.apps[addon.app_id].scenario
        return self.backups.schedule(addon, scenario, method, at)

    async def set_quota(self, addon: Addon, size: int | None) -> None:
        """Let the database grow to so many bytes and no further, as on a full disk; None lifts it."""
        addon.database.quota_bytes = size
        self._store.save()
        await self.quota.set(addon.database.name, size)

    async def size(self, addon: Addon) -> int:
        """Bytes that the database takes on disk."""
        return await asyncio.to_thread(roles.size, self.server, addon.database)

    def _take_present_port(self, addon: Addon) -> None:
        """The server moved to another port (somebody took the old one): the app's variables follow."""
        if addon.database.port == self.server.port:
            return
        old = self._url_with_port(addon, addon.database.port)
        addon.database.port = self.server.port
        for variable in self._store.state.apps[addon.app_id].variables.values():
            if variable.value == old:
                variable.value = self.url_for_api(addon)
        self._store.save()

    def _url_with_port(self, addon: Addon, port: int) -> str:
        return _url(addon.database, f"{addon.database.hostname}:{port}")


def _url(database: DatabaseState, where: str) -> str:
    return f"postgresql://{database.role}:{quote(database.password)}@{where}/{database.name}?sslmode=prefer"


def _resource_prefix(app_name: str) -> str:
    """As the platform does: letters, digits and underscores, cut to eleven (`quefairedem_5084`)."""
    return re.sub(r"[^a-z0-9]", "_", app_name.lower())[:11].rstrip("_")


def _set(app: App, name: str, value: str) -> None:
    if name in app.variables:
        app.variables[name].value = value
    else:
        app.variables[name] = Variable(new_object_id(), name, value)
