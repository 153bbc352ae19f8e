"""What platforms hand out, and what else somebody may pass: each recognised by content, in one sentence."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import stat
import subprocess
import sys
import tarfile
import tracemalloc
import zipfile

import pytest

from tasks.core.errors import Interrupted, OpsError, Refused
from tasks.postgres.archive import (
    Archive,
    DamagedArchive,
    UnsupportedArchive,
    check,
    open_backup,
    open_checked,
)


def quiet(**options):
    return {"progress": lambda done, total: None, "stop": lambda: False, **options}


def left_in(folder):
    return [path.name for path in folder.iterdir()] if folder.exists() else []


def tar_of(members, mode="w:gz", form=tarfile.GNU_FORMAT):
    """A tar of (name, content) or of TarInfo objects."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode, format=form) as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member, io.BytesIO(bytes(member.size)))
            else:
                name, content = member
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def folder_member(name):
    info = tarfile.TarInfo(name)
    info.type = tarfile.DIRTYPE
    return info


def special(name, kind, link=""):
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = link
    return info


@pytest.fixture
def dump(trap):
    return trap.dump.read_bytes()


@pytest.fixture
def given(tmp_path):
    def write(content, name="backup"):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache" / "unpacked"


CONTAINERS = {
    "tar.gz with a folder, as Scalingo's": lambda dump: tar_of(
        [folder_member("20240101"), ("20240101/20240101_app.pgsql", dump)]
    ),
    "tar.gz of the pax form": lambda dump: tar_of([("é" * 120 + "/x" * 90, dump)], form=tarfile.PAX_FORMAT),
    "tar.gz of the old form": lambda dump: tar_of([("x", dump)], form=tarfile.USTAR_FORMAT),
    "tar.gz with a note beside it": lambda dump: tar_of([("README", b"hello"), ("x", dump), ("z", b"")]),
    "tar": lambda dump: tar_of([("x", dump)], mode="w"),
    "gz": lambda dump: gzip.compress(dump),
    "gz of several members": lambda dump: gzip.compress(dump[:5000]) + gzip.compress(dump[5000:]),
    "gz with padding": lambda dump: gzip.compress(dump) + bytes(1000),
}


