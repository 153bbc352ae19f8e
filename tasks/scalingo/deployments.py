"""Deployments: what was deployed when, how it goes, and deploying an archive.

Source: developers.scalingo.com, "Deployments" and "Sources". A git push is deployed by pushing it; nothing
here starts one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final
from urllib.parse import quote

from tasks.core.download import Progress, upload
from tasks.core.errors import OpsError
from tasks.core.http import UnexpectedStatus
from tasks.scalingo.models import Deployment, Source
from tasks.scalingo.polling import Stop, poll
from tasks.scalingo.session import Session, app_path, parse, parse_list

POLL_EVERY: Final = 3.0
LONGEST: Final = 2 * 3600.0
"""Seconds: build 30 min, hook 20 min, boot, and other deployments of the same owner before it."""

_PAGE: Final = 50


class Deployments:
    """Calls on an application's deployments."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def newest(self, app: str, count: int = 20) -> list[Deployment]:
        """The last deployments, newest first, whatever became of them."""
        found: list[Deployment] = []
        for deployment in self.all(app, per_page=min(count, _PAGE)):
            found.append(deployment)
            if len(found) == count:
                break
        return found

    def all(self, app: str, *, per_page: int = _PAGE) -> Iterator[Deployment]:
        """Every deployment, newest first, a page at a time as they are asked for."""
        page: int | None = 1
        while page is not None:
            reply = self._session.call(
                "GET",
                f"{app_path(app)}/deployments",
                params={"page": page, "per_page": per_page},
                doing=f"Listing {app}'s deployments",
            )
            yield from parse_list(Deployment, reply, "deployments")
            following = ((reply.json.get("meta") or {}).get("pagination") or {}).get("next_page")
            page = following if isinstance(following, int) and following > page else None

    def get(self, app: str, deployment: str) -> Deployment:
        """One deployment by its id."""
        reply = self._session.call("GET", self._path(app, deployment), doing=f"Reading a deployment of {app}")
        return parse(Deployment, reply, "deployment")

    def output(self, app: str, deployment: str) -> str:
        """The build's log, with its colours; empty while there is none."""
        try:
            reply = self._session.call(
                "GET", f"{self._path(app, deployment)}/output", doing=f"Reading {app}'s build log"
            )
        except UnexpectedStatus as error:
            if error.status != 404:
                raise
            return ""
        return reply.text

    def follow(
        self,
        app: str,
        deployment: str,
        *,
        on_status: Callable[[Deployment], None] | None = None,
        stop: Stop | None = None,
        every: float = POLL_EVERY,
        limit: float = LONGEST,
    ) -> Deployment:
        """Wait until a deployment is final and give it, whether it succeeded or not.

        + on_status: called with the deployment at each new status

        Raises Interrupted, Unreachable after five minutes without an answer, OpsError after `limit` seconds;
        the deployment goes on at the platform in each case.
        """
        seen: list[str] = []

        def note(found: Deployment) -> None:
            if on_status is not None and seen[-1:] != [found.status]:
                seen.append(found.status)
                on_status(found)

        return poll(
            lambda: self.get(app, deployment),
            lambda found: found.finished,
            doing=f"Waiting for the deployment of {app}",
            every=every,
            limit=limit,
            stop=stop,
            on_read=note,
            state=f"deployment {deployment} goes on at the platform",
        )

    def deploy_archive(
        self,
        app: str,
        archive: Path,
        git_ref: str,
        *,
        progress: Progress | None = None,
        stop: Stop | None = None,
    ) -> Deployment:
        """Send a gzip tar with one root directory and start its deployment.

        + git_ref: the label it is shown under; the platform refuses one that begins with `-`
        """
        if git_ref.startswith("-"):
            raise OpsError(f"Deploying an archive to {app}", f"{git_ref!r} can't be a deployment's label")
        source = parse(
            Source,
            self._session.call("POST", "/sources", expect=(201,), doing=f"Asking where {app}'s archive goes"),
            "source",
        )
        upload(
            source.upload_url.reveal(),
            archive,
            content_type="application/x-gzip",
            progress=progress,
            stop=stop,
            name=f"{app}'s archive",
        )
        reply = self._session.call(
            "POST",
            f"{app_path(app)}/deployments",
            json={"deployment": {"git_ref": git_ref, "source_url": source.download_url.reveal()}},
            expect=(200, 201),
            doing=f"Deploying an archive to {app}",
        )
        return parse(Deployment, reply, "deployment")

    def _path(self, app: str, deployment: str) -> str:
        return f"{app_path(app)}/deployments/{quote(deployment, safe='')}"
