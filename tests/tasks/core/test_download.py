"""Downloads that are cut, resumed, replaced, refused and stopped, against a real server on loopback."""

from __future__ import annotations

import fcntl
import random
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tasks.core.download import download, upload
from tasks.core.errors import Interrupted, Locked, OpsError, Unreachable
from tasks.core.http import UnexpectedStatus
from tests import http_servers
from tests.http_servers import answering

CONTENT = random.Random(3).randbytes(1_500_000)


class Store(http_servers.Server):
    """Serves `content` with ranges; `troubles` say how many bytes an answer gives before it is cut."""

    def __init__(self) -> None:
        super().__init__(Handler)
        self.content = CONTENT
        self.etag: str | None = '"v1"'
        self.troubles: list[int | str] = []
        self.asked: list[tuple[str, str | None]] = []
        self.received: list[tuple[dict[str, str], bytes]] = []
        self.ranges = self.length = True

    @property
    def url(self) -> str:
        return f"{super().url}/file?signature=secret-signature"


class Handler(http_servers.Handler):
    server: Store

    def do_GET(self) -> None:
        store = self.server
        store.asked.append((self.path, self.headers.get("Range")))
        trouble = store.troubles.pop(0) if store.troubles else None
        if isinstance(trouble, str):
            self.send_error(int(trouble))
            return
        begin = 0
        same = self.headers.get("If-Range") in (None, store.etag)
        if store.ranges and same and (wanted := self.headers.get("Range")):
            begin = int(wanted.removeprefix("bytes=").rstrip("-"))
            if begin >= len(store.content):
                self.send_response(416)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {begin}-{len(store.content) - 1}/{len(store.content)}")
        else:
            self.send_response(200)
        if store.etag:
            self.send_header("ETag", store.etag)
        if store.length:
            self.send_header("Content-Length", str(len(store.content) - begin))
        else:
            self.send_header("Connection", "close")
        self.end_headers()
        part = store.content[begin:]
        self.wfile.write(part if trouble is None else part[:trouble])
        self.close_connection = trouble is not None or not store.length

    def do_PUT(self) -> None:
        store = self.server
        trouble = store.troubles.pop(0) if store.troubles else None
        body = self.rfile.read(int(self.headers["Content-Length"]) if trouble is None else 1000)
        store.received.append((dict(self.headers), body))
        if trouble is not None:
            self.close_connection = True
            return
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()


@pytest.fixture
def store() -> Iterator[Store]:
    with answering(Store()) as store:
        yield store


def fetch(store: Store, to: Path, **options: object) -> Path:
    return download(store.url, to, pause=0.01, **options)  # type: ignore[arg-type]


def stop_after(calls: int) -> Callable[[], bool]:
    answers = iter([False] * calls)
    return lambda: next(answers, True)


