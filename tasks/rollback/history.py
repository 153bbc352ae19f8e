"""What happened to one application, as the platform, the database and the journal remember it. Pure.

The platform knows what was deployed, whoever did it; the database's marks know what was swapped, from
whichever laptop; the journal knows what was asked here. Every question about the past is answered from the
three together, in this one place.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from tasks.core.journal import Record
from tasks.postgres.marks import DataState, Mark
from tasks.rollback.choices import Deployed
from tasks.rollback.intent import Deploy


@dataclass(frozen=True)
class RolledBack:
    """A rollback that succeeded and is how things still are.

    + backup: the id of what the data was restored from; "" where the data stayed
    + who: as the journal knows it; "" where another laptop did it
    """

    at: datetime
    commit: str
    backup: str
    who: str


@dataclass(frozen=True)
class History:
    """One application's past.

    + successes: deployments that ended in success, newest first
    + data: the database's marks
    + records: the journal's records of this application, oldest first
    """

    successes: tuple[Deployed, ...]
    data: DataState
    records: tuple[Record, ...] = ()

    @property
    def running(self) -> str | None:
        """The commit of the last deployment that succeeded."""
        return self.successes[0].commit if self.successes else None

    @property
    def unfinished(self) -> Mark | None:
        """The mark of a run that did not come to its end, the most advanced one.

        A proved stage older than the last deployment is of a night that has passed.
        """
        live = self.data.live
        if live is not None and live.kind == "before" and not live.confirmed:
            return live
        if self.data.dropping is not None and not self.data.dropping.confirmed:
            return self.data.dropping
        last = self.successes[0].finished if self.successes else None
        staged = [mark for mark in self.data.proved if last is None or mark.created > last]
        return staged[-1] if staged else None

    @property
    def unfinished_undo(self) -> Mark | None:
        """The mark of an undo that has swapped the data and did not come to its end."""
        live = self.data.live
        by_undo = live is not None and live.details.get("deploy") == Deploy.UNDO.value
        return live if by_undo and live is not None and not live.confirmed else None

    def resumable(self, release: str, backup: str) -> Mark | None:
        """What an earlier run for this commit ("" for none) and backup left: swap, drop or proved stage."""
        staged = self.data.proved
        swapped = [mark for mark in (self.data.live,) if mark and mark.kind == "before"]
        dropped = [mark for mark in (self.data.dropping,) if mark]
        begun = [mark for mark in (*swapped, *dropped) if not mark.confirmed]
        for mark in (*begun, *reversed(staged)):
            if mark.backup == backup and mark.release == release:
                return mark
        return None

    @property
    def rolled_back(self) -> RolledBack | None:
        """The rollback that things still stand at, from the marks or, for code alone, from the journal."""
        mark, running = self.data.live, self.running
        if mark and mark.kind == "before" and mark.confirmed and mark.release == (running or ""):
            return RolledBack(mark.created, mark.release, mark.backup, "")
        last = self._newest_moved(result="succeeded")
        if last and last.get("deploy") == Deploy.ROLLBACK.value and last.get("commit") == running:
            return RolledBack(last.at, str(running), str(last.get("backup") or ""), str(last.get("who")))
        return None

    def settled(self, release: str, backup: str, asked: str | None) -> Mark | None:
        """The confirmed mark that says that this commit ("" for none) and backup are how things are.

        + asked: the input as typed; `latest` is the same question as last time, whatever is newest now
        """
        live = self.data.live
        mark = live if live is not None and live.kind == "before" else self.data.dropping
        if mark is None or not mark.confirmed or mark.release != release:
            return None
        if release and self.running != release:
            return None
        same = mark.backup == backup or (asked is not None and mark.details.get("asked") == asked)
        return mark if same else None

    def seen_to_pass(self, commit: str) -> bool:
        """Whether the last run that brought this commit ended in success; true where none did."""
        last = next((r for r in reversed(self.records) if r.get("commit") == commit), None)
        return last is None or last.get("result") == "succeeded"

    @property
    def last_change(self) -> Mark | Record | None:
        """What an undo reverses: the mark of a swap or drop, or the record of a change of code alone."""
        marks = [mark for mark in (self.data.live, self.data.dropping) if mark is not None]
        newest = max(marks, key=lambda mark: mark.created, default=None)
        last = self._newest_moved()
        code_alone = last is not None and last.get("data") is None
        if code_alone and last is not None and (newest is None or last.at > newest.created):
            return last
        return newest

    @property
    def left(self) -> frozenset[str]:
        """Commits that a rollback has left and that nobody has deployed since: no release to go back to."""
        deployed: dict[str, datetime] = {}
        for one in self.successes:
            deployed.setdefault(one.commit, one.finished)
        found = set()
        for record in self.records:
            commit = record.get("commit_before")
            of_rollback = record.get("deploy") == Deploy.ROLLBACK.value and record.get("moved")
            went_on = commit == record.get("commit")  # from a push that had landed
            if not of_rollback or commit is None or went_on:
                continue
            if commit not in deployed or deployed[commit] <= record.at:
                found.add(str(commit))
        return frozenset(found)

    def _newest_moved(self, **equal: str) -> Record | None:
        for record in reversed(self.records):
            if record.get("moved") and all(record.get(key) == value for key, value in equal.items()):
                return record
        return None
