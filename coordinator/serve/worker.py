"""The worker: takes studies whose mandate is in force, and carries each out in a process of its own.

`python -m coordinator.serve.worker HOME ADDRESS` is the worker, ADDRESS that of the SuperLink as it is reached from
here.  It lets the partners' nodes in and starts the processes (`process.py`); a lease in the docket says whose a study
is.  They are forked from one that has imported all and done nothing.  Told to stop, they leave their studies as they
stand.
"""

from __future__ import annotations

import json
import multiprocessing
import secrets
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.forkserver import ensure_running
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from coordinator.docket.docket import Docket
from coordinator.flower.grid import FlowerRun
from coordinator.serve import study_process as process
from coordinator.serve.study_process import LEASE_SECONDS, PARKED_EXIT_CODE, print_line
from coordinator.settings import CoordinatorSettings
from coordinator.study.replay import LeaveForAnother
from trust.documents.study_states import ENDED
from trust.errors import DataTrustError, Fault, InvalidInput, Refused
from trust.times import now, write_time

__all__ = ["READY", "CrashLoop", "Worker", "main"]

READY = "ready"
"""What the line begins with that says that all partners' nodes are connected."""
_POLL_SECONDS, _WAITING_SECONDS, _CONNECTED_SECONDS, _TELL_SECONDS = 0.05, 0.1, 2.0, 10.0
"""Seconds between two looks: at the docket; at who is connected, while somebody is missing and afterwards; and between
two notes of it in the docket, and two looks for studies that have ended and of which something is kept."""
_RETRY_SECONDS, _SIGNS_SECONDS = 30.0, 2.0
"""Seconds after which a study is tried again whose process could not begin it, or was left by it as it stands."""
_END_SECONDS = 5.0
_UNKNOWN = 255
"""What multiprocessing says of a process whose starter has died; it may go on, with its lease."""
_MOST_CRASHES = 5
_FIRST_PAUSE_SECONDS = 2.0
"""Seconds before a study's next process after the second crash; twice as many after each further one."""


class CrashLoop:
    """How often the process of each study has crashed, since the worker started, before it kept anything new.

    Without a limit, a study that needs more memory than there is would be started for ever, and the researcher would
    never be told.
    """

    def __init__(self) -> None:
        self._crashes_by_study: dict[str, tuple[int, int]] = {}

    def next_start(self, docket: Docket, study: str, holder: str, lease: float) -> float | None:
        """Count one more crash; the seconds until the next process, None where the study ends with this one.

        Args: holder, lease: of the process that crashed; a study that another process holds is left alone.

        Raises: Fault.
        """
        if docket.find(study).state not in ("mandated", "running"):
            return None
        kept_count = docket.messages.count(study)
        crashes, count_before = self._crashes_by_study.get(study, (0, -1))
        crashes = crashes + 1 if kept_count == count_before else 1
        self._crashes_by_study[study] = crashes, kept_count
        if crashes < _MOST_CRASHES or not docket.leases.acquire(study, holder, lease):
            docket.leases.release(study, holder)  # the next process need not wait for the lease to expire
            docket.notes.write(study, "the coordinator's process for it has ended; another goes on")
            return _FIRST_PAUSE_SECONDS * 2 ** (min(crashes, _MOST_CRASHES) - 2) if crashes > 1 else 0.0
        if docket.find(study).state == "mandated":
            docket.move(study, "running")
        text = f"the coordinator's process for it has ended {crashes} times at the same step, perhaps out of memory"
        remedy = "ask for less at once, or ask the coordinator's operator to look at its log"
        docket.refused(study, Refused("fault", text, remedy=remedy), "failed")
        docket.leases.release(study, holder)
        return None


@dataclass(frozen=True)
class _StudyChild:
    """A study in its process."""

    study: str
    holder: str
    process: BaseProcess


