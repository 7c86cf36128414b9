"""The key of who acts: which file it is, and when it is opened."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from datatrust.person.passphrase import ask_passphrase
from trust.errors import InvalidInput
from trust.signing.envelope import Signer
from trust.signing.key_files import read_signer

__all__ = ["KEY", "ActingKey"]

KEY = "DATATRUST_KEY"
"""The environment's variable that names the key's file where no other is named."""


@dataclass(frozen=True)
class ActingKey:
    """The key of who acts; its file is opened when it is needed."""

    key: Path | None = None
    passphrase_file: Path | None = None

    @cached_property
    def file(self) -> Path:
        """The key's file.  Raises: InvalidInput where none is named."""
        key_path = self.key or os.environ.get(KEY) or None
        if key_path is None:
            raise InvalidInput("no key", expected=f"--key FILE, or {KEY} in the environment")
        return Path(key_path)

    @cached_property
    def signer(self) -> Signer:
        """The key, opened.  Raises: InvalidInput."""
        return read_signer(self.file, lambda: ask_passphrase(self.passphrase_file, key_name=str(self.file)))
