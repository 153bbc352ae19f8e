"""Running PostgreSQL's own pg_dump: what there is to dump, with what arguments, how far it is."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tasks.core.errors import Interrupted, OpsError
from tasks.core.process import Child
from tasks.core.secrets import redact
from tasks.postgres.connection import Connection, Target, results
from tasks.postgres.sql import ident, literal
from tasks.postgres.tools import Tool, connection_option, environment

_LINES_KEPT: Final = 6
_SECONDS_FOR_LOCKS: Final = 60
_TABLE_BEGINS: Final = re.compile(r'dumping contents of table "(.+)"$')

_RELATIONS: Final = """
select n.nspname || '.' || c.relname, pg_table_size(c.oid), c.relkind::text,
       case c.relkind when 'S' then has_sequence_privilege(c.oid, 'SELECT')
                      else has_table_privilege(c.oid, 'SELECT') end
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
 where n.nspname in ({schemas}) and c.relkind in ('r', 'p', 'S')
   and not exists (select from pg_depend e where e.classid = 'pg_class'::regclass and e.objid = c.oid
                      and e.deptype = 'e')
 order by 1
"""


@dataclass(frozen=True)
class Extent:
    """What a dump of some schemas has to read.

    + tables: bytes on the server by `schema.table`, without indexes
    + unreadable: tables and sequences that the role may not read, at which pg_dump would give up
    """

    tables: Mapping[str, int]
    unreadable: tuple[str, ...] = ()

    @property
    def bytes(self) -> int:
        """Of all tables; an archive, which is compressed, is smaller."""
        return sum(self.tables.values())


def read_extent(connection: Connection, schemas: Collection[str]) -> Extent:
    """Read it from the catalog."""
    (rows,) = results(connection, _RELATIONS.format(schemas=", ".join(map(literal, schemas))))
    return Extent(
        {str(name): int(size) for name, size, kind, _ in rows if kind == "r"},
        tuple(str(name) for name, _, _, readable in rows if not readable),
    )


def pg_dump_command(tool: Tool, target: Target, schemas: Collection[str], to: Path) -> list[str]:
    """The command; its password comes by the environment, since everybody can read arguments."""
    return [
        str(tool.path),
        "--format=custom",
        "--no-password",
        "--verbose",
        f"--lock-wait-timeout={_SECONDS_FOR_LOCKS}s",
        *(f"--schema={ident(schema)}" for schema in schemas),
        f"--file={to}",
        connection_option(target),
    ]


def run_pg_dump(
    target: Target,
    run: str,
    tool: Tool,
    schemas: Collection[str],
    extent: Extent,
    to: Path,
    progress: Callable[[int, int | None], None],
    stop: Callable[[], bool],
) -> None:
    """Dump the schemas, and nothing of others, into a file that is there and private already.

    + progress: bytes of tables that are done, as they lie on the server, of how many

    Raises Interrupted when stopped, OpsError with what pg_dump said last where it fails. What the file then
    holds is no archive.
    """
    complaints: list[str] = []
    meter = _Meter(extent, to)

    def on_line(stream: str, line: str) -> None:
        if begins := _TABLE_BEGINS.search(line):
            meter.begin(begins[1])
        elif stream == "stderr" and ("error" in line or "ERROR" in line or "DETAIL" in line):
            complaints.append(redact(line.removeprefix("pg_dump: ")))
            del complaints[:-_LINES_KEPT]

    def watch() -> bool:
        progress(meter.done, extent.bytes)
        return stop()

    command = pg_dump_command(tool, target, schemas, to)
    with Child.start(command, env=environment(target, run, "pg_dump"), on_line=on_line) as child:
        code = child.wait(stop=watch)
    if stop():
        raise Interrupted("Dumping the database", "stopped as asked", state="it is as it was")
    if code:
        raise OpsError(
            f"Dumping the {target.title}",
            "; ".join(complaints) or f"pg_dump ended with {code} and said nothing",
            state="the database is as it was",
        )
    progress(extent.bytes, extent.bytes)


class _Meter:
    """How far a dump is: the tables that are done, and of the one at work no more than what was written."""

    def __init__(self, extent: Extent, to: Path) -> None:
        self._extent = extent
        self._to = to
        self._ended = 0
        self._current = 0
        self._written_before = 0

    def begin(self, table: str) -> None:
        self._ended += self._current
        self._current = self._extent.tables.get(table, 0)
        self._written_before = self._written()

    @property
    def done(self) -> int:
        return self._ended + min(self._current, self._written() - self._written_before)

    def _written(self) -> int:
        try:
            return self._to.stat().st_size
        except OSError:
            return self._written_before
