"""How editions lie on the disk: which one is in use, its rows, each one's tokens, and the key of the tokens.

A folder for its owner only: `edition.json`, the rows `000001.parquet`, each edition's tokens `000001.tokens`, `key`.
Rows and tokens come first and `edition.json` last, so that what it names is complete.  While an edition is written the
folder has a file `making` with its number, locked by the process that writes.  Where it is there and not locked, that
process has ended: what it left of an edition that `edition.json` does not name goes.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt

from nodes.rows.source import Source, open_table, physical_names
from nodes.rows.table import database, text
from trust.errors import Fault

__all__ = ["EditionEntry", "EditionFiles", "synced"]

_LEFTOVER_SECONDS = 86_400
"""Seconds after which an unfinished file is not another process's."""


@dataclass(frozen=True)
class EditionEntry:
    """edition.json: the number of the edition in use, when it was taken, and what it is of."""

    date: str
    number: int
    of: str


class EditionFiles:
    """The files in `folder`, made if it is missing; where `durable`, on the disk under their names.

    Attributes:
        key: under which tokens are made.

    Raises: OSError; Fault where the key is lost.
    """

    def __init__(self, folder: Path, *, durable: bool) -> None:
        self._folder, self._durable = folder, durable
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in folder.glob("new-*"):  # of a process that ended while it wrote
            if path.stat().st_mtime < time.time() - _LEFTOVER_SECONDS:
                path.unlink()
        if not (folder / "key").exists():
            if any(folder.glob("*.tokens")):
                raise Fault("the key of the editions is lost", remedy="put the file `key` back into the folder")
            self._write("key", secrets.token_bytes(32))
        self.key = (folder / "key").read_bytes()

    def rows(self, number: int) -> Path:
        """Where the rows of an edition are."""
        return self._folder / f"{number:06d}.parquet"

    def tokens(self, number: int) -> npt.NDArray[np.uint64]:
        """Of each person of an edition.  Raises: Fault where they are lost."""
        try:
            return np.frombuffer((self._folder / f"{number:06d}.tokens").read_bytes(), dtype="<u8").astype(np.uint64)
        except (OSError, ValueError):
            raise Fault(
                f"the tokens of edition {number} are lost", remedy="put the file back into the folder of editions"
            ) from None

    def keep_tokens(self, number: int, tokens: npt.NDArray[np.uint64]) -> None:
        """Write them, unless they are there.  Raises: OSError."""
        if not (self._folder / f"{number:06d}.tokens").exists():
            self._write(f"{number:06d}.tokens", tokens.astype("<u8").tobytes())

    def keep(self, entry: EditionEntry, source: Source, tokens: npt.NDArray[np.uint64]) -> Path:
        """Write an edition, which is in use from here on; where its rows are.  Those of the one before go.

        Raises: OSError, Fault.
        """
        path = self.rows(entry.number)
        with self._making(entry.number):
            _write_parquet(source, path)
            self.keep_tokens(entry.number, tokens)
            synced(self._folder)
            self._write("edition.json", json.dumps(asdict(entry), sort_keys=True).encode())
            for old in self._folder.glob("[0-9]*.parquet"):
                if old != path:
                    with suppress(OSError):
                        old.unlink()
        return path

    def in_use(self) -> EditionEntry | None:
        """The edition in use, None where there is none; what an ended process left unfinished is removed.

        Raises: Fault where a file is lost, is older than those beside it, or cannot be read; OSError.
        """
        newest = self._newest()
        if not (self._folder / "edition.json").exists():
            if newest:
                raise Fault("edition.json is lost", remedy="put the file back into the folder of editions")
            return None
        entry = self._entry()
        if entry is None:
            raise Fault("edition.json cannot be read", remedy="put the file back into the folder")
        if entry.number < newest:
            raise Fault("edition.json is older than the editions beside it", remedy="put the last one back")
        return entry

    def _entry(self) -> EditionEntry | None:
        """What edition.json says, None where it says nothing that can be read."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            fields = json.loads((self._folder / "edition.json").read_bytes())
            return EditionEntry(str(fields["date"]), int(fields["number"]), str(fields["of"]))
        return None

    def _newest(self) -> int:
        """The last edition that has tokens, 0 where there is none, and that is not being written now."""
        under_way = self._under_way()
        numbers = (int(path.stem) for path in self._folder.glob("*.tokens") if path.stem.isdigit())
        return max((number for number in numbers if number != under_way), default=0)

    @contextmanager
    def _making(self, number: int) -> Iterator[None]:
        """While an edition is written."""
        path = self._folder / "making"
        with open(path, "wb", opener=_private) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(b"%d\n" % number)
            file.flush()
            os.fsync(file.fileno())
            synced(self._folder)
            yield
            path.unlink(missing_ok=True)

    def _under_way(self) -> int:
        """The edition that another process is writing now, 0 where none is; what an ended one has left is removed."""
        path = self._folder / "making"
        try:
            file = path.open("rb")
        except FileNotFoundError:
            return 0
        with file:
            digits = file.read(20).strip()
            number = int(digits) if digits.isdigit() else 0
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return number
            entry = self._entry()
            if number and (entry is None or number != entry.number):
                for leftover in (self.rows(number), self._folder / f"{number:06d}.tokens"):
                    leftover.unlink(missing_ok=True)
            path.unlink(missing_ok=True)
        return 0

    def _write(self, name: str, content: bytes) -> None:
        """Whole or not at all, for the owner only."""
        beside = self._folder / f"new-{secrets.token_hex(8)}"
        with open(beside, "wb", opener=_private) as file:
            file.write(content)
            file.flush()
            if self._durable:
                os.fsync(file.fileno())
        beside.replace(self._folder / name)
        if self._durable:
            synced(self._folder)


def _write_parquet(source: Source, path: Path) -> None:
    """A source's columns as a Parquet file for the owner alone, whole or not at all.  Raises: Fault."""
    beside = path.with_name(f"new-{secrets.token_hex(8)}")
    with database() as connection:
        open_table(source, connection, physical_names(source))
        try:
            connection.execute(f"COPY (SELECT * FROM raw) TO {text(str(beside))} (FORMAT parquet)")  # noqa: S608 - quoted
            beside.chmod(0o600)
            with beside.open("rb") as file:
                os.fsync(file.fileno())
            beside.replace(path)
        except (duckdb.Error, OSError) as wrong:
            with suppress(OSError):
                beside.unlink()
            raise Fault(
                f"the edition cannot be written ({type(wrong).__name__})", remedy="make room in the node's folder"
            ) from None


def synced(folder: Path) -> None:
    """The names in a folder are on the disk.  Raises: OSError."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
