"""Readers of views and writers of tables in another schema see no error while a swap takes those along."""

from __future__ import annotations

import time

from tasks.postgres import swap
from tasks.postgres.connection import connect
from tasks.postgres.ties.settle import analyse, check_keys
from tests.tasks.postgres.test_swap import Traffic

OUTSIDE = """
create table audit.log(id bigserial primary key, place int references public.place);
create view audit.plain as select id, name from public.place;
create view audit.typed as select id, mood from public.place join audit.plain using (id);
create view audit.over as select mood, count(*) n from audit.typed group by mood;
create publication feed for table public.place (id)
"""


class Reports(Traffic):
    """Also reads the views of the other schema, and writes into its tables."""

    @staticmethod
    def _read(connection) -> None:
        rows = connection.execute("select sum(n) from audit.over join audit.plain on true").fetchall()
        assert rows[0][0] > 0, "nobody ever sees half-restored data"
        connection.execute("select * from audit.log l join place p on p.id = l.place limit 3").fetchall()

    def _write(self, connection) -> None:
        (new,) = connection.execute("insert into place(name) values ('new') returning id").fetchone()
        connection.execute("insert into audit.log(place) values (7)")
        connection.execute("update audit.log set place = 8 where id = (select max(id) from audit.log)")
        self.ids.append(new)


def test_readers_and_writers_of_other_schemas_see_no_error(tied):
    tied.do(OUTSIDE)
    before = tied.outside()
    with Reports(tied) as traffic:
        for run in ("r1", "r2"):
            tied.swap(tied.stage(run))
            with connect(tied.target, run) as connection:
                assert check_keys(connection).orphans == ()
                analyse(connection, "public")
        for _ in range(3):
            swapped = swap.take_back(tied.target, "r3")
            assert swapped.locked is not None
            with connect(tied.target, "r3") as connection:
                check_keys(connection)
            time.sleep(0.2)
    assert traffic.errors == []
    assert traffic.rounds > 100
    assert traffic.slowest < 1
    assert tied.outside() == before
