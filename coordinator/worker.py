"""The worker: takes studies whose mandate is in force, and carries each out in a process of its own.

`python -m coordinator.worker HOME ADDRESS` is the worker, ADDRESS that of the SuperLink as it is reached from here.  It
lets the partners' nodes in and starts the processes; a lease in the docket says whose a study is.  A process that is
killed loses nothing: when its lease is over, another goes on from what was kept (`replay.py`).  Each has its own run at
the SuperLink, since Flower's task identity is that of a whole process; they are forked from one that has imported all
and done nothing.  Told to stop, they leave their studies as they stand.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import secrets
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from multiprocessing.forkserver import ensure_running
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from coordinator.docket import Docket
from coordinator.flower import Engine
from coordinator.lifecycle import State
from coordinator.replay import Parked, Replay
from coordinator.settings import CoordinatorSettings
from coordinator.studies import carry_out
from trust.errors import DataTrustError, Fault
from trust.plain.safe import escaped
from trust.result import write_envelope
from trust.times import now, write_time

__all__ = ["READY", "Patient", "Worker", "carry", "main"]

READY = "ready"
"""What the line begins with that says that all partners' nodes are connected."""
_LEASE, _RENEW = 20.0, 5.0
"""Seconds: a study is somebody else's after so long without a sign of its process."""
_LOOK, _OFTEN, _SELDOM, _TELL = 0.05, 0.1, 2.0, 10.0
"""Seconds between two looks: at the docket; at who is connected, while somebody is missing and afterwards; and between
two notes of it in the docket, and two looks for results that are not written (each released study is looked at)."""
_AGAIN, _SOON = 30.0, 2.0
"""Seconds after which a study is tried again whose process could not begin it, or was left by it as it stands."""
_SLICE = 20.0
"""Seconds after which a message is sent again to a node that has not answered: it may have a new id."""
_END = 5.0


# ---- one study, in its own process


class Patient:
    """A channel that outlives the SuperLink and the nodes: what is not answered is asked again, with the same bytes."""

    def __init__(
        self, engine: Engine, partners: Mapping[str, bytes], stop: threading.Event, tell: Callable[[str], None]
    ) -> None:
        self._engine, self._partners, self._stop, self._tell = engine, dict(partners), stop, tell
        self._nodes: dict[str, int] = {}
        self._open = False

    def exchange(self, messages: Mapping[str, bytes], *, deadline: float) -> dict[str, bytes]:
        """Answers by partner; who has not answered after `deadline` seconds is absent.  Raises: Parked."""
        waiting, found = dict(messages), dict[str, bytes]()
        end, said = time.monotonic() + deadline, False
        while waiting and (left := end - time.monotonic()) > 0:
            if self._stop.is_set():
                raise Parked
            try:
                there = self._reachable(waiting)
                answers = self._engine.channel(self._nodes).exchange(there, deadline=min(left, _SLICE)) if there else {}
            except Fault:
                self._open, there, answers = False, {}, {}
            found |= answers
            for name in answers:
                del waiting[name]
            for name in there.keys() - answers.keys():
                self._nodes.pop(name, None)
            if waiting and not said:
                said = True
                self._tell(f"waiting for {', '.join(sorted(waiting))}")
            if waiting and not there:
                self._stop.wait(_OFTEN * 2)
        return found

    def _reachable(self, waiting: Mapping[str, bytes]) -> dict[str, bytes]:
        """Those whose nodes are connected.  Raises: Fault where the SuperLink is away."""
        if not self._open or self._engine.gone.is_set():
            self._nodes = {}
            self._engine.open()
            self._open = True
        if not waiting.keys() <= self._nodes.keys():
            self._nodes |= self._engine.online(self._partners)
        return {name: raw for name, raw in waiting.items() if name in self._nodes}


def carry(settings: CoordinatorSettings, address: str, study: str, holder: str, say: Callable[[str], None]) -> bool:
    """Carry one study out, holding its lease; False where it is left as it stands, for another to go on with."""
    stop = threading.Event()

    def park(*_: Any) -> None:
        stop.set()
        raise Parked

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, park)
    try:
        threading.Thread(target=_hold, args=(settings, study, holder, stop), daemon=True).start()
        with closing(settings.docket()) as docket:
            try:
                _carry(settings, docket, address, study, stop, say)
            finally:
                with suppress(DataTrustError):
                    docket.free(study, holder)
    except Parked:
        return False
    except DataTrustError as wrong:
        say(f"{study}: {wrong}")
    except Exception as wrong:  # a mistake of ours ends one study, not the others
        say(f"{study}: an unexpected failure ({type(wrong).__name__})")
    return True


