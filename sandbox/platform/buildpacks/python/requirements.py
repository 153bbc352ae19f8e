"""Say of each line of a requirements file which version the sandbox has; exit 1 when one isn't there."""

from __future__ import annotations

import re
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def main() -> int:
    missing = []
    for line in Path(sys.argv[1]).read_text(encoding="utf-8").splitlines():
        name = re.match(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)", line)
        if name is None:
            continue
        try:
            print(f"       {line.strip()}: {version(name[1])} is there", flush=True)
        except PackageNotFoundError:
            missing.append(name[1])
    for package in missing:
        print(f" !     {package} is not installed in the sandbox's Python, and nothing is downloaded")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
