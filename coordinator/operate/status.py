"""The state of a coordinator, read from its home alone: its interface need not run."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from datetime import datetime
from typing import Any

from coordinator.operate.home import root_fingerprint
from coordinator.serve.supervisor import pids
from coordinator.settings import CoordinatorSettings
from trust.times import read_time, write_time
from trust.words.safe import escaped

__all__ = ["read_status", "status_text"]

_RENEW_DAYS = 30
"""Days before an end from which on it is called soon."""


def read_status(settings: CoordinatorSettings, now: datetime) -> dict[str, Any]:
    """What `datatrust coordinator status --json` prints.  Raises: InvalidInput, Refused, Fault."""
    with closing(settings.docket()) as docket:
        root = docket.trust.root
        leased = docket.leases.holders()
        size = docket.register.head()[0]
        _, checkpoint = docket.register.consistency(size)
        studies_running = []
        for study in docket.ids("running"):
            report, reported_at = docket.notes.read(study)
            row = {"study": study, "told": report, "at": reported_at}
            if study in leased:
                row |= {"by": leased[study][0], "until": write_time(leased[study][1])}
            studies_running.append(row)
        connections, reported_at = docket.notes.connections(), docket.notes.read("").written_at
        partners = {name: connections.get(name, {}) for name in sorted(root.root.partners)}
        return {
            "trust": root.root.trust,
            "version": root.root.version,
            "fingerprint": root_fingerprint(root),
            "root": {"expires": root.root.expires, "days_left": (read_time(root.root.expires) - now).days},
            "certificate": _certificate(settings, now),
            "states": dict(sorted(Counter(filed_study.state for filed_study in docket.studies()).items())),
            "running": studies_running,
            "partners": {n: {"online": p.get("online"), "since": p.get("since", "")} for n, p in partners.items()},
            "looked": reported_at,
            "register": {"size": size, "checkpoint": checkpoint},
            "database": settings.database,
            "pids": pids(settings),
        }


def _certificate(settings: CoordinatorSettings, now: datetime) -> dict[str, Any]:
    ends = settings.certificate.not_valid_after_utc
    return {"expires": write_time(ends), "days_left": (ends - now).days}


def status_text(view: dict[str, Any]) -> str:
    """The same for a screen."""
    pids = view["pids"]
    processes = ", ".join(f"{name} {pid}" for name, pid in pids.items()) if pids else "none: it does not run here"
    states = ", ".join(f"{count} {state}" for state, count in view["states"].items()) or "none yet"
    lines = [
        f"trust        {view['trust']}, version {view['version']} of its root, {view['fingerprint']}",
        f"root         {_days(view['root'], 'sign the next version')}",
        f"certificate  {_days(view['certificate'], 'datatrust coordinator certify')}",
        f"processes    {processes}",
        f"database     {view['database']}",
        f"register     {view['register']['size']} entries",
        f"studies      {states}",
    ]
    for study in view["running"]:
        lease_words = f" (by {escaped(study['by'])}, until {study['until']})" if "by" in study else " (taken by nobody)"
        lines.append(f"  {study['study']}: {escaped(study['told']) or 'begins'}{lease_words}")
    lines.append(
        f"partners     as seen {view['looked']}" if view["looked"] else "partners     the worker has not looked yet"
    )
    for name, partner in view["partners"].items():
        words = {True: "connected", False: "not connected"}.get(partner["online"], "unknown")
        since = f" since {escaped(str(partner['since']))}" if partner["since"] else ""
        lines.append(f"  {name}: {words}{since}")
    return "\n".join(lines) + "\n"


def _days(view: dict[str, Any], remedy: str) -> str:
    days = view["days_left"]
    if days < 0:
        return f"EXPIRED {view['expires']}: {remedy}"
    return f"{days} days left, until {view['expires']}" + (f": soon; {remedy}" if days < _RENEW_DAYS else "")
