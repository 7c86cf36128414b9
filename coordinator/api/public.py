"""What anybody may read: the trust, its roots, dataset, charter and register."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from coordinator.api.context import Lent, Office
from coordinator.api.documents import (
    CharterDocument,
    DatasetNamed,
    EntriesDocument,
    Named,
    ProofDocument,
    TrustDocument,
)
from coordinator.api.problems import Http, titles
from trust.files import read_file
from trust.signing.envelope import Envelope

__all__ = ["checkpoint_of", "router"]

router = APIRouter()

_MOST_ENTRIES, _MOST_BYTES = 1000, 4 << 20
Number = Annotated[int, Query(ge=0, lt=2**53)]
_TEXT: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}
_YAML: dict[int | str, dict[str, Any]] = {200: {"content": {"application/yaml": {"schema": {"type": "object"}}}}}


def checkpoint_of(docket: Lent) -> str:
    """The register's checkpoint as it is now; nothing is written."""
    return docket.register.consistency(0)[1]


@router.get("/v1/trust", operation_id="trust", summary="What the trust is, and where", response_model=TrustDocument)
def trust(office: Office, docket: Lent) -> TrustDocument:
    """Names, versions and digests, each of which a client compares with what it has pinned."""
    documents, root = docket.trust, docket.trust.root.root
    charter = documents.charter
    return TrustDocument(
        trust=root.trust,
        version=root.version,
        url=office.settings.url,
        nodes=office.settings.address,
        charter=Named(name=charter.name, version=charter.version, digest=charter.folder_digest),
        dataset=DatasetNamed(id=documents.dataset.id, digest=documents.dataset.digest()),
        policies={name: office.published.document(name) for name in sorted(root.partners)},
        checkpoint=checkpoint_of(docket),
    )


@router.get("/v1/roots", operation_id="roots", summary="Every version of the trust root")
def roots(docket: Lent) -> list[Envelope]:
    """From the first, in their order."""
    return list(docket.trust.roots)


@router.get(
    "/v1/dataset",
    operation_id="dataset",
    summary="The description of the data",
    response_class=Response,
    responses=_YAML,
)
def dataset(office: Office) -> Response:
    """The file dataset.yaml."""
    return Response(read_file(office.settings.folder / "dataset.yaml"), media_type="application/yaml")


@router.get("/v1/charter", operation_id="charter", summary="The charter's files")
def charter(docket: Lent) -> CharterDocument:
    """Those that its digest is over."""
    return CharterDocument(files={name: raw.decode("utf-8") for name, raw in docket.trust.charter.files.items()})


@router.get(
    "/v1/register/checkpoint",
    operation_id="checkpoint",
    summary="The register's signed checkpoint",
    response_class=Response,
    responses=_TEXT,
)
def checkpoint(docket: Lent) -> Response:
    """A signed note: origin, size, root."""
    return Response(checkpoint_of(docket), media_type="text/plain")


@router.get("/v1/register/entries", operation_id="entries", summary="Entries of the register")
def entries(
    docket: Lent, start: Number = 0, limit: Annotated[int, Query(ge=1, le=_MOST_ENTRIES)] = 100
) -> EntriesDocument:
    """As many as were asked for, or about 4 MiB of them: go on after the last until `size`."""
    found_entries: list[dict[str, Any]] = []
    bytes_left = _MOST_BYTES
    size = docket.register.head()[0]
    for index in range(start, min(start + limit, size)):
        entry = docket.register.entry(index)
        found_entries.append(entry.document())
        bytes_left -= len(entry.canonical())
        if bytes_left <= 0:
            break
    return EntriesDocument(entries=found_entries, size=size)


@router.get("/v1/register/inclusion", operation_id="inclusion", summary="The proof that an entry is in the register")
def inclusion(docket: Lent, index: Number) -> ProofDocument:
    """Source: RFC 6962, section 2.1.1."""
    _require_exists(index < docket.register.head()[0], "an entry that the register has")
    proof, note = docket.register.inclusion(index)
    return ProofDocument(proof=[part.hex() for part in proof], checkpoint=note)


@router.get("/v1/register/consistency", operation_id="consistency", summary="The proof that the register only grew")
def consistency(docket: Lent, old: Number) -> ProofDocument:
    """From the size `old` on.  Source: RFC 6962, section 2.1.2."""
    _require_exists(old <= docket.register.head()[0], "a size that the register had")
    proof, note = docket.register.consistency(old)
    return ProofDocument(proof=[part.hex() for part in proof], checkpoint=note)


def _require_exists(exists: bool, expected: str) -> None:
    """Raises: Http (`not-found`)."""
    if not exists:
        raise Http("not-found", "the register has no such place", expected=expected)


@router.get("/errors/{code}", operation_id="error", summary="What a problem's type means")
def error(code: str) -> dict[str, str]:
    """Its title."""
    title = titles().get(code)
    if title is None:
        raise Http("not-found", "no error has this code", expected="the last part of a problem's type")
    return {"code": code, "title": title}
