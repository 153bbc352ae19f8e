"""What a file is, by its first bytes and not by its name."""

from __future__ import annotations

import tarfile
from enum import Enum, auto
from typing import Final

from tasks.postgres.archive.header import MAGIC
from tasks.postgres.archive.problems import UnsupportedArchive

TAR_BLOCK: Final = 512
GZIP_MAGIC: Final = b"\x1f\x8b"
_TAR_MAGIC_PLACE: Final = slice(257, 262)

_MAKE_CUSTOM: Final = "make the backup with pg_dump --format=custom, or fetch the platform's own"
_FETCH_AGAIN: Final = "fetch the backup again: a download link that has expired answers so"

_OTHERS: Final[tuple[tuple[bytes, str], ...]] = (
    (b"PK\x03\x04", "a ZIP file"),
    (b"\xfd7zXZ\x00", "an XZ file"),
    (b"BZh", "a BZIP2 file"),
    (b"\x28\xb5\x2f\xfd", "a ZSTD file"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip file"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"%PDF-", "a PDF document"),
    (b"-- MySQL dump", "a dump of MySQL"),
    (b"-- MariaDB dump", "a dump of MariaDB"),
)
_ANSWERS: Final[tuple[tuple[bytes, str], ...]] = (
    (b"<!doctype html", "a page of HTML"),
    (b"<html", "a page of HTML"),
    (b"<?xml", "an answer in XML"),
    (b"<error", "an answer in XML"),
    (b"{", "an answer in JSON"),
)
_SQL_BEGINNINGS: Final = (b"--", b"/*", b"set ", b"create ", b"copy ", b"\\connect", b"\\restrict", b"begin;")


class Container(Enum):
    """Where an archive may be in."""

    BARE = auto()
    GZIP = auto()
    TAR = auto()


def recognised(beginning: bytes, name: str) -> Container:
    """What begins so. `beginning` is the first 512 bytes, fewer only where there are no more.

    Errors: UnsupportedArchive, which says what the file is instead.
    """
    if beginning.startswith(MAGIC):
        return Container.BARE
    if beginning.startswith(GZIP_MAGIC):
        return Container.GZIP
    if _is_tar(beginning):
        return Container.TAR
    what, next_step = _what_else(beginning)
    raise UnsupportedArchive(f"Reading {name}", what, next_step=next_step)


def _is_tar(beginning: bytes) -> bool:
    if len(beginning) < TAR_BLOCK:
        return False
    if beginning[_TAR_MAGIC_PLACE] == b"ustar":
        return True
    try:
        tarfile.TarInfo.frombuf(beginning[:TAR_BLOCK], "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def _what_else(beginning: bytes) -> tuple[str, str]:
    if not beginning:
        return "the file is empty (0 bytes)", "fetch the backup again"
    if not beginning.strip(b"\0"):
        return "it begins with zero bytes only: not a backup, or one whose download was cut", "fetch it again"
    for magic, what in _OTHERS:
        if beginning.startswith(magic):
            return f"it is {what}, not an archive of pg_dump", _MAKE_CUSTOM
    start = beginning.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for magic, what in _ANSWERS:
        if start.startswith(magic):
            return f"it is {what}, not a backup", _FETCH_AGAIN
    if start.startswith(_SQL_BEGINNINGS):
        return "not supported: plain SQL", _MAKE_CUSTOM
    return "it is no archive of pg_dump: neither PGDMP nor gzip nor tar begins it", _MAKE_CUSTOM
