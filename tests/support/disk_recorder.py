"""What a disk held at each moment, so that a test can cut the power there.

`Files` sees every sync, rename, link and removal of a folder's files; `recording` gives the bytes of SQLite's files at
each commit.  A kill keeps what the system has in memory; a loss of power does not, so it is the syncs that count.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

__all__ = ["Commit", "Files", "contents", "frames", "put", "recording"]

State = dict[str, bytes]


def contents(folder: Path) -> State:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def put(state: State, folder: Path) -> Path:
    """These files, in a new folder."""
    for name, raw in state.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(raw)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@dataclass
class Files:
    """The states of a folder, one before each operation and one after it; of a file that is being synced also torn.

    Attributes:
        unsynced: names whose entry in the folder is not on the disk yet.
    """

    folder: Path
    states: list[State] = field(default_factory=list)
    unsynced: set[str] = field(default_factory=set)
    synced: State = field(default_factory=dict)

    @contextmanager
    def watched(self) -> Iterator[Files]:
        with pytest.MonkeyPatch.context() as patch:
            real = os.fsync
            patch.setattr(os, "fsync", lambda fd: self._sync(fd, real))
            for name in ("replace", "rename", "link", "unlink"):
                patch.setattr(os, name, self._around(getattr(os, name)))
            yield self
        self.states.append(contents(self.folder))

    def _sync(self, fd: int, real: Callable[[int], None]) -> None:
        path = Path(f"/proc/self/fd/{fd}").readlink()
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            real(fd)
            self.unsynced = {name for name in self.unsynced if Path(name).parent != path}
            return
        if self.folder in path.parents:
            name, state = str(path.relative_to(self.folder)), contents(self.folder)
            for size in (0, len(state[name]) // 2, max(0, len(state[name]) - 1)):
                self.states.append({**state, name: state[name][:size]})
            self.states.append({n: raw for n, raw in state.items() if n != name})
            self.unsynced.add(str(path))
            self.synced[name] = state[name]
        real(fd)

    def _around(self, real: Callable[..., None]) -> Callable[..., None]:
        def watched(*arguments: Any, **named: Any) -> None:
            self.states.append(contents(self.folder))
            real(*arguments, **named)
            for path in (Path(os.fspath(part)) for part in arguments):
                if self.folder in path.parents:
                    self.unsynced.add(str(path))

        return watched


# ---- SQLite


@dataclass(frozen=True)
class Commit:
    """The files of a database when a COMMIT came back: from here on it must survive."""

    main: bytes
    log: bytes


@contextmanager
def recording(file: Path, told: Callable[[sqlite3.Connection, Commit], None]) -> Iterator[None]:
    """Tell of each commit to this file, before its log is written back."""

    class Recorder(sqlite3.Connection):
        def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
            result = super().execute(sql, *values)
            if sql == "COMMIT" and self.is_ours():
                log = file.with_name(file.name + "-wal")
                told(self, Commit(file.read_bytes(), log.read_bytes() if log.exists() else b""))
            return result

        def is_ours(self) -> bool:
            return Path(super().execute("PRAGMA database_list").fetchone()[2]) == file

    real = sqlite3.connect
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite3, "connect", lambda *a, **k: real(*a, **{**k, "factory": Recorder}))
        yield


def frames(log: bytes, start: int, step: int) -> list[int]:
    """Where to cut a write-ahead log from `start` on: its frames' ends, beside them, and every `step` bytes.

    Its layout: 32 bytes, then frames of 24 bytes and a page (sqlite.org/fileformat2.html, 4).
    """
    page = int.from_bytes(log[8:12], "big")
    ends = range(32, len(log) + 1, 24 + page)
    near = {end + off for end in ends for off in (-1, 0, 1, 24)}
    return sorted(at for at in {*near, *range(start, len(log), step), start, len(log)} if start <= at <= len(log))
