"""Rows read from the archive without a server: values as the server has them, migrations in their order."""

from __future__ import annotations

import pytest

from tasks.postgres.archive import Archive, DamagedArchive, applied, copytext


def test_migrations_of_an_archive(each_trap):
    assert applied(Archive.open(each_trap.dump)) == [
        ("core", "0001_initial"), ("core", "0002_back\\slash"), ("auth", "0001_initial"),
    ]  # fmt: skip


def test_none_without_the_table(server, database, tmp_path):
    with database.connect() as connection:
        connection.execute("CREATE SCHEMA other; CREATE TABLE other.django_migrations (app text, name text)")
    archive = Archive.open(server.dump(database, tmp_path / "other.dump"))
    assert applied(archive) is None
    assert applied(archive, "other") == []


def test_another_table_of_that_name_is_said(server, database, tmp_path):
    with database.connect() as connection:
        connection.execute("CREATE TABLE django_migrations (id integer)")
    with pytest.raises(DamagedArchive, match="no columns app and name"):
        applied(Archive.open(server.dump(database, tmp_path / "other.dump")))


def test_values_are_those_of_the_server(each_trap):
    archive = Archive.open(each_trap.dump)
    with each_trap.database.connect() as connection:
        for entry in archive.table_data():
            if entry.schema != "public" or not (names := copytext.columns(entry)):
                continue
            listed = ", ".join('"' + name.replace('"', '""') + '"::text' for name in names)
            table = '"' + entry.name.replace('"', '""') + '"'
            wanted = connection.execute(f"SELECT {listed} FROM ONLY {table}").fetchall()
            found = [
                tuple(None if value is None else value.decode() for value in row)
                for row in copytext.rows(archive.copy_text(entry))
            ]
            assert found == wanted, entry.name


def test_rows_do_not_depend_on_where_pieces_end():
    text = "a\\tb\t\\N\t\n\\\\N\t\\n\\r\\b\\f\\v\t\\x41\\101é\n".encode()
    wanted = [(b"a\tb", None, b""), (b"\\N", b"\n\r\b\f\v", "AAé".encode())]
    assert list(copytext.rows([text])) == wanted
    assert list(copytext.rows([text[place : place + 1] for place in range(len(text))])) == wanted
