"""Where this project writes outside the checkout: the user's own cache and state folders, private."""

from __future__ import annotations

from pathlib import Path

import platformdirs

APPLICATION = "operations"


def private(folder: Path) -> Path:
    """The folder, made if missing, readable by its owner alone; so are the folders made on the way to it."""
    missing = [parent for parent in folder.parents if not parent.exists()]
    for parent in reversed(missing):
        parent.mkdir(mode=0o700, exist_ok=True)
    folder.mkdir(exist_ok=True, mode=0o700)
    folder.chmod(0o700)
    return folder


def cache(*parts: str) -> Path:
    """A folder for what can be fetched again: archives, mirrors, host keys."""
    return private(Path(platformdirs.user_cache_dir(APPLICATION), *parts))


def state(*parts: str) -> Path:
    """A folder for what must stay: the journal, lists of losses."""
    return private(Path(platformdirs.user_state_dir(APPLICATION), *parts))
