from __future__ import annotations

from dataclasses import replace

import psycopg
import pytest

from tasks.core.errors import NotConfigured, Unreachable
from tasks.core.secrets import Secret
from tasks.postgres.connection import application_name, check_not_pooled, check_run, connect, explained


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
    assert caught.value.next_step


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
