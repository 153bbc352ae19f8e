"""`make demo`: an incident in a sandbox of its own, rolled back by the real command, verified, and undone.

What runs is what a person types, as child processes with their output on screen. The sandbox is removed at
the end; the exit code says whether every step did what it should.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from sandbox import incident, lifecycle
from sandbox.control import Control, ControlError
from sandbox.incident import FAULTY, GOOD
from sandbox.restored import Comparison, compare
from sandbox.state import SandboxDown

PROTECTED: Final = "sandbox-demo"
REHEARSED: Final = "sandbox-demo-preprod"
_REFUSED: Final = 3
_ROOT: Final = Path(__file__).parent.parent
_BOLD, _PLAIN = ("\033[1m", "\033[0m") if sys.stdout.isatty() and "NO_COLOR" not in os.environ else ("", "")


class ShowcaseError(Exception):
    """A step did not do what it should; the text is one sentence."""


def main(arguments: list[str] | None = None) -> int:
    """Tell the whole story; the exit code says whether it worked."""
    parser = argparse.ArgumentParser(prog="python -m sandbox demo", description=__doc__)
    parser.add_argument("--state", type=Path, metavar="FOLDER", help="where its sandbox lives meanwhile")
    parser.add_argument("--keep", action="store_true", help="leave the sandbox running at the end")
    given = parser.parse_args(arguments)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="operations-demo-") as temporary:
        folder = given.state or Path(temporary)
        try:
            _story(folder)
        except (
            ShowcaseError,
            incident.IncidentError,
            ControlError,
            SandboxDown,
            lifecycle.StartFailed,
        ) as error:
            print(f"The demonstration failed: {error}", file=sys.stderr)
            return 1
        finally:
            if not given.keep:
                lifecycle.down(folder)
    print(f"\n{_BOLD}It worked, in {time.monotonic() - began:.0f} s.{_PLAIN}")
    return 0


def _story(folder: Path) -> None:
    _say("A sandbox: a platform, a GitHub and a team channel on this machine")
    lifecycle.up(folder)
    control = Control.load(folder)

    _say(f"An incident: {GOOD} runs, the platform takes its backup, visitors write, then {FAULTY} breaks it")
    incident.stage(control, lambda line: print(line, flush=True))
    faulty = incident.look(PROTECTED, control)

    inputs = {"tag": GOOD, "backup": "latest", "reason": "pages en erreur 500"}
    _say("The rollback is rehearsed in preproduction")
    _pyinfra(folder, "sandbox_preprod", "rollback", inputs)

    _say("The rollback of the protected environment: restored beside, then it waits for the sign-off")
    inputs["confirm"] = "sandbox"
    _pyinfra(folder, "sandbox", "rollback", inputs, expected=_REFUSED)
    _say("The data administrator has read the list and signs off; the same command goes on")
    _pyinfra(folder, "sandbox", "rollback", inputs | _signed(folder))

    _say("What is true now")
    _require(incident.look(PROTECTED, control), dict.fromkeys(faulty, 200))
    _show_rows(compare(control, PROTECTED))

    _say("And if it was the wrong decision: undo, with the same care")
    inputs = {"confirm": "sandbox", "reason": "démonstration de l'annulation"}
    _pyinfra(folder, "sandbox", "undo", inputs, expected=_REFUSED)
    _pyinfra(folder, "sandbox", "undo", inputs | _signed(folder))
    _require(incident.look(PROTECTED, control), faulty)
    print("The faulty release and its data are back, as they were: an undo takes back everything.")

    _say("What the team's channel has read meanwhile")
    for message in control.messages():
        print(f"  {message['message'].splitlines()[0]}")


def _pyinfra(
    folder: Path, environment: str, deploy: str, inputs: dict[str, str], *, expected: int = 0
) -> None:
    """The command that a person types, unattended, with its output on this screen."""
    command = [
        str(Path(sys.executable).parent / "pyinfra"),
        f"inventories/{environment}.py",
        f"deploys/{deploy}.py",
        "-y",
        *(part for name, value in inputs.items() for part in ("--data", f"{name}={value}")),
    ]
    shown = " ".join(f'"{part}"' if " " in part else part for part in ["pyinfra", *command[1:]])
    print(f"{_BOLD}$ {shown}{_PLAIN}", flush=True)
    code = subprocess.run(
        command, cwd=_ROOT, env=os.environ | {"SANDBOX_STATE": str(folder)}, check=False
    ).returncode
    if code != expected:
        raise ShowcaseError(f"{shown} ended with exit code {code} instead of {expected}.")


def _signed(folder: Path) -> dict[str, str]:
    """The sign-off on the list that the last run has printed and journaled."""
    last: dict[str, Any] = json.loads((folder / "journal" / "sandbox.jsonl").read_text().splitlines()[-1])
    token = last.get("loss_token")
    if not token:
        raise ShowcaseError("The run that stopped for the sign-off has journaled no token.")
    return {"signoff": "Christian", "loss": str(token)}


def _require(seen: dict[str, int], wanted: dict[str, int]) -> None:
    print(", ".join(f"{page} answers {status}" for page, status in seen.items()))
    if seen != wanted:
        raise ShowcaseError(f"{PROTECTED} answers {seen} instead of {wanted}.")


def _show_rows(comparison: Comparison) -> None:
    print(comparison.sentence)
    if comparison.missing:
        raise ShowcaseError(f"Rows of the backup are missing: {comparison.missing}.")


def _say(text: str) -> None:
    print(f"\n{_BOLD}=== {text}{_PLAIN}", flush=True)
