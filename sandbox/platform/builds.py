"""From a source tree to a release: the buildpacks run on it, the Procfile is read."""

from __future__ import annotations

import asyncio
import codecs
import re
import shutil
import stat
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import yaml

from sandbox.platform import runtime
from sandbox.platform.model import App, Release
from sandbox.platform.processes import Guard

Emit = Callable[[str], None]
"""Takes text of the deployment's log, newlines included."""

_BUILDPACKS = Path(__file__).parent / "buildpacks"
_KNOWN = {
    "https://github.com/Scalingo/apt-buildpack": "apt",
    "https://github.com/Scalingo/nodejs-buildpack": "nodejs",
    "https://github.com/Scalingo/python-buildpack": "python",
    "https://github.com/Scalingo/nginx-buildpack": "nginx",
}
"""Official buildpacks that the sandbox has one of its own for."""
_DETECTED_IN_TURN = ("python", "nodejs", "nginx")
"""Tried where a repository names no buildpacks."""

_SOURCE_EXPORT = '[ -n "$1" ] && [ -f "$1" ] && . "$1"; shift; exec "$@"'


class BuildFailure(Exception):
    """The build ends as `build-error`, for the reason given."""


def known_buildpack(line: str) -> tuple[str, str | None]:
    """(buildpack of the sandbox, branch or None) for one line of `.buildpacks`. Raises BuildFailure."""
    address, _, branch = line.strip().partition("#")
    name = _KNOWN.get(address.removesuffix("/").removesuffix(".git"))
    if name is None:
        raise BuildFailure(
            f"Fail to download buildpack {address}: the sandbox has none for this address, only for "
            + ", ".join(_KNOWN)
        )
    return name, branch or None


def parse_procfile(text: str) -> dict[str, str]:
    """Command by process type, `postdeploy` included. Raises BuildFailure for a line that isn't allowed."""
    commands = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, colon, command = (part.strip() for part in line.partition(":"))
        if not colon or not command or not re.fullmatch(r"[A-Za-z0-9]{1,24}", name):
            raise BuildFailure(f"Invalid Procfile, line {number}: `name: command` expected, got `{line}`")
        commands[name] = command
    return commands


class Build:
    """One build of a source tree that is already in `folder`."""

    def __init__(
        self,
        guard: Guard,
        app: App,
        deployment_id: str,
        commit: str,
        folder: Path,
        scratch: Path,
        variables: Mapping[str, str],
        emit: Emit,
    ) -> None:
        """`scratch`: folder for buildpacks and the variables' files, removed by the caller."""
        self._guard = guard
        self._app = app
        self._deployment_id = deployment_id
        self._commit = commit
        self._folder = folder
        self._scratch = scratch
        self._variables = dict(variables)
        self._emit = emit
        self._environment = runtime.build_environment(app, commit, folder, variables, deployment_id) | {
            "SANDBOX_PYTHON": sys.executable
        }
        self._exports: list[Path] = []

    async def run(self, cache: Path) -> Release:
        """Run the buildpacks and read the Procfile. Raises BuildFailure."""
        cache.mkdir(parents=True, exist_ok=True, mode=0o700)
        buildpack = await self._buildpacks(cache)
        procfile_path = self._folder / "Procfile"
        if procfile_path.is_file():
            commands = parse_procfile(procfile_path.read_text(encoding="utf-8", errors="replace"))
        else:
            commands = await self._default_processes(buildpack)
        if not commands:
            raise BuildFailure("No Procfile, and the buildpack defines no default process.")
        postdeploy = commands.pop("postdeploy", None)
        names = ", ".join(commands)
        self._emit(f"-----> Process types declared: {names}\n")
        return Release(
            self._deployment_id, self._commit, str(self._folder), procfile=commands, postdeploy=postdeploy
        )

    async def _buildpacks(self, cache: Path) -> Path:
        """Run all that apply; returns the last one's folder, whose defaults count."""
        listed = self._folder / ".buildpacks"
        if not listed.is_file():
            return await self._detected(cache)
        buildpack = None
        for line in listed.read_text(encoding="utf-8").splitlines():
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            self._emit(f"=====> Downloading Buildpack: {line.strip().partition('#')[0]}\n")
            name, branch = known_buildpack(line)
            if branch is not None:
                self._emit(f"=====> Using branch: {branch}\n")
            buildpack = self._download(name, len(self._exports))
            framework = await self._detect(buildpack)
            if framework is None:
                raise BuildFailure(f"The buildpack {line.strip()} doesn't recognise this application.")
            self._emit(f"=====> Detected Framework: {framework}\n")
            await self._compile(buildpack, cache)
        if buildpack is None:
            raise BuildFailure("The file .buildpacks names no buildpack.")
        return buildpack

    async def _detected(self, cache: Path) -> Path:
        for name in _DETECTED_IN_TURN:
            buildpack = self._download(name, 0)
            framework = await self._detect(buildpack)
            if framework is not None:
                self._emit(f"-----> {framework} app detected\n")
                await self._compile(buildpack, cache)
                return buildpack
            shutil.rmtree(buildpack)
        raise BuildFailure("The technology of this application isn't recognised: no buildpack fits.")

    def _download(self, name: str, position: int) -> Path:
        """A copy of its own for this build, since buildpacks write into their folder."""
        copy = self._scratch / f"buildpack-{position}-{name}"
        shutil.copytree(_BUILDPACKS / name, copy, ignore=shutil.ignore_patterns("__pycache__"))
        # A package installer needn't keep the executable bits of data files.
        for script in (copy / "bin").iterdir():
            script.chmod(script.stat().st_mode | stat.S_IXUSR)
        return copy

    async def _detect(self, buildpack: Path) -> str | None:
        code, text = await self._script(buildpack / "bin" / "detect", str(self._folder), heard=None)
        return text.strip() if code == 0 else None

    async def _compile(self, buildpack: Path, cache: Path) -> None:
        variables = self._scratch / "variables"
        if not variables.exists():
            variables.mkdir(mode=0o700)
            for name, value in self._variables.items():
                (variables / name).write_text(value, encoding="utf-8")
        code, _ = await self._script(
            buildpack / "bin" / "compile", str(self._folder), str(cache), str(variables), heard=self._emit
        )
        if code != 0:
            raise BuildFailure(f"The buildpack's compile step failed with exit code {code}.")
        self._exports.append(buildpack / "export")

    async def _default_processes(self, buildpack: Path) -> dict[str, str]:
        _, text = await self._script(buildpack / "bin" / "release", str(self._folder), heard=None)
        declared = yaml.safe_load(text) or {}
        return dict(declared.get("default_process_types") or {})

    async def _script(self, script: Path, *arguments: str, heard: Emit | None) -> tuple[int, str]:
        """Run a buildpack's script after what the buildpacks before it export. (exit code, output)."""
        argv = [str(script), *arguments]
        for export in reversed(self._exports):
            argv = ["/bin/sh", "-c", _SOURCE_EXPORT, "sh", str(export), *argv]
        child = await self._guard.spawn(argv, env=self._environment, cwd=self._folder)
        texts = []
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        try:
            while part := await child.output.read(1 << 16):
                texts.append(decoder.decode(part))
                if heard is not None:
                    heard(texts[-1])
            return await child.wait(), "".join(texts)
        finally:
            # Without effect where it has ended; else the build was given up.
            await asyncio.shield(child.stop(grace=0))
