"""Run every benchmark and print a line each: name, ours, rival, ratio.  `--full` adds the long ones."""

from __future__ import annotations

import argparse
import os
import platform
import sys

from tests.benchmarks import engine, log, policy, secure_sum, study, verify

BENCHMARKS = (
    secure_sum.secure_sum,
    log.log,
    study.against_pooled,
    study.with_rows,
    policy.policy,
    verify.verify,
    engine.engine,
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--full", action="store_true", help="add the long runs")
    full = parser.parse_args().full
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    print(f"Python {platform.python_version()}, {platform.machine()}, {cores} cores; medians")
    print("ratio: rival / ours; for PRG and np.sum, which are limits, ours / limit")
    for benchmark in BENCHMARKS:
        for line in benchmark(full=full):
            print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
