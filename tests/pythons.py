"""Runs the quick tests on every other Python that is supported and found here (`make test-pythons`).

Each gets a virtual environment of its own beside the checkout's, from the same lock file. One that is not
found counts as skipped and is said so.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
SUPPORTED = ((3, 11), (3, 12), (3, 13))


def main() -> int:
    """The exit code: not 0 where one of them failed."""
    failed = []
    for version in SUPPORTED:
        name = ".".join(map(str, version))
        if version == sys.version_info[:2]:
            print(f"Python {name}: that of `make test`", flush=True)
            continue
        python = find(version)
        if python is None:
            print(f"Python {name}: skipped, this machine has none", flush=True)
            continue
        print(f"Python {name}: {python}", flush=True)
        if not passes(python, ROOT / f".venv-{name}"):
            failed.append(name)
    if failed:
        print(f"Failed on Python {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def find(version: tuple[int, int]) -> str | None:
    """A Python of this version that runs and can make virtual environments."""
    name = ".".join(map(str, version))
    kept = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [shutil.which(f"python{name}"), *map(str, kept.glob(f"{name}.*/bin/python{name}"))]
    test = f"import sys, ensurepip; sys.exit(sys.version_info[:2] != {version!r})"
    for candidate in candidates:
        if candidate and subprocess.run([candidate, "-c", test], capture_output=True).returncode == 0:
            return candidate
    return None


def passes(python: str, folder: Path) -> bool:
    """Whether the quick tests pass on this Python."""
    own = folder / "bin" / "python"
    pip = [str(own), "-m", "pip", "install", "--quiet"]
    commands = [
        [python, "-m", "venv", str(folder)],
        [*pip, "--require-hashes", "--requirement", "requirements.lock"],
        [*pip, "--no-deps", "--no-build-isolation", "--editable", "."],
        [
            str(own),
            "-m",
            "pytest",
            "-q",
            "-n",
            "2",
            "--dist",
            "loadfile",
            "-m",
            "not slow",
            "-p",
            "no:cacheprovider",
        ],
    ]
    return all(subprocess.run(command, cwd=ROOT).returncode == 0 for command in commands)


if __name__ == "__main__":
    sys.exit(main())
