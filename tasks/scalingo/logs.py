"""An application's log: the last lines that its containers and the platform have written.

Source: developers.scalingo.com, "Logs": the API gives an address that carries its own token, and the lines
are read there without any other credentials.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from tasks.core.endpoints import check_loopback
from tasks.core.errors import OpsError
from tasks.core.http import Http
from tasks.core.secrets import Secret
from tasks.scalingo.session import Session, app_path

MOST: Final = 10_000
"""Lines that one reading can give."""

# 2026-01-01 02:03:04.123456789 +0000 UTC [web-1] message
_LINE: Final = re.compile(
    r"(?P<day>\d{4}-\d\d-\d\d) (?P<time>\d\d:\d\d:\d\d)(?P<fraction>\.\d{1,9})? (?P<zone>[+-]\d{4})(?: \w+)?"
    r" \[(?P<source>[^\]]+)\] ?(?P<text>.*)"
)


@dataclass(frozen=True)
class LogLine:
    """One line.

    + source: the container's label (`web-1`), `manager` for the platform, `router` for requests
    """

    at: datetime
    source: str
    text: str


class Logs:
    """Reading the logs of applications."""

    def __init__(self, session: Session, *, sandbox: bool) -> None:
        self._session = session
        self._sandbox = sandbox

    def last(self, app: str, count: int = 100, *, source: str = "") -> list[LogLine]:
        """The last lines, oldest first; none where nothing was logged.

        + source: a container's type or label; "" for all, the platform's own lines among them
        """
        doing = f"Reading the log of {app}"
        reply = self._session.call("GET", f"{app_path(app)}/logs", doing=doing)
        given = reply.json.get("logs_url") if isinstance(reply.json, dict) else None
        if not isinstance(given, str):
            raise OpsError(doing, "the platform gave no address to read it at")
        # The token in the address opens the log to whoever has it.
        address = urlsplit(Secret("address of the log", given).reveal())
        check_loopback([given], sandbox=self._sandbox)
        http = Http("Scalingo", f"{address.scheme}://{address.netloc}")
        try:
            lines = http.get(
                address.path,
                params={**dict(parse_qsl(address.query)), "n": min(count, MOST), "filter": source},
                expect=(200, 204, 404),
                shown_path="/.../logs",
                doing=doing,
            )
        finally:
            http.close()
        return list(parse(lines.text.splitlines())) if lines.status == 200 else []


def parse(lines: Iterable[str]) -> Iterator[LogLine]:
    """Lines as the platform writes them; what has another form is left out."""
    for line in lines:
        if found := _LINE.match(line.rstrip("\r")):
            fraction = (found["fraction"] or ".0")[:7]
            moment = datetime.strptime(
                f"{found['day']} {found['time']}{fraction} {found['zone']}", "%Y-%m-%d %H:%M:%S.%f %z"
            )
            yield LogLine(moment, found["source"], found["text"])
