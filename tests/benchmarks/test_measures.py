"""What figures are measured with: the command line, the schema, the slow line, the page."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from benchmarks import __main__ as command
from benchmarks import machine, report, schema
from benchmarks.figures import Bound, counted
from benchmarks.proxy import SlowLine


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["swap"], "no figure is called swap; there are swap-locks"),
        (["--pairs", "4"], "fewer than 5 pairs say nothing"),
        (["--write", "load"], "--write goes with all figures"),
    ],
)
def test_wrong_arguments_are_refused_in_a_sentence(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(arguments)
    assert ended.value.code == 2
    assert sentence in capsys.readouterr().err


def test_each_figure_says_what_it_measures() -> None:
    figure = counted("swap-locks", Bound(at_most=100, unit="ms"), 40, "32 exchanges")
    page = report.page([figure], command.FIGURES, "18.6")
    for name, measure in command.FIGURES.items():
        assert f"### {name}\n\n{(measure.__doc__ or '').splitlines()[0]}" in page
    assert "swap-locks        40 ms        at most 100 ms       ok\n" in page
    assert "- `swap-locks`: 32 exchanges" in page
    assert "PostgreSQL 18.6, Python 3." in page


def test_a_machine_with_more_to_do_than_processors_is_busy() -> None:
    spin = [sys.executable, "-c", "while True: pass"]
    spinning = [subprocess.Popen(spin) for _ in range(2 * machine.processors())]
    try:
        with machine.Pressure() as pressure:
            time.sleep(1)
    finally:
        for process in spinning:
            process.kill()
            process.wait()
    assert pressure.busy


def test_the_schema_is_as_large_as_the_application_s() -> None:
    kinds = Counter(" ".join(text.split()[:2]) for text in schema.statements(10_000))
    text = "\n".join(schema.statements(10_000))
    assert kinds["CREATE TABLE"] == 66
    assert kinds["CREATE INDEX"] == 134
    assert text.count("PRIMARY KEY") == 66
    assert text.count("UNIQUE") == 44
    assert text.count("FOREIGN KEY") == 84
    assert text.count("CHECK") == 7
    assert text.count("AS IDENTITY") == 57
    assert kinds["CREATE VIEW"] == 5
    assert abs(sum(table.rows for table in schema.tables(10_000)) - 10_000) < 66
    assert sum(table.rows == 0 for table in schema.tables(10_000)) == 11


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server that sends back what it gets."""

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(client,), daemon=True).start()

    def answer(client: socket.socket) -> None:
        with client:
            while piece := client.recv(65536):
                client.sendall(piece)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def test_the_slow_line_delays_both_ways_and_changes_nothing(echo: int) -> None:
    with SlowLine(echo, 20) as line, socket.create_connection(("127.0.0.1", line.port)) as client:
        times = []
        for _ in range(5):
            began = time.monotonic()
            client.sendall(b"?")
            assert client.recv(1) == b"?"
            times.append(time.monotonic() - began)
        assert min(times) >= 0.040

        sent = bytes(range(256)) * 8192
        threading.Thread(target=client.sendall, args=(sent,), daemon=True).start()
        got = b""
        while len(got) < len(sent):
            got += client.recv(1 << 20)
        assert got == sent
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""
