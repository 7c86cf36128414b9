"""Checks of a node that need no network: its machine, its files, its journal.  One function a check."""

from __future__ import annotations

import importlib.metadata
import os
import resource
import shutil
import stat
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from nodes.keys import NodeKeys, named, next_keys
from nodes.operate.findings import Finding, failure, ok, warning
from nodes.settings import NodeSettings
from nodes.state.lock import holder
from nodes.state.restored import require_caught_up
from nodes.state.store import SqliteStore
from trust.documents.root import TrustRoot
from trust.errors import Refused
from trust.times import read_time

__all__ = [
    "check_charter",
    "check_core_dumps",
    "check_disk",
    "check_journal",
    "check_keys",
    "check_lock",
    "check_packages",
    "check_python",
    "check_restored",
    "check_root",
    "check_root_keys",
    "check_telemetry",
]

DISTRIBUTION = "datatrust-federation"
_RENEW_DAYS = 30
_DISK_FAILURE_BYTES, _DISK_WARNING_BYTES = 100 << 20, 2 << 30
"""Bytes that must be free: below the first nothing is computed."""
_TELEMETRY = ("FLWR_TELEMETRY_ENABLED", "FLWR_DISABLE_UPDATE_CHECK")


def check_python() -> Finding:
    """3.11 to 3.13."""
    version = ".".join(map(str, sys.version_info[:3]))
    if (3, 11) <= sys.version_info[:2] <= (3, 13):
        return ok("python", f"Python {version}")
    return failure("python", f"Python {version}", "use Python 3.11, 3.12 or 3.13")


def check_packages() -> Finding:
    """Every package that this one asks for is there, in a version that it asks for."""
    wrong = []
    for line in importlib.metadata.requires(DISTRIBUTION) or []:
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            continue
        if requirement.marker and not requirement.marker.evaluate({"extra": "node"}):
            continue
        try:
            installed = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"{requirement.name} is missing")
            continue
        if not requirement.specifier.contains(installed, prereleases=True):
            wrong.append(f"{requirement.name} {installed}, asked for {requirement.specifier}")
    version = importlib.metadata.version(DISTRIBUTION)
    if wrong:
        return failure("packages", "; ".join(wrong), f"pip install '{DISTRIBUTION}[node]=={version}'")
    return ok("packages", f"datatrust {version}, and every package that it asks for")


def check_keys(settings: NodeSettings) -> Finding:
    """Three keys, each this user's and closed to all others, as is the folder."""
    NodeKeys.read(settings.own)  # raises for a file that is missing, open to others or of another kind
    for name in ("", "keys", "keys/sign.pem", "keys/seal.pem", "connection", "connection/node.pem", "source.toml"):
        path = settings.own / name
        if not path.exists():
            continue
        status = path.stat()
        if status.st_uid != os.geteuid():
            return failure("keys", f"{path} belongs to another user", f"chown {os.geteuid()} {path}")
        if stat.S_IMODE(status.st_mode) & 0o077:
            return failure("keys", f"{path} is open to others", f"chmod {'700' if path.is_dir() else '600'} {path}")
    waiting = "; keys for the next root wait in keys/next" if next_keys(settings.own) else ""
    return ok("keys", f"sign, seal and connection, closed to all other users{waiting}")


def check_root(root: TrustRoot, now: datetime) -> Finding:
    """The newest version that is pinned here is in force, and for a while."""
    root.require_in_force(now)
    days = (read_time(root.root.expires) - now) // timedelta(days=1)
    text = f"version {root.root.version} of {root.root.trust}, {days} days left"
    if days < _RENEW_DAYS:
        return warning("root", text, "ask the committee for the next version, and enrol it")
    return ok("root", text)


def check_root_keys(settings: NodeSettings, root: TrustRoot) -> Finding:
    """The root names the keys of this home, under its name."""
    wrong = named(root, settings.name, NodeKeys.read(settings.own))
    coming = next_keys(settings.own) if wrong else None
    if not wrong:
        return ok("root-keys", f"the trust root names this node's keys as those of {settings.name}")
    if coming is not None and not named(root, settings.name, coming):
        return warning("root-keys", "the trust root names the next keys", "restart the node: it then takes them")
    return failure("root-keys", "; ".join(wrong), "have the next root signed with this home's partner.json")


def check_charter(settings: NodeSettings, root: TrustRoot) -> Finding:
    """The charter is the root's, and the partner's own policy fits it."""
    charter = settings.charter()
    if charter.folder_digest != root.root.charter:
        return failure("charter", "the charter here is not the trust root's", "enrol again: it is then fetched")
    policy = settings.policy(charter)
    partner_policy = (
        f"and this partner's own policy {policy.name!r} fits it" if policy else "this partner has no policy of its own"
    )
    return ok("charter", f"{charter.name} {charter.version} is the root's; {partner_policy}")


def check_restored(settings: NodeSettings, root: TrustRoot) -> Finding:
    """A home from a backup serves only under keys that a newer root names."""
    try:
        require_caught_up(settings.own, settings.name, root)
    except Refused as refused:
        return failure("history", refused.text, refused.remedy)
    return ok("history", "this home may serve")


def check_journal(settings: NodeSettings, now: Callable[[], datetime]) -> Finding:
    """It is as it was written, ends before now, and something can be appended and reaches the disk."""
    store = SqliteStore(settings.own)  # reads the journal again, every entry
    try:
        store.writable()
        size, latest, studies = store.head()[0], store.latest(), len(store.open_studies())
    finally:
        store.close()
    if latest and read_time(latest) > now() + timedelta(seconds=5):
        return failure("journal", "this machine's clock is behind the journal", "correct the clock")
    return ok("journal", f"{size} entries, as they were written; it can be written; {studies} studies open")


def check_disk(own_folder: Path) -> Finding:
    """Room for uploads, editions and the journal."""
    free = shutil.disk_usage(own_folder).free
    text = f"{free / (1 << 30):.1f} GiB free"
    if free < _DISK_FAILURE_BYTES:
        return failure("disk", text, "free some room: without a journal nothing is computed")
    if free < _DISK_WARNING_BYTES:
        return warning("disk", text, "free some room")
    return ok("disk", text)


def check_core_dumps() -> Finding:
    """A core dump would hold rows and keys.  `node run` switches them off for itself."""
    if resource.getrlimit(resource.RLIMIT_CORE)[0] == 0:
        return ok("core-dumps", "off")
    return warning("core-dumps", "on for this shell; `node run` switches them off for itself", "ulimit -c 0")


def check_telemetry() -> Finding:
    """Flower sends nothing home: off unless the environment says otherwise, which `flower.py` says first."""
    switched_on = [name for name, off in zip(_TELEMETRY, ("0", "1"), strict=True) if os.environ.get(name, off) != off]
    if switched_on:
        return warning(
            "telemetry",
            f"{', '.join(switched_on)} in the environment asks for it; `node run` overrules that",
            "unset it",
        )
    return ok("telemetry", "off")


def check_lock(settings: NodeSettings) -> Finding:
    """Whether a process serves this home."""
    pid = holder(settings.own)
    return ok("process", "no process serves this home now" if pid is None else f"process {pid} serves this home")
