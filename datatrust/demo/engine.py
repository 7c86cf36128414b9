"""The demo's studies over a real SuperLink: coordinator and four nodes as processes on this machine, with TLS.

The same questions as in one process: one answered, three refused, one of them mended; and both engines compared.
"""

from __future__ import annotations

import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import datatrust as dt
from datatrust.demo import pooled
from datatrust.demo.attack import Attack, attack
from datatrust.demo.checks import Checks
from datatrust.demo.compared import compare_answers, compare_mended, compare_proof
from datatrust.demo.deployment import DeployedTrust, Processes
from datatrust.demo.hospitals import COHORT, Written, write
from datatrust.demo.mended import Mended, mend
from datatrust.demo.proof import Proof, prove
from datatrust.demo.question import CHARTER, PURPOSE, TITLE, WOMEN, analyses
from datatrust.demo.refusal import RefusedStudy, run_refused
from datatrust.demo.story import Answered, histogram_counts
from datatrust.research.result import Result
from trust.charters.charter import Charter
from trust.dataset.dataset import Dataset

__all__ = ["EngineStory", "engine_document", "run_engine"]


@dataclass(frozen=True)
class EngineStory(Answered):
    """What happened over the SuperLink.

    Attributes:
        address: host:port of the SuperLink.
        local: the first study's result in one process.
        seconds: that the first study took, and all until now.
    """

    address: str
    written: Written
    result: Result
    local: Result
    women: RefusedStudy
    mended: Mended
    attack: Attack
    proof: Proof
    seconds: tuple[float, float]
    checks: Checks = field(default_factory=Checks)


def run_engine(
    out: Path, lang: str, tell: Callable[[str], None], show: Callable[[EngineStory], None], *, keep: bool
) -> EngineStory:
    """Start everything, ask, compare, and end everything: only what was started here.

    Args:
        tell: is told each event, one line.
        shown: is given the story as soon as it is there.
        keep: leave it running until Ctrl-C.

    Raises: OSError, DataTrustError.
    """
    started_at = time.monotonic()
    hospitals = write(out / "data")
    with tempfile.TemporaryDirectory(prefix="datatrust-engine-") as temporary, _stopped_by_term():
        state = Path(temporary) / "trust"
        dataset, charter = Dataset.load(hospitals.dataset), Charter.load(CHARTER)
        trust = DeployedTrust.founded(state, dataset, charter, hospitals.sources())
        try:
            with Processes(state, trust.partners, out / "logs", tell) as processes:
                story = _tell_story(trust, hospitals, processes.address, lang, out, started_at)
                _compare(story)
                show(story)
                if keep:
                    _until_stopped(processes, lambda: tell(f"running until Ctrl-C; the trust's folder is {state}"))
        finally:
            trust.docket.close()
    return story


def _tell_story(
    trust: DeployedTrust, hospitals: Written, address: str, lang: str, out: Path, started_at: float
) -> EngineStory:
    first = time.monotonic()
    result = trust.study(TITLE, purpose=PURPOSE, cohort=COHORT, analyses=analyses()).run()
    took = time.monotonic() - first
    local_trust = dt.local(sources=hospitals.sources(), dataset=hospitals.dataset, charter=CHARTER)
    local = local_trust.study(TITLE, purpose=PURPOSE, cohort=COHORT, analyses=analyses()).run()
    women = run_refused(trust, trust.study(f"{TITLE}: women", purpose=PURPOSE, cohort=WOMEN, analyses=analyses()))
    mended = mend(trust, lang)
    attacked = attack(trust, result, _cohort(hospitals))
    proof = prove(trust, result, histogram_counts(result), out)
    seconds = took, time.monotonic() - started_at
    return EngineStory(address, hospitals, result, local, women, mended, attacked, proof, seconds)


def _cohort(hospitals: Written) -> pd.DataFrame:
    rows = pooled.pool(hospitals.files)
    return rows[rows["age"] >= 40]


def _compare(story: EngineStory) -> None:
    """Figures against the pooled rows and the other engine, refusals against their rules, and the proof."""
    cohort, checks = _cohort(story.written), story.checks
    compare_answers(story, cohort)
    _compare_engines(story)
    checks.holds("check_refused", "organisations", story.women.refused.rule == "organisations")
    compare_mended(checks, story.mended, story, cohort)
    checks.holds("check_attack", "refused", story.attack.refusal.refused.rule == "differencing")
    compare_proof(checks, story.proof)


def _compare_engines(story: EngineStory) -> None:
    """Counts are the same to the bit, and so is what is hidden; the last bits of other figures are random in each run,
    since the secure sum rounds at random.
    """
    checks, local_result = story.checks, story.local
    same_counts = histogram_counts(story.result) == histogram_counts(local_result)
    checks.holds("check_engine", "the histogram", same_counts)
    for name in ("table", "pain"):
        ours, local_frame = story.result[name].to_frame().align(local_result[name].to_frame())
        hidden = bool((ours.isna() == local_frame.isna()).all(axis=None))
        checks.holds("check_engine", f"what is hidden in {name}", hidden)
        number = ours.index.get_level_values("statistic") == "count"
        number_pairs = ours[number].fillna(-1), local_frame[number].fillna(-1)
        checks.holds("check_engine", f"counts of {name}", bool((number_pairs[0] == number_pairs[1]).all(axis=None)))
        apart = (ours - local_frame).abs() / local_frame.abs().clip(lower=1.0)
        checks.near("check_engine", f"figures of {name}", float(np.nanmax(apart.to_numpy(dtype=float))), 0.0)
    local_frame = local_result["risk"].params  # type: ignore[attr-defined]
    for key, value in story.fit.params.items():
        checks.near("check_engine", f"coefficient of {key}", float(value), float(local_frame[key]))


def engine_document(story: EngineStory) -> dict[str, Any]:
    """The story for programs: what `datatrust demo --engine flower --json` prints."""
    return {
        "schema": "datatrust/demo-engine/1",
        "engine": "flower",
        "address": story.address,
        "seconds": {"study": round(story.seconds[0], 3), "all": round(story.seconds[1], 3)},
        "study": story.result.study.id,
        "odds_ratios": {key: float(np.exp(value)) for key, value in story.fit.params.items()},
        "refused": [
            story.women.refused.rule,
            *story.mended.rules,
            story.attack.refusal.refused.rule,
        ],
        "mended": story.mended.result is not None,
        "proof": {"verified": story.proof.verified.ok, "register": story.proof.register_ok},
        "checked": [story.checks.passed(), story.checks.total()],
        "result": str(story.proof.result),
        "root": str(story.proof.root),
    }


def _until_stopped(processes: Processes, begin: Callable[[], None]) -> None:
    """Until Ctrl-C.  Raises: Fault where a process has ended by itself."""
    try:
        begin()
        while True:
            processes.check()
            time.sleep(0.2)
    except KeyboardInterrupt:
        return


@contextmanager
def _stopped_by_term() -> Iterator[None]:
    """SIGTERM as Ctrl-C: everything is ended and deleted first."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    handler_before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler_before)
