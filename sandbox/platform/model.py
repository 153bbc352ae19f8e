"""What the platform knows, as plain dataclasses that `store.py` writes to one JSON file.

Fields carry the names of the public API (docs of each: developers.scalingo.com). Times are aware datetimes in
UTC, sizes bytes, durations seconds. Every field that was added later has a default, so that an older state
file still loads.
"""

from __future__ import annotations

import secrets
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime

DEPLOYMENT_MOVING = ("queued", "building", "pushing", "starting")
"""Deployment states that are not final; anything else counts as finished for the official client."""

DEPLOYMENT_FINAL = (
    "success",
    "build-error",
    "crashed-error",
    "timeout-error",
    "hook-error",
    "aborted",
)
"""Final deployment states; all but `success` leave the old release serving."""


def now() -> datetime:
    """The present moment in UTC."""
    return datetime.now(UTC)


def new_id(prefix: str = "") -> str:
    """A fresh identifier, `prefix-UUID` or a bare UUID."""
    return f"{prefix}-{uuid.uuid4()}" if prefix else str(uuid.uuid4())


def new_object_id() -> str:
    """A fresh identifier of 24 hexadecimal digits, as containers, variables and operations have."""
    return secrets.token_hex(12)


@dataclass
class User:
    """An account: who holds the API token and whose public keys open the SSH server."""

    id: str
    username: str
    email: str
    fullname: str
    token: str
    """The API token, `tk-us-…`."""
    public_keys: list[str] = field(default_factory=list)
    """OpenSSH lines, as in authorized_keys."""


@dataclass
class Variable:
    """One environment variable of an app. A value `$OTHER` is an alias for the variable OTHER."""

    id: str
    name: str
    value: str


@dataclass
class Formation:
    """How many containers of one type should run. An empty command means the Procfile's."""

    amount: int
    size: str = "M"
    command: str = ""


@dataclass
class Scenario:
    """What the next deployments and backups of an app do: extra seconds in each state, and a failure.

    `fail` is one of the final deployment states but `success`, and makes deployments end so; it stays until
    it is changed. `fail_times` limits it to so many deployments.
    """

    queued: float = 0.0
    building: float = 0.0
    pushing: float = 0.0
    starting: float = 0.0
    fail: str | None = None
    fail_times: int | None = None
    boot_timeout: float = 60.0
    """Seconds that a web container has to accept connections on $PORT."""
    hook_timeout: float = 1200.0
    """Seconds that the postdeploy command may take (documented: 20 minutes)."""
    stop_timeout: float = 30.0
    """Seconds between SIGTERM and SIGKILL for a container that is replaced."""
    backup_seconds: float = 0.0
    backup_fail: bool = False


@dataclass
class Release:
    """What a successful deployment left: a built source tree, and how to start its processes."""

    deployment_id: str
    commit: str
    """The commit (git deployments) or the free label (archive deployments): CONTAINER_VERSION."""
    folder: str
    """Absolute path of the built tree, the working directory and HOME of its containers."""
    procfile: dict[str, str] = field(default_factory=dict)
    """Command by process type, without the reserved `postdeploy`."""
    postdeploy: str | None = None
    environment: dict[str, str] = field(default_factory=dict)
    """Variables that its buildpacks export, under the app's own variables."""


@dataclass
class App:
    """One application."""

    id: str
    name: str
    region: str
    created_at: datetime
    updated_at: datetime
    owner_id: str
    last_deployed_at: datetime | None = None
    last_deployed_by: str | None = None
    last_deployment_id: str | None = None
    """The last deployment that succeeded."""
    status: str = "new"
    """new, running, stopped, crashed, restarting, scaling or booting."""
    variables: dict[str, Variable] = field(default_factory=dict)
    formation: dict[str, Formation] = field(default_factory=dict)
    addon_ids: list[str] = field(default_factory=list)
    release: Release | None = None
    scenario: Scenario = field(default_factory=Scenario)
    stack_id: str = "st-scalingo-24"
    stack: str = "scalingo-24"
    router_port: int = 0
    """Port of the app's own front on 127.0.0.1; stays the same for the app's life."""
    one_off_count: int = 0
    """How many one-off containers were ever started; numbers their labels."""
    force_https: bool = False
    sticky_session: bool = False
    router_logs: bool = False


