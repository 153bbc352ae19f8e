"""How the git program is called: never asking, never in another repository, its failures as sentences."""

from __future__ import annotations

import base64
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from tasks.core.errors import OpsError, Refused, Unreachable
from tasks.core.process import Environment, run
from tasks.core.secrets import Secret, redact, remember

# `git rev-parse --local-env-vars`: set by git for its hooks, they would lead to that other repository.
_OF_ANOTHER_REPOSITORY: Final = (
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_DIR",
    "GIT_GRAFT_FILE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_INTERNAL_SUPER_PREFIX",
    "GIT_NAMESPACE",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
)

QUIET_ENVIRONMENT: Final[Environment] = {
    **dict.fromkeys(_OF_ANOTHER_REPOSITORY),
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "true",
    "SSH_ASKPASS_REQUIRE": "never",
    "GIT_OPTIONAL_LOCKS": "0",
    "LC_ALL": "C",
    "LANGUAGE": None,
}
"""Git without questions, in English (its messages are matched), in the repository named and no other."""

_ESCAPES: Final = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b\[[0-?]*[ -/]*[@-~]|\x1b[ -/]*[0-~]|[\x00-\x08\x0b-\x1f\x7f]"
)
_COMMIT: Final = re.compile(r"(?:[0-9a-f]{40}|[0-9a-f]{64})\Z")


@dataclass(frozen=True, slots=True)
class SshAddress:
    """Where an SSH git URL leads: user (may be empty), host, port."""

    user: str
    host: str
    port: int


def ssh_address(url: str) -> SshAddress | None:
    """The SSH server in a git URL (`git@host:path`, `ssh://git@host:port/path`, `git+ssh://…`), or None."""
    if "://" in url:
        parts = urlsplit(url)
        if parts.scheme not in ("ssh", "git+ssh", "ssh+git"):
            return None
        return SshAddress(parts.username or "", parts.hostname or "", parts.port or 22)
    match = re.match(r"(?:(?P<user>[^@/:]+)@)?(?P<host>[^@/:]+):(?!/{2})", url)
    return SshAddress(match["user"] or "", match["host"], 22) if match else None


def is_commit(text: str) -> bool:
    """Whether a text is a whole commit id, which can only mean one thing."""
    return bool(_COMMIT.match(text))


def clean_line(line: str) -> str:
    """A line that git or a platform printed, for people: without colour, `remote: `, trailing blanks."""
    text = _ESCAPES.sub("", line)
    if text.startswith("remote:"):
        text = text.removeprefix("remote:").removeprefix(" ")
    return redact(text.rstrip())


def token_environment(url: str, token: Secret | None) -> Environment:
    """What lets git over HTTPS use a token: in its environment alone, and sent to that host alone."""
    parts = urlsplit(url)
    if token is None or parts.scheme not in ("http", "https"):
        return {}
    basic = base64.b64encode(f"x-access-token:{token.reveal()}".encode()).decode()
    remember(basic)
    address = parts.netloc.rpartition("@")[2]
    return {
        "GIT_CONFIG_COUNT": "2",
        "GIT_CONFIG_KEY_0": f"http.{parts.scheme}://{address}/.extraHeader",
        "GIT_CONFIG_VALUE_0": f"Authorization: Basic {basic}",
        "GIT_CONFIG_KEY_1": "credential.helper",
        "GIT_CONFIG_VALUE_1": "",
    }


def ssh_command(known_hosts: Path | None = None, identity: Path | None = None) -> list[str]:
    """The ssh that git shall call: never asking, never hanging, trusting only the hosts in `known_hosts`.

    + known_hosts: a file of `tasks.git.hostkeys`; without one, the user's own
    + identity: a private key to use and no other; without one, the user's own keys and agent
    """
    options = {
        "BatchMode": "yes",
        "StrictHostKeyChecking": "yes",
        "ConnectTimeout": "15",
        "ServerAliveInterval": "15",
        "ServerAliveCountMax": "4",
        # A connection kept open by the user's configuration was not opened under these rules.
        "ControlMaster": "no",
        "ControlPath": "none",
        "ForwardAgent": "no",
        "ClearAllForwardings": "yes",
    }
    if known_hosts is not None:
        options |= {
            "UserKnownHostsFile": _ssh_path(known_hosts),
            "GlobalKnownHostsFile": "/dev/null",
            "UpdateHostKeys": "no",
            "VerifyHostKeyDNS": "no",
            "CheckHostIP": "no",
        }
    if identity is not None:
        options |= {"IdentitiesOnly": "yes", "IdentityFile": _ssh_path(identity)}
    return ["ssh", *(part for name, value in options.items() for part in ("-o", f"{name}={value}"))]


