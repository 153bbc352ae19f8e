"""The reader against pg_dump's own programs: every version's layout, every entry, every row."""

from __future__ import annotations

import re
import subprocess
from datetime import datetime, timedelta

import pytest

from tasks.core.errors import OpsError, Refused
from tasks.postgres.archive import Archive, Section, UnsupportedArchive, check


def read(archive, entry):
    return b"".join(archive.copy_text(entry))


def copied(connection, statement):
    with connection.cursor().copy(statement) as copy:
        return b"".join(copy)


def listed(server, path):
    """`pg_restore -l` as (dump id, rest of the line)."""
    lines = server.run("pg_restore", "-l", "-C", str(path)).stdout.splitlines()
    return [
        (int(number), rest) for line in lines for number, rest in re.findall(r"^(\d+); \d+ \d+ (.*)", line)
    ]


def as_listed(entry):
    name = re.sub(r"[\n\r]", " ", entry.name)
    return entry.dump_id, f"{entry.kind} {entry.schema or '-'} {name} {entry.owner}"


def no_progress(done, total):
    pass


def test_header_says_who_made_it_and_when(each_trap):
    header = Archive.open(each_trap.dump).header
    assert header.version == ((1, 16) if each_trap.server.version >= 17 else (1, 14))
    assert header.compression == "gzip"
    assert header.database == each_trap.database.name
    assert header.server_version.split(".")[0] == str(each_trap.server.version)
    assert header.dump_version.split(".")[0] == str(each_trap.server.version)
    assert abs(datetime.now() - header.created_at) < timedelta(hours=1)


def test_entries_are_those_of_pg_restore(each_trap):
    archive = Archive.open(each_trap.dump)
    expected = [(number, rest.rstrip()) for number, rest in listed(each_trap.server, each_trap.dump)]
    settings = ("ENCODING", "STDSTRINGS", "SEARCHPATH")
    found = [
        (number, line.rstrip())
        for number, line in (as_listed(entry) for entry in archive.entries if entry.kind not in settings)
    ]
    assert found == [line for line in expected if not line[1].startswith(settings)]
    assert len(found) > 100


def test_rows_are_those_of_copy(each_trap):
    archive = Archive.open(each_trap.dump)
    with each_trap.database.connect() as connection:
        for entry in archive.table_data():
            if entry.schema == "public":
                wanted = copied(connection, entry.copy_statement.replace("FROM stdin;", "TO STDOUT"))
                assert read(archive, entry) == wanted, entry.name


def test_check_counts_every_row_exactly(each_trap):
    archive = Archive.open(each_trap.dump)
    contents = check(archive, progress=no_progress, stop=lambda: False)
    with each_trap.database.connect() as connection:
        for entry in archive.table_data():
            if entry.schema == "public":
                name = '"' + entry.name.replace('"', '""') + '"'
                (count,) = connection.execute(f"SELECT count(*) FROM ONLY {name}").fetchone()
                assert contents.rows[entry.dump_id] == count, entry.name
                assert contents.text_bytes[entry.dump_id] == len(read(archive, entry))
    assert sum(contents.rows.values()) > 3900
    digest = subprocess.run(["sha256sum", each_trap.dump], capture_output=True, text=True, check=True).stdout
    assert contents.sha256 == digest.split()[0]
    assert contents.bytes == each_trap.dump.stat().st_size


@pytest.mark.parametrize("version", [(1, 12), (1, 13), (1, 14), (1, 15), (1, 16)])
@pytest.mark.parametrize("int_bytes", [4, 8])
def test_older_versions_are_read_as_pg_restore_reads_them(trap, as_version, tmp_path, version, int_bytes):
    path = tmp_path / "older.dump"
    path.write_bytes(as_version(trap.dump.read_bytes(), version, int_bytes))
    older, newest = Archive.open(path), Archive.open(trap.dump)
    assert older.header.version == version
    assert listed(trap.server, path) == listed(trap.server, trap.dump)
    assert [as_listed(entry) for entry in older.entries] == [as_listed(entry) for entry in newest.entries]
    assert [entry.dependencies for entry in older.entries] == [entry.dependencies for entry in newest.entries]
    checked = check(older, progress=no_progress, stop=lambda: False)
    assert checked.rows == check(newest, progress=no_progress, stop=lambda: False).rows
    for entry in newest.table_data():
        assert read(older, older.entry(entry.dump_id)) == read(newest, entry)


def test_archive_written_to_a_pipe_has_no_offsets_and_is_read_all_the_same(trap, tmp_path):
    path = tmp_path / "piped.dump"
    with path.open("wb") as file:
        dumping = subprocess.Popen(
            [trap.server.bin / "pg_dump", "-Fc", "-d", trap.database.superuser_conninfo],
            stdout=subprocess.PIPE,
        )
        for piece in iter(lambda: dumping.stdout.read(1 << 16), b""):
            file.write(piece)
        assert dumping.wait() == 0
    piped, seekable = Archive.open(path), Archive.open(trap.dump)
    assert all(entry.offset is None for entry in piped.table_data())
    assert all(entry.offset is not None for entry in seekable.table_data())
    for entry in reversed(piped.table_data()):
        assert read(piped, entry) == read(seekable, seekable.entry(entry.dump_id))
    assert sum(check(piped, progress=no_progress, stop=lambda: False).rows.values()) > 3900


