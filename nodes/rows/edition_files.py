"""Files of an edition that was being written when its process ended: told from those of one that is complete.

While an edition is written its folder has a file `making` with its number, locked by the process that writes.  Where
it is there and not locked, that process has ended: what it left of an edition that `edition.json` does not name goes.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["finished", "making", "synced"]

_NAME = "making"


@contextmanager
def making(folder: Path, number: int) -> Iterator[None]:
    """While an edition is written.  Raises: OSError."""
    path = folder / _NAME
    with open(path, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(b"%d\n" % number)
        file.flush()
        os.fsync(file.fileno())
        synced(folder)
        yield
        path.unlink(missing_ok=True)


def synced(folder: Path) -> None:
    """The names in a folder are on the disk.  Raises: OSError."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def finished(folder: Path) -> int:
    """The last edition that has tokens, 0 where there is none; what an ended process left unfinished is removed.

    Raises: OSError.
    """
    under_way = _under_way(folder)
    numbers = (int(path.stem) for path in folder.glob("*.tokens") if path.stem.isdigit())
    return max((number for number in numbers if number != under_way), default=0)


def _under_way(folder: Path) -> int:
    """The edition that another process is writing now, 0 where none is."""
    path = folder / _NAME
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return 0
    with file:
        text = file.read(20).strip()
        number = int(text) if text.isdigit() else 0
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return number
        if number and number != _number_in_use(folder):
            for leftover in (*folder.glob(f"{number:06d}.parquet"), *folder.glob(f"{number:06d}.tokens")):
                leftover.unlink(missing_ok=True)
        path.unlink(missing_ok=True)
    return 0


def _number_in_use(folder: Path) -> int:
    """The number in `edition.json`, 0 where it says none."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        return int(json.loads((folder / "edition.json").read_bytes())["number"])
    return 0
