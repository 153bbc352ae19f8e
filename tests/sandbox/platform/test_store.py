"""The state file: whole or not at all, private, and readable by a later version."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from sandbox.platform.model import App, Formation, Release, Variable, new_id, now
from sandbox.platform.store import Store
from sandbox.ports import free_port


def an_app() -> App:
    app = App(new_id("ap"), "demo-app", "sandbox", created_at=now(), updated_at=now(), owner_id="us-1")
    app.formation["web"] = Formation(2, "L")
    app.variables["A"] = Variable("1", "A", "é$B")
    app.release = Release("d", "c" * 40, "/somewhere", {"web": "run"}, postdeploy="migrate")
    return app


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    store = Store(tmp_path / "new" / "state.json")
    app = an_app()
    store.state.apps[app.id] = app
    port = store.port("ssh")
    store.save()
    again = Store(store.path)
    assert again.state == store.state
    assert again.port("ssh") == port
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600
    assert [path.name for path in store.path.parent.iterdir()] == ["state.json"]


def test_fields_that_are_unknown_or_missing_do_not_matter(tmp_path: Path) -> None:
    store = Store(tmp_path / "state.json")
    app = an_app()
    store.state.apps[app.id] = app
    store.save()
    content = json.loads(store.path.read_text())
    content["apps"][app.id]["from_the_future"] = 1
    del content["apps"][app.id]["router_logs"], content["ports"]
    store.path.write_text(json.dumps(content))
    assert Store(store.path).state.apps[app.id] == app


def test_a_state_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    store = Store(tmp_path / "state.json")
    store.save()
    before = store.path.read_text()
    store.state.apps["x"] = object()  # type: ignore[assignment]
    store.state.ports["x"] = {1, 2}  # type: ignore[assignment]
    with pytest.raises(TypeError):
        store.save()
    assert store.path.read_text() == before
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]


def test_ports_are_never_given_twice(tmp_path: Path) -> None:
    store = Store(tmp_path / "state.json")
    ports = [store.port(f"part {number}") for number in range(50)]
    assert len(set(ports)) == 50
    assert free_port(set(ports)) not in ports
