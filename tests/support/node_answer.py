"""One message to one node in a process of its own: `python -m tests.support.node_answer FOLDER NAME < message`.

Prints the kind of the answer and the rule.  A process, so that its clock can be another one.
"""

from __future__ import annotations

import sys
from pathlib import Path

from nodes.settings import NodeSettings
from nodes.study.sessions import Sessions
from trust.protocol.messages import UP, unpack


def main(folder: Path, name: str) -> None:
    node = NodeSettings(folder, name).node()
    header, _ = unpack(Sessions(node).handle(sys.stdin.buffer.read()), UP)
    node.store.close()
    print(header["kind"], header.get("rule", ""))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