@pytest.mark.parametrize("compression", ["lz4", "zstd"])
def test_other_compressions_give_the_same_rows(trap, as_version, tmp_path, compression):
    path = tmp_path / "other.dump"
    path.write_bytes(as_version(trap.dump.read_bytes(), (1, 16), compression=compression))
    other, gzip = Archive.open(path), Archive.open(trap.dump)
    assert other.header.compression == compression
    found, wanted = (check(one, progress=no_progress, stop=lambda: False) for one in (other, gzip))
    assert (found.rows, found.text_bytes) == (wanted.rows, wanted.text_bytes)
    for entry in gzip.table_data():
        assert read(other, other.entry(entry.dump_id)) == read(gzip, entry)


def test_archive_without_compression(each_trap, tmp_path):
    plain = Archive.open(each_trap.server.dump(each_trap.database, tmp_path / "plain.dump", "-Z0"))
    packed = Archive.open(each_trap.dump)
    assert plain.header.compression == "none"
    rows = check(plain, progress=no_progress, stop=lambda: False).rows
    assert rows == check(packed, progress=no_progress, stop=lambda: False).rows
    for entry in packed.table_data():
        assert read(plain, plain.entry(entry.dump_id)) == read(packed, entry)


def test_rows_longer_than_any_buffer(server, database, tmp_path):
    with database.connect() as connection:
        connection.execute("CREATE TABLE long (t text)")
        connection.execute(
            "INSERT INTO long SELECT repeat(chr(10) || md5(n::text), 200000) FROM generate_series(1, 3) n"
        )
        wanted = copied(connection, "COPY long TO STDOUT")
    for options in ([], ["-Z0"], ["-Z9"]):
        archive = Archive.open(server.dump(database, tmp_path / "long.dump", *options))
        [entry] = archive.table_data()
        pieces = list(archive.copy_text(entry))
        assert b"".join(pieces) == wanted
        assert check(archive, progress=no_progress, stop=lambda: False).rows == {entry.dump_id: 3}


def test_large_objects_are_counted(each_trap, tmp_path):
    database = each_trap.server.create_database()
    with database.connect() as connection:
        for number in range(3):
            connection.execute("SELECT lo_from_bytea(0, %s)", [bytes(number * 100_000)])
        connection.execute("CREATE TABLE t (id integer)")
    archive = Archive.open(each_trap.server.dump(database, tmp_path / "objects.dump"))
    assert check(archive, progress=no_progress, stop=lambda: False).large_objects == 3


def test_sections_come_in_order_and_hold_everything(trap):
    archive = Archive.open(trap.dump)
    by_section = [entry for section in Section for entry in archive.entries_in(section)]
    assert sorted(entry.dump_id for entry in by_section) == sorted(entry.dump_id for entry in archive.entries)
    assert {entry.kind for entry in archive.entries_in("post-data")} >= {"INDEX", "FK CONSTRAINT", "TRIGGER"}
    assert {entry.kind for entry in archive.entries_in("data")} == {"TABLE DATA", "SEQUENCE SET"}


def test_other_encoding(server, database, tmp_path):
    with database.connect() as connection:
        connection.execute('CREATE TABLE "é" (t text); INSERT INTO "é" VALUES (\'é\')')
    archive = Archive.open(server.dump(database, tmp_path / "latin.dump", "--encoding=LATIN1"))
    [entry] = archive.table_data()
    assert archive.encoding == "LATIN1"
    assert entry.name == "é"
    assert read(archive, entry) == "é\n".encode("latin1")


def test_refuses_rows_as_inserts(trap, tmp_path):
    archive = Archive.open(trap.server.dump(trap.database, tmp_path / "inserts.dump", "--inserts"))
    entry = archive.table_data()[0]
    with pytest.raises(UnsupportedArchive, match="INSERT statements"):
        read(archive, entry)
    with pytest.raises(UnsupportedArchive, match="INSERT statements"):
        check(archive, progress=no_progress, stop=lambda: False)


@pytest.mark.parametrize(("byte", "value", "sentence"), [
    (5, 2, "archive version 2.16"),
    (6, 11, "archive version 1.11"),
    (6, 17, "archive version 1.17"),
    (8, 0, "numbers are said to have 0 bytes"),
    (9, 99, "offsets are said to have 99 bytes"),
    (10, 3, "tar or directory format, alone"),
    (10, 9, "archive format is said to be number 9"),
    (11, 4, "compression is said to be number 4"),
])  # fmt: skip
def test_refuses_a_header_by_name(trap, tmp_path, byte, value, sentence):
    content = bytearray(trap.dump.read_bytes())
    content[byte] = value
    path = tmp_path / "other.dump"
    path.write_bytes(content)
    with pytest.raises(Refused, match=re.escape(sentence)):
        Archive.open(path)


def test_missing_file_is_a_sentence(tmp_path):
    with pytest.raises(OpsError, match="No such file"):
        Archive.open(tmp_path / "none.dump")
