"""Files with which the official client is signed in to the sandbox, apart from the user's own."""

from __future__ import annotations

import json
from typing import Final
from urllib.parse import urlsplit

from sandbox.platform.model import User, now
from sandbox.private_files import write_private
from sandbox.state import REGION, SandboxState

AUTH_DATA_VERSION: Final = "2.1"


def write_client_files(state: SandboxState, user: User) -> None:
    """Write login and configuration in the form of `scalingo` 1.48, and forget its cached regions."""
    folder = state.client_folder
    for name in ("", "config", "cache"):
        (folder / name).mkdir(mode=0o700, exist_ok=True)
    host = urlsplit(state.url("platform")).hostname
    login = {
        "tokens": {"token": user.token},
        "user": {
            "id": user.id,
            "username": user.username,
            "fullname": user.fullname,
            "email": user.email,
            "flags": {},
        },
    }
    content = {
        "auth_data_version": AUTH_DATA_VERSION,
        "last_update": now().isoformat(),
        "auth_config_data": {host: login},
    }
    write_private(folder / "auth", json.dumps(content))
    write_private(folder / "config.json", json.dumps({"region": REGION}))
    (folder / "regions.json").unlink(missing_ok=True)


def client_variables(state: SandboxState) -> dict[str, str]:
    """The client's own variables that point it at those files (never HOME, which other programs read)."""
    folder = state.client_folder
    return {
        "AUTH_FILE": str(folder / "auth"),
        "CONFIG_FILE_PATH": str(folder / "config.json"),
        "REGIONS_CACHE_PATH": str(folder / "regions.json"),
        "LOG_FILE": str(folder / "local.log"),
        "CONFIG_DIR": str(folder / "config"),
        "CACHE_DIR": str(folder / "cache"),
        "DISABLE_UPDATE_CHECKER": "true",
    }
