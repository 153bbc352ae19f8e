"""The first bytes of a custom-format archive: who made it, when, in which version and compression."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from tasks.postgres.archive.problems import UnsupportedArchive
from tasks.postgres.archive.source import Source

MAGIC: Final = b"PGDMP"
OLDEST: Final = (1, 12)
NEWEST: Final = (1, 16)

CUSTOM: Final = 1
FORMAT_AT: Final = 10
"""The byte that says in which format the archive is."""

_TAR_OR_DIRECTORY: Final = 3  # pg_dump writes the same number for both
_WIDEST_NUMBER: Final = 8

Compression = Literal["none", "gzip", "lz4", "zstd"]

_COMPRESSIONS: Final[dict[int, Compression]] = {0: "none", 1: "gzip", 2: "lz4", 3: "zstd"}


@dataclass(frozen=True, slots=True)
class Header:
    """What an archive says of itself before its table of contents.

    + version: the archive format, as (1, 14); 1.12 is pg_dump 9.0 to 10, 1.16 is 17 and 18
    + compression: of the rows
    + created_at: wall clock of the machine that ran pg_dump; the file does not hold its time zone
    + database: the database's name there
    + server_version, dump_version: "15.18", "18.4"; None where the archive does not say
    """

    version: tuple[int, int]
    compression: Compression
    created_at: datetime | None
    database: str
    server_version: str | None
    dump_version: str | None


def read_header(source: Source, *, in_files: bool = False) -> Header:
    """Read the header and leave the source at the table of contents.

    + in_files: of the tar or directory format, not of the custom one
    Errors: UnsupportedArchive for a version, format or compression that isn't restored here; DamagedArchive.
    """
    source.what = "the header"
    if source.take(len(MAGIC)) != MAGIC:
        raise UnsupportedArchive(
            f"Reading {source.name}",
            "it does not begin as a custom-format archive of pg_dump does (PGDMP)",
            next_step="make the backup with pg_dump --format=custom, or fetch the platform's own",
        )
    version = _version(source)
    source.int_bytes = _width(source, "numbers")
    source.offset_bytes = _width(source, "offsets")
    _check_format(source, _TAR_OR_DIRECTORY if in_files else CUSTOM)
    compression = _compression(source, version)
    created_at = _created_at(source)
    return Header(
        version=version,
        compression=compression,
        created_at=created_at,
        database=_text(source) or "",
        server_version=_text(source),
        dump_version=_text(source),
    )


def is_custom(beginning: bytes) -> bool:
    """Whether a file that begins so is an archive by itself, not one file of several."""
    return beginning.startswith(MAGIC) and beginning[FORMAT_AT : FORMAT_AT + 1] == bytes([CUSTOM])


def _version(source: Source) -> tuple[int, int]:
    major, minor, _revision = source.take(3)
    if not OLDEST <= (major, minor) <= NEWEST:
        raise UnsupportedArchive(
            f"Reading {source.name}",
            f"not supported: archive version {major}.{minor}; versions {OLDEST[0]}.{OLDEST[1]} to "
            f"{NEWEST[0]}.{NEWEST[1]} (pg_dump 9.0 to 18) are read",
            next_step="make the backup with a pg_dump of those versions",
        )
    return major, minor


def _width(source: Source, of_what: str) -> int:
    width = source.byte()
    if not 1 <= width <= _WIDEST_NUMBER:
        raise source.damage(f"{of_what} are said to have {width} bytes")
    return width


def _check_format(source: Source, wanted: int) -> None:
    number = source.byte()
    if number == wanted:
        return
    if number != _TAR_OR_DIRECTORY:
        raise source.damage(f"the archive format is said to be number {number}")
    raise UnsupportedArchive(
        f"Reading {source.name}",
        "it is the table of contents of pg_dump's tar or directory format, alone",
        next_step="give the whole folder or tar file",
    )


def _compression(source: Source, version: tuple[int, int]) -> Compression:
    if version < (1, 15):
        level = source.integer()
        if not -1 <= level <= 9:
            raise source.damage(f"the compression level is said to be {level}")
        return "none" if level == 0 else "gzip"
    number = source.byte()
    if number not in _COMPRESSIONS:
        raise source.damage(f"the compression is said to be number {number}")
    return _COMPRESSIONS[number]


def _created_at(source: Source) -> datetime | None:
    second, minute, hour, day, month, year, _daylight = (source.integer() for _ in range(7))
    try:
        return datetime(year + 1900, month + 1, day, hour, minute, min(second, 59))
    except (ValueError, OverflowError):
        raise source.damage("the time at which it was made is no time") from None


def _text(source: Source) -> str | None:
    value = source.string()
    return None if value is None else value.decode("utf-8", "replace")
