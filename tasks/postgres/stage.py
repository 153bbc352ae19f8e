"""Building a backup beside the live data: in a schema of its own, without touching what users see.

The schema and its mark are made in one transaction; whatever ends the run later, the database says what the
schema is. Definitions travel many to a message; rows are copied by several sessions, and the number that COPY
reports is compared with what was counted in the archive.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import psycopg

from tasks.core.errors import OpsError, Refused
from tasks.postgres import forget, load, marks, prove
from tasks.postgres.archive import Archive
from tasks.postgres.connection import Connection, Target, connect, explain, results
from tasks.postgres.crew import Crew
from tasks.postgres.exchange import read_sides
from tasks.postgres.grants import DEFAULTS_IN, default_privileges
from tasks.postgres.live import LiveFacts
from tasks.postgres.marks import Mark
from tasks.postgres.sql import ident, literal, message
from tasks.postgres.stage_plan import StagePlan, plan_stage
from tasks.postgres.ties.model import OUTWARD
from tasks.postgres.ties.rehearsal import rehearse

Progress = Callable[[int, int | None], None]

_LOAD_SECONDS: Final = 6 * 3600
_SETTINGS: Final = (
    "SET synchronous_commit = off",
    "SET default_statistics_target = 10",
    "SET check_function_bodies = off",
    "SET xmloption = content",
    "SET jit = off",
)


@dataclass(frozen=True)
class StageRequest:
    """What to stage.

    + run, fence: of the run that stages, and of its lock
    + archive: open
    + rows: rows by dump_id of the TABLE DATA entries, as counted when the archive was read
    + total_bytes: COPY text of all tables, for progress; None where it is not known
    + backup, sha256, release: recorded in the mark
    + empty: tables declared to come back empty
    + workers: sessions that load; see `workers_for`
    + size_limit: bytes of the whole database at which loading is given up
    + details: written in the mark from its beginning
    """

    run: str
    archive: Archive
    rows: Mapping[int, int]
    backup: str
    sha256: str
    fence: int = 0
    release: str = ""
    total_bytes: int | None = None
    empty: frozenset[str] = frozenset()
    workers: int = 2
    size_limit: int | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Staged:
    """A stage that was built and proved.

    + mark: as written in the database
    + rows: loaded, by table of the archive; 0 for what has none there, or was declared to come back empty
    + seconds: by part ("definitions", "rows and indexes", "foreign keys", "views", "proof")
    """

    mark: Mark
    rows: Mapping[str, int]
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def schema(self) -> str:
        """Where it is."""
        return self.mark.schema


def workers_for(free_slots: int, *, most: int = 4, spare: int = 3) -> int:
    """How many loading sessions a server with so many free connections can bear: one at least."""
    return max(1, min(most, free_slots - spare))


def plan_of(request: StageRequest, source: str) -> StagePlan:
    """The plan of this request."""
    return plan_stage(
        request.archive.entries,
        request.rows,
        source=source,
        schema=marks.stage_schema(request.run),
        empty=request.empty,
    )


def stage(
    target: Target,
    request: StageRequest,
    live: LiveFacts,
    *,
    progress: Progress = lambda done, total: None,
    stop: Callable[[], bool] = lambda: False,
) -> Staged:
    """Build and prove the stage, or leave nothing of it.

    + live: facts read before; what other roles may do is taken from them
    + progress: bytes of rows sent, of how many
    + stop: asked several times a second

    Raises Interrupted when stopped, Refused when a proof fails, OpsError for whatever the server says. In
    each case the stage is dropped again when the server can be reached, and the error says whether it was.
    """
    mark = Mark(
        kind="new",
        run=request.run,
        state="loading",
        backup=request.backup,
        sha256=request.sha256,
        release=request.release,
        fence=request.fence,
        details={**request.details, "empty": sorted(request.empty)},
    )
    main = connect(target, request.run, "stage", statement_seconds=_LOAD_SECONDS)
    try:
        with Crew(lambda: session(target, request), request.workers) as crew:
            crew.start()  # the server is busy with that while the plan is made here
            plan = plan_of(request, target.schema)
            builder = _Builder(target, request, plan, main, crew, live, progress, stop)
            return builder.build(mark)
    except (OpsError, psycopg.Error) as error:
        failure = (
            error if isinstance(error, OpsError) else explain(error, f"Staging the backup {request.backup}")
        )
        failure.state = _cleaned_up(target, request.run, mark.schema)
        failure.args = (str(failure),)
        raise failure from None
    finally:
        main.close()


def session(target: Target, request: StageRequest) -> Connection:
    """A loading session: its commits need not wait for the disk, since the swap's own commit does."""
    connection = connect(target, request.run, "load", statement_seconds=_LOAD_SECONDS, lock_seconds=60)
    encoding = f"SET client_encoding = {literal(request.archive.encoding)}"
    connection.execute(message([*_SETTINGS, encoding]).encode())
    return connection


