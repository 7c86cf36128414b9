"""The coordinator in a process of its own: `python -m coordinator.serve DIR ADDRESS`, until it is told to stop.

It lets the partners' nodes in at the SuperLink at ADDRESS (host:port), and carries out each study of the docket as soon
as its mandate is in force.  One line an event.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from coordinator.flower import Engine
from coordinator.settings import CoordinatorSettings
from coordinator.studies import carry_out
from trust.errors import DataTrustError, Fault, Refused
from trust.result import write_envelope

__all__ = ["READY", "main"]

READY = "ready"
"""What the line begins with that says that all partners' nodes are connected."""
_AT_ONCE = 4
_LOOK, _OFTEN, _SELDOM = 0.05, 0.1, 2.0
"""Seconds between two looks: at the docket; at who is connected, while somebody is missing and afterwards."""


class _Service:
    """What `main` runs: one SuperLink, one docket, some studies at a time."""

    def __init__(self, settings: CoordinatorSettings, address: str) -> None:
        self.stop = threading.Event()
        self._settings, self._partners = settings, settings.nodes()
        self._engine = Engine(address, settings.secrets())
        self._begun: set[str] = set()
        self._there, self._look = -1, 0.0

    def run(self) -> None:
        """Until `stop`; a SuperLink that has forgotten us is told everything again."""
        docket = self._settings.docket()
        self._broken_off()
        with ThreadPoolExecutor(_AT_ONCE) as workers:
            while not self.stop.is_set():
                self._begin()
                while not self.stop.is_set() and not self._engine.gone.is_set():
                    for study in docket.ids("mandated"):
                        if study not in self._begun:
                            self._begun.add(study)
                            workers.submit(self._carry_out, study)
                    self._report()
                    self.stop.wait(_LOOK)
            self._engine.close()
        docket.close()

    def _broken_off(self) -> None:
        """Studies that ran when the last process ended: nodes have given, and their masks are gone."""
        docket = self._settings.docket()
        for study in docket.ids("running"):
            docket.refused(study, Refused("fault", "the study was broken off", "file a new study"), "failed")
        docket.close()

    def _begin(self) -> None:
        """Let the nodes in, and open a run."""
        while not self.stop.is_set():
            try:
                self._engine.enrol(self._partners)
                self._engine.open()
                break
            except Fault as wrong:
                _say(f"{wrong}; trying again")
                self.stop.wait(1.0)
        self._there = -1

    def _report(self) -> None:
        """Say how many partners are connected, when it has changed; looked at once in a while."""
        if time.monotonic() < self._look:
            return
        with suppress(Fault):
            found = len(self._engine.online(self._partners))
            if found != self._there:
                all_there = found == len(self._partners)
                _say(f"{READY if all_there else 'waiting'}: {found} of {len(self._partners)} partners are connected")
            self._there = found
        self._look = time.monotonic() + (_SELDOM if self._there == len(self._partners) else _OFTEN)

    def _carry_out(self, study: str) -> None:
        """One study, in a thread of its own."""
        try:
            docket = self._settings.docket()
            try:
                channel = self._engine.channel(self._engine.online(self._partners))
                carried = carry_out(
                    docket, self._settings.identity, study, channel, tell=lambda words: _say(f"{study}: {words}")
                )
                self._settings.keep_result(study, write_envelope(carried.envelope))
                _say(f"{study}: released")
            finally:
                docket.close()
        except DataTrustError as wrong:
            _say(f"{study}: {wrong}")
        except Exception as wrong:  # a mistake of ours ends one study, not the others
            _say(f"{study}: an unexpected failure ({type(wrong).__name__})")


def main(arguments: Sequence[str]) -> int:
    """The exit code: 0 when told to stop, 2 or 3 for what cannot be used."""
    if len(arguments) != 2:
        print("usage: python -m coordinator.serve DIR ADDRESS", file=sys.stderr)
        return 2
    try:
        service = _Service(CoordinatorSettings(Path(arguments[0])), arguments[1])
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: service.stop.set())
        service.run()
    except DataTrustError as wrong:
        print(f"coordinator: {wrong}", file=sys.stderr)
        return wrong.exit_code
    return 0


def _say(words: str) -> None:
    print(words, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
