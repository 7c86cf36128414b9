"""Remove each check once, and see a test turn red: `python -m tests.removals` (`make removals`).

    python -m tests.removals                       every check
    python -m tests.removals --only conditions     those of one group
    python -m tests.removals "gate: 2" quorum      those whose name holds one of the words
    python -m tests.removals --list                names only

The list is `removals.toml`, beside this file.  Works on copies of the repository, two at a time, one process each.
First the tests must pass with nothing removed.  A check whose removal no test notices is GREEN; one whose text is not
found exactly once, or without which the tests cannot even be collected, is BROKEN.  Either makes the exit status 1.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from typing import TypeVar

ROOT = Path(__file__).parents[1]
JOBS = 2
T = TypeVar("T")


@dataclass(frozen=True)
class Removal:
    """One check: where it is, its text, what stands there instead, and the tests of which one must fail."""

    group: str
    name: str
    file: str
    check: str
    tests: tuple[str, ...]
    instead: str = "if False:"

    def __str__(self) -> str:
        return f"{self.group}: {self.name}"


def _read() -> tuple[Removal, ...]:
    groups = tomllib.loads((Path(__file__).parent / "removals.toml").read_text("utf-8"))
    return tuple(
        Removal(group=name, **{**one, "tests": tuple(one.get("tests", group.get("tests", ())))})
        for name, group in groups.items()
        for one in group["removals"]
    )


REMOVALS = _read()


def found(removal: Removal, copy: Path) -> int:
    """How often the file holds the check's text."""
    file = copy / removal.file
    return file.read_text("utf-8").count(removal.check) if file.is_file() else 0


def run(tests: Sequence[str], copy: Path) -> int:
    """Pytest's exit code: 0 all passed, 1 a test has failed, more where they could not be run."""
    arguments = ["-q", "-x", "-n", "0", "-p", "no:cacheprovider", *tests]
    shared = os.environ.get("DATATRUST_SHARED", str(ROOT.parent / "shared"))
    environment = {**os.environ, "PYTHONPATH": str(copy), "DATATRUST_SHARED": shared, "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *arguments], cwd=copy, env=environment, capture_output=True, timeout=1800
        )
    except subprocess.TimeoutExpired:
        return 99
    return done.returncode


def outcome(removal: Removal, copy: Path) -> str:
    """`red`, `GREEN`, or `BROKEN` with why."""
    if (times := found(removal, copy)) != 1:
        return f"BROKEN ({removal.file} holds its text {times} times, not once)"
    file = copy / removal.file
    text = file.read_text("utf-8")
    file.write_text(text.replace(removal.check, removal.instead), "utf-8")
    try:
        code = run(removal.tests, copy)
    finally:
        file.write_text(text, "utf-8")
    return {0: "GREEN", 1: "red"}.get(code, f"BROKEN (pytest ended with {code})")


def chosen(words: Sequence[str], groups: Sequence[str]) -> list[Removal]:
    """Those of the groups whose name holds one of the words; all, where nothing is said."""
    return [
        removal
        for removal in REMOVALS
        if (not groups or removal.group in groups) and (not words or any(word in str(removal) for word in words))
    ]


def all_of(removals: Sequence[Removal]) -> int:
    """Remove one after the other and say what came of each; how many are not as they should be."""
    wrong = 0
    ignored = shutil.ignore_patterns(".git", ".venv", "__pycache__", "_build", "build", ".*_cache", "wheelhouse")
    copies: Queue[Path] = Queue()

    def in_a_copy(job: Callable[[Path], T]) -> T:
        copy = copies.get()
        try:
            return job(copy)
        finally:
            copies.put(copy)

    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(JOBS) as workers:
        for number in range(JOBS):
            copies.put(Path(shutil.copytree(ROOT, Path(folder) / str(number), ignore=ignored)))
        sets = sorted({removal.tests for removal in removals})
        codes = workers.map(lambda tests: in_a_copy(lambda copy: run(tests, copy)), sets)
        for tests, code in zip(sets, codes, strict=True):
            wrong += code != 0
            if code:
                print(f"BROKEN  with nothing removed, pytest ends with {code}: {' '.join(tests)}", flush=True)
        outcomes = workers.map(lambda removal: in_a_copy(lambda copy: outcome(removal, copy)), removals)
        for removal, said in zip(removals, outcomes, strict=True):
            wrong += said != "red"
            print(f"{said:<6}  {removal}", flush=True)
    return wrong


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.removals", description=str(__doc__).partition("\n")[0])
    parser.add_argument("words", nargs="*", help="only removals whose name holds one of these")
    parser.add_argument("--only", action="append", default=[], choices=list(dict.fromkeys(r.group for r in REMOVALS)))
    parser.add_argument("--list", action="store_true", help="print the names and end")
    asked = parser.parse_args(arguments)
    removals = chosen(asked.words, asked.only)
    if asked.list or not removals:
        print("\n".join(map(str, removals)))
        return 0 if removals else 2
    wrong = all_of(removals)
    print(f"{len(removals)} removals, " + (f"{wrong} not as they should be" if wrong else "each turns a test red"))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
