"""A study that was filed: wait for it, ask where it stands, take its result.  Names of `concurrent.futures.Future`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from datatrust.research.progress import Say, saying
from trust.errors import Cancelled, DataTrustError, InvalidInput, TimedOut, Unreachable

if TYPE_CHECKING:
    from datatrust.research.result import Result

__all__ = ["WAIT_SECONDS", "Job", "Standing", "StudyService"]

WAIT_SECONDS = 600.0
"""Seconds that a wait takes at most where nothing else is said."""
_FIRST, _LONGEST, _GROWS = 0.2, 2.0, 1.3
"""Seconds between two questions to a coordinator: the first, the longest, and by which factor they grow."""


@dataclass(frozen=True)
class Standing:
    """Where a study stands.

    Attributes:
        state: as `trust.documents.study_states` has it; `words`: for people, safe to show.
        done: nothing more will happen to it.
        ripe: there is nothing to wait for: asking for its result gives it, or says why there is none.
    """

    state: str
    words: str
    done: bool
    ripe: bool


class StudyService(Protocol):
    """What a job asks of its trust.

    Attributes:
        patience: seconds that `result()` waits where nothing else is said; 0: not at all.
        watched: whether another thread may ask while this one does.
    """

    patience: float
    watched: bool

    def stands(self, study: str) -> Standing:
        """Where it stands now.  Raises: Unreachable, and what else the coordinator's answer deserves."""

    def answer(self, study: str, say: Say) -> Result:
        """Its result.  Raises: Refused, AnalysisFailed, …: why there is none."""

    def withdraw(self, study: str) -> bool:
        """Cancel it; whether it was cancelled."""


class Job:
    """A study on the docket, with the names of `concurrent.futures.Future`.

    It holds nothing but the study's id: `trust.job(id)` finds it again in another process.

    Attributes:
        id: the study's id.
    """

    def __init__(self, study: str, trust: StudyService) -> None:
        self.id, self._trust = study, trust
        self._result: Result | None = None
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[Job], object]] = []
        self._watcher: threading.Thread | None = None

    # ---- where it stands

    @property
    def state(self) -> str:
        """Where it stands, in words."""
        return self._trust.stands(self.id).words

    def done(self) -> bool:
        """Whether nothing more will happen to it."""
        return self._trust.stands(self.id).done

    def running(self) -> bool:
        """Whether nodes are being asked."""
        return self._trust.stands(self.id).state == "running"

    def cancelled(self) -> bool:
        """Whether it was cancelled."""
        return self._trust.stands(self.id).state == "cancelled"

    def cancel(self) -> bool:
        """Withdraw it, also while it runs; False where it has ended already in another way."""
        done = self._trust.withdraw(self.id)
        self._call()
        return done

    # ---- waiting

    def wait(self, timeout: float = WAIT_SECONDS, *, progress: bool = True) -> Job:
        """Wait until there is nothing to wait for; this job.

        Args:
            timeout: seconds, at most.
            progress: say what is waited for, in a terminal, a notebook, or as a line each 5 seconds.

        Raises: TimedOut, saying what the study waits for.
        """
        standing = self._standing_before(timeout, progress)
        if not standing.ripe:
            raise TimedOut(
                f"after {timeout:g} s the study {self.id!r} still waits: {standing.words}",
                remedy=f"wait longer with result(timeout=…), or come back later: trust.job({self.id!r})",
            )
        return self

    def result(self, timeout: float | None = None, *, progress: bool = True) -> Result:
        """Its result.  A trust in one process carries it out now; of another trust, its coordinator does.

        Args:
            timeout: seconds, at most; None: 600, or in one process no waiting for members who have still to sign.
            progress: as `wait`.

        Raises: Refused: by a rule, by the committee, or in one process since members have still to sign
            (`mandate-missing`); TimedOut; Cancelled; AnalysisFailed.
        """
        if self._result is None:
            if timeout is not None or self._trust.patience:
                self.wait(self._trust.patience if timeout is None else timeout, progress=progress)
            if self.cancelled():
                raise Cancelled(
                    f"the study {self.id!r} was cancelled", remedy="to ask the same again, file a new study"
                )
            with saying(progress) as say:
                try:
                    self._result = self._trust.answer(self.id, say)
                finally:
                    self._call()
        return self._result

    def exception(self, timeout: float | None = None, *, progress: bool = True) -> DataTrustError | None:
        """What `result` raises instead of a result; None where there is a result.  Raises: TimedOut, Unreachable."""
        try:
            self.result(timeout, progress=progress)
        except (TimedOut, Unreachable):
            raise
        except DataTrustError as wrong:
            return wrong
        return None

    def add_done_callback(self, fn: Callable[[Job], object]) -> None:
        """Call `fn(job)` once when nothing more will happen to it, or now if that is so already.

        Another trust's coordinator is asked by a thread of its own as long as this process lives; in one process, `fn`
        is called when `result` or `cancel` ends the study.
        """
        with self._lock:
            self._callbacks.append(fn)
        if self.done():
            self._call(has_ended=True)
        elif self._trust.watched and self._watcher is None:
            self._watcher = threading.Thread(target=self._watch, name=f"datatrust {self.id}", daemon=True)
            self._watcher.start()

    def __repr__(self) -> str:
        return f"<study {self.id}: {self.state}>"

    # ---- parts

    def _standing_before(self, limit: float, in_terminal: bool) -> Standing:
        """The first standing that is ripe, or the last one before the limit.  Raises: InvalidInput, Unreachable."""
        if not 0 <= limit < float("inf"):
            raise InvalidInput(f"a timeout of {limit!r}", expected="seconds, such as 600; a wait always has a limit")
        end, pause = time.monotonic() + limit, _FIRST
        latest = self._standing_or_unreachable()
        if isinstance(latest, Standing) and latest.ripe:
            return latest
        with saying(in_terminal) as say:
            while (seconds_left := end - time.monotonic()) > 0 and not (isinstance(latest, Standing) and latest.ripe):
                away = f"the coordinator does not answer; study {self.id} is asked for again"
                say(latest.words if isinstance(latest, Standing) else away)
                time.sleep(min(pause, seconds_left))
                pause = min(pause * _GROWS, _LONGEST)
                latest = self._standing_or_unreachable()
        if isinstance(latest, Unreachable):
            raise latest
        return latest

    def _standing_or_unreachable(self) -> Standing | Unreachable:
        """Where it stands; a coordinator that is away for a while is asked again."""
        try:
            return self._trust.stands(self.id)
        except Unreachable as away:
            return away

    def _watch(self) -> None:
        pause = _FIRST
        try:
            while not isinstance(latest := self._standing_or_unreachable(), Standing) or not latest.done:
                time.sleep(pause)
                pause = min(pause * _GROWS, _LONGEST)
        except DataTrustError:  # `result` says what it is
            pass
        self._call(has_ended=True)

    def _call(self, *, has_ended: bool = False) -> None:
        """Call those who wait for the end, each once, if it has come."""
        if self._callbacks and (has_ended or self.done()):
            with self._lock:
                called, self._callbacks = self._callbacks, []
            for fn in called:
                fn(self)
