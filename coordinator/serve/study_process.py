"""One study in a process of its own, which the worker starts: it holds the study's lease, conducts it, and ends.

A process that is killed loses nothing: another goes on from what was kept (`replay.py`).  Each has its own run at the
SuperLink, since Flower's task identity is that of a whole process.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from coordinator.docket.docket import Docket
from coordinator.flower.grid import FlowerRun
from coordinator.settings import CoordinatorSettings
from coordinator.study.carry_out import carry_out, tell_the_end
from coordinator.study.replay import LeaveForAnother, Replay
from trust.documents.result import write_envelope
from trust.documents.study_states import ENDED, State
from trust.errors import DataTrustError, Fault
from trust.words.safe import escaped

__all__ = ["LEASE_SECONDS", "PARKED_EXIT_CODE", "RetryingChannel", "forget", "main", "print_line", "run_study"]

LEASE_SECONDS = 20.0
"""Seconds: a study is somebody else's after so long without a sign of its process."""
PARKED_EXIT_CODE = 75
"""Exit code where the study is left as it stands, for another process (sysexits.h: a temporary failure)."""
_FAILURE_EXIT_CODE = 70
"""Exit code after an unexpected failure (sysexits.h)."""
_RENEW_SECONDS, _PAUSE_SECONDS, _END_SECONDS = 5.0, 0.2, 5.0
"""Seconds between two signs; between two looks for nodes that are away; for the end, once the worker is gone."""
_RESEND_SECONDS = 20.0
"""Seconds after which a message is sent again to a node that has not answered: it may have a new id."""


class RetryingChannel:
    """A channel that outlives the SuperLink and the nodes: what is not answered is asked again, with the same bytes."""

    def __init__(
        self, engine: FlowerRun, partners: Mapping[str, bytes], stop: threading.Event, tell: Callable[[str], None]
    ) -> None:
        self._engine, self._partners, self._stop, self._tell = engine, dict(partners), stop, tell
        self._nodes: dict[str, int] = {}
        self._open = False

    def exchange(self, messages: Mapping[str, bytes], *, deadline: float) -> dict[str, bytes]:
        """Answers by partner; who has not answered after `deadline` seconds is absent.  Raises: LeaveForAnother."""
        waiting, replies = dict(messages), dict[str, bytes]()
        end, waiting_said = time.monotonic() + deadline, False
        while waiting and (seconds_left := end - time.monotonic()) > 0:
            if self._stop.is_set():
                raise LeaveForAnother
            try:
                reachable = self._reachable(waiting)
                answers = (
                    self._engine.channel(self._nodes).exchange(reachable, deadline=min(seconds_left, _RESEND_SECONDS))
                    if reachable
                    else {}
                )
            except Fault:
                self._open, reachable, answers = False, {}, {}
            replies |= answers
            for name in answers:
                del waiting[name]
            for name in reachable.keys() - answers.keys():
                self._nodes.pop(name, None)
            if waiting and not waiting_said:
                waiting_said = True
                self._tell(f"waiting for {', '.join(sorted(waiting))}")
            if waiting and not reachable:
                self._stop.wait(_PAUSE_SECONDS)
        return replies

    def _reachable(self, waiting: Mapping[str, bytes]) -> dict[str, bytes]:
        """Those whose nodes are connected.  Raises: Fault where the SuperLink is away."""
        if not self._open or self._engine.gone.is_set():
            self._nodes = {}
            self._engine.open()
            self._open = True
        if not waiting.keys() <= self._nodes.keys():
            self._nodes |= self._engine.online(self._partners)
        return {name: raw for name, raw in waiting.items() if name in self._nodes}


