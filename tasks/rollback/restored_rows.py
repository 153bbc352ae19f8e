"""Whether the rows of a restored backup are there, table by table."""

from __future__ import annotations

from tasks.core.wording import number_of
from tasks.postgres import loss
from tasks.rollback.work import Work


def differences(work: Work) -> list[str]:
    """A sentence for each table that lacks rows of the backup; says how many tables were compared.

    Empty where the run restores no backup.
    """
    if work.backup is None:
        return []
    declared_empty = work.app.declared.empty_tables
    rows_of = work.backup.fetched.rows
    wanted = {table: rows for table, rows in rows_of.items() if table not in declared_empty}
    with work.connect("read counts", read_only=True) as connection:
        counted = loss.count_rows(connection, work.database.schema, sorted(wanted))
    fewer = [
        f"table {table}: {number_of(counted.get(table, 0), 'row')}, {rows:,} in the backup"
        for table, rows in wanted.items()
        if counted.get(table, 0) < rows
    ]
    more = {table: counted[table] - rows for table, rows in wanted.items() if counted.get(table, 0) > rows}
    since = ", ".join(f"{count:,} in {table}" for table, count in sorted(more.items()))
    left_out = len(rows_of) - len(wanted)
    work.screen.line(
        f"Rows of the backup: {sum(wanted.values()):,} in {number_of(len(wanted), 'table')}, "
        f"fewer in {len(fewer)}"
        + (f"; {left_out} declared empty" if left_out else "")
        + (f"; written since: {since}" if since else "")
    )
    verdict = work.situation.migrations
    if fewer and verdict is not None and verdict.missing:
        work.screen.warn(f"The release's migrations ran on it since: {'; '.join(fewer)}")
        return []
    return fewer
