"""One life of a whole trust over its folder, and what kills it: `python -m tests.support.killer FOLDER STUDY AT…`.

A process of its own, since a fork must not inherit the threads of an engine.  Prints, for each write AT (0: none), the
signal that has ended it, and how many writes there were.
"""

from __future__ import annotations

import json
import shutil
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from coordinator.settings import CoordinatorSettings
from coordinator.study.carry_out import carry_out
from coordinator.study.replay import Replay
from datatrust.demo.deployment import _toml
from nodes.rows.source import as_source
from nodes.settings import NodeSettings
from nodes.study.sessions import Sessions
from tests.support.example import small_trust
from tests.support.numbered_writes import killed_at
from tests.support.restartable_trust import ASKED, DATASET, NAMES, frame
from trust.documents.result import write_envelope


class Straight:
    """Messages to nodes in this process."""

    def __init__(self, nodes: Mapping[str, Sessions]) -> None:
        self._nodes = nodes

    def exchange(self, messages: Mapping[str, bytes], *, deadline: float) -> dict[str, bytes]:
        return {name: self._nodes[name].handle(raw) for name, raw in messages.items()}


def carried(folder: Path, study: str) -> None:
    """From what the folder holds to the result, or as far as it gets."""
    nodes = {name: Sessions(NodeSettings(folder, name).node()) for name in NAMES}
    settings = CoordinatorSettings(folder)
    docket = settings.docket()
    if docket.find(study).state in ("mandated", "running", "released") and not settings.result(study).exists():
        channel = Straight(nodes)
        replay = Replay(docket, study, channel, threading.Event())
        done = carry_out(docket, settings.identity, study, channel, replay=replay)
        settings.keep_result(study, write_envelope(done.envelope))
        docket.forget(study)
    docket.close()


def mandated(base: Path, asked: Mapping[str, Any] = ASKED) -> str:
    """A trust in base/state with a study whose mandate is in force, and three nodes; the study."""
    sources = {}
    for seed, name in enumerate(NAMES):
        frame(seed).to_csv(base / f"{name}.csv", index=False)
        sources[name] = base / f"{name}.csv"
    trust = small_trust(sources, DATASET, state=base / "state")
    job = trust.study("many", purpose="AcademicResearch", analyses=dict(asked)).submit()
    trust.docket.sign(job.id, trust._keys.signed(trust.docket.find(job.id).mandate))
    for name, path in sources.items():
        (base / "state" / "nodes" / name / "source.toml").write_bytes(_toml(as_source(path)))
    return job.id


def main(folder: Path, study: str, points: list[int]) -> None:
    for at in points:
        state = folder.with_name(f"at-{at}")
        shutil.copytree(folder, state)
        first = killed_at(at, lambda state=state: carried(state, study))  # type: ignore[misc]
        again = killed_at(0, lambda state=state: carried(state, study)) if at else first  # type: ignore[misc]
        print(json.dumps([at, first[0], again[0], again[1]]), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], [int(at) for at in sys.argv[3:]])
