"""The client against the sandbox's platform: two readings of one documentation must agree."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import psycopg
import pytest

from sandbox import environment, lifecycle
from sandbox.control import Control
from tasks.core.endpoints import host_of
from tasks.core.errors import OpsError, Refused, Unreachable
from tasks.core.http import UnexpectedStatus
from tasks.core.secrets import Secret
from tasks.git import hostkeys
from tasks.scalingo.client import Scalingo
from tasks.scalingo.credentials import Credentials, find
from tasks.scalingo.models import ContainerType
from tasks.scalingo.tunnel import Tunnel

APP = "sandbox-demo-preprod"


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """One of its own: an application is deployed and scaled here."""
    folder = tmp_path_factory.mktemp("sandbox")
    try:
        state = lifecycle.up(folder, None, say=lambda _text: None)
        yield SimpleNamespace(state=state, control=Control(state), variables=environment.variables(folder))
    finally:
        lifecycle.down(folder)


@pytest.fixture
def credentials(sandbox) -> Credentials:
    return find(environ=sandbox.variables)


@pytest.fixture
def client(sandbox, credentials) -> Iterator[Scalingo]:
    sandbox.control.clear_requests()
    with Scalingo(credentials, sandbox=True, pause=0.01) as client:
        yield client
    sandbox.control.clear_failures()
    sandbox.control.token_lifetime(None)


@pytest.fixture(scope="module")
def deployed(sandbox, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An application that runs: a page that says hello, deployed as an archive."""
    folder = tmp_path_factory.mktemp("release")
    (folder / "Procfile").write_text("web: python -m http.server $PORT\nworker: sleep 600\n")
    (folder / "requirements.txt").write_text("")
    (folder / ".python-version").write_text("3.11\n")
    archive = folder / "release.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for name in ("Procfile", "requirements.txt", ".python-version"):
            tar.add(folder / name, f"release/{name}")
    with Scalingo(find(environ=sandbox.variables), sandbox=True) as client:
        started = client.deployments.deploy_archive(APP, archive, "by-archive")
        seen: list[str] = []
        ended = client.deployments.follow(
            APP, started.id, every=0.1, on_status=lambda found: seen.append(found.status)
        )
        assert ended.status == "success", client.deployments.output(APP, started.id)
        assert seen[-1] == "success"
        assert ended.git_ref == "by-archive"
        assert "Procfile" not in client.deployments.output(APP, "0" * 36)
        assert client.deployments.output(APP, started.id)
    return APP


def test_who_and_where(sandbox, client) -> None:
    assert client.account.user().username
    keys = client.account.keys()
    assert [key.name for key in keys]
    assert client.account.region().name == "sandbox"
    assert {app.name for app in client.apps.list()} >= {"sandbox-demo", APP}
    with pytest.raises(UnexpectedStatus, match="404 Not Found, app not found"):
        client.apps.get("nowhere")


def test_the_formation_is_scaled_and_restarted(client, deployed: str) -> None:
    operation = client.containers.scale(deployed, [ContainerType(name="worker", amount=1)])
    assert operation is not None
    client.apps.wait(deployed, operation, doing="Scaling", every=0.1)
    assert {line.name: line.amount for line in client.containers.formation(deployed)} == {
        "web": 1,
        "worker": 1,
    }
    assert {one.label for one in client.containers.running(deployed)} == {"web-1", "worker-1"}
    client.apps.wait(deployed, client.apps.restart(deployed, ["web"]), doing="Restarting", every=0.1)
    with pytest.raises(UnexpectedStatus, match="422"):
        client.apps.restart(deployed, ["nonsense"])


def test_variables_come_and_go(client) -> None:
    client.variables.set(APP, {"TRIED": Secret("TRIED", "a-value-to-hide"), "ALIAS": "$TRIED"})
    resolved = {one.name: one.value.reveal() for one in client.variables.list(APP, resolved=True)}
    assert (resolved["TRIED"], resolved["ALIAS"]) == ("a-value-to-hide", "a-value-to-hide")
    ours = [one for one in client.variables.list(APP) if one.name in ("TRIED", "ALIAS")]
    assert {one.value.reveal() for one in ours} == {"a-value-to-hide", "$TRIED"}
    client.variables.remove(APP, ours)
    assert not {"TRIED", "ALIAS"} & {one.name for one in client.variables.list(APP)}