def test_a_whole_file_is_private_and_leaves_nothing_beside(store: Store, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    to = fetch(store, tmp_path / "new" / "backup.tar.gz", progress=lambda *done: seen.append(done))
    assert to.read_bytes() == CONTENT
    assert stat.S_IMODE(to.stat().st_mode) == 0o600
    assert list(to.parent.iterdir()) == [to]
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert seen == sorted(seen)


def test_a_cut_connection_is_gone_on_from(store: Store, tmp_path: Path) -> None:
    store.troubles = [700_000, "503", 0, 300_000]
    assert fetch(store, tmp_path / "a").read_bytes() == CONTENT
    assert [wanted for _, wanted in store.asked] == [
        None, "bytes=700000-", "bytes=700000-", "bytes=700000-", "bytes=1000000-",
    ]  # fmt: skip


def test_the_next_run_goes_on_where_one_was_stopped(store: Store, tmp_path: Path) -> None:
    with pytest.raises(Interrupted, match="are kept; the next run goes on from there"):
        fetch(store, tmp_path / "a", stop=stop_after(1))
    kept = (tmp_path / "a.part").stat().st_size
    assert 0 < kept < len(CONTENT)
    assert stat.S_IMODE((tmp_path / "a.part").stat().st_mode) == 0o600
    assert not (tmp_path / "a").exists()
    assert fetch(store, tmp_path / "a").read_bytes() == CONTENT
    assert store.asked[-1][1] == f"bytes={kept}-"


@pytest.mark.parametrize("etag", ['"v2"', None], ids=["said by its ETag", "said by its length"])
def test_another_file_at_the_same_address_is_fetched_anew(
    store: Store, tmp_path: Path, etag: str | None
) -> None:
    if etag is None:
        store.etag = None
    with pytest.raises(Interrupted):
        fetch(store, tmp_path / "a", stop=stop_after(1))
    store.content, store.etag = CONTENT[::-1][: None if etag else -100], etag
    assert fetch(store, tmp_path / "a").read_bytes() == store.content


def test_a_shorter_file_than_what_is_kept_is_fetched_anew(store: Store, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        fetch(store, tmp_path / "a", stop=stop_after(1))
    store.content, store.etag = b"short", '"v1"'
    assert fetch(store, tmp_path / "a").read_bytes() == b"short"


def test_a_part_of_unknown_origin_is_not_trusted(store: Store, tmp_path: Path) -> None:
    (tmp_path / "a.part").write_bytes(b"x" * 1000)
    assert fetch(store, tmp_path / "a").read_bytes() == CONTENT
    assert store.asked == [(store.asked[0][0], None)]


def test_a_server_without_ranges_gives_it_all_again(store: Store, tmp_path: Path) -> None:
    store.ranges, store.troubles = False, [700_000]
    assert fetch(store, tmp_path / "a").read_bytes() == CONTENT


def test_a_server_that_says_no_length(store: Store, tmp_path: Path) -> None:
    store.length = False
    assert fetch(store, tmp_path / "a").read_bytes() == CONTENT
    store.troubles = [700_000]
    assert fetch(store, tmp_path / "b", size=len(CONTENT)).read_bytes() == CONTENT


def test_another_length_than_announced_is_refused(store: Store, tmp_path: Path) -> None:
    with pytest.raises(OpsError, match=f"it has {len(CONTENT)} bytes there, and 99 were announced"):
        fetch(store, tmp_path / "a", size=99)
    assert not (tmp_path / "a").exists()


def test_five_attempts_that_bring_nothing_end_it(store: Store, tmp_path: Path) -> None:
    store.troubles = [700_000] + [0] * 9
    with pytest.raises(Unreachable) as caught:
        fetch(store, tmp_path / "a", name="backup b1 of demo")
    assert caught.value.state == "700000 bytes of it are kept"
    assert "signature" not in str(caught.value)
    assert len(store.asked) == 5


def test_an_expired_address_is_asked_for_anew_and_gone_on_with(store: Store, tmp_path: Path) -> None:
    store.troubles = [700_000, "403", 300_000, "403"]
    given: list[str] = []

    def address() -> str:
        given.append(store.url)
        return store.url

    assert download(address, tmp_path / "a", pause=0.01).read_bytes() == CONTENT
    assert len(given) == 3


def test_a_refusal_names_the_host_and_not_the_address(store: Store, tmp_path: Path) -> None:
    store.troubles = ["403"]
    with pytest.raises(UnexpectedStatus) as caught:
        fetch(store, tmp_path / "a", name="backup b1 of demo")
    assert str(caught.value) == "Fetching backup b1 of demo (127.0.0.1): 403 Forbidden, a page of HTML"


def test_two_processes_never_write_one_file(store: Store, tmp_path: Path) -> None:
    with (tmp_path / "a.part").open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(Locked, match="another process is fetching it"):
            fetch(store, tmp_path / "a")


def test_a_full_disk_is_said(store: Store, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    signal = pytest.importorskip("signal")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, hard))
    try:
        with pytest.raises(OpsError, match="file too large") as caught:
            fetch(store, tmp_path / "a")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert "make room there" in caught.value.next_step
    assert fetch(store, tmp_path / "a").read_bytes() == CONTENT
    assert store.asked[-1][1] == "bytes=500000-"


def test_an_upload_arrives_whole_with_its_type(store: Store, tmp_path: Path) -> None:
    source = tmp_path / "archive.tar.gz"
    source.write_bytes(CONTENT)
    seen: list[tuple[int, int | None]] = []
    store.troubles = [1000]
    upload(
        store.url, source, content_type="application/x-gzip", pause=0.01, progress=lambda *d: seen.append(d)
    )
    headers, body = store.received[-1]
    assert body == CONTENT
    assert headers["Content-Type"] == "application/x-gzip"
    assert "Authorization" not in headers
    assert "Transfer-Encoding" not in headers
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert len(store.received) == 2


def test_an_upload_stops_when_asked(store: Store, tmp_path: Path) -> None:
    source = tmp_path / "archive.tar.gz"
    source.write_bytes(CONTENT)
    with pytest.raises(Interrupted, match="it has not arrived whole"):
        upload(store.url, source, content_type="application/x-gzip", stop=stop_after(1))
