"""Studies and what is signed about them.  What is handed in twice is answered as it was the first time."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

from fastapi import APIRouter, Path, Query, Response

from coordinator.api.access import EVERYBODY, Requester, require_role
from coordinator.api.context import Asking, Body, Lent, Now, Office, Raw
from coordinator.api.documents import FiledDocument, StudiesDocument
from coordinator.api.problems import Http, respond
from coordinator.api.public import Number
from coordinator.docket.docket import Docket
from trust.documents.filed_study import FiledStudy
from trust.documents.study_states import no_such_move
from trust.documents.votes import read_refusal, read_revocation
from trust.errors import InvalidInput, Refused, StudyInvalid
from trust.files import read_file
from trust.signing.envelope import Envelope, signers_of

__all__ = ["ENVELOPE", "router"]

router = APIRouter()

Name: TypeAlias = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$", description="Its id or its number")]
ENVELOPE: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Envelope"}}},
    }
}
_FILED: dict[str, Any] = {"response_model": FiledDocument, "response_model_exclude_none": True}
_MOST_STUDIES, _MOST_BYTES = 1000, 4 << 20
_MOST_WAITING = 50
"""Studies of one researcher that wait for the committee: more than members will read."""
_RESULT: dict[int | str, dict[str, Any]] = {200: {"content": {"application/json": {"schema": {"type": "object"}}}}}
_LINKS = {
    name: {"operationId": name, "parameters": {"study": "$response.body#/id"}}
    for name in ("study", "result", "cancel_study", "sign_mandate")
}
_NEW: dict[int | str, dict[str, Any]] = {
    200: {"model": FiledDocument, "description": "It was handed in before", "links": _LINKS},
    201: {"links": _LINKS},
}
_PAGE: dict[int | str, dict[str, Any]] = {
    200: {"links": {"next": {"operationId": "studies", "parameters": {"after": "$response.body#/next"}}}}
}


@router.post(
    "/v1/studies",
    operation_id="file_study",
    summary="File a study",
    status_code=201,
    **_FILED,
    responses=_NEW,
    openapi_extra=ENVELOPE,
)
def file(office: Office, docket: Lent, asker: Asking, now: Now, study: Body, response: Response) -> Any:
    """Signed by the researcher who asks.  A refusal by the charter is recorded, and says what would pass."""
    require_role(asker, "researcher")
    study_document, study = docket.trust.signed(study)
    if study_document.researcher not in asker.researchers:
        raise _of_another()
    study_before = _find_if_any(docket, study_document.id)
    if study_before is None:
        refusal = office.published.check(study_document, docket.trust, now)
        if refusal is not None:
            _record(docket, study, refusal, study_document.id)
            return respond(refusal, explanation=office.published.explained(study_document, docket.trust, now))
        _require_room(docket, asker)
        try:
            return FiledDocument.of(docket.file(study), docket)
        except StudyInvalid:
            study_before = _find_if_any(docket, study_document.id)  # another request may have been first
            if study_before is None and not docket.used(study_document.id):
                raise
    if study_before is None or study_before.study.payload != study.payload:
        raise Http(
            "conflict", f"another study has the id {study_document.id!r}", remedy="write it again, with a new id"
        )
    response.status_code = 200
    return FiledDocument.of(study_before, docket)


def _require_room(docket: Docket, asker: Requester) -> None:
    """Raises: Http (`too-many`) where the researcher has as many studies waiting as one may have."""
    waiting = [docket.find(name) for name in docket.ids("filed")]
    if (
        sum(
            study_waiting.written.researcher in asker.researchers
            for study_waiting in waiting
            if study_waiting.lapsed is None
        )
        >= _MOST_WAITING
    ):
        remedy = "wait for the committee, or withdraw one"
        raise Http(
            "too-many", f"you have {_MOST_WAITING} studies waiting for the committee", remedy=remedy, retry_after=3600
        )


def _record(docket: Docket, study: Envelope, refusal: Refused, name: str) -> None:
    """Once: the same study is refused again without another entry."""
    try:
        docket.turned_away(study, refusal)
    except StudyInvalid:
        if not docket.used(name):
            raise


@router.get(
    "/v1/studies",
    operation_id="studies",
    summary="The studies on the docket",
    response_model=StudiesDocument,
    response_model_exclude_none=True,
    responses=_PAGE,
)
def studies(
    docket: Lent, asker: Asking, after: Number = 0, limit: Annotated[int, Query(ge=1, le=_MOST_STUDIES)] = 100
) -> Any:
    """A researcher's own; all for everybody else who has a role; in the order in which they were filed.

    As many as were asked for, or about 4 MiB of them.  Where there are more, the answer has `next`: ask again with that
    as `after`.  A study that is filed meanwhile comes last.
    """
    require_role(asker, *EVERYBODY)
    documents: list[FiledDocument] = []
    bytes_left, last = _MOST_BYTES, after
    for place, filed_study in docket.after(after, None if asker.sees_all else asker.researchers):
        if len(documents) == limit or bytes_left <= 0:
            return StudiesDocument(studies=documents, next=last)
        documents.append(FiledDocument.of(filed_study, docket))
        bytes_left -= len(documents[-1].model_dump_json())
        last = place
    return StudiesDocument(studies=documents)


@router.get(
    "/v1/studies/{study}",
    operation_id="study",
    summary="One study",
    **_FILED,
)
def one(docket: Lent, asker: Asking, study: Name) -> Any:
    """By its id or its number."""
    require_role(asker, *EVERYBODY)
    return FiledDocument.of(_find_visible(docket, asker, study), docket)


@router.get(
    "/v1/studies/{study}/result",
    operation_id="result",
    summary="The signed file of a released study",
    response_class=Response,
    responses=_RESULT,
)
def result(office: Office, docket: Lent, asker: Asking, study: Name) -> Response:
    """Its bytes, as they were signed."""
    require_role(asker, *EVERYBODY)
    filed_study = _find_visible(docket, asker, study)
    if filed_study.state != "released":
        raise no_such_move(filed_study.id, filed_study.state, "; only a released study has a result")
    file = office.settings.result(filed_study.id)
    if not file.exists():  # the register has it a moment earlier
        raise Http("conflict", "the result is being written", remedy="ask again in a moment")
    return Response(read_file(file), media_type="application/json")


@router.post(
    "/v1/studies/{study}/cancel",
    operation_id="cancel_study",
    summary="Withdraw a study",
    **_FILED,
)
def cancel(docket: Lent, asker: Asking, study: Name, raw: Raw) -> Any:
    """By the researcher whose it is, or by the operator; before it is released."""
    require_role(asker, "researcher", "operator")
    if raw:
        raise Http("request", "a body where none is expected")
    filed_study = _find(docket, study)
    by_researcher = filed_study.written.researcher in asker.researchers
    if not by_researcher and "operator" not in asker.roles:
        raise _of_another()
    if filed_study.state != "cancelled":
        filed_study = docket.cancel(filed_study.id, "researcher" if by_researcher else "operator")
    return FiledDocument.of(filed_study, docket)


@router.post(
    "/v1/studies/{study}/signatures",
    operation_id="sign_mandate",
    summary="A member's signature on a mandate",
    **_FILED,
    openapi_extra=ENVELOPE,
)
def sign(docket: Lent, asker: Asking, study: Name, mandate: Body) -> Any:
    """The mandate's envelope, with the signature of the member who asks."""
    require_role(asker, "member")
    filed_study = _find(docket, study)
    signers = signers_of("mandate", mandate, docket.trust.root.root.keys_of("committee"))
    if asker.keyid not in signers:
        raise Refused(
            "signature", "the mandate is not signed by the member who asks", remedy="sign it, and hand it in again"
        )
    same_payload = mandate.payload == filed_study.mandate.payload
    if not (same_payload and signers <= filed_study.signers):
        filed_study = docket.sign(filed_study.id, mandate)
    return FiledDocument.of(filed_study, docket)


