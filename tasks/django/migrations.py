"""Whether a database and a release fit, judged by migrations alone; pure.

Django's `migrate` exits 0 on a schema that is newer than the code, so it is never asked.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from tasks.django.release import Applied, Migration

Fit = Literal["same", "behind", "ahead", "diverged", "unknown"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """How the migrations of an archive (or of a database) stand to those of a release.

    same: nothing to do. behind: the release brings it forward by `missing`. ahead: it has `extra`, which the
    release does not know. diverged: both. unknown: the release's own fit, but a package's migrations
    (`package_missing`, `package_extra`) differ from the live database's, or nothing could be compared
    with it (`unjudged`); the lock files of the two releases may tell.

    + retired: applied once, and since deleted from the release or an ancestor of it; they do no harm
    """

    fit: Fit
    missing: tuple[Applied, ...] = ()
    extra: tuple[Applied, ...] = ()
    package_missing: tuple[Applied, ...] = ()
    package_extra: tuple[Applied, ...] = ()
    unjudged: tuple[str, ...] = ()
    retired: tuple[Applied, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The migrations that the verdict is about, as `app.name`."""
        rows = (*self.extra, *self.missing, *self.package_extra, *self.package_missing)
        return tuple(f"{app}.{name}" for app, name in rows)

    def sentence(self, subject: str = "the archive") -> str:
        """The verdict for a person; `subject` is what was compared with the release."""
        missing, extra = _list(self.missing), _list(self.extra)
        match self.fit:
            case "same":
                return f"{subject} has the migrations of the release"
            case "behind":
                return f"{subject} lacks migrations of the release, which will apply them: {missing}"
            case "ahead":
                return f"{subject} has migrations that the release does not know: {extra}"
            case "diverged":
                return (
                    f"{subject} has migrations that the release does not know ({extra}) and lacks {missing}"
                )
            case "unknown":
                different = _list((*self.package_extra, *self.package_missing))
                if different:
                    return (
                        f"migrations of packages differ between {subject} and the live database: {different}"
                    )
                return f"nothing to compare the migrations of packages with: {', '.join(self.unjudged)}"


def compare(
    archive_applied: Collection[Applied],
    release: Mapping[str, tuple[Migration, ...]],
    live_applied: Collection[Applied] | None,
    shipped_apps: Collection[str],
    *,
    retired: Collection[Applied] = (),
) -> Verdict:
    """Judge what an archive has applied by what a release has.

    + live_applied: what the live database has applied, to judge packages' migrations by; None if not known
    + shipped_apps: apps with migrations in the repository, at the target *or* at the running release: an
      app that only the running one has is newer than the target, and no package's
    + retired: migrations that the release's ancestors had (`migrations_ever`), such as squashed ones
    """
    applied = frozenset(archive_applied)
    own = frozenset(shipped_apps) | frozenset(release)
    known = _known(release)
    missing = _missing(release, applied)
    beyond = {row for row in applied if row[0] in own and row not in known}
    extra = _sorted(beyond.difference(retired))
    old = _sorted(beyond.intersection(retired))
    if extra or missing:
        fit: Fit = "diverged" if extra and missing else "ahead" if extra else "behind"
        if fit != "behind":
            return Verdict(fit, missing, extra, retired=old)
    else:
        fit = "same"
    packages = {row for row in applied if row[0] not in own}
    if live_applied is None:
        unjudged = tuple(sorted({app for app, _ in packages}))
        return Verdict("unknown" if unjudged else fit, missing, unjudged=unjudged, retired=old)
    live = {row for row in live_applied if row[0] not in own}
    package_missing, package_extra = _sorted(live - packages), _sorted(packages - live)
    different = package_missing or package_extra
    return Verdict(
        "unknown" if different else fit,
        missing,
        package_missing=package_missing,
        package_extra=package_extra,
        retired=old,
    )


def _known(release: Mapping[str, tuple[Migration, ...]]) -> frozenset[Applied]:
    own = {(label, item.name) for label, items in release.items() for item in items}
    squashed = {row for items in release.values() for item in items for row in item.replaces}
    return frozenset(own | squashed)


def _missing(
    release: Mapping[str, tuple[Migration, ...]], applied: frozenset[Applied]
) -> tuple[Applied, ...]:
    """The migrations that `migrate` would run, with Django's rules for squashed ones.

    A squashed migration counts as applied when all that it replaces are, whatever its own row says. It is
    used only when all or none of them are; in between, what is left of them runs instead.
    """
    files = {(label, item.name): item for label, items in release.items() for item in items}
    replaced_by = {old: row for row, item in files.items() for old in item.replaces}

    def done(row: Applied) -> bool:
        replaces = files[row].replaces if row in files else ()
        return all(map(done, replaces)) if replaces else row in applied

    def begun(row: Applied) -> bool:
        replaces = files[row].replaces if row in files else ()
        return any(map(begun, replaces)) if replaces else row in applied

    def runs(row: Applied) -> bool:
        replaces = files[row].replaces
        if done(row):
            return False
        if any(map(begun, replaces)):
            return any(not done(old) and old not in files for old in replaces)
        squash = replaced_by.get(row)
        return squash is None or any(map(begun, files[squash].replaces))

    return _sorted(row for row in files if runs(row))


def _sorted(rows: Iterable[Applied]) -> tuple[Applied, ...]:
    return tuple(sorted(rows))


def _list(rows: tuple[Applied, ...]) -> str:
    shown = [f"{app}.{name}" for app, name in rows[:6]]
    return ", ".join(shown) + (f" and {len(rows) - 6} more" if len(rows) > 6 else "")
