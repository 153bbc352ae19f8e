"""An app brought to a known beginning, whatever the test before has left of it."""

from __future__ import annotations

import subprocess
import time
from typing import Any

import psycopg

from sandbox import incident

Operator = Any


def bring(operator: Operator, release: str) -> None:
    """Have a release run on data that goes with it, and nothing of ours left in the database."""
    operator.control.scenario(operator.app, reset=True)
    with psycopg.connect(operator.control.database(operator.app)["url"], autocommit=True) as connection:
        ours = connection.execute(
            r"select nspname from pg_namespace where nspname ~ '^(new|before|after|drop)_\d'"
        ).fetchall()
        for (schema,) in ours:
            connection.execute(f'drop schema "{schema}" cascade')
        fits = connection.execute("select to_regclass('public.django_migrations') is not null").fetchone()
        if fits and fits[0]:
            fits = connection.execute(
                "select not exists (select from public.django_migrations where name = '0004_lighter_places')"
            ).fetchone()
    _start_web(operator)
    if not (fits and fits[0]):
        incident._empty(operator.control.database(operator.app)["url"])
        if operator.release() == operator.commit(release):
            operator.deploy("v0.9.0")
    try:
        operator.deploy(release)
    except incident.IncidentError as error:
        if "up-to-date" not in str(error):
            raise
        deploy_archive(operator, release)  # a push that was cut has moved the branch, or not moved it


def _start_web(operator: Operator) -> None:
    """What a drop that was killed has stopped."""
    client, path = operator.sandbox.client(), f"/v1/apps/{operator.app}/scale"
    stopped = client.get(f"/v1/apps/{operator.app}/containers").json()["containers"]
    if any(line["name"] == "web" and not line["amount"] for line in stopped):
        assert client.post(path, json={"containers": [{"name": "web", "amount": 1}]}).ok


def deploy_archive(operator: Operator, ref: str) -> str:
    """A release as an archive: it runs, and the platform's branch stays where it is."""
    commit = str(operator.commit(ref))
    client = operator.sandbox.client()
    where = client.post("/v1/sources", json={}).json()["source"]
    tarball = subprocess.run(
        ["git", "archive", "--format=tar.gz", "--prefix=demo/", commit],
        cwd=incident._published(operator.control), capture_output=True, check=True,
    ).stdout  # fmt: skip
    assert client.put(where["upload_url"], data=tarball).ok
    wanted = {"git_ref": commit, "source_url": where["download_url"]}
    path = f"/v1/apps/{operator.app}/deployments"
    made = client.post(path, json={"deployment": wanted}).json()["deployment"]
    for _ in range(600):
        status = client.get(f"{path}/{made['id']}").json()["deployment"]["status"]
        if status == "success":
            return commit
        assert not status.endswith("-error"), status
        time.sleep(0.1)
    raise AssertionError(f"the archive's deployment never ended: {status}")
