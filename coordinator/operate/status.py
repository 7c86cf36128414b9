"""How a coordinator stands, from its home alone: its interface need not run."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import closing
from datetime import datetime
from typing import Any

from coordinator.operate.home import fingerprint
from coordinator.serve.supervisor import pids
from coordinator.settings import CoordinatorSettings
from trust.times import read_time, write_time
from trust.words.safe import escaped

__all__ = ["in_words", "status"]

_SOON = 30
"""Days before an end from which on it is called soon."""


def status(settings: CoordinatorSettings, now: datetime) -> dict[str, Any]:
    """What `datatrust coordinator status --json` prints.  Raises: InvalidInput, Refused, Fault."""
    with closing(settings.docket()) as docket:
        root = docket.trust.root
        leased = docket.leased()
        size = docket.register.head()[0]
        _, checkpoint = docket.register.consistency(size)
        running = []
        for study in docket.ids("running"):
            told, at = docket.told_at(study)
            one = {"study": study, "told": told, "at": at}
            if study in leased:
                one |= {"by": leased[study][0], "until": write_time(leased[study][1])}
            running.append(one)
        online, at = docket.told_at("")
        return {
            "trust": root.root.trust,
            "version": root.root.version,
            "fingerprint": fingerprint(root),
            "root": {"expires": root.root.expires, "days_left": (read_time(root.root.expires) - now).days},
            "certificate": _certificate(settings, now),
            "states": dict(sorted(Counter(filed.state for filed in docket.studies()).items())),
            "running": running,
            "partners": _partners(sorted(root.root.partners), online),
            "looked": at,
            "register": {"size": size, "checkpoint": checkpoint},
            "database": settings.database,
            "pids": pids(settings),
        }


def _certificate(settings: CoordinatorSettings, now: datetime) -> dict[str, Any]:
    ends = settings.certificate.not_valid_after_utc
    return {"expires": write_time(ends), "days_left": (ends - now).days}


def _partners(names: list[str], said: str) -> dict[str, dict[str, Any]]:
    """Who is connected, as the worker has last seen (`{"partners": {name: {online, since}}}`); else null."""
    try:
        found = json.loads(said or "{}")
    except ValueError:
        found = {}
    seen = found.get("partners") if isinstance(found, dict) else None
    seen = seen if isinstance(seen, dict) else {}
    told: dict[str, dict[str, Any]] = {}
    for name in names:
        one = seen.get(name)
        one = one if isinstance(one, dict) else {}
        told[name] = {"online": one.get("online"), "since": one.get("since", "")}
    return told


def in_words(one: dict[str, Any]) -> str:
    """The same for a screen."""
    running = one["pids"]
    processes = ", ".join(f"{name} {pid}" for name, pid in running.items()) if running else "none: it does not run here"
    states = ", ".join(f"{count} {state}" for state, count in one["states"].items()) or "none yet"
    lines = [
        f"trust        {one['trust']}, version {one['version']} of its root, {one['fingerprint']}",
        f"root         {_days(one['root'], 'sign the next version')}",
        f"certificate  {_days(one['certificate'], 'datatrust coordinator certify')}",
        f"processes    {processes}",
        f"database     {one['database']}",
        f"register     {one['register']['size']} entries",
        f"studies      {states}",
    ]
    for study in one["running"]:
        held = f" (by {escaped(study['by'])}, until {study['until']})" if "by" in study else " (taken by nobody)"
        lines.append(f"  {study['study']}: {escaped(study['told']) or 'begins'}{held}")
    lines.append(
        f"partners     as seen {one['looked']}" if one["looked"] else "partners     the worker has not looked yet"
    )
    for name, partner in one["partners"].items():
        words = {True: "connected", False: "not connected"}.get(partner["online"], "unknown")
        since = f" since {escaped(str(partner['since']))}" if partner["since"] else ""
        lines.append(f"  {name}: {words}{since}")
    return "\n".join(lines) + "\n"


def _days(one: dict[str, Any], mend: str) -> str:
    days = one["days_left"]
    if days < 0:
        return f"EXPIRED {one['expires']}: {mend}"
    return f"{days} days left, until {one['expires']}" + (f": soon; {mend}" if days < _SOON else "")