def _cleaned_up(target: Target, run: str, schema: str) -> str:
    """Drop what was built, from a session of its own, and say whether that worked."""
    try:
        with connect(target, run, "cleanup") as connection:
            forget.drop_schema(connection, schema)
    except OpsError:
        return (
            f"the live data is untouched; the incomplete stage {schema} could not be dropped, "
            "and the next run drops it"
        )
    return "the live data is untouched, and the incomplete stage was dropped"


class _Builder:
    def __init__(
        self,
        target: Target,
        request: StageRequest,
        plan: StagePlan,
        main: Connection,
        crew: Crew,
        live: LiveFacts,
        progress: Progress,
        stop: Callable[[], bool],
    ) -> None:
        self.target = target
        self.request = request
        self.plan = plan
        self.main = main
        self.crew = crew
        self.live = live
        self.progress = progress
        self.stop = stop
        self.loader = load.Loader(crew, request.archive)
        self.seconds: dict[str, float] = {}
        self._watched_at = 0.0

    def build(self, mark: Mark) -> Staged:
        started = time.monotonic()
        started = self._definitions(mark, started)
        started = self._rows_and_indexes(started)
        started = self._foreign_keys(started)
        started = self._views(started)
        self._prove(started)
        details = {
            **mark.details,
            "rows": self.loader.rows,
            OUTWARD: [key.as_json() for key in self.plan.outward],
        }
        proved = replace(mark, state="proved", details=details)
        marks.write(self.main, proved)
        return Staged(proved, self._rows(), self.seconds)

    def _rows(self) -> dict[str, int]:
        """By every table that the archive has data of, so that as many are told of as were read."""
        built = {table.name for table in self.plan.tables}
        return {
            entry.name: self.loader.rows.get(entry.name, 0)
            for entry in self.request.archive.table_data()
            if entry.schema == self.target.schema and entry.name in built
        }

    def _took(self, part: str, started: float) -> float:
        now = time.monotonic()
        self.seconds[part] = round(now - started, 3)
        return now

    def _definitions(self, mark: Mark, started: float) -> float:
        """Schema, mark and default privileges in one transaction; then everything that comes before rows."""
        (defaults,) = results(self.main, DEFAULTS_IN.format(schema=literal(self.target.schema)))
        self.main.execute(
            message(
                [
                    "SET synchronous_commit = on",
                    "BEGIN",
                    f"CREATE SCHEMA {ident(self.plan.schema)}",
                    mark.statement(),
                    *default_privileges(defaults, self.plan.schema),
                    "COMMIT",
                    *_SETTINGS,
                ]
            ).encode()
        )
        self.main.execute(message(self.plan.pre_data).encode()) if self.plan.pre_data else None
        return self._took("definitions", started)

    def _rows_and_indexes(self, started: float) -> float:
        self.crew.run(self.loader.jobs(self.plan), watch=self._watch, stop=self.stop)
        self.progress(self.loader.sent, self.request.total_bytes)
        return self._took("rows and indexes", started)

    def _foreign_keys(self, started: float) -> float:
        keys = [key.add for key in self.plan.foreign_keys]
        statements = [*self.plan.attachments, *keys, *self.plan.sequence_values]
        if statements:
            self.main.execute(message(statements).encode())
        self.crew.run(load.validations(self.plan), watch=self._watch, stop=self.stop)
        return self._took("foreign keys", started)

    def _views(self, started: float) -> float:
        statements = [*self.plan.last, *self.plan.refreshes, *self.plan.after_refresh]
        if statements:
            self.main.execute(message(statements).encode())
        return self._took("views", started)

    def _prove(self, started: float) -> float:
        prove.prove(self.main, self.target.schema, self.plan, self.loader.rows)
        self._rehearse()
        return self._took("proof", started)

    def _rehearse(self) -> None:
        """What other schemas have to do with the live objects must fit those that are to take their place."""
        source, schema = self.target.schema, self.plan.schema
        ties = read_sides(self.main, source, schema).ties
        found = [*ties.obstacles, *rehearse(self.main, source, schema, ties, self.plan.outward)]
        if found:
            raise Refused(
                "Trying what depends on the live objects on the restored ones",
                "; ".join(obstacle.sentence for obstacle in found),
                next_step="; ".join(sorted({obstacle.way_out for obstacle in found}))
                + "; then run the same command again",
            )

    def _watch(self) -> None:
        """Report progress, and give up before the database's disk is full."""
        self.progress(self.loader.sent, self.request.total_bytes)
        limit = self.request.size_limit
        now = time.monotonic()
        if limit is None or now - self._watched_at < 1:
            return
        self._watched_at = now
        row = self.main.execute("select pg_database_size(current_database())").fetchone()
        if row is not None and row[0] > limit:
            raise Refused(
                f"Staging the backup {self.request.backup}",
                f"the database has grown to {row[0]:,} bytes, more than the declared limit of {limit:,}",
                next_step="make room or take a larger plan, then run the same command again",
            )