def run_study(settings: CoordinatorSettings, address: str, study: str, holder: str, say: Callable[[str], None]) -> bool:
    """Carry one study out, holding its lease; False where it is left as it stands, for another to go on with."""
    stop = threading.Event()

    def park(*_: Any) -> None:
        stop.set()
        raise LeaveForAnother

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, park)
    try:
        threading.Thread(target=_hold, args=(settings, study, holder, stop), daemon=True).start()
        with closing(settings.docket()) as docket:
            try:
                _carry(settings, docket, address, study, stop, say)
            finally:
                with suppress(DataTrustError):
                    docket.leases.release(study, holder)
    except LeaveForAnother:
        return False
    except DataTrustError as wrong:
        say(f"{study}: {wrong}")
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
            docket.notes.write(study, words)

    state = docket.find(study).state
    done = docket.messages.read(study, "messages 0") is None or (
        state == "released" and settings.result(study).exists()
    )
    if state in ENDED and done:
        docket.forget(study)  # it was ended meanwhile; one that had lost it may have kept more
        return
    engine = FlowerRun(address, settings.secrets())
    replay: Replay | None = None
    try:
        channel = RetryingChannel(engine, settings.nodes(docket.trust), stop, tell)
        if state in ENDED and state != "released":
            say(f"{study}: it has ended ({state}) while nobody carried it out; its nodes are told")
            tell_the_end(docket, settings.identity, study, channel)
            docket.forget(study)
            return
        replay = Replay(docket, study, channel, stop)
        outcome = carry_out(
            docket, settings.identity, study, channel, replay=replay, patience=settings.said.patience, tell=tell
        )
        settings.keep_result(study, write_envelope(outcome.envelope))
    except Exception:  # not LeaveForAnother: another process goes on with what is kept
        if replay is not None and replay.begun:
            with suppress(DataTrustError):
                forget(docket, study, unless=("running", "mandated", "released"))
        raise
    finally:
        engine.close()
    forget(docket, study)
    tell("released")


def forget(docket: Docket, study: str, *, unless: Sequence[State] = ("running", "mandated")) -> None:
    """What was kept of it, exact totals among it, goes once nobody can go on with it."""
    if docket.find(study).state not in unless:
        docket.forget(study)


def _hold(settings: CoordinatorSettings, study: str, holder: str, stop: threading.Event) -> None:
    """Renew the lease; a process that has lost it ends at once, since another one carries the study out."""
    last, docket = time.monotonic(), None
    while not stop.wait(_RENEW_SECONDS):
        with suppress(Exception):  # a database that is away for a while, or no memory: without a lease it ends
            docket = docket or settings.docket()
            if not docket.leases.renew(study, holder, LEASE_SECONDS):
                os._exit(PARKED_EXIT_CODE)
            last = time.monotonic()
        if time.monotonic() - last > LEASE_SECONDS:
            os._exit(PARKED_EXIT_CODE)
    if docket is not None:
        docket.close()


def main(folder: Path, address: str, study: str, holder: str) -> None:
    """What such a process does; `holder` is the name under which it has the lease, `address` the SuperLink's."""
    try:
        threading.Thread(target=_end_with_worker, daemon=True).start()
        code = 0 if run_study(CoordinatorSettings(folder), address, study, holder, print_line) else PARKED_EXIT_CODE
    except DataTrustError as wrong:
        print_line(f"{study}: {wrong}")
        code = PARKED_EXIT_CODE
    except Exception as wrong:  # a mistake of ours, or no memory: it ends one study, not the others
        print_line(f"{study}: an unexpected failure ({type(wrong).__name__})")
        code = _FAILURE_EXIT_CODE
    sys.stdout.flush()
    os._exit(code)  # threads of the transport may still wait for their time


def _end_with_worker() -> None:
    """No study's process outlives the worker, however that ended: it leaves its study as it stands."""
    if worker := multiprocessing.parent_process():
        worker.join()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_END_SECONDS)
        os._exit(PARKED_EXIT_CODE)


def print_line(words: str) -> None:
    """One line: a partner's refusal may hold words of its own, which must not pass for another line of the log."""
    print(escaped(words, quotes=False), flush=True)
