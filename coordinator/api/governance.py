"""What the people who run the trust hand in and look at: the next trust root, and how everything stands."""

from __future__ import annotations

from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import get_args

from fastapi import APIRouter, Response

from coordinator.api.access import require_role
from coordinator.api.context import Asking, Body, Lent, Office
from coordinator.api.documents import Online, RegisterHead, Run, StatusDocument
from coordinator.api.public import checkpoint_of
from coordinator.api.studies import ENVELOPE
from coordinator.docket.docket import Docket
from trust.documents.filed_study import write_text
from trust.documents.root import Root
from trust.documents.study_states import State
from trust.files import write_new
from trust.signing.envelope import Envelope

__all__ = ["router"]

router = APIRouter()


@router.post(
    "/v1/roots",
    operation_id="accept_root",
    summary="The next version of the trust root",
    status_code=201,
    responses={200: {"model": Envelope, "description": "It was handed in before"}},
    openapi_extra=ENVELOPE,
)
def accept(office: Office, docket: Lent, asker: Asking, root: Body, response: Response) -> Envelope:
    """Signed by a quorum of the root in force and of its own; as it is kept."""
    require_role(asker, "operator", "member")
    count_before = len(docket.trust.roots)
    roots_now = docket.accept_root(root).roots
    stored_root = next(envelope for envelope in reversed(roots_now) if envelope.payload == root.payload)
    if len(roots_now) == count_before:
        response.status_code = 200
    number = Root.read(stored_root.unverified_payload).version
    _keep(office.settings.folder / "roots" / f"{number}.json", stored_root)
    return stored_root


def _keep(path: Path, envelope: Envelope) -> None:
    """For readers of the folder; the docket has it already."""
    with suppress(OSError):
        write_new(path, write_text(envelope).encode("ascii") + b"\n", 0o644)


@router.get("/v1/status", operation_id="status", summary="How everything stands")
def status(docket: Lent, asker: Asking) -> StatusDocument:
    """Counts of studies, those that run, partners' connections, the register."""
    require_role(asker, "operator", "member", "partner")
    studies_running = []
    for study in docket.ids("running"):
        report, reported_at = docket.notes.read(study)
        studies_running.append(Run(study=study, told=report, at=reported_at))
    size = docket.register.head()[0]
    return StatusDocument(
        states={state: len(docket.ids(state)) for state in get_args(State)},
        running=studies_running,
        partners=_partners(docket),
        version=_version(),
        register=RegisterHead(size=size, checkpoint=checkpoint_of(docket)),
    )


def _partners(docket: Docket) -> dict[str, Online]:
    """What the worker has told of connections."""
    told, partners = docket.notes.connections(), {}
    for name in sorted(docket.trust.root.root.partners):
        online = told.get(name, {}).get("online")
        since = str(told[name].get("since", "")) if isinstance(online, bool) else ""
        partners[name] = Online(online=online if isinstance(online, bool) else "unknown", since=since)
    return partners


def _version() -> str:
    try:
        return version("datatrust-federation")
    except PackageNotFoundError:
        return "unknown"
