"""Buildpacks, Procfile and source tree."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from sandbox.platform.builds import BuildFailure, known_buildpack, parse_procfile
from sandbox.platform.model import App, Formation
from tests.sandbox.platform.room import Room


def log(room: Room, app: App) -> str:
    text: str = room.call(room.platform.output, room.last(app))
    return text


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("https://github.com/Scalingo/apt-buildpack", ("apt", None)),
        ("https://github.com/Scalingo/python-buildpack.git", ("python", None)),
        ("https://github.com/Scalingo/nodejs-buildpack.git#v1", ("nodejs", "v1")),
        ("  https://github.com/Scalingo/nginx-buildpack/  ", ("nginx", None)),
    ],
)
def test_known_addresses_have_a_buildpack_here(line: str, found: tuple[str, str | None]) -> None:
    assert known_buildpack(line) == found


def test_an_unknown_address_is_named() -> None:
    with pytest.raises(BuildFailure, match=r"https://github\.com/heroku/heroku-buildpack-ruby"):
        known_buildpack("https://github.com/heroku/heroku-buildpack-ruby#main")


def test_a_procfile_is_commands_by_type() -> None:
    text = "# how it runs\nweb: gunicorn a:b --bind :$PORT\n\nworker:  ./run\npostdeploy: a && b: c\n"
    assert parse_procfile(text) == {
        "web": "gunicorn a:b --bind :$PORT",
        "worker": "./run",
        "postdeploy": "a && b: c",
    }


@pytest.mark.parametrize("line", ["web gunicorn", "my-worker: x", "web:", f"{'w' * 25}: x"])
def test_a_wrong_procfile_line_is_named(line: str) -> None:
    with pytest.raises(BuildFailure, match="line 1"):
        parse_procfile(line)


def test_the_python_buildpack_runs_hooks_and_collectstatic_with_the_builds_variables(room: Room) -> None:
    app = room.new_app()
    room.call(room.platform.set_variables, app, {"COLOUR": "blue"})
    report = "#!/bin/sh\necho {name} $APP $SOURCE_VERSION $COLOUR $(python -c 'print(2 ** 9)')\n"
    folder = room.repository(
        app.name,
        {
            "bin/pre_compile": "#!/bin/sh\necho before\n",
            "bin/post_compile": report.format(name="after"),
            "site/manage.py": "import sys; print('collected', *sys.argv[1:])\n",
        },
    )
    commit = room.git(folder, "rev-parse", "HEAD").stdout.strip()
    assert room.push(app, folder).returncode == 0
    text = log(room, app)
    assert text.index("before\n") < text.index("collected collectstatic --noinput") < text.index("after ")
    assert f"after {app.name} {commit} blue 512\n" in text

    room.call(room.platform.set_variables, app, {"DISABLE_COLLECTSTATIC": "1"})
    room.commit(folder, {"more": ""})
    assert room.push(app, folder).returncode == 0
    assert "collectstatic" not in log(room, app)


def test_a_collectstatic_that_fails_is_a_build_error(room: Room) -> None:
    app = room.new_app()
    done = room.push(app, room.repository(app.name, {"manage.py": "raise SystemExit('no manifest')\n"}))
    assert (done.returncode, room.last(app).status) == (1, "build-error")
    assert "       no manifest\n" in log(room, app)


@pytest.mark.parametrize(
    ("buildpacks", "said"),
    [
        ("https://github.com/Scalingo/nodejs-buildpack\n", "doesn't recognise this application"),
        ("# nothing\n", "names no buildpack"),
    ],
)
def test_buildpacks_that_do_not_fit_end_the_build(room: Room, buildpacks: str, said: str) -> None:
    app = room.new_app()
    done = room.push(app, room.repository(app.name, {".buildpacks": buildpacks}))
    assert (done.returncode, room.last(app).status) == (1, "build-error")
    assert said in done.stderr


def test_all_four_buildpacks_of_the_application_in_their_order(room: Room) -> None:
    names = ("apt", "nodejs", "python", "nginx")
    app = room.new_app()
    changes = {
        ".buildpacks": "".join(f"https://github.com/Scalingo/{name}-buildpack\n" for name in names),
        "package.json": "{}",
        "nginx.conf.erb": "",
    }
    assert room.push(app, room.repository(app.name, changes)).returncode == 0
    text = log(room, app)
    found = [line.partition(": ")[2] for line in text.splitlines() if "Detected Framework" in line]
    assert found == ["Apt", "Node.js", "Python", "Nginx"]


def test_without_a_list_the_technology_is_detected(room: Room) -> None:
    app = room.new_app()
    folder = room.repository(app.name)
    room.git(folder, "rm", "-q", ".buildpacks")
    room.commit(folder, {})
    assert room.push(app, folder).returncode == 0
    assert "-----> Python app detected" in log(room, app)


def test_the_tree_is_the_commits_private_and_old_ones_are_pruned(room: Room) -> None:
    app = room.new_app()
    folder = room.repository(app.name, {".gitattributes": "kept.txt export-ignore\n", "kept.txt": "here"})
    for number in range(7):
        room.commit(folder, {"number": str(number)})
        assert room.push(app, folder).returncode == 0
    assert app.release is not None
    tree = Path(app.release.folder)
    assert (tree / "kept.txt").read_text() == "here"
    assert not (tree / ".git").exists()
    assert stat.S_IMODE(tree.stat().st_mode) == 0o700
    room.until(lambda: len(list(tree.parent.iterdir())) == 5)
    assert room.get(app) == (200, "hello")


def test_a_declared_formation_is_what_the_first_deployment_starts(room: Room) -> None:
    formation = {"web": Formation(1), "worker": Formation(1)}
    app = room.run(room.platform.create_app("with-worker", room.user, formation=formation))
    assert room.push(app, room.repository(app.name)).returncode == 0
    assert sorted(one.label for one in room.call(room.platform.containers, app)) == ["web-1", "worker-1"]