def git_environment(known_hosts: Path | None = None, identity: Path | None = None) -> Environment:
    """The environment for git over SSH; arguments as for `ssh_command`."""
    return {**QUIET_ENVIRONMENT, "GIT_SSH_COMMAND": shlex.join(ssh_command(known_hosts, identity))}


def _ssh_path(path: Path) -> str:
    return f'"{str(path).replace("%", "%%")}"'


def git(
    folder: Path,
    *arguments: str,
    attempted: str,
    env: Mapping[str, str | None] = QUIET_ENVIRONMENT,
    timeout: float = 120,
) -> str:
    """What a short git command says on its standard output.

    + folder: the repository
    + attempted: what it is for, the beginning of the error's sentence

    Raises OpsError when git fails.
    """
    done = run(["git", *arguments], env=env, cwd=folder, timeout=timeout)
    if done.code != 0:
        raise OpsError(attempted, last_words(done.stderr))
    return done.stdout


def last_words(stderr: str) -> str:
    """The one line of git's standard error that says most."""
    lines = [clean_line(line) for line in stderr.splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith(_SAYS_NOTHING)] or lines
    telling = [line for line in lines if line.startswith(("fatal:", "error:"))]
    chosen = (telling or lines or ["git failed and said nothing"])[0]
    return chosen.removeprefix("fatal: ").removeprefix("error: ")


# What git adds to whatever ssh has said.
_SAYS_NOTHING: Final = (
    "fatal: Could not read from remote repository",
    "Please make sure you have the correct access",
    "and the repository exists",
)

KEY_HELP: Final = (
    "register the public key of this machine (often ~/.ssh/id_ed25519.pub) in your account at the platform, "
    "and see that `ssh-add -l` lists it when it has a passphrase"
)


def connection_error(attempted: str, url: str, stderr: str, *, key_help: str = KEY_HELP) -> OpsError | None:
    """The error for a connection that never stood, so that nothing was sent; None when it may have stood."""
    address = ssh_address(url)
    host = address.host if address else urlsplit(url).hostname or url
    nothing = "nothing was sent"

    def said(*texts: str) -> bool:
        return any(text in stderr for text in texts)

    if said("Host key verification failed", "REMOTE HOST IDENTIFICATION HAS CHANGED"):
        return Refused(
            attempted,
            f"{host} did not show the key that is declared for it: somebody may be in between",
            state=nothing,
            next_step=f"do not push; compare the fingerprints published for {host} with the inventory's",
        )
    if said("Permission denied (", "Too many authentication failures"):
        return Refused(
            attempted, f"{host} knows none of the SSH keys offered", state=nothing, next_step=key_help
        )
    if said(
        "Authentication failed",
        "could not read Username",
        "could not read Password",
        "error: 403",
        "error: 401",
    ):
        return Refused(
            attempted,
            f"{host} does not let these credentials in",
            state=nothing,
            next_step="give a token that may read the repository (GITHUB_TOKEN for GitHub)",
        )
    if said("Repository not found", "does not appear to be a git repository", "/info/refs not found"):
        return Refused(
            attempted,
            f"{host} has no such repository, or does not show it to this account",
            state=nothing,
            next_step="compare the address with the platform's, and see that this account may use it",
        )
    if said(
        "Could not resolve host",
        "ssh: Could not resolve",
        "Name or service not known",
        "nodename nor servname",
    ):
        return Unreachable(attempted, f"the name {host} is not known here", state=nothing, next_step=_NETWORK)
    # Only where the connection was being opened: one that stood may time out or break as well.
    opening = "\n".join(line for line in stderr.splitlines() if _OPENING.search(line))
    if "timed out" in opening:
        return Unreachable(attempted, f"{host} does not answer", state=nothing, next_step=_NETWORK)
    if opening:
        return Unreachable(attempted, f"{host} takes no connection", state=nothing, next_step=_NETWORK)
    return None


_OPENING: Final = re.compile(r"ssh: connect to host|Failed to connect to|Couldn't connect to server")
_NETWORK: Final = "check the network here and the platform's status page, then run the same command again"
