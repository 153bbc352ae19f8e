"""The table of contents of a custom-format archive: one entry for each object, in restore order."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from tasks.postgres.archive.header import Header
from tasks.postgres.archive.problems import UnsupportedArchive
from tasks.postgres.archive.source import Source

MOST_ENTRIES: Final = 2_000_000
LARGEST_TOC: Final = 512 << 20
_SMALLEST_ENTRY: Final = 60
OFFSET_NOT_SET: Final = 1
_OFFSET_SET: Final = 2
OFFSET_NO_DATA: Final = 3


class Section(StrEnum):
    """The part of a restore that an entry belongs to, as `pg_restore --section` names them."""

    NONE = "none"
    PRE_DATA = "pre-data"
    DATA = "data"
    POST_DATA = "post-data"


_SECTIONS: Final = {1: Section.NONE, 2: Section.PRE_DATA, 3: Section.DATA, 4: Section.POST_DATA}

# PostgreSQL's name of a database encoding, and Python's of the same bytes.
_CODECS: Final = {
    "UTF8": "utf-8",
    "SQL_ASCII": "ascii",
    "LATIN1": "iso8859-1",
    "LATIN2": "iso8859-2",
    "LATIN9": "iso8859-15",
    "WIN1250": "cp1250",
    "WIN1252": "cp1252",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of `pg_restore -l`, with all that the archive holds for it.

    + dump_id: its number in this archive
    + kind: "TABLE", "TABLE DATA", "FK CONSTRAINT", "SEQUENCE SET"...
    + schema: the schema it is in; None for what is in none (an extension, a schema)
    + name: its tag: "t_parent"; a constraint's is "TABLE CONSTRAINT", a function's "f(integer, text)"
    + owner: the role that owned it
    + definition: the SQL that makes it, "" where there is none (TABLE DATA)
    + drop: the SQL that removes it, ""
    + copy_statement: `COPY ... FROM stdin;` of a TABLE DATA entry made without --inserts, else None
    + section: part of the restore
    + dependencies: dump_ids of what must be there before it
    + tablespace, access_method: "" for the default
    + relkind: as in pg_class, "" before archive version 1.16
    + oid: the object's number in the server it came from
    + has_data: the archive holds a data block for it
    + offset: where that block begins; None where pg_dump wrote to a pipe and could not go back
    """

    dump_id: int
    kind: str
    schema: str | None
    name: str
    owner: str
    definition: str
    drop: str
    copy_statement: str | None
    section: Section
    dependencies: tuple[int, ...]
    tablespace: str
    access_method: str
    relkind: str
    oid: int
    has_data: bool
    offset: int | None

    @property
    def title(self) -> str:
        """How a person is told of it: `TABLE DATA public.t_parent`."""
        return f"{self.kind} {self.schema}.{self.name}" if self.schema else f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Toc:
    """The entries in restore order, and the encoding of all text in the archive (PostgreSQL's name)."""

    entries: tuple[Entry, ...]
    encoding: str


@dataclass(frozen=True, slots=True)
class RawEntry:
    """An entry as its bytes are, not decoded."""

    dump_id: int
    has_data: bool
    oid: bytes
    name: bytes
    kind: bytes
    section: Section
    definition: bytes
    drop: bytes
    copy_statement: bytes
    schema: bytes
    tablespace: bytes
    access_method: bytes
    relkind: int
    owner: bytes
    dependencies: tuple[int, ...]
    offset: int | None
    at: int


