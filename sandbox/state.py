"""Where a sandbox lives and what opens it: one private folder with `sandbox.json`, keys and data.

Several sandboxes run side by side, each in a folder of its own. Ports and secrets are picked once and kept,
so that addresses stay the same over `down` and `up`.
"""

from __future__ import annotations

import dataclasses
import json
import os
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import asyncssh
import platformdirs

from sandbox.platform.processes import start_time
from sandbox.ports import free_port, is_free
from sandbox.private_files import write_private

FILE_NAME: Final = "sandbox.json"
REGION: Final = "sandbox"
FIXED_PORTS: Final = ("platform", "github", "mattermost", "postgres")
"""What listens on 127.0.0.1 in every sandbox; SSH, attach and routers are the platform's (`Store.port`)."""


class SandboxDown(Exception):
    """There is no running sandbox here; the text is one sentence that says what to do."""


@dataclass
class SandboxState:
    """The content of `sandbox.json`, and the folders around it. Write changes with `save()`."""

    folder: Path
    created_at: str = ""
    ports: dict[str, int] = field(default_factory=dict)
    """Ports on 127.0.0.1 by the name of what listens there: platform, github, mattermost, postgres."""
    token: str = ""
    """API token of the one user, `tk-us-…`; the platform makes it at the first start."""
    github_token: str = ""
    mattermost_hook: str = ""
    """Last part of the incoming webhook's address."""
    control_secret: str = ""
    """What opens the control API (`X-Sandbox-Secret`)."""
    signing_key: str = ""
    """Signs the tokens and the download addresses that the platform gives out."""
    postgres_password: str = ""
    """Password of the server's superuser, `postgres`, on loopback."""
    postgres_binaries: str | None = None
    """Folder with an installed PostgreSQL's programs; none for the embedded one."""
    ssh_port: int = 0
    host_key_fingerprint: str = ""
    """Of the SSH server's key, as ssh-keygen -l prints it: `SHA256:…`."""
    host_key: str = ""
    """Its public part, `ssh-ed25519 AAAA…`."""
    seeded: bool = False
    """Whether the first start has made the two apps."""
    pid: int | None = None
    """The supervisor's process, while it runs."""
    pid_started: str | None = None
    """When the system says that this process began; tells a recycled pid from ours."""

    @property
    def running(self) -> bool:
        """Whether the supervisor that wrote this is alive."""
        return self.pid is not None and self.pid_started == start_time(self.pid)

    @property
    def path(self) -> Path:
        """The file that all of this is written to."""
        return self.folder / FILE_NAME

    @property
    def store_path(self) -> Path:
        """The platform's own state: apps, deployments, add-ons, backups."""
        return self.folder / "platform.json"

    @property
    def log_path(self) -> Path:
        """What the supervisor says while nobody looks."""
        return self.folder / "supervisor.log"

    @property
    def identity_path(self) -> Path:
        """The operator's private SSH key, registered on the account."""
        return self.folder / "keys" / "identity"

    @property
    def public_key(self) -> str:
        """The operator's public key, as an authorized_keys line."""
        return Path(f"{self.identity_path}.pub").read_text(encoding="utf-8").strip()

    @property
    def client_folder(self) -> Path:
        """Where the official command-line clients keep their files when isolated by `sandbox env`."""
        return self.folder / "client"

    def port(self, name: str) -> int:
        """The port of one of the sandbox's parts."""
        return self.ports[name]

    def url(self, name: str) -> str:
        """The address of one of its HTTP servers, without a path: `http://127.0.0.1:PORT`."""
        return f"http://127.0.0.1:{self.ports[name]}"

    @property
    def webhook_url(self) -> str:
        """The team channel's incoming webhook."""
        return f"{self.url('mattermost')}/hooks/{self.mattermost_hook}"

    def save(self) -> None:
        """Write `sandbox.json` atomically, readable by its owner only."""
        values = dataclasses.asdict(self)
        del values["folder"]
        write_private(self.path, json.dumps(values, indent=1))

    @classmethod
    def load(cls, folder: Path) -> SandboxState:
        """Read a sandbox's state. Raises SandboxDown where there is none."""
        try:
            values = json.loads((folder / FILE_NAME).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise SandboxDown(
                f"There is no sandbox in {folder}: start one with `python -m sandbox up`."
            ) from None
        known = {item.name for item in dataclasses.fields(cls)} - {"folder"}
        return cls(folder=folder, **{name: value for name, value in values.items() if name in known})

    @classmethod
    def load_or_create(cls, folder: Path) -> SandboxState:
        """The state in `folder`: read, or made with fresh secrets, keys and ports."""
        if (folder / FILE_NAME).exists():
            return cls.load(folder)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.chmod(0o700)
        state = cls(
            folder=folder,
            created_at=datetime.now(UTC).isoformat(),
            github_token=f"ghp_{secrets.token_hex(18)}",
            mattermost_hook=secrets.token_hex(13),
            control_secret=secrets.token_urlsafe(24),
            signing_key=secrets.token_urlsafe(48),
            postgres_password=secrets.token_urlsafe(24),
        )
        _write_key(state.identity_path, "operator@sandbox")
        state.pick_ports()
        state.save()
        return state

    def pick_ports(self) -> list[str]:
        """Give each part a free port; those already picked stay unless somebody else took them.

        Call while the sandbox is down. Returns the names whose port changed.
        """
        changed = []
        for name in FIXED_PORTS:
            if name in self.ports and is_free(self.ports[name]):
                continue
            self.ports[name] = free_port(set(self.ports.values()))
            changed.append(name)
        return changed


def default_folder() -> Path:
    """$SANDBOX_STATE, or this user's state folder."""
    given = os.environ.get("SANDBOX_STATE")
    return Path(given).expanduser().resolve() if given else platformdirs.user_state_path("operations-sandbox")


def _write_key(path: Path, comment: str) -> None:
    key = asyncssh.generate_private_key("ssh-ed25519", comment=comment)
    write_private(path, key.export_private_key().decode())
    write_private(Path(f"{path}.pub"), key.export_public_key().decode())