def test_a_one_off_runs_a_shell_command(client, deployed: str) -> None:
    lines: list[str] = []
    result = client.run(
        deployed, 'echo "$WORD" && cat && tty >/dev/null && echo terminal; exit 5',
        env={"WORD": "déjà vu"}, on_line=lines.append,
    )  # fmt: skip
    assert (result.exit_code, result.output) == (5, ["déjà vu", "terminal"])
    assert lines == result.output


def test_a_one_off_that_takes_too_long_is_gone_afterwards(client, deployed: str) -> None:
    with pytest.raises(OpsError, match="not finished after 2 s") as caught:
        client.run(deployed, "sleep 60", limit=2)
    assert caught.value.state == "the container was stopped"


def test_a_backup_is_made_fetched_and_whole(client, tmp_path: Path) -> None:
    addon = client.addons.find(APP)
    begun = client.databases.create_backup(APP, addon.id)
    done = client.databases.follow_backup(APP, addon.id, begun.id, every=0.1)
    assert client.databases.backups(APP, addon.id)[0].id == done.id
    path = client.databases.download(APP, addon.id, done, tmp_path / "backup.tar.gz")
    with tarfile.open(path) as tar:
        assert [member.isfile() for member in tar.getmembers()] == [False, True]


@pytest.mark.parametrize("answer", [429, 503, "html", "cut"])
def test_reads_survive_what_passes_and_writes_are_not_repeated(sandbox, client, answer: int | str) -> None:
    client.account.user()
    sandbox.control.fail(answer, method="GET", path=f"/v1/apps/{APP}$", times=2)
    assert client.apps.get(APP).name == APP
    sandbox.control.fail(answer, method="PUT", path="/variables", times=1)
    sandbox.control.clear_requests()
    with pytest.raises((UnexpectedStatus, Unreachable)):
        client.variables.set(APP, {"NEVER": "1"})
    assert len([asked for asked in sandbox.control.requests() if asked["method"] == "PUT"]) == 1


def test_tokens_that_end_are_renewed(sandbox, client) -> None:
    addon = client.addons.find(APP)
    client.databases.get(APP, addon.id)
    sandbox.control.expire_tokens()
    assert client.databases.get(APP, addon.id).status == "running"
    sandbox.control.expire_tokens()
    assert client.apps.get(APP).name == APP


def test_a_refused_api_token_says_where_to_get_another(credentials) -> None:
    bad = Credentials(Secret("t", "tk-us-nonsense-token"), "SCALINGO_API_TOKEN", credentials.endpoints)
    with (
        Scalingo(bad, sandbox=True) as client,
        pytest.raises(OpsError, match="is refused: Invalid credentials"),
    ):
        client.account.user()


def test_the_database_is_reached_through_the_tunnel(sandbox, client) -> None:
    region = client.account.region()
    url = next(v for v in client.variables.list(APP, resolved=True) if v.name == "DATABASE_URL").value
    database = urlsplit(url.reveal())
    port = int(region.ssh.rpartition(":")[2])
    fingerprint = sandbox.state.host_key_fingerprint
    pinned = hostkeys.known_hosts(host_of(region.ssh), port, [fingerprint])
    identity = Path(sandbox.variables["SANDBOX_SSH_IDENTITY"])
    with Tunnel(host_of(region.ssh), port, database.hostname, database.port, pinned, identity) as tunnel:
        with psycopg.connect(
            host=tunnel.host,
            port=tunnel.port,
            user=database.username,
            password=database.password,
            dbname=database.path.strip("/"),
        ) as connection:
            assert connection.execute("select current_user").fetchone() == (database.username,)
        assert tunnel.failed() is None
    with (
        pytest.raises(Refused, match="administratively prohibited"),
        Tunnel(host_of(region.ssh), port, "elsewhere.example", 5432, pinned, identity),
    ):
        pass


def test_log_of_an_app(client: Scalingo) -> None:
    client.run(APP, "echo before")
    lines = client.logs.last(APP, 50)
    assert lines
    assert [line.at for line in lines] == sorted(line.at for line in lines)
    assert len(client.logs.last(APP, 1)) == 1
    assert {line.source for line in client.logs.last(APP, 50, source="manager")} == {"manager"}
    assert client.logs.last(APP, 50, source="nobody") == []
    with pytest.raises(OpsError, match="Reading the log of nobody-s-app"):
        client.logs.last("nobody-s-app")
