"""Archives of `pg_dump --format=custom`, read by this project itself: no pg_restore, no server.

Its own reader because pg_restore of one version refuses archives of a newer one, its list is ambiguous for
names with spaces, and a damaged archive shows only while it loads.
"""

from tasks.postgres.archive.archive import Archive
from tasks.postgres.archive.check import Contents, check
from tasks.postgres.archive.container import open_backup, open_checked
from tasks.postgres.archive.definitions import Treatment, Verdict
from tasks.postgres.archive.folders import stamp
from tasks.postgres.archive.header import Header
from tasks.postgres.archive.migrations import Migration, applied
from tasks.postgres.archive.problems import DamagedArchive, UnsupportedArchive
from tasks.postgres.archive.toc import Entry, Section

__all__ = [
    "Archive",
    "Contents",
    "DamagedArchive",
    "Entry",
    "Header",
    "Migration",
    "Section",
    "Treatment",
    "UnsupportedArchive",
    "Verdict",
    "applied",
    "check",
    "open_backup",
    "open_checked",
    "stamp",
]
