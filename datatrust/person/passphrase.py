"""Asking a person for a passphrase: from a file, the environment, or a terminal without echo; never an argument."""

from __future__ import annotations

import getpass
import os
import sys
import warnings
from pathlib import Path

from trust.errors import InvalidInput
from trust.signing.key_files import check_new_passphrase, read_passphrase

__all__ = ["ENVIRONMENT", "ask_passphrase"]

ENVIRONMENT = "DATATRUST_PASSPHRASE"
"""The environment's variable that is read where no file is named."""


def ask_passphrase(file: Path | None = None, *, key_name: str = "the key", new: bool = False) -> str:
    """The passphrase in `file`, else the one in DATATRUST_PASSPHRASE, else what is typed without echo.

    Args:
        file: as `read_passphrase` reads it.
        key_name: whose passphrase is asked for.
        new: for a key that is being made: typed twice, and at least 8 characters.

    Raises: InvalidInput, also where none is given and there is no terminal to ask at.
    """
    passphrase = read_passphrase(file) if file else os.environ.get(ENVIRONMENT, "") or _type_passphrase(key_name, new)
    if new:
        check_new_passphrase(passphrase)
    return passphrase


def _type_passphrase(key_name: str, new: bool) -> str:
    if not sys.stdin or not sys.stdin.isatty():
        raise InvalidInput(
            f"no passphrase for {key_name}, and no terminal to ask at",
            expected=f"--passphrase-file FILE, or {ENVIRONMENT} in the environment",
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", getpass.GetPassWarning)
            passphrase = getpass.getpass(f"Passphrase of {key_name}: ")
            if new and getpass.getpass("The same again: ") != passphrase:
                raise InvalidInput("the two passphrases differ", remedy="type the same one twice")
    except (EOFError, getpass.GetPassWarning):
        raise InvalidInput(
            f"the passphrase of {key_name} cannot be typed unseen here", expected="--passphrase-file FILE"
        ) from None
    return passphrase
