"""Large files over HTTP: fetched with resume, sent with progress, never shown by their address.

A file in the making is called NAME.part, with NAME.part.json beside it, which says of what it is the
beginning; the next run goes on from there if the server still has the same file.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import urlsplit

import requests
import urllib3

from tasks.core.endpoints import is_loopback
from tasks.core.errors import Interrupted, Locked, OpsError, Unreachable
from tasks.core.http import TRY_AGAIN, USER_AGENT, Reply, UnexpectedStatus
from tasks.core.network import reason_of

logger: Final = logging.getLogger("pyinfra")
Progress = Callable[[int, int | None], None]
Stop = Callable[[], bool]

_CHUNK: Final = 1 << 18
_TIMEOUT: Final = (5.0, 30.0)
_TRIES_WITHOUT_A_BYTE: Final = 5
_TRIES_TO_SEND: Final = 3
_PASSING: Final = frozenset({429, 500, 502, 503, 504})
_EXPIRED: Final = frozenset({401, 403, 410})


def download(
    url: str | Callable[[], str],
    to: Path,
    *,
    size: int | None = None,
    progress: Progress | None = None,
    stop: Stop | None = None,
    name: str = "the file",
    pause: float = 1.0,
) -> Path:
    """Fetch a file, going on where an earlier attempt ended, and give its path.

    + url: its address, or what gives one: asked again when a signed address has expired meanwhile
    + to: where it goes, readable by its owner alone; it appears there only when it is whole
    + size: bytes it must have, where they are known
    + progress: called with bytes present and bytes in all
    + stop: asked between two blocks; what has come so far is kept
    + name: what people call it
    + pause: seconds before the second attempt

    Raises Unreachable after five attempts in a row that brought nothing, UnexpectedStatus, OpsError for a
    wrong length or a full disk, Interrupted, and Locked while another process fetches the same file.
    """
    to.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = to.with_name(f"{to.name}.part")
    with _opened(path, f"Fetching {name}") as part:
        fetch = _Download(url, part, path.with_name(f"{path.name}.json"), size, name, progress, stop, pause)
        fetch.run()
        os.fsync(part.fileno())
        path.replace(to)
        fetch.beside.unlink(missing_ok=True)
    return to


@contextmanager
def _opened(path: Path, call: str) -> Iterator[IO[bytes]]:
    """The unfinished file, private and locked against a second process."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise _no_disk(call, path, error) from None
    with os.fdopen(descriptor, "r+b", buffering=0) as part:
        os.fchmod(part.fileno(), 0o600)
        try:
            fcntl.flock(part, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Locked(
                call, "another process is fetching it", next_step="wait for that one to end"
            ) from None
        yield part


class _StartOver(Exception):
    """What is kept here is not the beginning of what is there."""


@dataclass
class _Download:
    url: str | Callable[[], str]
    part: IO[bytes]
    beside: Path
    size: int | None
    name: str
    progress: Progress | None
    stop: Stop | None
    pause: float

    def __post_init__(self) -> None:
        self.call = f"Fetching {self.name}"
        self.have = self.part.seek(0, os.SEEK_END)
        self.total = self.size
        self.validator = ""

    def run(self) -> None:
        """Attempt by attempt to the whole file."""
        self._recall()
        url = self._address()
        failures, renewed_at = 0, -1
        while self.total is None or self.have < self.total:
            before = self.have
            try:
                self._receive(url)
                if self.total in (None, self.have):
                    return
                reason = "the connection was cut"
            except UnexpectedStatus as error:
                if error.status in _EXPIRED and callable(self.url) and renewed_at < self.have:
                    url, renewed_at = self._address(), self.have
                elif error.status not in _PASSING:
                    raise
                reason = f"it answered {error.status}"
            except _StartOver:
                self._forget()
                reason = "it is another file than before"
            except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
                reason = reason_of(error, _TIMEOUT)
            except OSError as error:
                raise _no_disk(self.call, self.beside, error) from None
            failures = 1 if self.have > before else failures + 1
            if failures >= _TRIES_WITHOUT_A_BYTE:
                raise Unreachable(
                    self.call, reason, state=f"{self.have} bytes of it are kept", next_step=TRY_AGAIN
                )
            wait = self.pause * 2 ** (failures - 1)
            logger.warning(f"{self.call}: {reason}; going on in {wait:.0f} s")
            time.sleep(wait)

    def _address(self) -> str:
        return self.url() if callable(self.url) else self.url

    def _receive(self, url: str) -> None:
        """One request: the rest of the file, or all of it where the server gives no rest."""
        headers = {"Accept-Encoding": "identity"}
        if self.have:
            headers["Range"] = f"bytes={self.have}-"
            if self.validator and not self.validator.startswith("W/"):
                headers["If-Range"] = self.validator
        with send("GET", url, headers=headers) as response:
            if response.status_code == 416 and self.have:
                raise _StartOver
            if response.status_code not in (200, 206):
                raise UnexpectedStatus(answer(response, self.call))
            self._begin(response)
            for block in response.raw.stream(_CHUNK, decode_content=False):
                if self.total is not None and self.have + len(block) > self.total:
                    raise _StartOver
                self._write(block)
                if self.progress is not None:
                    self.progress(self.have, self.total)
                if self.stop is not None and self.stop():
                    raise Interrupted(
                        self.call,
                        "stopped as asked",
                        state=f"{self.have} bytes of it are kept; the next run goes on from there",
                    )

    def _begin(self, response: requests.Response) -> None:
        """Place the end of what is kept where the answer begins, and note of what file it is a part."""
        validator = response.headers.get("ETag", "") or response.headers.get("Last-Modified", "")
        begins = 0
        length = _number(response.headers.get("Content-Length", ""))
        if response.status_code == 206:
            match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
            if match is None or int(match[1]) != self.have or validator != self.validator:
                raise _StartOver
            begins, length = self.have, _number(match[2])
            if length not in (None, self.total):
                raise _StartOver
        if self.size is not None and length is not None and length != self.size:
            self._forget()
            raise OpsError(
                self.call,
                f"it has {length} bytes there, and {self.size} were announced",
                next_step="run the same command again; if it stays so, take another backup",
            )
        self.have = begins
        self.total = length if self.size is None else self.size
        self.validator = validator
        self.part.seek(begins)
        self.part.truncate()
        self.beside.write_text(json.dumps({"validator": validator, "total": self.total}))

    def _write(self, block: bytes) -> None:
        rest = memoryview(block)
        while rest:
            written = self.part.write(rest)
            rest = rest[written:]
            self.have += written

    def _recall(self) -> None:
        """Go on from what an earlier run left, where it is the beginning of the same file."""
        kept: Any = None
        with contextlib.suppress(OSError, ValueError):
            kept = json.loads(self.beside.read_text())
        total = kept.get("total") if isinstance(kept, dict) else None
        if isinstance(total, int) and 0 < self.have <= total and self.size in (None, total):
            self.total, self.validator = total, str(kept.get("validator"))
        else:
            self._forget()

    def _forget(self) -> None:
        self.part.seek(0)
        self.part.truncate()
        self.have, self.total, self.validator = 0, self.size, ""
        self.beside.unlink(missing_ok=True)


def upload(
    url: str,
    source: Path,
    *,
    content_type: str,
    progress: Progress | None = None,
    stop: Stop | None = None,
    name: str = "the file",
    pause: float = 1.0,
) -> None:
    """Put a file to a signed address, which needs no credentials; sent anew when the connection is cut.

    + content_type: what the address was signed for

    Raises UnexpectedStatus for any answer but 200, Unreachable after three attempts, Interrupted.
    """
    call = f"Sending {name}"
    headers = {"Content-Type": content_type, "Content-Length": str(source.stat().st_size)}
    for attempt in range(1, _TRIES_TO_SEND + 1):
        try:
            with (
                _Body(source, call, progress, stop) as body,
                send("PUT", url, headers=headers, data=body) as response,
            ):
                if response.status_code == 200:
                    return
                failure: OpsError = UnexpectedStatus(answer(response, call))
                if response.status_code not in _PASSING:
                    raise failure
                reason = f"it answered {response.status_code}"
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            reason = reason_of(error, _TIMEOUT)
            failure = Unreachable(call, reason, state="it has not arrived whole", next_step=TRY_AGAIN)
        if attempt < _TRIES_TO_SEND:
            wait = pause * 2 ** (attempt - 1)
            logger.warning(f"{call}: {reason}; sending it again in {wait:.0f} s")
            time.sleep(wait)
    raise failure


class _Body:
    """A file as a request's body, counted as it goes out."""

    def __init__(self, source: Path, call: str, progress: Progress | None, stop: Stop | None) -> None:
        self._file = source.open("rb")
        self._total = source.stat().st_size
        self._call, self._progress, self._stop = call, progress, stop

    def __len__(self) -> int:
        return self._total

    def __enter__(self) -> _Body:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self, size: int = -1) -> bytes:
        if self._stop is not None and self._stop():
            raise Interrupted(self._call, "stopped as asked", state="it has not arrived whole")
        block = self._file.read(size)
        if self._progress is not None:
            self._progress(self._file.tell(), self._total)
        return block


@contextmanager
def send(method: str, url: str, *, headers: dict[str, str], data: Any = None) -> Iterator[requests.Response]:
    """One streamed request without credentials, to an address that is a secret of its own."""
    with requests.Session() as session:
        session.trust_env = not is_loopback(url)
        session.auth = _no_credentials
        session.headers["User-Agent"] = USER_AGENT
        response = session.request(
            method,
            url,
            headers=headers,
            data=data,
            stream=True,
            timeout=_TIMEOUT,
            allow_redirects=data is None,
        )
        with response:
            yield response


def answer(response: requests.Response, call: str) -> Reply:
    """The beginning of an answer, for an error's sentence."""
    body = response.raw.read(4096, decode_content=True) or b""
    return Reply(response.status_code, response.headers, body, f"{call} ({urlsplit(response.url).hostname})")


def _no_credentials(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request  # its presence keeps requests from taking a password out of ~/.netrc


def _number(text: str) -> int | None:
    return int(text) if text.isdigit() else None


def _no_disk(call: str, path: Path, error: OSError) -> OpsError:
    return OpsError(
        f"{call} into {path.parent}",
        (error.strerror or "the file could not be written").lower(),
        next_step="make room there, then run the same command again; what has come is kept",
    )
