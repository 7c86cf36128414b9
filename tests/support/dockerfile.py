"""Read a Dockerfile, as far as ours go, and carry out the builder's part of it without an engine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

TOP = Path(__file__).parents[2]
DOCKERFILES = sorted((TOP / "docker").glob("*.Dockerfile"))


@dataclass(frozen=True)
class Line:
    """One instruction: its word in capitals, and the rest with continued lines joined."""

    word: str
    rest: str


def read(path: Path) -> list[list[Line]]:
    """The stages; what stands before the first FROM is left away."""
    text = re.sub(r"^\s*#.*\n", "", path.read_text("utf-8"), flags=re.MULTILINE)
    stages: list[list[Line]] = []
    for whole in re.sub(r"\\\n\s*", " ", text).splitlines():
        word, _, rest = whole.partition(" ")
        if word == "FROM":
            stages.append([])
        if word and stages:
            stages[-1].append(Line(word, rest.strip()))
    return stages


def exported(folder: Path) -> Path:
    """A copy of the files that git knows or would take, without what it ignores."""
    listed = subprocess.run(
        ["git", "-C", str(TOP), "ls-files", "-co", "--exclude-standard", "-z"], capture_output=True, check=True
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (TOP / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(TOP / name, folder / name)
    return folder


def build(stage: list[Line], context: Path, folder: Path) -> Path:
    """The builder's COPY and RUN lines, with /opt and /build in a folder; gives the environment that it makes.

    Raises: CalledProcessError.
    """
    work, environment = folder / "build", folder / "opt" / "datatrust"
    work.mkdir(parents=True)
    python = str(Path(sys.base_prefix) / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}")
    quick = {**os.environ, "PIP_NO_COMPILE": "1"}  # bytecode is made when it is needed
    for line in stage:
        if line.word == "COPY":
            *sources, to = line.rest.split()
            for source in sources:
                target = work / to / source if to.endswith("/") else work / to
                target.parent.mkdir(parents=True, exist_ok=True)
                given = context / source
                shutil.copytree(given, target) if given.is_dir() else shutil.copy(given, target)
        elif line.word == "RUN":
            command = line.rest.replace("/opt/datatrust", str(environment))
            command = re.sub(r"^python ", f"{python} ", command)
            done = subprocess.run(
                ["sh", "-c", command], cwd=work, capture_output=True, text=True, timeout=600, env=quick
            )
            assert done.returncode == 0, f"{command}\n{done.stdout[-1500:]}{done.stderr[-1500:]}"
    return environment
