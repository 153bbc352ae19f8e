"""Who uses the application meanwhile: readers and a writer through its pages, and a session that stays open.

Each acts every 50 ms, or as soon as the last answer is there, and checks what it gets: half-restored data or
a number given out twice is an error as much as a failed request.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Self

import psycopg
import requests

EVERY: Final = 0.05
_PATIENCE: Final = 20
_TOKEN: Final = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')
_THANKS: Final = 'class="success"'


@dataclass
class Seen:
    """What one visitor saw.

    + errors: a sentence each
    + longest: seconds that the slowest answer took
    """

    who: str
    actions: int = 0
    longest: float = 0.0
    errors: list[str] = field(default_factory=list)


class Visitors:
    """All of them at work, from `with` to its end.

    + address: of the pages
    + database_url: as the application's own role
    """

    def __init__(self, address: str, database_url: str) -> None:
        self._address = address
        self._database_url = database_url
        self._references: set[str] = set()
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []
        self._open: list[Any] = []
        self.seen: list[Seen] = []

    def __enter__(self) -> Self:
        for who, act in (
            ("search", self._searcher()),
            ("form", self._reader()),
            ("writer", self._writer()),
            ("session", self._session()),
        ):
            seen = Seen(who)
            self.seen.append(seen)
            thread = threading.Thread(target=self._keep_on, args=(act, seen), daemon=True)
            self._threads.append(thread)
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()
        for thing in self._open:
            thing.close()

    @property
    def errors(self) -> list[str]:
        return [f"{seen.who}: {error}" for seen in self.seen for error in seen.errors]

    def _keep_on(self, act: Callable[[], str | None], seen: Seen) -> None:
        while not self._ended.is_set():
            began = time.monotonic()
            try:
                problem = act()
            except Exception as error:  # whatever it is, a visitor who stops looking would hide the next
                problem = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
            took = time.monotonic() - began
            seen.actions += 1
            seen.longest = max(seen.longest, took)
            if problem is not None:
                seen.errors.append(problem)
            self._ended.wait(max(0.0, EVERY - took))

    def _visitor(self) -> requests.Session:
        visitor = requests.Session()
        visitor.trust_env = False
        self._open.append(visitor)
        return visitor

    def _searcher(self) -> Callable[[], str | None]:
        """A search that must find the same places each time."""
        visitor = self._visitor()
        expected: list[int] = []

        def act() -> str | None:
            answer = visitor.get(f"{self._address}/carte?q=Lyon", timeout=_PATIENCE)
            if answer.status_code != 200:
                return f"/carte answered {answer.status_code}"
            found = answer.text.count("Lyon")
            expected.append(found) if not expected else None
            return None if found == expected[0] else f"/carte shows {found} times Lyon, not {expected[0]}"

        return act

    def _reader(self) -> Callable[[], str | None]:
        visitor = self._visitor()

        def act() -> str | None:
            answer = visitor.get(f"{self._address}/formulaire", timeout=_PATIENCE)
            whole = answer.status_code == 200 and "csrfmiddlewaretoken" in answer.text
            return None if whole else f"/formulaire answered {answer.status_code}"

        return act

    def _writer(self) -> Callable[[], str | None]:
        """Sends the form, whose token it got before, and is thanked with a number that nobody had."""
        visitor = self._visitor()
        form = _TOKEN.search(visitor.get(f"{self._address}/formulaire", timeout=_PATIENCE).text)
        fields = {
            "csrfmiddlewaretoken": form[1] if form else "",
            "author": "Visiteuse",
            "email": "visiteuse@example.org",
            "place": "Lyon",
            "message": "Écrit pendant le retour arrière.",
        }

        def act() -> str | None:
            answer = visitor.post(f"{self._address}/formulaire", data=fields, timeout=_PATIENCE)
            if answer.status_code != 200 or _THANKS not in answer.text:
                return f"the form answered {answer.status_code} and did not thank"
            return self._new(answer.url.rstrip("/").rpartition("/")[2])

        return act

    def _session(self) -> Callable[[], str | None]:
        """One session from beginning to end: prepared and plain statements, reading and writing."""
        connection = psycopg.connect(self._database_url, autocommit=True)
        connection.prepare_threshold = None
        self._open.append(connection)
        count = "SELECT count(*), sum(population) FROM places_place WHERE country_id = %s"
        plain = "SELECT count(*) FROM places_alternatename"
        write = (
            "INSERT INTO suggestions_suggestion (author, email, place_id, message, status, created_at)"
            " SELECT 'Session', '', id, 'Écrit par une session ouverte.', 'new', now()"
            " FROM places_place WHERE name = %s LIMIT 1 RETURNING reference"
        )
        expected: list[Any] = []

        def act() -> str | None:
            found = [
                connection.execute(count, ("FR",), prepare=True).fetchone(),
                connection.execute(plain).fetchone(),
            ]
            expected.append(found) if not expected else None
            row = connection.execute(write, ("Lyon",), prepare=True).fetchone()
            if found != expected[0]:
                return f"read {found}, not {expected[0]}"
            return self._new(str(row[0])) if row else "nothing was written"

        return act

    def _new(self, reference: str) -> str | None:
        if reference in self._references:
            return f"the number {reference} was given out twice"
        self._references.add(reference)
        return None
