"""Trying again: urllib3's `Retry`, which honours Retry-After, with our limits and a line on screen."""

from __future__ import annotations

import logging
from typing import Any, Final

import urllib3

# pyinfra's own logger: a wait is seen on screen, under its prefixes.
logger: Final = logging.getLogger("pyinfra")

# urllib3 logs each path with its query, at every level below this one; signed addresses are secrets.
logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)

REPEATABLE: Final = frozenset({"GET", "HEAD"})
"""Methods that may be sent twice without harm."""

_MOST_SERVER_ERRORS: Final = 4
_LONGEST_WAIT: Final = 90.0


class Patience(urllib3.Retry):
    """How often and how long to try again: 1, 2, 4 ... seconds, or what Retry-After asks up to 90 s.

    Two more attempts at a connection, two after a cut one, four after a server error, six after a 429
    (a minute, which is the window of the usual rate limits).
    """

    name = "The server"

    @classmethod
    def of(cls, name: str, *, repeat: bool, pause: float, most: int | None) -> Patience:
        """The patience with one service.

        + repeat: whether what was sent may be sent again
        + pause: the first wait in seconds
        + most: repetitions in all; None for those above
        """
        patience = cls(
            total=most,
            connect=2,
            read=2 if repeat else False,
            status=6 if repeat else 0,
            other=0,
            redirect=False,
            backoff_factor=pause,
            backoff_max=32 * pause,
            allowed_methods=None if repeat else REPEATABLE,
            status_forcelist=frozenset({429, 500, 502, 503, 504}),
            raise_on_status=False,
        )
        patience.name = name
        return patience

    def new(self, **changes: Any) -> Patience:
        copy = super().new(**changes)
        copy.name = self.name
        return copy

    def get_backoff_time(self) -> float:
        wait: float = self.backoff_factor * 2 ** max(0, len(self.history) - 1)
        return min(self.backoff_max, wait)

    def get_retry_after(self, response: Any) -> float | None:
        try:
            return super().get_retry_after(response)
        except urllib3.exceptions.InvalidHeader:
            return None

    def is_exhausted(self) -> bool:
        server_errors = sum(1 for attempt in self.history if (attempt.status or 0) >= 500)
        return server_errors > _MOST_SERVER_ERRORS or super().is_exhausted()

    def increment(
        self,
        method: str | None = None,
        url: str | None = None,
        response: Any = None,
        error: Exception | None = None,
        *more: Any,
        **named: Any,
    ) -> Patience:
        wait = self.get_retry_after(response) if response is not None else None
        if wait is not None and wait > _LONGEST_WAIT:
            raise urllib3.exceptions.MaxRetryError(named.get("_pool"), url or "", error)  # type: ignore[arg-type]
        after = super().increment(method, url, response, error, *more, **named)
        wait = wait or after.get_backoff_time()
        what = f"answered {response.status}" if response is not None else "did not answer"
        logger.warning(f"{self.name} {what}; trying again in {wait:.0f} s")
        return after
