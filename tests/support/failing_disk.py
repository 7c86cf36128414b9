"""A disk that answers a sync with EIO, as one does that is breaking: for Python's own files and inside SQLite.

SQLite is given a file system layer of its own (sqlite.org/vfs.html): the system's, with another `xSync`.  It calls the
real one too, so what is on the disk is what would be there where only the answer is bad; what a sync that was lost
leaves is `test_power.py`'s.
"""

from __future__ import annotations

import _sqlite3
import ctypes
import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes import CFUNCTYPE, POINTER, c_char_p, c_int, c_void_p
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

__all__ = ["Failing"]

_IOERR_FSYNC = 10 | 4 << 8
"""SQLITE_IOERR_FSYNC."""
_OPEN = CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p, c_int, c_void_p)
_SYNC = CFUNCTYPE(c_int, c_void_p, c_int)


class _Vfs(ctypes.Structure):
    """`sqlite3_vfs`, version 3."""

    _fields_ = (
        *((name, c_int) for name in ("version", "size", "longest")),
        *((name, c_void_p) for name in ("next", "name", "data", "open")),
        ("others", c_void_p * 15),
    )


class _Methods(ctypes.Structure):
    """`sqlite3_io_methods`, version 3."""

    _fields_ = (
        ("version", c_int),
        ("before", c_void_p * 4),
        ("sync", c_void_p),
        ("others", c_void_p * 13),
    )


class _Layer:
    """The system's layer of files with syncs that ask `fails` first; SQLite's default while one is wanted."""

    def __init__(self) -> None:
        self.fails: Callable[[Path], bool] = lambda path: False
        self._library = ctypes.CDLL(getattr(_sqlite3, "__file__", None))
        find = self._library.sqlite3_vfs_find
        find.restype, find.argtypes = POINTER(_Vfs), [c_char_p]
        self._library.sqlite3_vfs_register.argtypes = [c_void_p, c_int]
        self._system: Any = find(None)
        self._open_file = _OPEN(self._system.contents.open)
        self._ours = _Vfs.from_buffer_copy(self._system.contents)
        self._paths: dict[int, Path] = {}
        self._methods: dict[int, tuple[_Methods, Any]] = {}
        self._name, self._callback = ctypes.create_string_buffer(b"failing"), _OPEN(self._opened)
        self._ours.next, self._ours.name = None, ctypes.addressof(self._name)
        self._ours.open = ctypes.cast(self._callback, c_void_p).value

    def install(self) -> None:
        self._library.sqlite3_vfs_register(ctypes.addressof(self._ours), 1)

    def remove(self) -> None:
        """What was opened keeps it, and it is never freed."""
        self._library.sqlite3_vfs_register(ctypes.addressof(self._system.contents), 1)

    def _opened(self, vfs: int, name: int | None, file: int, flags: int, out: int) -> int:
        # `name` is passed on as it is: SQLite keeps more behind its end
        done: int = self._open_file(vfs, name, file, flags, out)
        first = ctypes.cast(file, POINTER(c_void_p))
        if done == 0 and first[0] and name:
            self._paths[file] = Path(os.fsdecode(ctypes.string_at(name)))
            first[0] = ctypes.addressof(self._of(first[0]))
        return done

    def _of(self, real: int) -> _Methods:
        """The methods at this address, with our sync."""
        if real not in self._methods:
            ours = _Methods.from_buffer_copy(_Methods.from_address(real))
            sync = _SYNC(ours.sync)

            def synced(file: int, flags: int) -> int:
                done: int = sync(file, flags)
                return _IOERR_FSYNC if self.fails(self._paths[file]) else done

            callback = _SYNC(synced)
            ours.sync = ctypes.cast(callback, c_void_p).value
            self._methods[real] = ours, callback
        return self._methods[real][0]


_LAYER: list[_Layer] = []


@dataclass
class Failing:
    """Counts the syncs of files in `folder`, those in `left_out` aside; number `at` and those after it, `failing` in
    all, are answered with EIO.

    Databases must have been opened inside `watched`.
    """

    folder: Path
    at: int = 0
    failing: int = 1
    left_out: Path | None = None
    seen: int = 0
    failed: list[str] = field(default_factory=list)

    @contextmanager
    def watched(self) -> Iterator[Failing]:
        if not _LAYER:
            _LAYER.append(_Layer())
        layer, real = _LAYER[0], os.fsync

        def fsync(file: int) -> None:
            real(file)
            if self._fails(Path(f"/proc/self/fd/{file}").readlink()):
                raise OSError(errno.EIO, os.strerror(errno.EIO))

        layer.fails = self._fails
        layer.install()
        try:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(os, "fsync", fsync)
                yield self
        finally:
            layer.remove()
            layer.fails = lambda path: False

    def _fails(self, path: Path) -> bool:
        within = (path, *path.parents)
        if self.folder not in within or self.left_out in within:
            return False
        self.seen += 1
        fails = 0 < self.at <= self.seen < self.at + self.failing
        if fails:
            self.failed.append(path.name)
        return fails