@dataclass
class Deployment:
    """One deployment, successful or not."""

    id: str
    app_id: str
    created_at: datetime
    type: str
    """git or archive."""
    git_ref: str
    pusher_id: str
    status: str = "queued"
    finished_at: datetime | None = None
    previous_git_ref: str | None = None
    duration: int = 0
    """Whole seconds from created_at to finished_at."""
    postdeploy_hook: str | None = None
    image_size: int = 0
    image: str = ""
    output: str = ""
    """Absolute path of the file with its log (colour escapes included)."""
    error: str | None = None
    """One sentence that says why it failed."""


@dataclass
class Operation:
    """Something asynchronous that a client polls: restart, scale or start-one-off."""

    id: str
    app_id: str
    type: str
    created_at: datetime
    status: str = "pending"
    """pending, running, done or error."""
    finished_at: datetime | None = None
    error: str | None = None
    container_id: str | None = None
    attach_secret: str | None = None
    """Last part of the attach URL's path, for start-one-off operations of attached containers."""
    user_id: str | None = None


@dataclass
class Container:
    """One running (or just ended) process of an app."""

    id: str
    app_id: str
    type: str
    """Process type, `one-off` or `postdeploy`."""
    type_index: int
    label: str
    """`web-1`, `one-off-1234`."""
    command: str
    created_at: datetime
    size: str = "M"
    state: str = "booting"
    """booting, running, crashed, stopping or stopped."""
    pid: int | None = None
    """Process id, which is also the id of its session and process group."""
    process_started: str | None = None
    """When the kernel says that the process began: tells a recycled pid from ours."""
    port: int | None = None
    exit_code: int | None = None
    deployment_id: str | None = None
    restarts: int = 0
    deleted_at: datetime | None = None


@dataclass
class DatabaseState:
    """The database behind an add-on."""

    id: str
    name: str
    role: str
    password: str
    hostname: str
    """The platform's name for it, which only its SSH tunnel and its containers resolve."""
    port: int
    readonly_role: str = ""
    readonly_password: str = ""
    status: str = "running"
    version: str = ""
    quota_bytes: int | None = None
    periodic_backups_enabled: bool = True
    periodic_backups_scheduled_at: list[int] = field(default_factory=lambda: [(now().hour + 12) % 24])
    """UTC hours; at first half a day ahead, for a restore waits for a backup that is due."""
    features: dict[str, str] = field(default_factory=dict)
    extra: dict[str, str] = field(default_factory=dict)


@dataclass
class Addon:
    """A PostgreSQL add-on of an app."""

    id: str
    app_id: str
    resource_id: str
    plan: str
    created_at: datetime
    database: DatabaseState
    status: str = "running"
    """provisioning, running or suspended."""


@dataclass
class Backup:
    """A logical backup of a database."""

    id: str
    addon_id: str
    name: str
    created_at: datetime
    method: str
    """periodic or manual."""
    status: str = "scheduled"
    """scheduled, running, done or error."""
    started_at: datetime | None = None
    size: int | None = None
    path: str | None = None


@dataclass
class State:
    """Everything that survives a restart of the sandbox, by identifier."""

    users: dict[str, User] = field(default_factory=dict)
    apps: dict[str, App] = field(default_factory=dict)
    deployments: dict[str, Deployment] = field(default_factory=dict)
    operations: dict[str, Operation] = field(default_factory=dict)
    containers: dict[str, Container] = field(default_factory=dict)
    addons: dict[str, Addon] = field(default_factory=dict)
    backups: dict[str, Backup] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)
    """Ports on 127.0.0.1 by the name of what listens there; picked once, then kept."""


@dataclass(frozen=True)
class StreamEvent:
    """One frame of an app's deployments stream: what the websocket sends as JSON."""

    type: str
    """new, log or status."""
    deployment_id: str
    text: str = ""
    """The log's content, or the new status; empty for `new`."""


@dataclass(frozen=True)
class LogLine:
    """One line of an app's log."""

    at: datetime
    source: str
    """Container label, or `manager` for what the platform says, or `router`."""
    text: str

    def render(self) -> str:
        """The platform's line format: `2026-01-01 02:03:04.123456789 +0000 UTC [web-1] message`."""
        stamp = self.at.astimezone(UTC)
        return f"{stamp:%Y-%m-%d %H:%M:%S}.{stamp.microsecond:06d}000 +0000 UTC [{self.source}] {self.text}"
