"""The cut-over: live objects move out, others move in, in one transaction of milliseconds; and its undo.

Locks are taken, used and given back in one message, so that their time does not depend on the network. Nobody
waits for us longer than a tenth of a second: where a lock is not to be had at once, the attempt is given up
and made again. The mark is written in the same transaction, so that after a lost connection the database says
whether it happened.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

import psycopg
from psycopg import errors as pg

from tasks.core.errors import Interrupted, OpsError, PersonNeeded, Refused, Stale
from tasks.core.wording import number_of
from tasks.postgres import leftovers, marks
from tasks.postgres.connection import (
    Connection,
    Target,
    check_not_pooled,
    connect,
    explain,
    explained,
    is_cut,
)
from tasks.postgres.exchange import (
    BUSY,
    CHANGED,
    LONGEST_WAIT,
    NOT_HELD,
    PRE_LOCK_SECONDS,
    Order,
    exchange,
    obstacles,
    preparation,
    read_sides,
)
from tasks.postgres.inventory import LiveObject
from tasks.postgres.marks import Mark
from tasks.postgres.sql import ident, message
from tasks.postgres.ties.model import OUTWARD, UNVALIDATED, Key, Obstacle, keys_in
from tasks.postgres.ties.rehearsal import rehearse

# How long a lost connection is tried anew before a person is asked: a tunnel that comes back takes seconds.
RECONNECT_SECONDS: Final = 20.0
_PURPOSE: Final = "swap"
_GIVE_WAY = (pg.LockNotAvailable, pg.QueryCanceled, pg.DeadlockDetected)


@dataclass(frozen=True)
class Swapped:
    """A swap that has happened.

    + mark: of the data that was set aside
    + locked: seconds during which users could have waited, at most; None where the connection was lost and
      the mark alone tells that it happened
    + attempts: how many times locks were tried
    + moved_out, moved_in: numbers of objects
    """

    mark: Mark
    locked: float | None
    attempts: int
    moved_out: int
    moved_in: int


def swap(
    target: Target,
    run: str,
    stage: Mark,
    *,
    planned: str | None,
    lock_pid: int | None = None,
    fence: int = 0,
    deadline: float = 60.0,
    stop: Callable[[], bool] = lambda: False,
    waiting: Callable[[str], None] = lambda sentence: None,
) -> Swapped:
    """Put a proved stage in the place of the live objects, which are set aside as `before_RUN`.

    + run: the run that swaps; the stage is its own, or was adopted (`adopt`)
    + planned: digest of the live inventory that the plan was made from
    + lock_pid, fence: of the environment's lock
    + deadline: seconds to try for
    + stop: asked between attempts
    + waiting: told who is in the way, after an attempt that gave up

    Raises Stale when the live objects are others than planned, Refused when something can't be moved,
    OpsError when locks were not to be had until the deadline: nothing has happened then. Raises PersonNeeded
    when the connection was lost and the outcome can't be read.
    """
    if stage.kind != "new" or stage.state != "proved":
        raise Refused(f"Swapping {stage.schema} in", "it is not a proved stage", state="nothing was changed")
    mark = replace(stage, kind="before", run=run, state="swapped", confirmed=False, fence=fence)
    outward = keys_in(stage.details, OUTWARD)
    return _Exchange(
        target, run, stage.schema, mark, outward, planned, lock_pid, deadline, stop, waiting
    ).go()


def take_back(
    target: Target,
    run: str,
    *,
    lock_pid: int | None = None,
    fence: int = 0,
    deadline: float = 60.0,
    stop: Callable[[], bool] = lambda: False,
    waiting: Callable[[str], None] = lambda sentence: None,
    details: Mapping[str, Any] | None = None,
) -> Swapped:
    """Undo the last swap: what it set aside comes back, what is live now is set aside in turn.

    The data that comes back after a swap was `before_RUN`; what was live goes to `after_RUN`, and doing this
    again brings that back. Whatever is in the schema now moves, a migration's new tables too. Sequences go
    on from the further of both sides. Arguments and errors as for `swap`.

    + details: more for the mark, written in the same transaction
    """
    with connect(target, run, "state", read_only=True) as connection:
        last = marks.read(connection).live
    if last is None:
        raise Refused(
            "Taking the last swap back", "there is none, or it was forgotten", state="nothing was changed"
        )
    mark = replace(
        last,
        kind="after" if last.kind == "before" else "before",
        fence=fence,
        confirmed=False,
        details={**last.details, **(details or {})},
    )
    outward = keys_in(last.details, OUTWARD)
    return _Exchange(target, run, last.schema, mark, outward, None, lock_pid, deadline, stop, waiting).go()


def try_take_back(target: Target, run: str, schema: str) -> list[Obstacle]:
    """What other schemas need that the data set aside in `schema` can't give them; nothing is changed.

    Tried on the server, in a transaction that is rolled back. Empty where `schema` is not the last set aside.
    """
    with (
        explained("Trying what depends on the live objects on those set aside"),
        connect(target, run, "try") as connection,
    ):
        last = marks.read(connection).live
        if last is None or last.schema != schema:
            return []
        ties = read_sides(connection, target.schema, schema).ties
        return [
            *ties.obstacles,
            *rehearse(connection, target.schema, schema, ties, keys_in(last.details, OUTWARD)),
        ]


def adopt(connection: Connection, stage: Mark, run: str, fence: int = 0) -> Mark:
    """Make an earlier run's proved stage this run's own: the schema is renamed and its mark rewritten."""
    if stage.run == run:
        return marks.write(connection, replace(stage, fence=fence))
    mine = replace(stage, run=run, fence=fence, details={**stage.details, "staged_by": stage.run})
    connection.execute(
        message(
            [f"ALTER SCHEMA {ident(stage.schema)} RENAME TO {ident(mine.schema)}", mine.statement()]
        ).encode()
    )
    return mine


def _waiting_keys(state: marks.DataState) -> frozenset[str]:
    """Keys that the last swap has added and whose rows were not right, or not checked yet."""
    details = state.live.details if state.live is not None else {}
    return frozenset(key.title for key in keys_in(details, UNVALIDATED))


class _Exchange:
    def __init__(
        self,
        target: Target,
        run: str,
        incoming: str,
        mark: Mark,
        outward: tuple[Key, ...],
        planned: str | None,
        lock_pid: int | None,
        deadline: float,
        stop: Callable[[], bool],
        waiting: Callable[[str], None],
    ) -> None:
        self.target = target
        self.run = run
        self.incoming = incoming
        self.mark = mark
        self.outward = outward
        self.planned = planned
        self.lock_pid = lock_pid
        self.deadline = time.monotonic() + deadline
        self.stop = stop
        self.waiting = waiting
        self.attempts = 0
        self.blockers = ""
        self.attempted = f"Swapping {incoming} in"

    def go(self) -> Swapped:
        try:
            connection = connect(self.target, self.run, _PURPOSE, lock_seconds=PRE_LOCK_SECONDS)
            with contextlib.closing(connection):
                check_not_pooled(connection)
                return self._until_deadline(connection)
        except psycopg.Error as error:
            if is_cut(error):
                return self._in_doubt(error)
            raise self._failed(error) from None

    def _until_deadline(self, connection: Connection) -> Swapped:
        while True:
            try:
                order = self._order(connection)
                connection.execute(preparation(order).encode())
                while True:
                    locked = self._attempt(connection, order)
                    if locked is not None:
                        return self._done(order, locked)
                    self._pause(connection, order)
            except _GIVE_WAY:  # the first locks; they stop nobody, so waiting for them can go on
                connection.execute("ROLLBACK")
                self._pause(connection, None)

    def _order(self, connection: Connection) -> Order:
        state = marks.read(connection)
        sides = read_sides(connection, self.target.schema, self.incoming)
        sides = replace(sides, ties=sides.ties.with_valid(_waiting_keys(state)))
        untied = [
            *sides.ties.obstacles,
            *rehearse(connection, self.target.schema, self.incoming, sides.ties, self.outward),
        ]
        problems = [*obstacles(sides), *(found.sentence for found in untied)]
        if self.mark.kind == "before" and not sides.incoming.objects:
            problems.append(f"there is nothing in {self.incoming}")
        if problems:
            raise Refused(
                self.attempted,
                "; ".join(problems),
                state="nothing was changed",
                next_step="; ".join(sorted({found.way_out for found in untied})),
            )
        details = {
            **self.mark.details,
            OUTWARD: [key.as_json() for key in sides.ties.outward],
            UNVALIDATED: [key.as_json() for key in sides.ties.to_check(self.outward)],
        }
        self.mark = replace(self.mark, number=state.next_number, created=datetime.now(UTC), details=details)
        return Order(
            self.target.schema, self.incoming, self.mark, sides, self.planned, self.lock_pid, self.outward
        )

    def _attempt(self, connection: Connection, order: Order) -> float | None:
        """One try: the longest time that locks were held, or None when it gave way."""
        self.attempts += 1
        wait = min(LONGEST_WAIT, 0.03 + 0.005 * self.attempts)
        text = exchange(order, wait=wait).encode()
        sent = time.monotonic()
        try:
            cursor = connection.execute(text)
        except _GIVE_WAY:
            connection.execute("ROLLBACK TO SAVEPOINT attempt")
            return None
        elapsed = time.monotonic() - sent
        while cursor.description is None:
            cursor.nextset()
        row = cursor.fetchone()
        before_locks = row[0].total_seconds() if row else 0.0
        return max(0.0, elapsed - before_locks)

    def _pause(self, connection: Connection, order: Order | None) -> None:
        if order is not None:
            self.blockers = _in_the_way(connection, order.sides.live.moved)
            self.waiting(self.blockers)
        if self.stop():
            raise Interrupted(self.attempted, "stopped on request", state="nothing was changed")
        if time.monotonic() > self.deadline:
            raise OpsError(
                self.attempted,
                f"its locks were not to be had in {number_of(self.attempts, 'attempt')}"
                + (f"; in the way: {self.blockers}" if self.blockers else ""),
                state="nothing was changed, and nobody waited longer than a tenth of a second",
                next_step="end or wait for those transactions, then run the same command again",
            )
        time.sleep(random.uniform(0.05, 0.3))  # noqa: S311 - a pause, not a secret

    def _done(self, order: Order, locked: float) -> Swapped:
        sides = order.sides
        return Swapped(self.mark, locked, self.attempts, len(sides.live.moved), len(sides.incoming.moved))

    def _failed(self, error: psycopg.Error) -> OpsError:
        state = "nothing was changed"
        if error.sqlstate == CHANGED:
            return Stale(
                self.attempted,
                "tables or other objects were made or dropped since the plan (a migration?)",
                state=state,
                next_step="run the same command again; it plans anew and uses the stage again",
            )
        if error.sqlstate in (NOT_HELD, BUSY):
            return Refused(
                self.attempted,
                "this run no longer holds the environment's lock"
                if error.sqlstate == NOT_HELD
                else "another swap is under way",
                state=state,
                next_step="run the same command again",
            )
        return explain(error, self.attempted, state=state)

    def _in_doubt(self, error: psycopg.Error) -> Swapped:
        """The connection was lost: end what may still be committing, then read what the database says."""
        deadline = time.monotonic() + RECONNECT_SECONDS
        while True:
            try:
                with connect(self.target, self.run, "state") as connection:
                    leftovers.end_of_run(connection, self.run, _PURPOSE)
                    state = marks.read(connection)
                break
            except (OpsError, psycopg.Error):
                if time.monotonic() > deadline:
                    raise PersonNeeded(
                        self.attempted,
                        "the connection was lost, and the database can't be reached to read what happened",
                        state="either nothing was changed, or the swap has happened as a whole",
                        next_step="run the same command again once the database answers: "
                        "it reads the state first",
                    ) from None
                time.sleep(0.5)
        live = state.live
        if live is not None and (live.schema, live.number) == (self.mark.schema, self.mark.number):
            return Swapped(live, None, self.attempts, 0, 0)
        raise explain(error, self.attempted, state="nothing was changed")


_HOLDERS: Final = """
select distinct a.pid, a.usename, a.application_name, a.state, extract(epoch from now() - a.xact_start)::int
  from pg_locks l join pg_stat_activity a using (pid)
 where l.locktype = 'relation' and l.granted and l.pid <> pg_backend_pid()
   and l.database = (select oid from pg_database where datname = current_database())
   and l.relation = any(%s)
"""


def _in_the_way(connection: Connection, live: Sequence[LiveObject]) -> str:
    """Which sessions hold locks on what is to move; without their statements, which may hold data."""
    oids = [item.thing.oid for item in live if item.thing.catalog == "pg_class"]
    rows = connection.execute(_HOLDERS, (oids,)).fetchall()
    return ", ".join(
        f"pid {pid} of {user} ({application or 'no name'}, {state}, open for {seconds or 0} s)"
        for pid, user, application, state, seconds in rows[:5]
    )
