"""The rows: copied table by table, each followed by its own indexes and statistics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from tasks.core.errors import Interrupted, OpsError
from tasks.core.wording import number_of
from tasks.postgres.archive import Archive
from tasks.postgres.connection import Connection
from tasks.postgres.crew import Crew, Job
from tasks.postgres.sql import message, names, qualified
from tasks.postgres.stage_plan import ForeignKey, StagePlan, TableLoad

_BATCHES_PER_WORKER: Final = 2


class Loader:
    """Makes the jobs that load a plan's tables, and counts what they have loaded.

    + rows: by table, as COPY reported
    + sent: bytes of COPY text so far
    """

    def __init__(self, crew: Crew, archive: Archive) -> None:
        self.crew = crew
        self.archive = archive
        self.rows: dict[str, int] = {}
        self._sent: dict[str, int] = {}

    @property
    def sent(self) -> int:
        return sum(list(self._sent.values()))

    def jobs(self, plan: StagePlan) -> list[Job]:
        """A job for each big table, which brings along its indexes; the small ones in batches."""
        big = [table for table in plan.tables if table.big]
        small = sorted((table for table in plan.tables if not table.big), key=lambda table: -table.weight)
        count = max(1, min(self.crew.size * _BATCHES_PER_WORKER, len(small)))
        batches = [small[number::count] for number in range(count)]
        return [self._big(plan.schema, table) for table in big] + [
            self._batch(plan.schema, batch) for batch in batches if batch
        ]

    def _big(self, schema: str, table: TableLoad) -> Job:
        left = len(table.indexes)
        finish = [*table.constraints, f"ANALYZE {qualified(schema, table.name)}"]
        last = Job(
            f"Indexing {table.name}", _executing(finish), weight=table.weight * (1 + len(table.constraints))
        )

        def index_done() -> Sequence[Job]:
            nonlocal left
            left -= 1
            return () if left else (last,)

        def copied() -> Sequence[Job]:
            indexes = [
                Job(f"Indexing {table.name}", _executing([index]), table.weight, index_done)
                for index in table.indexes
            ]
            return indexes or (last,)

        return Job(
            f"Loading {table.name}",
            lambda connection: self._copy_frozen(connection, schema, table),
            weight=table.weight * (2 + len(table.indexes)),
            then=copied,
        )

    def _batch(self, schema: str, tables: Sequence[TableLoad]) -> Job:
        statements = [text for table in tables for text in (*table.indexes, *table.constraints)]
        filled = [table.name for table in tables if table.entry is not None]
        if filled:
            statements.append(f"ANALYZE {names(schema, filled)}")

        def work(connection: Connection) -> None:
            for table in tables:
                self._copy(connection, table, table.copy)
            _executing(statements)(connection)

        return Job(
            "Loading "
            + ", ".join(table.name for table in tables[:3])
            + (" and others" if tables[3:] else ""),
            work,
            weight=sum(table.weight for table in tables),
        )

    def _copy_frozen(self, connection: Connection, schema: str, table: TableLoad) -> None:
        """Rows written as if vacuumed already, which needs a table emptied in the same transaction."""
        if table.entry is None:
            return
        if not table.frozen:
            self._copy(connection, table, table.copy)
            return
        connection.execute(f"BEGIN; TRUNCATE ONLY {qualified(schema, table.name)}".encode())
        self._copy(connection, table, f"{table.copy} WITH (FREEZE)")
        connection.execute("COMMIT")

    def _copy(self, connection: Connection, table: TableLoad, statement: str) -> None:
        if table.entry is None:
            return
        sent = 0
        with connection.cursor() as cursor:
            with cursor.copy(statement.encode()) as copy:
                for piece in self.archive.copy_text(table.entry):
                    if self.crew.stopping:
                        raise Interrupted(f"Loading {table.name}", "stopped")
                    copy.write(piece)
                    sent += len(piece)
                    self._sent[table.name] = sent
            loaded = cursor.rowcount
        if loaded != table.rows:
            raise OpsError(
                f"Loading {table.name}",
                f"{number_of(loaded, 'row was', 'rows were')} loaded, the archive has {table.rows:,}",
                next_step="fetch the backup again; when it fails again, report it with the backup's name",
            )
        self.rows[table.name] = loaded


def _executing(statements: Sequence[str]) -> Callable[[Connection], None]:
    text = message(statements).encode()

    def work(connection: Connection) -> None:
        if text:
            connection.execute(text)

    return work


def validations(plan: StagePlan) -> list[Job]:
    """The checks of foreign keys on big tables, one job a table: two on one table wait for each other."""
    by_table: dict[str, list[ForeignKey]] = {}
    for key in plan.foreign_keys:
        if key.validate:
            by_table.setdefault(key.table, []).append(key)
    weights = {table.name: table.weight for table in plan.tables}
    return [
        Job(
            f"Checking the foreign keys of {table}",
            _executing([key.validate for key in keys]),
            weight=weights.get(table, 0) * len(keys),
        )
        for table, keys in by_table.items()
    ]


def loaded_rows(tables: Iterable[TableLoad]) -> dict[str, int]:
    """Rows by table that a load of these must give."""
    return {table.name: table.rows for table in tables if table.entry is not None}
