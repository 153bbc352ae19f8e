"""Children that end with us, seen from outside: real programs, real signals, with and without gevent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tasks.core.errors import NotConfigured, OpsError, Unreachable
from tasks.core.process import Child, environment, run

PATCH = "from gevent import monkey; monkey.patch_all()\n"

Python = Callable[[str], "subprocess.Popen[str]"]


@pytest.fixture(params=["plain", "gevent"])
def python(request: pytest.FixtureRequest) -> Iterator[Python]:
    """Start a Python program that uses the module, in a session of its own, patched by gevent or not."""
    started: list[subprocess.Popen[str]] = []

    def start(code: str) -> subprocess.Popen[str]:
        source = (PATCH if request.param == "gevent" else "") + textwrap.dedent(code)
        argv = [sys.executable, "-c", source]
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, start_new_session=True)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def told(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 0, output
    return output.strip()


def alive(pid: int) -> bool:
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout
    return state.strip()[:1] not in ("", "Z")


def gone(pids: list[int], within: float = 5) -> bool:
    deadline = time.monotonic() + within
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not any(map(alive, pids))


def test_streams_are_kept_apart_and_whole(python: Python) -> None:
    process = python(
        """
        from tasks.core.process import run
        done = run(["sh", "-c", "cat; printf 'on the other' >&2; exit 3"], input="é\\n" * 200_000)
        print(done.code, len(done.stdout), done.stdout == "é\\n" * 200_000, done.stderr)
        """
    )
    assert told(process) == "3 400000 True on the other"


def test_lines_arrive_as_they_are_written(python: Python) -> None:
    process = python(
        """
        import time
        from tasks.core.process import Child
        delays = []
        child = Child.start(["sh", "-c", "for i in 1 2 3 4 5; do date +%s.%N; sleep 0.1; done"])
        for stream, text in child.lines():
            delays.append(time.time() - float(text))
        print(len(delays), child.wait(), sorted(delays)[2])
        """
    )
    count, code, middle = told(process).split()
    assert (count, code) == ("5", "0")
    assert float(middle) < 0.05


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_whatever_ends_us_ends_the_whole_group(python: Python, end: signal.Signals) -> None:
    process = python(
        """
        from tasks.core.process import Child
        child = Child.start(["sh", "-c", "sleep 300 & echo $$ $!; wait"])
        print(next(child.lines())[1], child.pid, flush=True)
        child.wait()
        """
    )
    assert process.stdout is not None
    pids = [int(pid) for pid in process.stdout.readline().split()]
    assert len(pids) == 3 and all(map(alive, pids))
    process.send_signal(end)
    process.wait()
    assert gone(pids)


def test_ctrl_c_at_the_terminal_does_not_reach_it(python: Python) -> None:
    process = python(
        """
        import os, signal
        from tasks.core.process import Child
        signal.signal(signal.SIGINT, lambda *_: None)
        child = Child.start(["sh", "-c", "echo ready; sleep 0.3; echo through"])
        lines = child.lines()
        next(lines)
        os.killpg(0, signal.SIGINT)
        print(next(lines)[1], child.wait())
        """
    )
    assert told(process) == "through 0"


def test_other_greenlets_run_while_one_waits() -> None:
    code = PATCH + textwrap.dedent(
        """
        import gevent, time
        from tasks.core.process import run
        worst = 0.0
        def tick():
            global worst
            while True:
                before = time.monotonic()
                gevent.sleep(0.02)
                worst = max(worst, time.monotonic() - before - 0.02)
        gevent.spawn(tick)
        run(["sh", "-c", "for i in 1 2 3 4 5 6 7 8 9 10; do echo $i; sleep 0.05; done"])
        print(worst)
        """
    )
    done = run([sys.executable, "-c", code], timeout=30)
    assert done.code == 0, done.stderr
    assert float(done.stdout) < 0.2


def test_works_in_a_native_thread_of_gevent(python: Python) -> None:
    process = python(
        """
        from gevent.threadpool import ThreadPoolExecutor
        from tasks.core.process import run
        with ThreadPoolExecutor(2) as pool:
            jobs = [pool.submit(run, ["sh", "-c", f"sleep 0.2; exit {code}"]) for code in (4, 5)]
            print([job.result().code for job in jobs])
        """
    )
    assert told(process) == "[4, 5]"


def test_stop_ends_a_group_that_ignores_sigterm() -> None:
    script = "trap '' TERM; sleep 300 & echo $$ $!; wait; sleep 300"
    child = Child.start(["sh", "-c", script], grace=0.2)
    pids = [int(pid) for pid in next(child.lines())[1].split()]
    assert child.running
    assert child.stop() == -signal.SIGKILL
    assert not child.running
    assert gone(pids)
    assert child.stop() == -signal.SIGKILL  # and again, harmlessly


def test_what_the_program_leaves_in_its_group_ends_with_it() -> None:
    child = Child.start(["sh", "-c", "sleep 300 & echo $!"])
    [(_, left)] = list(child.lines())
    assert child.wait() == 0
    assert gone([int(left)])


def test_a_descendant_that_left_the_group_does_not_keep_us_waiting() -> None:
    script = "import os, time\nif os.fork() == 0:\n os.setsid()\n time.sleep(3)\nprint('said', flush=True)"
    before = time.monotonic()
    assert run([sys.executable, "-c", script]).stdout == "said\n"
    assert time.monotonic() - before < 2


def test_wait_can_be_stopped_by_a_question() -> None:
    deadline = time.monotonic() + 0.3
    child = Child.start(["sleep", "300"])
    assert child.wait(stop=lambda: time.monotonic() > deadline) == -signal.SIGTERM


def test_wait_gives_up_in_time_and_leaves_it_at_work() -> None:
    with Child.start(["sleep", "300"]) as child:
        with pytest.raises(TimeoutError, match="sleep is still running"):
            child.wait(0.1)
        assert child.running
    assert not child.running


def test_on_line_gets_progress_written_with_carriage_returns() -> None:
    seen: list[tuple[str, str]] = []
    child = Child.start(
        ["printf", r"1%%\r2%%\r\nwhole\nlast without end"],
        on_line=lambda stream, text: seen.append((stream, text)),
    )
    assert child.wait() == 0
    assert [text for _, text in seen] == ["1%", "2%", "whole", "last without end"]


def test_run_ends_what_takes_too_long() -> None:
    with pytest.raises(Unreachable, match=r"Running sh: it did not end within 0\.2 s"):
        run(["sh", "-c", "sleep 300"], timeout=0.2)


def test_missing_program_is_named() -> None:
    with pytest.raises(NotConfigured, match="Running pg_restore_19: this program is not installed"):
        run(["pg_restore_19"])


def test_missing_folder_is_named(tmp_path: Path) -> None:
    done = run(["true"], cwd=tmp_path / "nowhere")
    assert done.code == 126
    assert "nowhere: No such file or directory" in done.stderr


def test_too_long_arguments_are_an_error_in_words() -> None:
    with pytest.raises(OpsError, match="Starting echo: Argument list too long"):
        run(["echo", "x" * 10_000_000])


def test_environment_is_changed_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", "/somewhere")
    changes = {"GIT_DIR": None, "PGPASSWORD": "swordfish"}
    assert "GIT_DIR" not in environment(changes)
    assert run(["sh", "-c", "echo $GIT_DIR-$PGPASSWORD"], env=changes).stdout == "-swordfish\n"


def test_nothing_is_left_open() -> None:
    run(["true"])
    before = sorted(Path("/dev/fd").iterdir())
    guards = []
    for _ in range(5):
        run(["cat"], input="x")
        with Child.start(["sleep", "300"]) as child:
            guards.append(child.pid)
        with pytest.raises(OpsError):
            run(["echo", "x" * 10_000_000], input="x")
    assert sorted(Path("/dev/fd").iterdir()) == before
    for guard in guards:
        with pytest.raises(ChildProcessError):
            os.waitpid(guard, os.WNOHANG)
