"""pg_dump's directory and tar formats: the same archive as its custom one, as pg_restore itself sees it."""

from __future__ import annotations

import re
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tasks.core.errors import OpsError
from tasks.postgres.archive import Archive, check, open_backup, open_checked
from tasks.postgres.archive.problems import DamagedArchive, UnsupportedArchive

FORMS = {
    "directory": ["-Fd"],
    "directory, not compressed": ["-Fd", "-Z0"],
    "directory, by two workers": ["-Fd", "-j2"],
    "tar": ["-Ft"],
}


def quiet(**changes: Any) -> dict[str, Any]:
    return {"progress": lambda done, total: None, "stop": lambda: False, **changes}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def made(trap, tmp_path: Path):
    """Has pg_dump make the trap database's archive in a form."""

    def make(*options: str) -> Path:
        path = tmp_path / "backup"
        trap.server.run("pg_dump", *options, "-d", trap.database.superuser_conninfo, "-f", str(path))
        return path

    return make


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def packed(folder: Path, to: Path, *, last: str = "") -> Path:
    """A folder in a .tar.gz, one of its files at the end."""
    with tarfile.open(to, "w:gz") as tar:
        for path in sorted(folder.iterdir(), key=lambda path: (path.name == last, path.name)):
            tar.add(path, f"some/where/{path.name}")
    return to


def _output(server: Any, path: Path) -> str:
    done = subprocess.run(
        [server.bin / "pg_restore", "-f", "-", path], capture_output=True, text=True, check=True
    )
    return done.stdout


def script(server: Any, path: Path) -> list[str]:
    """What pg_restore makes of it; the lines that quote a key of its own, by chance, are left out."""
    lines = _output(server, path).splitlines()
    return [line for line in lines if not line.startswith(("\\restrict", "\\unrestrict"))]


def same(trap: Any, ours: Path, theirs: Path) -> None:
    assert script(trap.server, ours) == script(trap.server, theirs)


@pytest.mark.parametrize("form", FORMS)
def test_same_archive_as_pg_restore_sees_it(trap, made, folder, form: str) -> None:
    path = made(*FORMS[form])
    archive, contents = open_checked(path, folder, **quiet())
    same(trap, archive.path, path)
    custom = check(Archive.open(trap.dump), **quiet())
    assert sorted(contents.rows.values()) == sorted(custom.rows.values())
    assert archive.header.database == Archive.open(trap.dump).header.database
    assert names_in(folder) == ["archive.dump"]
    assert open_backup(path, folder, **quiet()).read_bytes() == archive.path.read_bytes()


@pytest.mark.parametrize("last", ["toc.dat", ""], ids=["contents last", "as it comes"])
def test_folder_in_a_tar_gz(trap, made, folder, tmp_path: Path, last: str) -> None:
    path = made("-Fd")
    archive, _ = open_checked(packed(path, tmp_path / "b.tar.gz", last=last), folder, **quiet())
    same(trap, archive.path, path)
    assert names_in(folder) == ["archive.dump"]


def test_large_objects(server, database, folder, tmp_path: Path) -> None:
    with database.connect() as connection:
        connection.execute("select lo_from_bytea(0, convert_to(repeat(n::text, 3000), 'UTF8'))"
                           " from generate_series(1, 40) n")  # fmt: skip
        connection.execute("create table t as select generate_series(1, 100) as n")
    path = tmp_path / "backup"
    server.run("pg_dump", "-Fd", "-d", database.superuser_conninfo, "-f", str(path))
    archive, contents = open_checked(path, folder, **quiet())
    assert contents.large_objects == 40
    assert script(server, archive.path) == script(server, path)


def a_data_file(path: Path) -> Path:
    return max(path.glob("*.dat.gz"), key=lambda file: file.stat().st_size)


def cut(path: Path) -> None:
    file = a_data_file(path)
    file.write_bytes(file.read_bytes()[:-20])


def flipped(path: Path) -> None:
    file = a_data_file(path)
    content = bytearray(file.read_bytes())
    content[-6] ^= 1
    file.write_bytes(content)


def linked(path: Path) -> None:
    file = a_data_file(path)
    file.rename(path / "elsewhere")
    file.symlink_to("elsewhere")


def unpacked(path: Path) -> None:
    file = a_data_file(path)
    file.rename(file.with_suffix(""))


def renamed_in_toc(path: Path) -> None:
    toc = path / "toc.dat"
    name = a_data_file(path).name.removesuffix(".gz").encode()
    assert name in toc.read_bytes()
    toc.write_bytes(toc.read_bytes().replace(name, b"../../x.dat"[: len(name)].ljust(len(name), b"x")))


DAMAGES = {
    "it is missing": lambda path: a_data_file(path).unlink(),
    "it is cut": cut,
    "do not match their checksum": flipped,
    "it can't be read|levels of symbolic links": linked,
    "says that it is compressed": unpacked,
    "the file of an entry is called": renamed_in_toc,
    "bytes follow its end": lambda path: a_data_file(path).write_bytes(a_data_file(path).read_bytes() + b"x"),
    "it is no gzip file": lambda path: a_data_file(path).write_bytes(b"x" * 100),
}


@pytest.mark.parametrize("sentence", DAMAGES)
@pytest.mark.parametrize("in_tar", [False, True])
def test_damage_is_named_and_nothing_stays(made, folder, tmp_path: Path, sentence: str, in_tar: bool) -> None:
    path = made("-Fd")
    DAMAGES[sentence](path)
    if in_tar:
        path = packed(path, tmp_path / "b.tar.gz")
    with pytest.raises(OpsError) as caught:
        open_checked(path, folder, **quiet())
    if not (in_tar and "symbolic" in sentence):  # a link in a tar is refused before it is looked at
        assert re.search(sentence, str(caught.value)), caught.value
    assert not folder.exists() or names_in(folder) == []


def test_folder_that_is_none(tmp_path: Path, folder) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(UnsupportedArchive, match=r"it has no toc\.dat"):
        open_backup(tmp_path / "photos", folder, **quiet())


def test_two_folders_in_one_tar_are_two_archives(made, folder, tmp_path: Path) -> None:
    path = made("-Fd")
    both = tmp_path / "both.tar"
    with tarfile.open(both, "w") as tar:
        tar.add(path, "monday")
        tar.add(path, "tuesday")
    with pytest.raises(OpsError, match="more than one"):
        open_backup(both, folder, **quiet())
    assert names_in(folder) == []


def test_contents_alone_are_no_archive(made, folder, tmp_path: Path) -> None:
    path = made("-Fd")
    alone = Path(shutil.copy(path / "toc.dat", tmp_path / "toc.dat"))
    with pytest.raises(UnsupportedArchive, match="alone"):
        open_backup(alone, folder, **quiet())
    for file in path.glob("*.gz"):
        file.unlink()
    with pytest.raises(DamagedArchive, match="it is missing"):
        open_backup(path, folder, **quiet())
