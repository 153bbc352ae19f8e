"""A platform's git remote for the tests: an SSH server that runs the real git on bare repositories.

`python ssh_remote.py FOLDER` serves FOLDER/*.git to the key FOLDER/client.pub with the host key
FOLDER/host; its port is the first line of its output. A closed connection ends the whole build, unless
FOLDER/outlives exists.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal
import sys
from pathlib import Path

import asyncssh

FOLDER = Path(sys.argv[1])


async def serve(process: asyncssh.SSHServerProcess[bytes]) -> None:
    program, path = shlex.split(process.command or "")
    repository = FOLDER / path.strip("/")
    if not repository.is_dir():
        process.stderr.write(f"fatal: '{path}' does not appear to be a git repository\n".encode())
        process.exit(128)
        return
    child = await asyncio.create_subprocess_exec(
        *(program, str(repository)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    await process.redirect(child.stdin, child.stdout, child.stderr)
    ended = asyncio.ensure_future(child.wait())
    closed = asyncio.ensure_future(process.channel.wait_closed())
    await asyncio.wait([ended, closed], return_when=asyncio.FIRST_COMPLETED)
    if not ended.done() and not (FOLDER / "outlives").exists():
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
    process.exit(await ended)


async def main() -> None:
    server = await asyncssh.listen(
        "127.0.0.1",
        int(sys.argv[2]) if len(sys.argv) > 2 else 0,
        server_host_keys=[str(FOLDER / "host")],
        authorized_client_keys=str(FOLDER / "client.pub"),
        process_factory=serve,
        encoding=None,
    )
    print(server.get_port(), flush=True)
    await server.wait_closed()


asyncio.run(main())
