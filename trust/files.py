"""Files: read, closed to others, locked, and written whole or not at all; and where a person's data are."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import stat
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tomli_w

from trust.errors import InvalidInput

__all__ = [
    "check_closed_to_others",
    "data_folder",
    "lock",
    "parse_toml",
    "read_file",
    "read_secret",
    "replace_whole",
    "toml_value",
    "write_new",
    "writing",
]


def read_file(path: Path) -> bytes:
    """The bytes of a file.  Raises: InvalidInput."""
    try:
        return path.read_bytes()
    except OSError as wrong:
        raise InvalidInput(f"{str(path)!r} cannot be read ({wrong.strerror})", remedy="put it back") from None


def parse_toml(
    raw: bytes, name: str, error: type[InvalidInput] = InvalidInput, largest: int = 1 << 20
) -> dict[str, Any]:
    """The content of a TOML file of at most so many bytes; `name` says which.  Raises: `error`."""
    if len(raw) > largest:
        raise error(f"{name} is too large", expected=f"at most {largest} bytes")
    try:
        return tomllib.loads(raw.decode("utf-8"))
    except UnicodeDecodeError:
        raise error(f"{name} is not UTF-8 text", remedy="save it as UTF-8") from None
    except (tomllib.TOMLDecodeError, RecursionError) as wrong:
        raise error(f"{name} is not valid TOML: {wrong}") from None


def toml_value(value: str | int | float | bool) -> str:
    """One value as it stands after the `=` of a TOML file: every character is kept, as JSON's escapes would not."""
    return tomli_w.dumps({"x": value}).removeprefix("x = ").removesuffix("\n")


# ---- secrets


def check_closed_to_others(path: Path, mode: int) -> None:
    """Raises: InvalidInput for a secret's file that group or others may open."""
    if os.name == "posix" and stat.S_IMODE(mode) & 0o077:
        raise InvalidInput(
            f"{str(path)!r} is open to others (mode {stat.S_IMODE(mode):04o})",
            expected="a file that only its owner can read",
            remedy=f"chmod 600 {path}",
        )


def read_secret(path: Path) -> bytes:
    """The bytes of a file that only its owner may read.  Raises: InvalidInput."""
    raw = read_file(path)
    check_closed_to_others(path, path.stat().st_mode)
    return raw


# ---- writing


def lock(file: int, patience: float = 1.0) -> bool:
    """Take the lock (flock(2)) of an open file; whether it could be had within so many seconds: a process that is being
    killed, or somebody who looks whether it is held, may have it for a moment.
    """
    end = time.monotonic() + patience
    while True:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        if time.monotonic() > end:
            return False
        time.sleep(0.05)


@contextlib.contextmanager
def writing(path: Path | str, remedy: str) -> Iterator[None]:
    """Raises: InvalidInput that names the path, in place of an OSError of what is written meanwhile."""
    try:
        yield
    except OSError as wrong:
        raise InvalidInput(f"{str(path)!r} cannot be written ({wrong.strerror})", remedy=remedy) from None


def write_new(path: Path, content: bytes, mode: int) -> None:
    """The whole file under its name and on the disk, or none; never over another.  Raises: OSError."""
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:  # noqa: PTH123
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        try:
            path.hardlink_to(unfinished)  # unlike a rename, this fails where the name is taken
        except FileExistsError:
            raise
        except OSError:  # a memory stick's file system has no links
            if path.exists():
                raise
            unfinished.replace(path)
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def replace_whole(path: Path, content: bytes, mode: int) -> None:
    """The new bytes under the name, on the disk, or the old ones: never half.  Raises: OSError."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        write_new(beside, content, mode)
        beside.replace(path)
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)


def data_folder() -> Path:
    """DATATRUST_HOME, else `datatrust` under XDG_DATA_HOME, else ~/.local/share/datatrust."""
    if folder := os.environ.get("DATATRUST_HOME"):
        return Path(folder)
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "datatrust"
