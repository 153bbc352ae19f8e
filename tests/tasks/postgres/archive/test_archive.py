from __future__ import annotations

from tasks.postgres.archive import Archive


def copied(connection, statement):
    with connection.cursor().copy(statement) as copy:
        return b"".join(copy)


def test_reads_header_entries_and_rows(server, database, tmp_path):
    with database.connect() as connection:
        connection.execute("CREATE TABLE t (id int primary key, label text)")
        connection.execute(
            "INSERT INTO t SELECT n, repeat('é' || chr(9) || chr(10) || chr(92), n % 50) "
            "FROM generate_series(1, 20000) n"
        )
        rows = copied(connection, "COPY t TO STDOUT")
    archive = Archive.open(server.dump(database, tmp_path / "a.dump"))
    assert archive.header.version == (1, 16)
    [entry] = archive.table_data()
    assert b"".join(archive.copy_text(entry)) == rows
