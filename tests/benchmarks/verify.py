"""Verifying a result file, by `trust` and by the stand-alone verifier: what a researcher waits for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np

from tests.benchmarks.study import line, median_time
from tests.support.corpus.honest import ROOT, file_of
from tests.support.corpus.release import VALUES, Release
from trust.documents.root import TrustRoot
from trust.documents.verification import require_verified

DOCS = Path(__file__).parents[2] / "docs"


def verify(*, full: bool) -> Iterator[str]:
    """A result of two small tables, and one of 100,000 numbers beside it."""
    sys.path.insert(0, str(DOCS))
    import verify as alone

    now = datetime(2026, 11, 25, tzinfo=UTC)
    pinned, root = TrustRoot.founding(ROOT), alone.follow([alone.envelope(ROOT.document())], None)
    table = {**VALUES["table"], "many": np.random.default_rng(1).normal(size=100_000)}
    for name, values in (("verify a result", VALUES), ("verify a result, 100,000 numbers", {**VALUES, "table": table})):
        raw = file_of(Release(values=values).envelope())
        ours = median_time(partial(require_verified, raw, pinned=pinned, now=now))
        other = median_time(partial(_all, alone.steps, raw, root, now))
        yield line(name, f"{1e3 * ours:.1f} ms", f"{1e3 * other:.1f} ms", f"{len(raw):,} B")


def _all(steps: Callable[..., Iterator[str]], *arguments: object) -> None:
    """Go through every step."""
    for _ in steps(*arguments):
        pass
