"""What a process of an app sees: its environment variables and the shell that starts it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from sandbox.platform.model import App, Release

SIZES_MEGABYTES = {"S": 256, "M": 512, "L": 1024, "XL": 2048, "2XL": 4096, "3XL": 8192}
"""Container sizes by name; reported to the processes, not enforced here."""

_START = """\
for profile in .profile.d/*.sh; do [ -r "$profile" ] && . "$profile"; done
[ -r .profile ] && . ./.profile
exec {shell} -c "$1"
"""


def shell() -> str:
    """bash, which the platform runs commands with, or sh where there is none."""
    return shutil.which("bash") or "/bin/sh"


def command_line(command: str) -> list[str]:
    """`command` as the platform starts it: by a shell, after `.profile.d/*.sh` and `.profile`."""
    return [shell(), "-c", _START.format(shell=shell()), "start", command]


def base_environment() -> dict[str, str]:
    """What every process on the platform has. Nothing of the operator's own environment gets in but PATH."""
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"}
    if "TMPDIR" in os.environ:
        environment["TMPDIR"] = os.environ["TMPDIR"]
    return environment


def resolved(variables: Mapping[str, str]) -> dict[str, str]:
    """Variables with whole-value aliases (`$OTHER`) replaced, once. An alias of nothing stays as it is."""
    return {
        name: variables.get(value[1:], value) if value.startswith("$") else value
        for name, value in variables.items()
    }


def app_variables(app: App, overrides: Mapping[str, str]) -> dict[str, str]:
    """The app's variables for its containers: `overrides` win over the API's before aliases are resolved."""
    return resolved({name: variable.value for name, variable in app.variables.items()} | dict(overrides))


def container_environment(
    app: App,
    release: Release,
    variables: Mapping[str, str],
    *,
    label: str,
    size: str,
    port: int | None = None,
) -> dict[str, str]:
    """Environment of one container; what comes later wins: base, buildpacks, app, the platform itself."""
    environment = base_environment() | release.environment | dict(variables)
    environment |= {
        "HOME": release.folder,
        "APP": app.name,
        "SCALINGO_APPLICATION_ID": app.id,
        "STACK": app.stack,
        "REGION_NAME": app.region,
        "CONTAINER": label,
        "CONTAINER_VERSION": release.commit,
        "CONTAINER_SIZE": size,
        "CONTAINER_MEMORY": str(SIZES_MEGABYTES.get(size, 512) * 1024 * 1024),
        "HOSTNAME": f"{app.name}-{label}",
    }
    if port is not None:
        environment["PORT"] = str(port)
    return environment


def build_environment(
    app: App, commit: str, folder: Path, variables: Mapping[str, str], request_id: str
) -> dict[str, str]:
    """Environment of a build: the app's variables, SOURCE_VERSION, APP, STACK and REQUEST_ID."""
    return (
        base_environment()
        | dict(variables)
        | {
            "HOME": str(folder),
            "APP": app.name,
            "SOURCE_VERSION": commit,
            "STACK": app.stack,
            "REQUEST_ID": request_id,
        }
    )
