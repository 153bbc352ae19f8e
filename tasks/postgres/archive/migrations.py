"""The migrations that an archive's database had applied, read from its rows without restoring it."""

from __future__ import annotations

from typing import Final, NamedTuple

from tasks.postgres.archive import copytext
from tasks.postgres.archive.archive import Archive
from tasks.postgres.archive.problems import DamagedArchive

TABLE: Final = "django_migrations"


class Migration(NamedTuple):
    """One applied migration of Django: `(app, name)`."""

    app: str
    name: str


def applied(archive: Archive, schema: str = "public") -> list[Migration] | None:
    """The migrations in the archive's django_migrations, in the order of its rows; None without such a table.

    Errors: DamagedArchive, UnsupportedArchive as `Archive.copy_text`.
    """
    for entry in archive.table_data():
        if (entry.schema, entry.name) != (schema, TABLE):
            continue
        what = f"the rows of {schema}.{TABLE} of {archive.path.name}"
        names = copytext.columns(entry)
        if "app" not in names or "name" not in names:
            raise DamagedArchive(what, "they have no columns app and name")
        app, name = names.index("app"), names.index("name")
        found = []
        for row in copytext.rows(archive.copy_text(entry)):
            if len(row) != len(names):
                raise DamagedArchive(what, f"a row has {len(row)} values for {len(names)} columns")
            found.append(Migration(_text(row[app]), _text(row[name])))
        return found
    return None


def _text(value: bytes | None) -> str:
    return (value or b"").decode("utf-8", "replace")
