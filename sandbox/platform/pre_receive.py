"""git's pre-receive hook: hands the push to the platform, and prints what that says until it decides.

The platform started git-receive-pack with one end of a socket pair, which the hook inherits as the number in
SANDBOX_HOOK_FD. The hook writes one JSON line, the updates and git's variables for the quarantine, and reads
JSON lines: `{"text": …}` is printed, `{"exit": N}` is the verdict. Standard library only: it starts quickly.
"""

from __future__ import annotations

import json
import os
import socket
import sys

QUARANTINE = ("GIT_QUARANTINE_PATH", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES")


def main() -> int:
    updates = [line.split() for line in sys.stdin.read().splitlines()]
    if "SANDBOX_HOOK_FD" not in os.environ:
        print("This repository takes pushes over the sandbox's SSH server only.")
        return 1
    channel = socket.socket(fileno=int(os.environ["SANDBOX_HOOK_FD"]))
    request = {
        "updates": updates,
        "quarantine": {name: os.environ[name] for name in QUARANTINE if name in os.environ},
    }
    channel.sendall(json.dumps(request).encode() + b"\n")
    for line in channel.makefile(encoding="utf-8"):
        message = json.loads(line)
        if "exit" in message:
            return int(message["exit"])
        sys.stdout.write(message["text"])
        sys.stdout.flush()
    print("The platform has gone away; nothing was deployed.")
    return 1


if __name__ == "__main__":
    sys.exit(main())
