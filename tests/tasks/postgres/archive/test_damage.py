"""Damage anywhere is one sentence that says what and where; never another exception, never a good answer."""

from __future__ import annotations

import random
import tracemalloc

import pytest

from tasks.core.errors import OpsError
from tasks.postgres.archive import Archive, DamagedArchive, UnsupportedArchive, check


def everything(path):
    """All that can be read of an archive: rows by every worker's way, and the check."""
    archive = Archive.open(path)
    archive.names("public")
    archive.verdicts("public")
    contents = check(archive, progress=lambda done, total: None, stop=lambda: False)
    for entry in archive.table_data():
        for _ in archive.copy_text(entry):
            pass
    return contents


def all_rows(archive):
    return {entry.dump_id: b"".join(archive.copy_text(entry)) for entry in archive.table_data()}


def is_a_sentence(error):
    lines = str(error).splitlines()
    return len(lines) <= 2 and len(lines[0]) < 600 and all(line.isprintable() for line in lines)


def test_truncated_anywhere_is_said(trap, tmp_path):
    whole = trap.dump.read_bytes()
    path = tmp_path / "cut.dump"
    places = {0, 3, 5, 9, 11, 40, len(whole) - 1, *range(0, len(whole), len(whole) // 40)}
    for place in sorted(places):
        path.write_bytes(whole[:place])
        with pytest.raises(OpsError) as caught:
            everything(path)
        assert isinstance(caught.value, DamagedArchive | UnsupportedArchive)
        assert is_a_sentence(caught.value)


def test_truncated_rows_name_table_and_byte(trap, tmp_path):
    archive = Archive.open(trap.dump)
    entry = next(entry for entry in archive.table_data() if entry.name == "t_child")
    path = tmp_path / "cut.dump"
    path.write_bytes(trap.dump.read_bytes()[: entry.offset + 500])
    cut = Archive.open(path)
    with pytest.raises(DamagedArchive) as caught:
        check(cut, progress=lambda done, total: None, stop=lambda: False)
    assert "the rows of public.t_child of cut.dump" in str(caught.value)
    assert f"the file ends at byte {entry.offset + 500}" in str(caught.value)
    with pytest.raises(DamagedArchive, match=r"the rows of public\.t_child of cut\.dump"):
        list(cut.copy_text(cut.entry(entry.dump_id)))


def test_no_flipped_bit_changes_a_row_unseen(trap, tmp_path):
    """The few bits that pad a compressed block to a whole byte mean nothing: only they may pass."""
    wanted = all_rows(Archive.open(trap.dump))
    whole = trap.dump.read_bytes()
    start = Archive.open(trap.dump).data_start
    path = tmp_path / "flipped.dump"
    chance = random.Random(3)
    found = 0
    for place in [*range(start, start + 60), *(chance.randrange(start, len(whole)) for _ in range(250))]:
        flipped = bytearray(whole)
        flipped[place] ^= 1 << chance.randrange(8)
        path.write_bytes(flipped)
        try:
            everything(path)
        except DamagedArchive as error:
            found += 1
            assert is_a_sentence(error), place
        else:
            assert all_rows(Archive.open(path)) == wanted, place
    assert found > 290


@pytest.mark.parametrize("compression", ["lz4", "zstd"])
def test_damaged_frames_are_said(trap, as_version, tmp_path, compression):
    """Cut in the middle, followed by more, or with flipped bits: an error or rows, nothing else."""
    whole = as_version(trap.dump.read_bytes(), (1, 16), compression=compression)
    path = tmp_path / "frames.dump"
    path.write_bytes(whole)
    start = Archive.open(path).data_start
    chance = random.Random(9)
    noticed = 0
    for place in [*range(start, start + 60), *(chance.randrange(start, len(whole)) for _ in range(150))]:
        flipped = bytearray(whole)
        flipped[place] ^= 1 << chance.randrange(8)
        path.write_bytes(flipped)
        try:
            everything(path)
        except DamagedArchive as error:
            noticed += 1
            assert is_a_sentence(error), place
    assert noticed > 60
    for length in (len(whole) - 1, len(whole) - 7, (start + len(whole)) // 2):
        path.write_bytes(whole[:length])
        with pytest.raises(DamagedArchive):
            everything(path)


def test_flipped_bits_of_the_head_never_raise_anything_else(trap, tmp_path):
    whole = trap.dump.read_bytes()
    start = Archive.open(trap.dump).data_start
    path = tmp_path / "flipped.dump"
    chance = random.Random(5)
    noticed = 0
    for place in [*range(200), *(chance.randrange(start) for _ in range(300))]:
        flipped = bytearray(whole)
        flipped[place] ^= 1 << chance.randrange(8)
        path.write_bytes(flipped)
        try:
            everything(path)
        except OpsError as error:
            noticed += 1
            assert is_a_sentence(error), place
    assert noticed > 100


def test_random_bytes_and_zeroes_inside(trap, tmp_path):
    whole = trap.dump.read_bytes()
    start = Archive.open(trap.dump).data_start
    path = tmp_path / "overwritten.dump"
    chance = random.Random(7)
    for filler in (bytes(64), b"\xff" * 64, chance.randbytes(64)):
        for _ in range(60):
            place = chance.randrange(11, len(whole) - 64)
            path.write_bytes(whole[:place] + filler + whole[place + 64 :])
            if place >= start:
                with pytest.raises(DamagedArchive):
                    everything(path)
            else:
                try:
                    everything(path)
                except OpsError as error:
                    assert is_a_sentence(error)


def test_bytes_after_the_end_are_damage(trap, tmp_path):
    path = tmp_path / "longer.dump"
    path.write_bytes(trap.dump.read_bytes() + b"\n")
    with pytest.raises(DamagedArchive, match="no data block begins here"):
        everything(path)


def test_missing_block_is_named(trap, as_version, tmp_path):
    """An archive whose table of contents announces rows that never come: a pg_dump that died."""
    whole = as_version(trap.dump.read_bytes(), (1, 16))
    path = tmp_path / "short.dump"
    path.write_bytes(whole)
    archive = Archive.open(path)
    list(archive.copy_text(archive.table_data()[-1]))
    last = max(archive.table_data(), key=lambda entry: archive._scan()[entry.dump_id])
    path.write_bytes(whole[: archive._scan()[last.dump_id]])
    with pytest.raises(DamagedArchive) as caught:
        everything(path)
    assert f"no data block for {last.title}" in str(caught.value)


def test_numbers_with_a_wrong_sign_are_damage(trap, tmp_path):
    archive = Archive.open(trap.dump)
    entry = next(entry for entry in archive.table_data() if entry.name == "t_child")
    path = tmp_path / "sign.dump"
    for place, sentence in ((1, "a data block belongs to entry -"), (6, "a chunk has the length -")):
        for sign in (1, 2):
            changed = bytearray(trap.dump.read_bytes())
            changed[entry.offset + place] = sign
            path.write_bytes(changed)
            with pytest.raises(DamagedArchive, match=sentence if sign == 1 else "sign|length -"):
                check(Archive.open(path), progress=lambda done, total: None, stop=lambda: False)


def test_an_offset_that_leads_elsewhere_is_damage(trap, tmp_path):
    archive = Archive.open(trap.dump)
    first, second = sorted(archive.table_data(), key=lambda entry: entry.offset)[:2]
    offsets = [entry.offset.to_bytes(8, "little") for entry in (first, second)]
    whole = trap.dump.read_bytes()
    path = tmp_path / "elsewhere.dump"
    path.write_bytes(whole.replace(b"\x02" + offsets[1], b"\x02" + offsets[0], 1))
    elsewhere = Archive.open(path)
    with pytest.raises(DamagedArchive) as caught:
        check(elsewhere, progress=lambda done, total: None, stop=lambda: False)
    assert f"the table of contents says byte {first.offset}" in str(caught.value)
    with pytest.raises(DamagedArchive, match=f"the block there belongs to entry {first.dump_id}"):
        list(elsewhere.copy_text(elsewhere.entry(second.dump_id)))


def test_hostile_sizes_take_no_memory(tmp_path):
    head = b"PGDMP\x01\x10\x00\x04\x08\x01\x01" + (b"\x00\x01\x00\x00\x00" * 7)
    hostile = {
        "text": head + b"\x00\xff\xff\xff\x7f" + b"x" * 100,
        "entries": head + b"\x00\x00\x00\x00\x00" * 3 + b"\x00\xff\xff\xff\x7f" + bytes(100),
        "sign": head + b"\x07\x00\x00\x00\x00" + bytes(100),
        "negative": head + b"\x01\x09\x00\x00\x00" + bytes(100),
    }
    tracemalloc.start()
    for name, content in hostile.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(DamagedArchive):
            Archive.open(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 << 20


def test_names_with_control_characters_do_not_reach_the_terminal(trap, tmp_path):
    whole = bytearray(trap.dump.read_bytes())
    archive = Archive.open(trap.dump)
    entry = next(entry for entry in archive.table_data() if entry.name == "t_child")
    for place in [index for index in range(archive.data_start) if whole[index : index + 7] == b"t_child"]:
        whole[place : place + 7] = b"\x1b[2J\x07\rx"
    whole[entry.offset + 40] ^= 255
    path = tmp_path / "escape.dump"
    path.write_bytes(whole)
    with pytest.raises(DamagedArchive) as caught:
        everything(path)
    assert "\x1b" not in str(caught.value) and "\x07" not in str(caught.value)
