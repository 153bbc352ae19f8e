"""An archive of `pg_dump --format=custom`, opened: its header, its entries, the rows of each table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tasks.core.errors import OpsError
from tasks.postgres.archive import blocks
from tasks.postgres.archive.definitions import Verdict, names_in, verdicts
from tasks.postgres.archive.header import Header, read_header
from tasks.postgres.archive.problems import DamagedArchive, UnsupportedArchive
from tasks.postgres.archive.source import Source
from tasks.postgres.archive.toc import Entry, Section, Toc, read_toc


@dataclass(frozen=True, slots=True)
class Head:
    """All of an archive before its first data block, which begins at byte `data_start`."""

    header: Header
    toc: Toc
    data_start: int
    int_bytes: int


def read_head(source: Source) -> Head:
    """Read header and table of contents, and leave the source at the first data block.

    Errors: DamagedArchive, UnsupportedArchive.
    """
    header = read_header(source)
    toc = read_toc(source, header)
    return Head(header, toc, source.position, source.int_bytes)


class Archive:
    """A custom-format archive on disk. Its rows may be read by several workers at a time.

    + path: the file
    + header, entries, encoding: what it says of itself
    + data_start: the byte at which its first data block begins
    """

    def __init__(self, path: Path, head: Head) -> None:
        self.path = path
        self.header = head.header
        self.entries = head.toc.entries
        self.encoding = head.toc.encoding
        self.data_start = head.data_start
        self._by_id = {entry.dump_id: entry for entry in self.entries}
        self._int_bytes = head.int_bytes
        self._scanned: dict[int, int] | None = None

    @classmethod
    def open(cls, path: Path) -> Archive:
        """Read header and table of contents.

        Errors: OpsError when the file can't be opened, DamagedArchive, UnsupportedArchive.
        """
        try:
            with path.open("rb", buffering=0) as stream:
                return cls(path, read_head(Source(stream, path.name, size=path.stat().st_size)))
        except OSError as error:
            raise OpsError(f"Opening {path}", error.strerror or "it can't be read") from None

    def entry(self, dump_id: int) -> Entry | None:
        """The entry of this number."""
        return self._by_id.get(dump_id)

    def entries_in(self, section: Section | str) -> tuple[Entry, ...]:
        """The entries of one section ("pre-data", "data", "post-data"), in restore order."""
        return tuple(entry for entry in self.entries if entry.section == section)

    def table_data(self) -> tuple[Entry, ...]:
        """The entries that hold rows, in the archive's order."""
        return tuple(entry for entry in self.entries if entry.kind == "TABLE DATA" and entry.has_data)

    def names(self, schema: str) -> frozenset[str]:
        """The names of all objects that the archive itself puts into the schema; none of an extension."""
        return names_in(self.entries, schema)

    def verdicts(self, schema: str) -> tuple[Verdict, ...]:
        """What a restore of this schema beside the live one does with each entry, in restore order."""
        return verdicts(self.entries, schema)

    def copy_text(self, entry: Entry) -> Iterator[bytes]:
        r"""The rows of a TABLE DATA entry as COPY text, without the `\.` line, in pieces up to a few MiB.

        Nothing is read before the first piece is asked for. A piece may end within a row.
        Errors: DamagedArchive naming table and byte; UnsupportedArchive for an archive of INSERT statements.
        """
        if not entry.has_data:
            return
        if entry.copy_statement is None:
            raise UnsupportedArchive(
                f"Reading {entry.title} of {self.path.name}",
                "not supported: its rows are INSERT statements",
                next_step="make the backup with pg_dump --format=custom, without --inserts",
            )
        offset = entry.offset if entry.offset is not None else self._scan().get(entry.dump_id)
        what = f"the rows of {entry.schema}.{entry.name}"
        if offset is None:
            raise DamagedArchive(f"{what} of {self.path.name}", "the archive has no data block for them")
        try:
            with self.path.open("rb", buffering=0) as stream:
                stream.seek(offset)
                source = self._source(stream, offset)
                source.what = what
                kind, dump_id = blocks.block_start(source)
                if (kind, dump_id) != (blocks.ROWS, entry.dump_id):
                    raise source.damage(f"the block there belongs to entry {dump_id}", at=offset)
                yield from blocks.rows(source, self.header.compression)
        except OSError as error:
            raise OpsError(f"Reading {self.path}", error.strerror or "it can't be read") from None

    def _source(self, stream: BinaryIO, offset: int) -> Source:
        source = Source(stream, self.path.name, position=offset, size=self.path.stat().st_size)
        source.int_bytes = self._int_bytes
        return source

    def _scan(self) -> dict[int, int]:
        """Where each block begins, found by walking them: for an archive that pg_dump wrote to a pipe."""
        if self._scanned is None:
            found: dict[int, int] = {}
            with self.path.open("rb", buffering=0) as stream:
                stream.seek(self.data_start)
                source = self._source(stream, self.data_start)
                source.what = "the data blocks"
                while not source.at_end() and not blocks.toc_follows(source):
                    at = source.position
                    kind, dump_id = blocks.block_start(source)
                    found[dump_id] = at
                    blocks.skip(source, kind, self.header.compression)
            self._scanned = found
        return self._scanned
