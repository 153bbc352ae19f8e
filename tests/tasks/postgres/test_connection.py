from __future__ import annotations

import socket
import struct
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psycopg
import pytest

from tasks.core.errors import NotConfigured, Unreachable
from tasks.core.secrets import Secret
from tasks.postgres.connection import (
    Target,
    application_name,
    check_not_pooled,
    check_run,
    connect,
    explained,
)


def test_a_session_says_who_it_is_and_has_limits(site):
    with connect(site.target, "r1", "stage") as connection:
        check_not_pooled(connection)
        assert connection.execute("show application_name").fetchone() == ("ops/r1/stage",)
        assert connection.execute("show search_path").fetchone() == ("",)
        for limit in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
            assert connection.execute(f"show {limit}").fetchone() != ("0",)


def test_a_reading_session_can_not_write(site):
    with connect(site.target, "r1", "facts", read_only=True) as connection:
        assert connection.execute("show application_name").fetchone() == ("ops/r1/read facts",)
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            connection.execute("create table public.t(id int)")


@pytest.mark.parametrize(
    ("change", "kind", "sentence"),
    [
        ({"password": Secret("DB", "not-the-password")}, NotConfigured, "the password is wrong"),
        ({"database": "no_such"}, NotConfigured, "there is no such database or role"),
        ({"port": 1}, Unreachable, "Connection refused"),
    ],
)
def test_what_can_not_be_reached_is_one_sentence(site, change, kind, sentence):
    with pytest.raises(kind, match=sentence) as caught:
        connect(replace(site.target, **change), "r1")
    assert "not-the-password" not in str(caught.value)
    assert "Traceback" not in str(caught.value)
    assert caught.value.state
    assert caught.value.next_step


@pytest.mark.parametrize("doing", ["starting up", "shutting down", "in recovery mode"])
def test_a_server_that_lets_nobody_in_yet_says_what_is_true_and_what_to_do(doing):
    with ThreadPoolExecutor(1) as pool, socket.create_server(("127.0.0.1", 0)) as listening:
        pool.submit(refuse_all, listening, f"the database system is {doing}")
        target = Target(
            "127.0.0.1", listening.getsockname()[1], "demo", "demo", Secret("DB", "not-the-password")
        )
        with pytest.raises(Unreachable) as caught:
            connect(target, "r1")
    assert str(caught.value).splitlines() == [
        f"Connecting to the database demo as demo at 127.0.0.1:{target.port}: the database system is {doing}",
        "Now: the server is there and lets nobody in just now; nothing was sent to the database",
        "Next: wait a minute, then run the same command again; if it stays so, look at the database "
        "in the platform's dashboard, or write to its support",
    ]


def refuse_all(listening, sentence):
    """Answer one connection as PostgreSQL does while it can't serve; its own such moments are too short."""
    ours, _ = listening.accept()
    with ours:
        while True:
            length, code = struct.unpack("!II", ours.recv(8, socket.MSG_WAITALL))
            if code == 196608:  # the start-up message itself; before it come the requests for encryption
                ours.recv(length - 8, socket.MSG_WAITALL)
                break
            ours.sendall(b"N")
        fields = b"".join(
            name + value.encode() + b"\0"
            for name, value in ((b"S", "FATAL"), (b"V", "FATAL"), (b"C", "57P03"), (b"M", sentence))
        )
        ours.sendall(b"E" + struct.pack("!I", len(fields) + 5) + fields + b"\0")


def test_a_cut_connection_is_told_from_other_errors(site, wire):
    with connect(replace(site.target, port=wire.port), "r1") as connection:
        wire.cut()
        with pytest.raises(Unreachable, match="the connection to the database was cut"), explained("Trying"):
            connection.execute("select 1")


def test_names_fit_what_the_server_keeps():
    assert len(application_name("r" * 48, "lock somebody@a-machine-with-a-long-name")) == 63
    for bad in ("", "a/b", "x" * 49, "a b", "-a"):
        with pytest.raises(ValueError, match="a run's id"):
            check_run(bad)
