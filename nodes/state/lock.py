"""One process a home: an advisory lock on N/lock, which ends with the process that holds it, however it ends."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from trust.errors import Fault
from trust.files import lock

__all__ = ["holder", "locked"]


@contextmanager
def locked(own_folder: Path) -> Iterator[None]:
    """Hold the home.  Raises: Fault where another process does, naming it."""
    try:
        file = os.open(own_folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as wrong:
        raise Fault(f"{str(own_folder)!r} cannot be written ({wrong.strerror})", remedy="correct its rights") from None
    try:
        if not lock(file):
            pid = holder(own_folder)
            which = f"process {pid}" if pid else "another process"
            raise Fault(f"{which} serves {str(own_folder)!r} already", expected="one process a home")
        with suppress(OSError):  # on a full disk: who holds it is for words alone
            os.ftruncate(file, 0)
            os.write(file, f"{os.getpid()}\n".encode("ascii"))
        yield
    finally:
        os.close(file)


def holder(own_folder: Path) -> int | None:
    """The process that serves this home: its id, 0 where it cannot be told; None where none does."""
    try:
        with (own_folder / "lock").open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                match = re.match(rb"\d{1,10}", file.read(16))
                return int(match[0]) if match else 0
    except FileNotFoundError:
        pass
    return None