@pytest.mark.parametrize("container", CONTAINERS)
def test_the_one_archive_comes_out_whole(trap, dump, given, folder, container):
    path = given(CONTAINERS[container](dump))
    seen = []
    unpacked = open_backup(path, folder, **quiet(progress=lambda done, total: seen.append((done, total))))
    assert unpacked == folder / "archive.dump"
    assert unpacked.read_bytes() == dump
    assert stat.S_IMODE(unpacked.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert seen[-1] == (path.stat().st_size, path.stat().st_size)
    archive, contents = open_checked(path, folder, **quiet())
    assert contents == check(Archive.open(trap.dump), **quiet())
    assert archive.path.read_bytes() == dump
    assert archive.entries == Archive.open(trap.dump).entries
    assert left_in(folder) == ["archive.dump"]


def test_bare_archive_is_used_where_it_is(trap, folder):
    assert open_backup(trap.dump, folder, **quiet()) == trap.dump
    archive, contents = open_checked(trap.dump, folder, **quiet())
    assert archive.path == trap.dump
    assert contents == check(archive, **quiet())
    assert not folder.exists()


def zipped():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("x", "x")
    return out.getvalue()


OTHERS = {
    "empty": (b"", "the file is empty"),
    "zeroes": (bytes(5000), "zero bytes only"),
    "plain SQL": (b"--\n-- PostgreSQL database dump\n--\n\nSET x", "not supported: plain SQL"),
    "plain SQL, gzipped": (gzip.compress(b"--\n-- PostgreSQL database dump\n"), "not supported: plain SQL"),
    "plain SQL, in a tar.gz": (tar_of([("dump.sql", b"--\n-- PostgreSQL")]), "not supported: plain SQL"),
    "a page": (b"<!DOCTYPE html><html><body>502", "a page of HTML"),
    "an expired link": (b'<?xml version="1.0"?><Error><Code>AccessDenied', "an answer in XML"),
    "a refusal": (b'{"error": "unauthorized"}', "an answer in JSON"),
    "zip": (zipped(), "a ZIP file"),
    "xz": (lzma.compress(b"x"), "an XZ file"),
    "bzip2": (bz2.compress(b"x"), "a BZIP2 file"),
    "sqlite": (b"SQLite format 3\x00" + bytes(600), "an SQLite database"),
    "noise": (random.Random(1).randbytes(3000), "neither PGDMP nor gzip nor tar"),
    "a few letters": (b"PGD", "neither PGDMP nor gzip nor tar"),
    "gzip twice": (gzip.compress(gzip.compress(b"x")), "a gzip file within a gzip file"),
    "empty gzip": (gzip.compress(b""), "the file is empty"),
    "empty tar": (tar_of([]), "zero bytes only"),
    "a tar of folders": (tar_of([folder_member("a")]), "it holds no file"),
    "a tar of others": (tar_of([("a", b"x"), ("b", b"y")]), "no archive of pg_dump is in it, only a, b"),
    "a tar of a picture": (tar_of([("dir/a.zip", zipped())]), "Reading dir/a.zip: it is a ZIP file"),
}


@pytest.mark.parametrize("what", OTHERS)
def test_anything_else_is_named(given, folder, what):
    content, sentence = OTHERS[what]
    with pytest.raises(UnsupportedArchive) as caught:
        open_backup(given(content), folder, **quiet())
    assert sentence in str(caught.value)
    assert caught.value.next_step
    assert not left_in(folder)


HOSTILE = {
    "an absolute name": [("/etc/passwd", b"x")],
    "leads out of it": [("a/../../x", b"x")],
    "a link (l)": [special("l", tarfile.SYMTYPE, "/etc/passwd")],
    "a link (h)": [special("h", tarfile.LNKTYPE, "x")],
    "neither a file nor a folder (d)": [special("d", tarfile.CHRTYPE)],
    "neither a file nor a folder (f)": [special("f", tarfile.FIFOTYPE)],
}


@pytest.mark.parametrize("problem", HOSTILE)
@pytest.mark.parametrize("first", [True, False])
def test_hostile_members_are_refused_and_nothing_stays(dump, given, folder, problem, first):
    members = [*HOSTILE[problem], ("x", dump)] if first else [("x", dump), *HOSTILE[problem]]
    for opened in (open_backup, open_checked):
        with pytest.raises(Refused) as caught:
            opened(given(tar_of(members)), folder, **quiet())
        assert problem in str(caught.value)
        assert not left_in(folder)


def test_two_archives_are_refused(dump, given, folder):
    with pytest.raises(Refused, match="more than one archive: a and b"):
        open_backup(given(tar_of([("a", dump), ("b", dump)])), folder, **quiet())
    assert not left_in(folder)


def test_member_names_do_not_reach_the_terminal_raw(given, folder):
    with pytest.raises(Refused) as caught:
        open_backup(given(tar_of([("/\x1b[2J", b"x")])), folder, **quiet())
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("content", [
    lambda: tar_of([("x", b"PGDMP" + bytes(50 << 20))]),
    lambda: gzip.compress(b"PGDMP\x01\x10\x00\x04\x08\x01\x01" + bytes(50 << 20)),
    lambda: tar_of([("zeroes", bytes(50 << 20)), ("x", b"PGDMP")]),
], ids=["in a tar", "bare", "beside"])  # fmt: skip
def test_a_bomb_is_refused_at_the_declared_limit(given, folder, content):
    with pytest.raises(Refused):
        open_backup(given(content()), folder, **quiet(largest=1 << 20))
    assert not left_in(folder)


def test_larger_than_the_declared_limit_is_said(dump, given, folder):
    with pytest.raises(Refused, match="more than 20000 bytes, the declared limit"):
        open_backup(given(tar_of([("x", dump)])), folder, **quiet(largest=20_000))


def test_a_tar_header_that_would_fill_the_memory_is_damage(given, folder):
    huge = tarfile.TarInfo("x")
    huge.type = tarfile.XHDTYPE
    huge.size = 40 << 20
    path = given(tar_of([huge]))
    tracemalloc.start()
    with pytest.raises(DamagedArchive, match="the tar file is cut or damaged"):
        open_backup(path, folder, **quiet())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 << 20


def test_the_checksum_after_a_tars_padding_is_looked_at(dump, given, folder):
    packed = bytearray(gzip.compress(tar_of([("x", dump)], mode="w") + bytes(4 << 20)))
    open_backup(given(packed), folder, **quiet()).unlink()
    packed[-6] ^= 1
    with pytest.raises(DamagedArchive, match="do not match their checksum"):
        open_backup(given(packed), folder, **quiet())
    assert not left_in(folder)


@pytest.mark.parametrize("container", ["tar.gz with a folder, as Scalingo's", "gz", "tar"])
def test_truncated_downloads_are_said(dump, given, folder, container):
    whole = CONTAINERS[container](dump)
    end = len(dump) + 512 if container == "tar" else len(whole)
    for place in range(1, end, end // 25):
        with pytest.raises((DamagedArchive, UnsupportedArchive)):
            open_checked(given(whole[:place]), folder, **quiet())
        assert not left_in(folder)


def test_a_cut_gzip_says_where(dump, given, folder):
    with pytest.raises(DamagedArchive, match=r"it is cut: the file ends at byte 20000"):
        open_backup(given(gzip.compress(dump)[:20_000]), folder, **quiet())


def test_flipped_bits_in_the_download_are_found(dump, given, folder):
    whole = CONTAINERS["tar.gz with a folder, as Scalingo's"](dump)
    chance = random.Random(11)
    found = 0
    for _ in range(120):
        flipped = bytearray(whole)
        flipped[chance.randrange(10, len(whole))] ^= 1 << chance.randrange(8)
        try:
            archive, _ = open_checked(given(flipped), folder, **quiet())
        except OpsError:
            found += 1
        else:
            assert archive.path.read_bytes() == dump
    assert found > 110


def test_stopping_leaves_nothing(dump, given, folder):
    path = given(tar_of([("x", dump + random.Random(2).randbytes(60 << 20))], "w"))
    with pytest.raises(Interrupted, match="stopped on request"):
        open_backup(path, folder, **quiet(stop=lambda: True))
    assert not left_in(folder)


def test_a_folder_that_cannot_be_written_is_a_sentence(dump, given, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OpsError, match="Not a directory"):
        open_backup(given(tar_of([("x", dump)])), tmp_path / "file" / "folder", **quiet())


TICKING = """
from gevent import monkey; monkey.patch_all()
import sys, time, gevent
from pathlib import Path
from tasks.postgres.archive import open_checked
longest, last, running = 0.0, time.perf_counter(), True
def tick():
    global longest, last
    while running:
        gevent.sleep(0.01)
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
ticker = gevent.spawn(tick)
gevent.sleep(0.05); longest = 0.0
seen = []
began = time.perf_counter()
archive, contents = open_checked(
    Path(sys.argv[1]), Path(sys.argv[2]), progress=lambda done, total: seen.append(done), stop=lambda: False)
running = False
print(len(seen), longest, time.perf_counter() - began, sum(contents.rows.values()))
"""


def test_other_greenlets_go_on_under_pyinfra(server, database, given, folder, tmp_path):
    with database.connect() as connection:
        connection.execute("CREATE TABLE t AS SELECT n, md5(n::text) AS m FROM generate_series(1, 600000) n")
    path = given(tar_of([("x", server.dump(database, tmp_path / "a.dump").read_bytes())]))
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", TICKING, str(path), str(folder)],
        capture_output=True,
        text=True,
        check=True,
    )
    progress_calls, longest, whole, rows = run.stdout.split()
    assert int(rows) == 600_000
    assert int(progress_calls) >= 2
    assert float(longest) < max(0.15, float(whole) / 3)
    assert run.stderr == ""
