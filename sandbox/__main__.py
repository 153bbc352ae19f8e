"""`python -m sandbox`: start, stop and look at the platforms on this machine."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from typing import Final

from sandbox import environment, lifecycle
from sandbox.control import Control, ControlError
from sandbox.state import SandboxDown, SandboxState, default_folder

FINE: Final = ("running", "listening", "booting", "starting", "stopping", "stopped")


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the exit code for the shell."""
    given = _parser().parse_args(arguments)
    folder = given.state.expanduser().resolve() if given.state else default_folder()
    try:
        code: int = given.run(folder, given)
        return code
    except (SandboxDown, lifecycle.StartFailed, ControlError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _up(folder: Path, given: argparse.Namespace) -> int:
    state = lifecycle.up(folder, given.postgres)
    _show(state, Control(state))
    return 0


def _down(folder: Path, given: argparse.Namespace) -> int:
    try:
        ran = lifecycle.down(folder)
    except SandboxDown:
        ran = False
    print("The sandbox is down." if ran else "No sandbox was running.")
    return 0


def _status(folder: Path, given: argparse.Namespace) -> int:
    state = SandboxState.load(folder)
    if not state.running:
        if state.pid is None:
            print(f"The sandbox in {folder} is down: start it with `python -m sandbox up`.")
        else:
            print(f"The supervisor (process {state.pid}) died: `python -m sandbox up` starts it again.")
            print(lifecycle.log_end(state))
        return 1
    status = Control(state, timeout=10).status()
    for name, how in status["parts"].items():
        print(f"{name:32} {how}")
    broken = [name for name, how in status["parts"].items() if not how.startswith(FINE)]
    if broken:
        print(f"Not running: {', '.join(broken)}. `python -m sandbox up` starts again what can be.")
    return 1 if broken else 0


def _env(folder: Path, given: argparse.Namespace) -> int:
    sys.stdout.write(environment.exports(folder))
    return 0


def _logs(folder: Path, given: argparse.Namespace) -> int:
    state = SandboxState.load(folder)
    print(lifecycle.log_end(state, lines=given.lines))
    server_log = folder / "postgres" / "server.log"
    if server_log.exists():
        print(f"\nPostgreSQL ({server_log}):")
        print(
            "\n".join(server_log.read_text(encoding="utf-8", errors="replace").splitlines()[-given.lines :])
        )
    return 0


def _serve(folder: Path, given: argparse.Namespace) -> int:
    # Here only: the commands above start in a fraction of the time without the servers' libraries.
    from sandbox.supervisor import serve

    return serve(folder)


def _script(folder: Path, given: argparse.Namespace) -> int:
    """`incident` and `demo`, which take the rest of the command line."""
    module = "showcase" if given.command == "demo" else given.command
    script = importlib.import_module(f"sandbox.{module}")
    rest = [*given.rest, "--state", str(folder)] if given.state else given.rest
    code: int | None = script.main(rest)
    return code or 0


def _show(state: SandboxState, control: Control) -> None:
    status = control.status()
    print(f"The sandbox runs in {state.folder}")
    print(f"  platform    {state.url('platform')}   SSH {'127.0.0.1'}:{state.ssh_port}")
    print(f"  GitHub      {state.url('github')}")
    print(f"  Mattermost  {state.url('mattermost')}")
    print(f"  PostgreSQL  127.0.0.1:{state.port('postgres')}   {status['postgresql']['version']}")
    for app in status["apps"]:
        print(f"  {app['name']:28} {app['url']}   {app['status']}")
    print('For the official clients: eval "$(python -m sandbox env)"')


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--state",
        type=Path,
        metavar="FOLDER",
        help="where this sandbox lives (else $SANDBOX_STATE, else yours)",
    )
    parser = argparse.ArgumentParser(prog="python -m sandbox", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    def add(name: str, run: object, text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, parents=[common], help=text, description=text)
        command.set_defaults(run=run)
        return command

    add("up", _up, "start it, or what of it does not run; returns when it is ready").add_argument(
        "--postgres",
        type=Path,
        metavar="FOLDER",
        help="programs of an installed PostgreSQL, with PostGIS say",
    )
    add("down", _down, "end it, with everything that it started; its data stay")
    add("status", _status, "each part and how it is; exit code 1 unless all is well")
    add("env", _env, "lines for the shell: the variables of the official clients")
    add("logs", _logs, "the last lines of its own logs").add_argument("--lines", type=int, default=30)
    add("serve", _serve, "run it in the foreground, as `up` does in the background")
    for name, text in (
        ("incident", "stage an incident: a good release, a backup, a faulty release"),
        ("demo", "the whole story: an incident, rolled back by the real command, and undone"),
    ):
        add(name, _script, text).add_argument("rest", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