class Worker:
    """Lets nodes in, and hands studies to processes, until `stop` is set."""

    def __init__(self, settings: CoordinatorSettings, address: str, say: Callable[[str], None]) -> None:
        self.stop = threading.Event()
        self._settings, self._address, self._say = settings, address, say
        self._engine = FlowerRun(address, settings.secrets(), self.stop)
        self._partners: dict[str, bytes] = {}
        self._children: list[_StudyChild] = []
        self._processes = multiprocessing.get_context("forkserver")
        self._processes.set_forkserver_preload(["coordinator.serve.study_process"])
        ensure_running()
        self._later: dict[str, float] = {}
        self._crash_loop = CrashLoop()
        self._online: dict[str, str] = {}
        self._online_count, self._look, self._tell_at = -1, 0.0, 0.0
        self._trouble, self._calling = "", False
        self._to_close, self._next_left, self._next_signs = list[str](), 0.0, 0.0

    def told_to_stop(self, *_: Any) -> None:
        """A handler of signals.  A wait for a SuperLink that does not answer ends with it."""
        self.stop.set()
        if self._calling:
            self._calling = False
            raise LeaveForAnother

    def run(self) -> None:
        """Until `stop`; a SuperLink that has forgotten the nodes is told them again.

        Raises: DataTrustError of what cannot be used at the beginning, and InvalidInput later where the newest root
            names another charter than this process has.  A fault is said, and what failed is tried again.
        """
        with suppress(LeaveForAnother), closing(self._settings.docket()) as docket:
            self._settings.nodes(docket.trust)
            try:
                while not self.stop.is_set():
                    try:
                        self._let_in(docket)
                        self._reap(docket)
                        self._hand_out(docket)
                        self._trouble = ""
                    except Fault as wrong:
                        if not self.stop.is_set():
                            self._report(str(wrong))
                        self.stop.wait(0.5)
                    self.stop.wait(_POLL_SECONDS)
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
        trust = docket.trust
        try:
            self._partners = self._settings.nodes(trust)
        except InvalidInput as wrong:  # it could be read at the beginning
            raise Fault(str(wrong)) from None
        self._calling = True
        try:
            self._engine.enrol(self._partners)
            online = self._engine.online(self._partners)
        finally:
            self._calling = False
        seen_at = write_time(now())
        online_before = dict(self._online)
        self._online = {name: online_before.get(name, seen_at) for name in online}
        online_count, all_there = len(online), len(online) == len(self._partners)
        if online_count != self._online_count:
            self._say(
                f"{READY if all_there else 'waiting'}: {online_count} of {len(self._partners)} partners are connected"
            )
        if (
            self._online.keys() != online_before.keys()
            or online_count != self._online_count
            or time.monotonic() > self._tell_at
        ):
            partners = {n: {"online": n in online, "since": self._online.get(n, "")} for n in self._partners}
            docket.notes.write("", json.dumps({"partners": partners}))
            self._tell_at = time.monotonic() + _TELL_SECONDS
        self._online_count = online_count
        self._look = time.monotonic() + (_CONNECTED_SECONDS if all_there else _WAITING_SECONDS)

    def _hand_out(self, docket: Docket) -> None:
        """A process for each study that waits for one, as far as there is room."""
        if len(self._children) >= self._settings.said.studies:
            return
        studies_here = {child.study for child in self._children}
        if time.monotonic() >= self._next_left:
            self._to_close = [study for study in docket.messages.studies() if docket.find(study).state in ENDED]
            self._next_left = time.monotonic() + _TELL_SECONDS
        for study in (*docket.ids("running"), *docket.ids("mandated"), *self._to_close):
            if study in studies_here or self._later.get(study, 0.0) > time.monotonic():
                continue
            holder = secrets.token_hex(8)
            if docket.find(study).lapsed or not docket.leases.acquire(study, holder, LEASE_SECONDS):
                self._later[study] = time.monotonic() + 1.0
                continue
            self._later[study] = time.monotonic() + _RETRY_SECONDS
            arguments = (self._settings.folder, self._address, study, holder)
            child_process = self._processes.Process(target=process.main, args=arguments, name=f"study {study}")
            try:
                child_process.start()
            except (OSError, EOFError) as wrong:  # no memory, or no file descriptor, for one more
                docket.leases.release(study, holder)
                self._later[study] = time.monotonic() + _SIGNS_SECONDS
                raise Fault(f"no process can be started for {study} ({type(wrong).__name__})") from None
            self._children.append(_StudyChild(study, holder, child_process))
            return

    def _reap(self, docket: Docket) -> None:
        self._kill_who_hangs(docket)
        for child in [child for child in self._children if not child.process.is_alive()]:
            self._children.remove(child)
            code = child.process.exitcode
            if code:
                self._say(f"{child.study}: its process has ended (code {code}); another goes on with what is left")
                self._later[child.study] = time.monotonic() + (_SIGNS_SECONDS if code > 0 else 0.0)
            self._next_left = 0.0  # what it has kept is gone now, or is to be gone on with
            if code in (0, PARKED_EXIT_CODE, _UNKNOWN):
                continue
            if wait := self._crash_loop.next_start(docket, child.study, child.holder, LEASE_SECONDS):
                self._later[child.study] = time.monotonic() + wait

    def _kill_who_hangs(self, docket: Docket) -> None:
        """A process that gives no sign ends by itself; one that cannot, because it has no memory, is killed."""
        if time.monotonic() < self._next_signs:
            return
        self._next_signs = time.monotonic() + _CONNECTED_SECONDS
        leased = docket.leases.holders() if self._children else {}
        for child in self._children:
            holder, lease_end = leased.get(child.study, ("", None))
            if holder == child.holder and lease_end and lease_end + timedelta(seconds=LEASE_SECONDS) < now():
                child.process.kill()
                child.process.join(1.0)

    def _end(self) -> None:
        """Each child leaves its study as it stands, and ends."""
        for child in self._children:
            child.process.terminate()
        end = time.monotonic() + _END_SECONDS
        for child in self._children:
            child.process.join(max(0.1, end - time.monotonic()))
            if child.process.is_alive():
                child.process.kill()
                child.process.join()
        self._engine.close()


def main(arguments: Sequence[str]) -> int:
    """The exit code: 0 when told to stop, 2 or 3 for what cannot be used."""
    if len(arguments) != 2:
        print("usage: python -m coordinator.serve.worker HOME ADDRESS", file=sys.stderr)
        return 2
    try:
        worker = Worker(CoordinatorSettings(Path(arguments[0])), arguments[1], print_line)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, worker.told_to_stop)
        worker.run()
    except DataTrustError as wrong:
        print(f"coordinator: {wrong}", file=sys.stderr)
        return wrong.exit_code
    return 0


if __name__ == "__main__":
    from coordinator.serve.worker import main as run

    sys.exit(run(sys.argv[1:]))
