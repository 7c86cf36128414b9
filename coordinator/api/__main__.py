"""`python -m coordinator.api HOME`: the interface of the coordinator in that folder, until it is told to stop."""

from __future__ import annotations

import sys
from pathlib import Path

from coordinator.api.server import serve_api
from coordinator.settings import CoordinatorSettings
from trust.errors import DataTrustError

__all__ = ["main"]


def main(arguments: list[str]) -> int:
    """The exit code."""
    if len(arguments) != 1:
        print("usage: python -m coordinator.api HOME", file=sys.stderr)
        return 2
    try:
        serve_api(
            CoordinatorSettings(Path(arguments[0])), ready=lambda address: print(f"listening at {address}", flush=True)
        )
    except DataTrustError as wrong:
        print(wrong, file=sys.stderr)
        return wrong.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