def _carry(
    settings: CoordinatorSettings,
    docket: Docket,
    address: str,
    study: str,
    stop: threading.Event,
    say: Callable[[str], None],
) -> None:
    def tell(words: str) -> None:
        say(f"{study}: {words}")
        with suppress(DataTrustError):
            docket.tell(study, words)

    if docket.find(study).state == "released" and not _unwritten(settings, docket, study):
        return  # whoever had it before has ended it meanwhile
    engine = Engine(address, settings.secrets())
    try:
        channel = Patient(engine, settings.nodes(docket.trust), stop, tell)
        replay = Replay(docket, study, channel, stop)
        carried = carry_out(
            docket, settings.identity, study, channel, replay=replay, patience=settings.patience, tell=tell
        )
        settings.keep_result(study, write_envelope(carried.envelope))
    except Exception:  # not Parked: another process goes on with what is kept
        with suppress(DataTrustError):
            _forget(docket, study, unless=("running", "mandated", "released"))
        raise
    finally:
        engine.close()
    _forget(docket, study)
    tell("released")


def _unwritten(settings: CoordinatorSettings, docket: Docket, study: str) -> bool:
    """Whether a released study's process ended before it had written the file, and what it has kept is there."""
    return not settings.result(study).exists() and docket.kept(study, "messages 0") is not None


def _forget(docket: Docket, study: str, *, unless: Sequence[State] = ("running", "mandated")) -> None:
    """What was kept of it, exact totals among it, goes once nobody can go on with it."""
    if docket.find(study).state not in unless:
        docket.forget(study)


def _hold(settings: CoordinatorSettings, study: str, holder: str, stop: threading.Event) -> None:
    """Renew the lease; a process that has lost it ends at once, since another one carries the study out."""
    with closing(settings.docket()) as docket:
        last = time.monotonic()
        while not stop.wait(_RENEW):
            with suppress(Fault):  # a database that is away for a while
                if not docket.renew(study, holder, _LEASE):
                    os._exit(75)
                last = time.monotonic()
            if time.monotonic() - last > _LEASE:
                os._exit(75)


# ---- the worker


@dataclass(frozen=True)
class _Running:
    """A study in its process."""

    study: str
    process: BaseProcess


