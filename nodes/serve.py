"""A node in a process of its own: `python -m nodes.serve DIR NAME ADDRESS`, until it is told to stop (SIGTERM).

It dials out to the SuperLink at ADDRESS (host:port) and answers; nothing listens here.  One line an event.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from nodes.flower import FleetNode, Link
from nodes.sessions import Sessions
from nodes.settings import NodeSettings
from trust.errors import DataTrustError

__all__ = ["main"]


def main(arguments: Sequence[str]) -> int:
    """The exit code: 0 when told to stop, 2 or 3 for what cannot be used."""
    if len(arguments) != 3:
        print("usage: python -m nodes.serve DIR NAME ADDRESS", file=sys.stderr)
        return 2
    folder, name, address = arguments
    try:
        settings = NodeSettings(Path(folder), name)
        node = settings.node()
        link = Link(address, settings.authority(), settings.connection_key(), settings.connection / "node_id")
        fleet = FleetNode(link, Sessions(node, tell=_say).handle, tell=_say)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: fleet.stop.set())
        try:
            fleet.run()
        finally:
            node.store.close()
    except DataTrustError as wrong:
        print(f"node {name}: {wrong}", file=sys.stderr)
        return wrong.exit_code
    return 0


def _say(words: str) -> None:
    print(words, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
