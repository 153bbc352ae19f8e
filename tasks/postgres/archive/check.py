"""Reading an archive to its last byte: what it really holds, before anything is touched.

`pg_restore -l` passes a truncated or damaged archive, which then fails while it loads. Here every block is
decompressed against its checksum and its rows are counted, for about what `pg_restore -f /dev/null` costs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tasks.core.errors import OpsError
from tasks.postgres.archive import blocks
from tasks.postgres.archive.archive import Archive, Head, read_head
from tasks.postgres.archive.background import Meter, Pieces, Progress, Stop, read_in_background
from tasks.postgres.archive.header import Header
from tasks.postgres.archive.problems import UnsupportedArchive
from tasks.postgres.archive.source import READ_AHEAD, Source
from tasks.postgres.archive.toc import Entry, read_toc

_TAIL: Final = len(blocks.END_OF_ROWS) + 1


@dataclass(frozen=True, slots=True)
class Contents:
    """What reading an archive to its end has found.

    + rows: exact number of rows, by dump_id of the TABLE DATA entry
    + text_bytes: bytes of COPY text that those rows are, by the same; what goes over the wire to the server
    + large_objects: how many large objects it holds
    + bytes, sha256: of the archive file itself
    """

    rows: dict[int, int]
    text_bytes: dict[int, int]
    large_objects: int
    bytes: int
    sha256: str

    def are_of(self, path: Path) -> bool:
        """Whether a file is, to the last byte, the one that was read; false where it can't be."""
        try:
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest() == self.sha256
        except OSError:
            return False


@dataclass(slots=True)
class Fingerprint:
    """Length and SHA-256 of the bytes that passed."""

    length: int = 0
    _digest: hashlib._Hash = field(default_factory=hashlib.sha256)

    def add(self, piece: bytes) -> None:
        """Take the next bytes into account."""
        self.length += len(piece)
        self._digest.update(piece)

    @property
    def sha256(self) -> str:
        """Of all bytes so far, in hexadecimal."""
        return self._digest.hexdigest()


@dataclass(slots=True)
class Findings:
    """What `examine` gives: the archive's head, and what its blocks hold."""

    head: Head
    rows: dict[int, int] = field(default_factory=dict)
    text_bytes: dict[int, int] = field(default_factory=dict)
    large_objects: int = 0


def check(archive: Archive, *, progress: Progress, stop: Stop) -> Contents:
    """Read every data block to its end.

    + progress: called with the bytes of the file read so far and its size
    + stop: asked several times a second
    Errors: DamagedArchive naming table and byte; UnsupportedArchive for INSERT statements; Interrupted.
    """
    path = archive.path
    fingerprint = Fingerprint()
    meter = Meter(path.name, _size(path))
    findings = read_in_background(
        lambda: _pieces(path, meter, fingerprint),
        lambda pieces: examine(pieces, path.name, meter.total),
        meter,
        progress=progress,
        stop=stop,
    )
    return found(findings, fingerprint)


def found(findings: Findings, fingerprint: Fingerprint) -> Contents:
    """The findings and the file's fingerprint as one."""
    return Contents(
        rows=findings.rows,
        text_bytes=findings.text_bytes,
        large_objects=findings.large_objects,
        bytes=fingerprint.length,
        sha256=fingerprint.sha256,
    )


def examine(stream: Pieces, name: str, size: int | None) -> Findings:
    """Read an archive from front to back, every block to its end, and compare blocks with entries.

    Errors: DamagedArchive, UnsupportedArchive, and those of the stream.
    """
    source = Source(stream, name, size=size)
    findings = Findings(read_head(source))
    waiting = {entry.dump_id: entry for entry in findings.head.toc.entries if entry.has_data}
    while True:
        source.what = "the data blocks"
        if source.at_end():
            break
        at = source.position
        if not waiting and blocks.toc_follows(source):
            _read_appended_toc(source, findings.head.header)
            break
        kind, dump_id = blocks.block_start(source)
        entry = waiting.pop(dump_id, None)
        if entry is None:
            raise source.damage(
                f"a data block belongs to entry {dump_id}, which has none left to come", at=at
            )
        _examine_block(source, entry, kind, at, findings)
    if waiting:
        missing = next(iter(waiting.values()))
        raise source.damage(
            f"the archive ends and has no data block for {missing.title}"
            + (f" and {len(waiting) - 1} more" if len(waiting) > 1 else "")
        )
    return findings


def _read_appended_toc(source: Source, header: Header) -> None:
    """pg_dump 18 writing to its standard output can't go back to fill in the table: it appends a second."""
    source.what = "the appended table of contents"
    read_toc(source, header)
    if not source.at_end():
        raise source.damage("the archive goes on after its end")


def _examine_block(source: Source, entry: Entry, kind: int, at: int, findings: Findings) -> None:
    if entry.offset is not None and entry.offset != at:
        raise source.damage(
            f"the block of {entry.title} begins here, and the table of contents says byte {entry.offset}",
            at=at,
        )
    if (kind == blocks.LARGE_OBJECTS) != (entry.kind == "BLOBS"):
        raise source.damage(f"the block of {entry.title} is of the wrong type", at=at)
    compression = findings.head.header.compression
    if kind == blocks.LARGE_OBJECTS:
        source.what = "the large objects"
        while source.integer():
            findings.large_objects += 1
            for _ in blocks.contents(source, compression):
                pass
        return
    if entry.copy_statement is None:
        raise UnsupportedArchive(
            f"Reading {entry.title} of {source.name}",
            "not supported: its rows are INSERT statements",
            next_step="make the backup with pg_dump --format=custom, without --inserts",
        )
    source.what = f"the rows of {entry.schema}.{entry.name}"
    findings.rows[entry.dump_id], findings.text_bytes[entry.dump_id] = _count(source, findings.head.header)


def _count(source: Source, header: Header) -> tuple[int, int]:
    """Rows and bytes of a block's COPY text, in which a line break ends a row and is nowhere else."""
    lines = length = 0
    tail = b""
    for piece in blocks.contents(source, header.compression):
        lines += piece.count(b"\n")
        length += len(piece)
        tail = piece[-_TAIL:] if len(piece) >= _TAIL else (tail + piece)[-_TAIL:]
    if not blocks.ends_well(tail):
        raise source.damage("the rows lack their end mark")
    return lines - blocks.END_OF_ROWS.count(b"\n"), length - len(blocks.END_OF_ROWS)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise OpsError(f"Reading {path}", error.strerror or "it can't be read") from None


def _pieces(path: Path, meter: Meter, fingerprint: Fingerprint) -> Iterator[bytes]:
    try:
        with path.open("rb", buffering=0) as file:
            while piece := file.read(READ_AHEAD):
                meter.advance(len(piece))
                fingerprint.add(piece)
                yield piece
    except OSError as error:
        raise OpsError(f"Reading {path}", error.strerror or "it can't be read") from None
