"""Make the passwords of docker/compose.yaml, each in a file that one container's user can read:

    sudo python3 docker/prepare.py [FOLDER]

FOLDER is docker/secrets unless it is said.  Nothing that is there is changed; a second run adds what is missing.  No
password is printed, and none has a default.  It needs root because each file belongs to the user of its container.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["main"]

NODE, COORDINATOR, POSTGRES = 10001, 10002, 999
"""The users in the containers."""
PARTNERS = ("north", "south", "east")


def write(path: Path, text: str, user: int) -> None:
    """A new file that only this user may read; one that is there stays.  Raises: OSError."""
    if path.exists():
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400), "w", encoding="utf-8") as file:  # noqa: PTH123
        os.fchown(file.fileno(), user, user)
        file.write(text)
    print(f"made {path}")


def account(folder: Path, host: str, database: str, role: str, user: int) -> None:
    """The owner's password and a role's, for one database; the role's also as libpq's password file for its user.

    Raises: OSError.
    """
    write(folder / "owner", secrets.token_urlsafe(32), POSTGRES)
    write(folder / role, secrets.token_urlsafe(32), POSTGRES)
    password = (folder / role).read_text("utf-8")
    write(folder / "pgpass", f"{host}:5432:{database}:{role}:{password}\n", user)


def main(arguments: Sequence[str]) -> int:
    """The exit code."""
    if len(arguments) > 1 or any(argument.startswith("-") for argument in arguments):
        print(__doc__, file=sys.stderr)
        return 2
    folder = Path(arguments[0]) if arguments else Path(__file__).parent / "secrets"
    if os.geteuid() != 0:
        print("prepare: each file is given to the user of its container; run it as root", file=sys.stderr)
        return 2
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        account(folder / "coordinator", "database-coordinator", "coordinator", "coordinator", COORDINATOR)
        for name in PARTNERS:
            account(folder / name, f"database-{name}", "records", "reader", NODE)
    except OSError as wrong:
        print(f"prepare: {wrong.filename}: {wrong.strerror}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