class Worker:
    """Lets nodes in, and hands studies to processes, until `stop` is set."""

    def __init__(self, settings: CoordinatorSettings, address: str, say: Callable[[str], None]) -> None:
        self.stop = threading.Event()
        self._settings, self._address, self._say = settings, address, say
        self._engine = Engine(address, settings.secrets(), self.stop)
        self._partners: dict[str, bytes] = {}
        self._running: list[_Running] = []
        self._processes = multiprocessing.get_context("forkserver")
        self._processes.set_forkserver_preload(["coordinator.worker"])
        ensure_running()
        self._later: dict[str, float] = {}
        self._online: dict[str, str] = {}
        self._there, self._look, self._told = -1, 0.0, 0.0
        self._trouble, self._calling = "", False
        self._released, self._next_unwritten = list[str](), 0.0

    def told_to_stop(self, *_: Any) -> None:
        """A handler of signals.  Whoever waits for a SuperLink that says nothing does not wait for its answer."""
        self.stop.set()
        if self._calling:
            self._calling = False
            raise Parked

    def run(self) -> None:
        """Until `stop`; a SuperLink that has forgotten the nodes is told them again."""
        with suppress(Parked), closing(self._settings.docket()) as docket:
            try:
                while not self.stop.is_set():
                    try:
                        self._let_in(docket)
                        self._reap()
                        self._hand_out(docket)
                        self._trouble = ""
                    except Fault as wrong:
                        if not self.stop.is_set():
                            self._report(str(wrong))
                        self.stop.wait(0.5)
                    self.stop.wait(_LOOK)
            finally:
                self._end()

    def _report(self, trouble: str) -> None:
        if trouble != self._trouble:
            self._say(f"{trouble}; trying again")
        self._trouble = trouble

    def _let_in(self, docket: Docket) -> None:
        """Enrol whom the SuperLink does not know, and say who is connected.  Raises: Fault."""
        if time.monotonic() < self._look:
            return
        self._partners = self._settings.nodes(docket.trust)
        self._calling = True
        try:
            self._engine.enrol(self._partners)
            online = self._engine.online(self._partners)
        finally:
            self._calling = False
        at = write_time(now())
        before = dict(self._online)
        self._online = {name: before.get(name, at) for name in online}
        found, all_there = len(online), len(online) == len(self._partners)
        if found != self._there:
            self._say(f"{READY if all_there else 'waiting'}: {found} of {len(self._partners)} partners are connected")
        if self._online.keys() != before.keys() or found != self._there or time.monotonic() > self._told:
            partners = {n: {"online": n in online, "since": self._online.get(n, "")} for n in self._partners}
            docket.tell("", json.dumps({"partners": partners}))
            self._told = time.monotonic() + _TELL
        self._there = found
        self._look = time.monotonic() + (_SELDOM if all_there else _OFTEN)

    def _hand_out(self, docket: Docket) -> None:
        """A process for each study that waits for one, as far as there is room."""
        if len(self._running) >= self._settings.studies:
            return
        here = {each.study for each in self._running}
        if time.monotonic() >= self._next_unwritten:
            self._released = [study for study in docket.ids("released") if _unwritten(self._settings, docket, study)]
            self._next_unwritten = time.monotonic() + _TELL
        for study in (*docket.ids("running"), *docket.ids("mandated"), *self._released):
            if study in here or self._later.get(study, 0.0) > time.monotonic():
                continue
            holder = secrets.token_hex(8)
            if docket.find(study).lapsed or not docket.lease(study, holder, _LEASE):
                self._later[study] = time.monotonic() + 1.0
                continue
            self._later[study] = time.monotonic() + _AGAIN
            arguments = (self._settings.folder, self._address, study, holder)
            process = self._processes.Process(target=_one, args=arguments, name=f"study {study}")
            process.start()
            self._running.append(_Running(study, process))
            return

    def _reap(self) -> None:
        for each in [each for each in self._running if not each.process.is_alive()]:
            self._running.remove(each)
            if each.process.exitcode:
                self._say(f"{each.study}: its process has ended (code {each.process.exitcode}); another goes on")
                again = _SOON if each.process.exitcode > 0 else 0.0
                self._later[each.study] = time.monotonic() + again
            self._next_unwritten = 0.0  # what it has released has its file now, or is to be gone on with

    def _end(self) -> None:
        """Whoever runs leaves its study as it stands, and ends."""
        for each in self._running:
            each.process.terminate()
        end = time.monotonic() + _END
        for each in self._running:
            each.process.join(max(0.1, end - time.monotonic()))
            if each.process.is_alive():
                each.process.kill()
                each.process.join()
        self._engine.close()


def main(arguments: Sequence[str]) -> int:
    """The exit code: 0 when told to stop, 2 or 3 for what cannot be used."""
    if len(arguments) != 2:
        print("usage: python -m coordinator.worker HOME ADDRESS", file=sys.stderr)
        return 2
    try:
        worker = Worker(CoordinatorSettings(Path(arguments[0])), arguments[1], _say)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, worker.told_to_stop)
        worker.run()
    except DataTrustError as wrong:
        print(f"coordinator: {wrong}", file=sys.stderr)
        return wrong.exit_code
    return 0


def _one(folder: Path, address: str, study: str, holder: str) -> None:
    """A study's process; code 75 (a temporary failure) where another has to go on."""
    try:
        ended = carry(CoordinatorSettings(folder), address, study, holder, _say)
    except DataTrustError as wrong:
        _say(f"{study}: {wrong}")
        ended = False
    sys.stdout.flush()
    os._exit(0 if ended else 75)  # threads of the transport may still wait for their time


def _say(words: str) -> None:
    """One line: a partner's refusal may hold words of its own, which must not pass for another line of the log."""
    print(escaped(words, quotes=False), flush=True)


if __name__ == "__main__":
    from coordinator.worker import main as run

    sys.exit(run(sys.argv[1:]))
