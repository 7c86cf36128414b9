"""Processes that end before their study has got on, as for want of memory: another begins, later each time, then none.

Without an end, a study that needs more memory than there is would be begun for ever, and whoever asked never told.
"""

from __future__ import annotations

from coordinator.docket.docket import Docket
from trust.errors import Refused

__all__ = ["CrashLoop"]

_MOST = 5
_FIRST_PAUSE = 2.0
"""Seconds before the process after the second death; twice as many after each further one.  After the first: none."""


class CrashLoop:
    """How often, since the worker began, the process of each study has ended before anything new was kept of it."""

    def __init__(self) -> None:
        self._seen_by_study: dict[str, tuple[int, int]] = {}

    def another(self, docket: Docket, study: str, holder: str, lease: float) -> float | None:
        """One more; the seconds until the next process, None where the study has ended with that.

        Args: holder, lease: of the process that has died; a study that somebody else has taken is let be.

        Raises: Fault.
        """
        if docket.find(study).state not in ("mandated", "running"):
            return None
        kept_count = docket.keeps(study)
        deaths, kept_before = self._seen_by_study.get(study, (0, -1))
        deaths = deaths + 1 if kept_count == kept_before else 1
        self._seen_by_study[study] = deaths, kept_count
        if deaths < _MOST or not docket.lease(study, holder, lease):
            docket.free(study, holder)  # nobody has to wait until its time is over
            docket.tell(study, "the coordinator's process for it has ended; another goes on")
            return _FIRST_PAUSE * 2 ** (min(deaths, _MOST) - 2) if deaths > 1 else 0.0
        if docket.find(study).state == "mandated":
            docket.move(study, "running")
        text = f"the coordinator's process for it has ended {deaths} times at one place, perhaps for want of memory"
        remedy = "ask for less at once, or have the coordinator's operator look at its log"
        docket.refused(study, Refused("fault", text, remedy=remedy), "failed")
        docket.free(study, holder)
        return None
