"""A node that serves: it dials out to the SuperLink and answers; nothing listens to the network here.

`python -m nodes.serve.loop DIR NAME ADDRESS` is one node of a trust on this machine, until it is told to stop
(SIGTERM), a line an event; `nodes/serve/process.py` is a partner's own machine.  Both go through `serve`, and one
process holds a home.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from nodes.events import NodeEvent, Tell
from nodes.node import Node
from nodes.serve.flower import FleetNode, SuperLinkAddress
from nodes.settings import NodeSettings
from nodes.state.lock import locked
from nodes.study.notices import Notices
from nodes.study.sessions import Sessions
from trust.errors import DataTrustError

__all__ = ["Begun", "main", "serve"]

_END_SECONDS = 9.0
"""Seconds from SIGTERM to the end."""
_AWAY_SECONDS = 45.0
"""Seconds for which a source may be away before a study is refused: a coordinator waits a minute for who takes part,
and sends its message again every ten seconds."""

Begun = Callable[[FleetNode, Sessions], Callable[[bytes], bytes]]
"""Is told what has begun, and gives what answers a message: `Sessions.handle`, or something around it."""


def serve(settings: NodeSettings, address: str, tell: Tell, on_begin: Begun) -> None:
    """Answer messages until `FleetNode.stop` is set.  The caller holds the home (`nodes/state/lock.py`).

    Raises: DataTrustError of whatever cannot be used.
    """
    node = settings.node()
    try:
        _take_roots(node, settings)
        sessions = Sessions(node, away=_AWAY_SECONDS, tell=tell)
        link = SuperLinkAddress(
            address, settings.authority(), settings.connection_key(), settings.connection / "node_id"
        )
        answer: list[Callable[[bytes], bytes]] = []
        fleet = FleetNode(link, lambda raw: answer[0](raw), tell=tell)
        answer.append(on_begin(fleet, sessions))
        fleet.run()
    finally:
        node.store.close()


def _take_roots(node: Node, settings: NodeSettings) -> None:
    """The versions that were enrolled count as accepted, and stand in the journal, before any message comes."""
    notices = Notices(node.root, node.store, node.clock, node.revocations)
    notices.accept_roots(notices.newer([envelope.document() for envelope in settings.roots()]))


def main(arguments: Sequence[str]) -> int:
    """The exit code: 0 when told to stop, 2 or 3 for what cannot be used."""
    if len(arguments) != 3:
        print("usage: python -m nodes.serve.loop DIR NAME ADDRESS", file=sys.stderr)
        return 2
    folder, name, address = arguments

    def begun(fleet: FleetNode, sessions: Sessions) -> Callable[[bytes], bytes]:
        def told_to_stop(*_: Any) -> None:
            fleet.stop.set()
            late = threading.Timer(_END_SECONDS, os._exit, (0,))  # who waits for the network; what is written is whole
            late.daemon = True
            late.start()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, told_to_stop)
        return sessions.handle

    try:
        settings = NodeSettings(Path(folder), name)
        with locked(settings.own):
            serve(settings, address, _say, begun)
    except DataTrustError as wrong:
        print(f"node {name}: {wrong}", file=sys.stderr)
        return wrong.exit_code
    return 0


def _say(event: NodeEvent) -> None:
    print(event, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
