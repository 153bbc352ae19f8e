"""The environment variables with which programs use the sandbox instead of the real platforms."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Any

from sandbox.client_files import client_variables
from sandbox.database.programs import embedded_binaries
from sandbox.state import REGION, SandboxDown, SandboxState, default_folder

__all__ = ["SandboxDown", "apply", "exports", "host_data", "variables"]


def variables(state_dir: Path | None = None) -> dict[str, str]:
    """All of them, by name. Raises SandboxDown, with one sentence, when no sandbox runs in `state_dir`."""
    state = running(state_dir)
    platform = state.url("platform")
    return {
        "SANDBOX_STATE": str(state.folder),
        "SANDBOX_SSH_IDENTITY": str(state.identity_path),
        "SCALINGO_API_TOKEN": state.token,
        "SCALINGO_AUTH_URL": platform,
        "SCALINGO_API_URL": platform,
        "SCALINGO_DB_URL": platform,
        "SCALINGO_REGION": REGION,
        "GITHUB_TOKEN": state.github_token,
        "GH_TOKEN": state.github_token,
        "GITHUB_API_URL": state.url("github"),
        "GITHUB_SERVER_URL": state.url("github"),
        "MATTERMOST_WEBHOOK_URL": state.webhook_url,
        **client_variables(state),
    }


def apply(state_dir: Path | None = None) -> None:
    """Put them into this process's environment. Raises SandboxDown."""
    os.environ.update(variables(state_dir))


def host_data(state_dir: Path | None = None) -> dict[str, Any]:
    """`apply`, and what an inventory must declare but only the running sandbox knows.

    Ends the program with one sentence where none runs: an inventory has no other way to say so.
    """
    try:
        apply(state_dir)
        state = running(state_dir)
    except SandboxDown as down:
        raise SystemExit(str(down)) from None
    programs = Path(state.postgres_binaries) if state.postgres_binaries else embedded_binaries()
    return {
        "ssh_fingerprints": (state.host_key_fingerprint,),
        "ssh_identity": state.identity_path,
        "journal": state.folder / "journal",
        "pg_restore": programs,
    }


def exports(state_dir: Path | None = None) -> str:
    """Lines for `eval "$(python -m sandbox env)"`. Raises SandboxDown."""
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables(state_dir).items())


def running(state_dir: Path | None = None) -> SandboxState:
    """The state of the sandbox that runs in `state_dir` (else the default one). Raises SandboxDown."""
    folder = state_dir or default_folder()
    state = SandboxState.load(folder)
    if not state.running:
        raise SandboxDown(f"The sandbox in {folder} is down: start it with `python -m sandbox up`.")
    return state
