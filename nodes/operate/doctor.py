"""`datatrust node doctor`: about twenty checks of one node, each ok, a warning or a failure, and how to fix it.

A check that fails hides no other, except those that need what is not there: without a root there is nothing to compare
with, without a dataset nothing to hold the table to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

from nodes.operate import check_machine as checks
from nodes.operate import check_network as checks_network
from nodes.operate import check_source as checks_source
from nodes.operate.findings import Check, Finding, finding_of, ok
from nodes.settings import NodeSettings
from trust.errors import DataTrustError
from trust.times import now

__all__ = ["doctor", "quick"]

T = TypeVar("T")


def quick(home: Path) -> Iterator[Finding]:
    """What can be seen in this process in a moment: for a container's HEALTHCHECK."""
    yield finding_of("settings", lambda: ok("settings", f"node.toml of {NodeSettings.at(home).name}"))
    settings = _or_none(lambda: NodeSettings.at(home))
    if settings is None:
        return
    yield from _findings_of({"keys": partial(checks.check_keys, settings)})
    yield from _of_root(settings)
    yield from _findings_of(
        {
            "disk": partial(checks.check_disk, home),
            "core-dumps": checks.check_core_dumps,
            "telemetry": checks.check_telemetry,
            "process": partial(checks.check_lock, settings),
        }
    )


def doctor(home: Path) -> Iterator[Finding]:
    """All of them."""
    yield from _findings_of({"python": checks.check_python, "packages": checks.check_packages})
    yield from quick(home)
    settings = _or_none(lambda: NodeSettings.at(home))
    if settings is None:
        return
    yield from _findings_of({"journal": partial(checks.check_journal, settings, now)})
    yield from _findings_of(
        {
            "dns": partial(checks_network.check_name, settings),
            "coordinator": partial(checks_network.check_tls, settings),
            "interface": partial(checks_network.check_interface, settings),
            "clock": partial(checks_network.check_clock, settings),
            "superlink": partial(checks_network.check_superlink, settings),
        }
    )
    reached = finding_of("source", partial(checks_source.check_reached, settings))
    yield reached
    if reached.state == "ok":
        yield from _findings_of(
            {
                "encryption": partial(checks_source.check_encryption, settings),
                "read-only": partial(checks_source.check_reading, settings),
                "dataset": partial(checks_source.check_dataset, settings),
                "persons": partial(checks_source.check_persons, settings),
                "opt-outs": partial(checks_source.check_optouts, settings),
            }
        )


def _of_root(settings: NodeSettings) -> Iterator[Finding]:
    def read() -> Finding:
        return checks.check_root(settings.root(), now())

    yield finding_of("root", read)
    root = _or_none(settings.root)
    if root is not None:
        yield from _findings_of(
            {
                "root-keys": partial(checks.check_root_keys, settings, root),
                "charter": partial(checks.check_charter, settings, root),
                "history": partial(checks.check_restored, settings, root),
            }
        )


def _findings_of(checks_by_name: dict[str, Check]) -> Iterator[Finding]:
    for name, check in checks_by_name.items():
        yield finding_of(name, check)


def _or_none(read: Callable[[], T]) -> T | None:
    try:
        return read()
    except DataTrustError:
        return None
