"""How to call this program again."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

__all__ = ["program"]


def program(*, absolute: bool = False) -> str:
    """How to call this program again from here: its name where the shell finds it, else its path."""
    called = Path(sys.argv[0])
    if called.name != "datatrust" or not called.is_file():
        return "datatrust"
    program_path = shutil.which("datatrust")
    if program_path and Path(program_path).resolve() == called.resolve():
        return "datatrust"
    return str(called.absolute() if absolute else called)
