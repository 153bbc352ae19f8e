from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tasks.core.errors import Interrupted, OpsError
from tasks.postgres.connection import connect
from tasks.postgres.crew import Crew, Job

_UNDER_PYINFRA = """
import gevent.monkey; gevent.monkey.patch_all()
import json, sys, time
import gevent
from pathlib import Path
from tasks.core.secrets import Secret
from tasks.postgres import stage, swap
from tasks.postgres.archive import Archive, check
from tasks.postgres.connection import Target, connect
from tasks.postgres.live import read_live

given = json.load(sys.stdin)
target = Target("127.0.0.1", given["port"], given["database"], given["user"], Secret("DB", given["password"]))
longest = 0.0

def tick():
    global longest
    while True:
        started = time.monotonic()
        gevent.sleep(0.01)
        longest = max(longest, time.monotonic() - started)

gevent.spawn(tick)
archive = Archive.open(Path(given["archive"]))
contents = check(archive, progress=lambda *_: None, stop=lambda: False)
with connect(target, "r1", "read") as connection:
    live = read_live(connection, target)
staged = stage.stage(
    target, stage.StageRequest("r1", archive, contents.rows, "nightly", contents.sha256, workers=3), live
)
swapped = swap.swap(target, "r1", staged.mark, planned=live.inventory.digest)
print(json.dumps({"rows": staged.rows["place"], "schema": swapped.mark.schema, "longest": longest}))
"""


@pytest.fixture
def crew(site):
    with Crew(lambda: connect(site.target, "r1", "load"), 2) as made:
        yield made


def sleeping(seconds: float) -> Job:
    return Job("Sleeping", lambda connection: connection.execute(f"select pg_sleep({seconds})") and None)


def test_jobs_run_side_by_side_and_bring_others_along(crew):
    done: list[str] = []
    last = Job("last", lambda connection: done.append("last"))
    first = Job("first", lambda connection: done.append("first"), then=lambda: [last])
    started = time.monotonic()
    crew.run([sleeping(0.5), sleeping(0.5)])
    assert time.monotonic() - started < 0.9
    crew.run([first])
    assert done == ["first", "last"]


def test_the_heaviest_start_first(site):
    order: list[int] = []
    with Crew(lambda: connect(site.target, "r1", "load"), 1) as one:
        one.run([Job("x", lambda connection, n=n: order.append(n), weight=n) for n in (2, 3, 1)])
    assert order == [3, 2, 1]


def test_a_failure_cancels_what_runs_and_starts_nothing_more(crew):
    started = time.monotonic()
    later: list[int] = []
    bad = Job("Dividing", lambda connection: connection.execute("select 1/0") and None, weight=9)
    jobs = [bad, *(Job("Sleeping", sleeping(20).work, weight=5) for _ in range(1))]
    with pytest.raises(OpsError, match="Dividing: division by zero"):
        crew.run([*jobs, Job("later", lambda connection: later.append(1))])
    assert time.monotonic() - started < 5
    assert later == []


def test_a_stop_cancels_what_runs(crew):
    started = time.monotonic()
    with pytest.raises(Interrupted):
        crew.run([sleeping(20), sleeping(20)], stop=lambda: time.monotonic() - started > 0.3)
    assert time.monotonic() - started < 5


def test_no_session_is_left_behind(site, crew):
    crew.run([sleeping(0)])
    crew.close()
    deadline = time.monotonic() + 5
    while site.one("select count(*) from pg_stat_activity where application_name = 'ops/r1/load'"):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_under_a_patched_standard_library_the_other_greenlets_go_on(site):
    given = {
        "port": site.target.port,
        "database": site.target.database,
        "user": site.target.user,
        "password": site.target.password.reveal(),
        "archive": str(site.archive.path),
    }
    answer = subprocess.run(
        [sys.executable, "-c", _UNDER_PYINFRA],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=60,
        cwd=Path(__file__).parents[3],
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    said = json.loads(answer.stdout)
    assert (said["rows"], said["schema"]) == (200, "before_r1")
    assert said["longest"] < 1
    assert "Traceback" not in answer.stderr