def read_toc(source: Source, header: Header) -> Toc:
    """Read the entries and leave the source at the first data block.

    Errors: DamagedArchive, naming the entry and the byte; UnsupportedArchive for an encoding not known here.
    """
    source.what = "the table of contents"
    count = source.integer()
    room = MOST_ENTRIES if source.size is None else min(MOST_ENTRIES, source.size // _SMALLEST_ENTRY)
    if not 0 <= count <= room:
        raise source.damage(f"it is said to have {count} entries")
    raw: list[RawEntry] = []
    for number in range(1, count + 1):
        source.what = f"entry {number} of {count} of the table of contents"
        raw.append(_read_entry(source, header.version))
        if source.position > LARGEST_TOC:
            raise source.damage(f"it is larger than {LARGEST_TOC} bytes")
    source.what = "the table of contents"
    encoding = _encoding(raw)
    codec = _CODECS.get(encoding)
    if codec is None:
        raise UnsupportedArchive(
            f"Reading {source.name}",
            f"not supported: the encoding {encoding}; known are {', '.join(_CODECS)}",
            next_step="make the backup with pg_dump --encoding=UTF8",
        )
    entries = tuple(_decode(source, entry, codec) for entry in raw)
    if len({entry.dump_id for entry in entries}) != len(entries):
        raise source.damage("two entries have the same number")
    return Toc(entries, encoding)


def _read_entry(source: Source, version: tuple[int, int]) -> RawEntry:
    entry = read_described(source, version)
    state, offset = source.offset()
    if state not in (OFFSET_NOT_SET, _OFFSET_SET, OFFSET_NO_DATA):
        raise source.damage(f"an entry's data offset has the state {state}", at=entry.at)
    return replace(
        entry,
        has_data=entry.has_data and state != OFFSET_NO_DATA,
        offset=offset if state == _OFFSET_SET else None,
    )


def read_described(source: Source, version: tuple[int, int]) -> RawEntry:
    """An entry without its last field, which says where its rows are, and in each format otherwise."""
    at = source.position
    dump_id = source.integer()
    if dump_id <= 0:
        raise source.damage(f"an entry has the number {dump_id}", at=at)
    has_data = source.integer() != 0
    source.string()
    oid = source.string() or b"0"
    name = source.string() or b""
    kind = source.string() or b""
    section_number = source.integer()
    if section_number not in _SECTIONS:
        raise source.damage(f"an entry is said to be in section {section_number}", at=at)
    definition, drop, copy_statement, schema, tablespace = (source.string() or b"" for _ in range(5))
    access_method = (source.string() or b"") if version >= (1, 14) else b""
    relkind = source.integer() if version >= (1, 16) else 0
    owner = source.string() or b""
    source.string()
    dependencies = []
    while (dependency := source.string()) is not None:
        dependencies.append(_number(source, dependency))
    return RawEntry(
        dump_id=dump_id,
        has_data=has_data,
        oid=oid,
        name=name,
        kind=kind,
        section=_SECTIONS[section_number],
        definition=definition,
        drop=drop,
        copy_statement=copy_statement,
        schema=schema,
        tablespace=tablespace,
        access_method=access_method,
        relkind=relkind,
        owner=owner,
        dependencies=tuple(dependencies),
        offset=None,
        at=at,
    )


def _number(source: Source, text: bytes) -> int:
    if not text.isdigit() or len(text) > 10:
        raise source.damage("a number written as text is no number")
    return int(text)


def _encoding(raw: list[RawEntry]) -> str:
    for entry in raw:
        if entry.kind == b"ENCODING":
            found = re.search(rb"client_encoding\s*=\s*'([A-Za-z0-9_-]+)'", entry.definition)
            if found:
                return found.group(1).decode("ascii").upper()
    return "UTF8"


def _decode(source: Source, raw: RawEntry, codec: str) -> Entry:
    def text(value: bytes) -> str:
        try:
            return value.decode(codec)
        except UnicodeDecodeError:
            raise source.damage(
                f"a text is not in the encoding that the archive declares ({codec})", at=raw.at
            ) from None

    if not 0 <= raw.relkind < 128:
        raise source.damage(f"an entry has the relation kind {raw.relkind}", at=raw.at)
    return Entry(
        dump_id=raw.dump_id,
        kind=text(raw.kind),
        schema=text(raw.schema) or None,
        name=text(raw.name),
        owner=text(raw.owner),
        definition=text(raw.definition),
        drop=text(raw.drop),
        copy_statement=text(raw.copy_statement) or None,
        section=raw.section,
        dependencies=raw.dependencies,
        tablespace=text(raw.tablespace),
        access_method=text(raw.access_method),
        relkind=chr(raw.relkind) if raw.relkind else "",
        oid=_number(source, raw.oid),
        has_data=raw.has_data,
        offset=raw.offset,
    )
