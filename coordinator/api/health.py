"""Whether the process lives, and whether it can answer."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import datetime, timedelta

from fastapi import APIRouter, Response
from starlette.concurrency import run_in_threadpool

from coordinator.api.context import ApiContext, Now, Office
from coordinator.api.documents import Check
from coordinator.docket.docket import Docket
from trust.times import read_time

__all__ = ["router"]

router = APIRouter()

_LEAST_DISK_BYTES = 256 << 20
_LEAST_DAYS = 1
_AHEAD = timedelta(minutes=5)


@router.get("/livez", operation_id="livez", summary="Whether the process lives")
def livez() -> dict[str, bool]:
    """It does, when it answers."""
    return {"ok": True}


@router.get(
    "/readyz",
    operation_id="readyz",
    summary="Whether the coordinator can answer",
    responses={503: {"model": list[Check], "description": "One of the checks is a no"}},
)
async def readyz(office: Office, now: Now, response: Response) -> list[Check]:
    """Each check for itself; 503 when one of them is a no."""
    checks = [*await _of_docket(office, now), *await run_in_threadpool(_of_machine, office, now)]
    if not all(check.ok for check in checks):
        response.status_code = 503
    return checks


async def _of_docket(office: ApiContext, now: datetime) -> list[Check]:
    try:
        async with office.dockets.lent() as docket:
            return [
                await run_in_threadpool(_tried, "database", lambda: _database(office, docket)),
                await run_in_threadpool(_tried, "trust root", lambda: _root(docket, now)),
                await run_in_threadpool(_tried, "clock", lambda: _clock(docket, now)),
            ]
    except Exception:  # whatever a database's driver raises
        return [Check(check="database", ok=False, text="docket and register cannot be read")]


def _of_machine(office: ApiContext, now: datetime) -> list[Check]:
    return [_tried("disk", lambda: _disk(office)), _tried("certificate", lambda: _certificate(office, now))]


def _tried(name: str, check: Callable[[], tuple[bool, str]]) -> Check:
    try:
        ok, text = check()
    except Exception:  # a check that cannot be made is a no
        ok, text = False, "cannot be read"
    return Check(check=name, ok=ok, text=text)


def _database(office: ApiContext, docket: Docket) -> tuple[bool, str]:
    size, ok = _size(docket), office.writing.works(docket)
    return ok, f"{size} entries in the register" if ok else "docket and register cannot be written"


def _size(docket: Docket) -> int:
    return docket.register.head()[0]


def _root(docket: Docket, now: datetime) -> tuple[bool, str]:
    root = docket.trust.root
    days = (read_time(root.root.expires) - now).days
    ok = read_time(root.root.issued) <= now < read_time(root.root.expires)
    return ok, f"version {root.root.version}, {days} days left" if ok else "not in force"


def _clock(docket: Docket, now: datetime) -> tuple[bool, str]:
    """The register's last entry is not of a time to come."""
    size = _size(docket)
    last = read_time(docket.register.entry(size - 1).at) if size else now
    ok = last <= now + _AHEAD
    return ok, "not before the register's last entry" if ok else "before the register's last entry"


def _disk(office: ApiContext) -> tuple[bool, str]:
    free = shutil.disk_usage(office.settings.folder).free
    return free >= _LEAST_DISK_BYTES, f"{free >> 20} MiB free"


def _certificate(office: ApiContext, now: datetime) -> tuple[bool, str]:
    days = office.settings.days_left(now)
    is_valid_yet = office.settings.certificate.not_valid_before_utc <= now
    return is_valid_yet and days >= _LEAST_DAYS, f"{days} days left" if is_valid_yet else "not valid yet"