@router.post(
    "/v1/votes",
    operation_id="vote_against",
    summary="A member's vote against a mandate",
    **_FILED,
    openapi_extra=ENVELOPE,
)
def vote(docket: Lent, asker: Asking, against: Body) -> Any:
    """Signed by the member who asks."""
    require_role(asker, "member")
    vote_given = read_refusal(against, docket.trust.root.root)
    _require_own_key(asker, vote_given.member)
    if against.payload in {envelope.payload for envelope in docket.votes(vote_given.mandate)}:
        return FiledDocument.of(docket.of_mandate(vote_given.mandate), docket)
    return FiledDocument.of(docket.refuse(against), docket)


@router.post(
    "/v1/revocations",
    operation_id="revoke_mandate",
    summary="A member's revocation of a mandate",
    **_FILED,
    openapi_extra=ENVELOPE,
)
def revoke(docket: Lent, asker: Asking, revocation: Body) -> Any:
    """Signed by the member who asks."""
    require_role(asker, "member")
    parsed_revocation = read_revocation(revocation, docket.trust.root.root)
    _require_own_key(asker, parsed_revocation.member)
    if revocation.payload in {envelope.payload for envelope in docket.revocations(parsed_revocation.mandate)}:
        return FiledDocument.of(docket.of_mandate(parsed_revocation.mandate), docket)
    return FiledDocument.of(docket.revoke(revocation), docket)


# ---- which study


def _find_if_any(docket: Docket, study: str) -> FiledStudy | None:
    try:
        return docket.find(study)
    except InvalidInput:
        return None


def _find(docket: Docket, study: str) -> FiledStudy:
    """Raises: Http (`not-found`), which names no other study."""
    filed_study = _find_if_any(docket, study)
    if filed_study is None:
        raise Http("not-found", "no such study is on the docket", expected="a study's id or number")
    return filed_study


def _find_visible(docket: Docket, asker: Requester, study: str) -> FiledStudy:
    """Raises: Refused (`request-role`) for a researcher whose study it is not."""
    filed_study = _find(docket, study)
    if not _may_see(asker, filed_study):
        raise _of_another()
    return filed_study


def _may_see(asker: Requester, study: FiledStudy) -> bool:
    return asker.sees_all or study.written.researcher in asker.researchers


def _require_own_key(asker: Requester, member: str) -> None:
    if member != asker.keyid:
        raise Refused("request-role", "the document is another member's", remedy="hand in your own")


def _of_another() -> Refused:
    return Refused("request-role", "the study is another researcher's", remedy="ask for your own")
