"""Meeting a coordinator: which trust is behind an address, as far as a pinned root vouches for it.

1 invitation   of that address, given now or kept before; the first time it must be named by the caller, and its root
               is pinned then, with its fingerprint shown
2 TLS          with the invitation's authority
3 roots        those that the coordinator shows follow from the pinned one, none is missing, none older comes back
4 charter      is the one whose digest the root in force names
5 dataset      is the one that the coordinator names; studies and mandates are held to its digest

The first step that fails ends it.  A newer root that follows from the pinned one is pinned in its place, so that the
older one cannot come back.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from datatrust.person import pins
from datatrust.remote.coordinator_client import CoordinatorClient, base_url
from trust.charters.charter import Charter
from trust.charters.partner_policy import PartnerPolicy
from trust.dataset.dataset import Dataset
from trust.documents.filed_study import TrustDocuments
from trust.documents.invitation import Invitation
from trust.documents.root import TrustRoot
from trust.documents.verification import check_roots
from trust.errors import InvalidInput, MessageInvalid, Refused
from trust.files import writing
from trust.signing.envelope import Envelope, Signer, sha256
from trust.times import now
from trust.words.safe import escaped

__all__ = ["VerifiedTrust", "link_to", "meet"]

_ASK = "ask who runs the trust"
_FILE = re.compile(r"(?:charter|purposes|partner)\.toml|[A-Za-z0-9][A-Za-z0-9._-]{0,100}\.cedar")
_MOST_FILES = 200


@dataclass(frozen=True)
class VerifiedTrust:
    """A trust behind an address.

    Attributes:
        trust: dataset, charter, and the signed versions of the root from the anchor on.
        anchor: the root that was pinned when the invitation was accepted.
        versions: from the anchor to the one in force, each verified by the one before it.
        policies: partner -> its own policy, where it publishes one.
        roots: every version, from the first; those before the anchor are on the coordinator's word.
    """

    link: CoordinatorClient
    trust: TrustDocuments
    anchor: TrustRoot
    versions: Mapping[int, TrustRoot]
    policies: Mapping[str, PartnerPolicy | None]
    roots: tuple[Envelope, ...]
    home: Path | None

    def again(self) -> VerifiedTrust:
        """The same with what is new: a later root, another charter.  Raises: as `meet`."""
        return _learn(self.link, self.trust.roots[0], self.home)


def meet(
    url: str,
    *,
    invitation: str | Path | None = None,
    home: str | Path | None = None,
    signer: Signer | None = None,
) -> VerifiedTrust:
    """Connect to a coordinator, and verify what it says of itself.

    Args:
        invitation: the file, needed the first time.
        home: the person's folder; otherwise DATATRUST_HOME, or what `datatrust.person.pins.folder` says.
        signer: signs every request.

    Raises: InvalidInput; Refused (`root-trust`, `root-version`, `root-pinned`, `root-expired`, `signature`, `charter`,
    `dataset`); Unreachable, Fault.
    """
    link, anchor = link_to(url, invitation=invitation, home=home, signer=signer)
    try:
        return _learn(link, anchor, Path(home) if home is not None else None)
    except BaseException:
        link.close()
        raise


def link_to(
    url: str,
    *,
    invitation: str | Path | None = None,
    home: str | Path | None = None,
    signer: Signer | None = None,
) -> tuple[CoordinatorClient, Envelope]:
    """The first two steps alone, for who does not ask but hands something in; the link, and the anchor.

    Raises: InvalidInput; Refused (`root-trust`, `root-pinned`, `signature`).
    """
    url, place = base_url(url), Path(home) if home is not None else None
    invitation_used = _use_invitation(url, Path(invitation) if invitation is not None else None, place)
    return CoordinatorClient(url, invitation_used.authority, signer), invitation_used.roots[-1]


# ---- 1 the invitation


def _use_invitation(url: str, invitation_path: Path | None, home: Path | None) -> Invitation:
    """The invitation to go by; of one that is named now, address and authority are taken, and its root the first time.

    Its last root is the anchor: the first one that this person has pinned, or a later one that follows from it.
    """
    file = pins.folder(home) / "invitations" / f"{re.sub(r'[^A-Za-z0-9.-]', '_', urlsplit(url).netloc)}.json"
    invitation_kept = _read(file) if file.exists() else None
    if invitation_path is None:
        if invitation_kept is None:
            raise InvalidInput(
                f"no invitation to {url} is known here",
                expected="the first time, the file that the coordinator's operator handed out: invitation.json",
                remedy="in Python connect(url, invitation=…), at the command line --invitation FILE",
            )
        _pinned(invitation_kept, home)
        return invitation_kept
    invitation_given = _read(invitation_path)
    if base_url(invitation_given.url) != url:
        raise InvalidInput(
            f"an invitation to {invitation_given.url}", expected=f"one to {url}", remedy="name the address in it"
        )
    if invitation_kept is not None and invitation_kept.trust != invitation_given.trust:
        text = f"{url} is known as the trust {invitation_kept.trust!r}; the invitation is of {invitation_given.trust!r}"
        raise Refused("root-trust", text, remedy=f"{_ASK}; if the other one has ended, delete {file}")
    root, pin = invitation_given.root(), pins.pinned(invitation_given.trust, home=home)
    if pin is None:
        pins.pin(root, home=home)
        root_words = f"version {root.root.version}, fingerprint {sha256(root.payload)}"
        print(
            f"pinned: the trust root of {invitation_given.trust}, {root_words}; compare it with its members'",
            file=sys.stderr,
        )
    elif root.root.version >= pin.root.version:
        check_roots(invitation_given.roots, pin)
        pins.pin(root, replace=True, home=home)
    elif invitation_kept is None:
        raise InvalidInput(
            f"the invitation's trust root is version {root.root.version}; version {pin.root.version} is pinned",
            expected="an invitation of today",
            remedy="ask the coordinator's operator for it",
        )
    invitation_used = (
        invitation_given
        if invitation_kept is None
        else invitation_given.model_copy(update={"roots": invitation_kept.roots})
    )
    with writing(file, "make its folder writable"):
        pins.keep(file, invitation_used.file())
    return invitation_used


def _read(file: Path) -> Invitation:
    try:
        return Invitation.read(pins.read_pin_file(file))
    except MessageInvalid as wrong:
        raise InvalidInput(f"{file}: {wrong.text}", expected="an invitation", remedy="ask for it again") from None


def _pinned(invitation_kept: Invitation, home: Path | None) -> TrustRoot:
    pin = pins.pinned(invitation_kept.trust, home=home)
    if pin is None:
        raise InvalidInput(
            f"no trust root of {invitation_kept.trust!r} is pinned any more",
            expected="the invitation, named again: its fingerprint is shown, and its root is pinned",
            remedy="in Python connect(url, invitation=…), at the command line --invitation FILE",
        )
    return pin


# ---- 3 to 5 what the coordinator says of itself


def _learn(link: CoordinatorClient, first: Envelope, home: Path | None) -> VerifiedTrust:
    anchor = TrustRoot(first.unverified_payload)
    documents = link.json("/v1/roots")
    if not isinstance(documents, list) or not 0 < len(documents) <= 1000:
        raise MessageInvalid("the coordinator shows no trust root", expected="every signed version, in order")
    envelopes = [Envelope.read(document) for document in documents]
    pin = pins.pinned(anchor.root.trust, home=home) or anchor
    latest = check_roots(envelopes, pin)
    versions, roots = {anchor.root.version: anchor}, [first]
    for envelope in envelopes:
        newest = versions[max(versions)]
        if TrustRoot(envelope.unverified_payload).root.version > newest.root.version:
            versions[newest.root.version + 1] = newest.next(envelope)
            roots.append(envelope)
    if versions[max(versions)].payload != latest.payload:
        raise Refused("root-pinned", "the trust root does not follow from the one of the invitation", remedy=_ASK)
    latest.require_in_force(now())
    if latest.root.version > pin.root.version:
        pins.pin(latest, replace=True, home=home)
    charter = _charter(link.json("/v1/charter"), latest)
    dataset, policies = _dataset(link, latest, charter)
    trust = TrustDocuments(tuple(roots), dataset, charter)
    return VerifiedTrust(link, trust, anchor, versions, policies, tuple(envelopes), home)


def _charter(document: Any, root: TrustRoot) -> Charter:
    with _folder(document.get("files") if isinstance(document, dict) else None, "the charter") as folder:
        charter = Charter.load(folder)
    if charter.folder_digest != root.root.charter:
        text = "the charter that the coordinator shows is not the one that the trust root names"
        raise Refused("charter", text, remedy=_ASK)
    return charter


def _dataset(
    link: CoordinatorClient, root: TrustRoot, charter: Charter
) -> tuple[Dataset, dict[str, PartnerPolicy | None]]:
    about = link.json("/v1/trust")
    try:
        name, version, digest, policies = (
            about["trust"],
            about["version"],
            about["dataset"]["digest"],
            dict(about["policies"]),
        )
    except (TypeError, KeyError, ValueError):
        raise MessageInvalid("what the coordinator says of its trust cannot be read", expected="/v1/trust") from None
    if (name, version) != (root.root.trust, root.root.version):
        dataset_words = escaped(f"{name!s:.80}, version {version!s:.20}")
        text = f"the coordinator says that it is of {dataset_words}; its trust root is of {root.root.trust}"
        raise Refused("root-trust", text, remedy=_ASK)
    dataset = Dataset.parse(link.text("/v1/dataset"))
    if dataset.digest() != digest:
        raise Refused("dataset", "the coordinator shows another dataset than the one that it names", remedy=_ASK)
    return dataset, {name: _policy(policies.get(name), name, charter) for name in sorted(root.root.partners)}


def _policy(document: Any, partner: str, charter: Charter) -> PartnerPolicy | None:
    if document is None:
        return None
    with _folder(document.get("files") if isinstance(document, dict) else None, f"the policy of {partner}") as folder:
        policy = PartnerPolicy.load(folder)
    policy.check_fits(charter)
    return policy


@contextmanager
def _folder(files: Any, subject: str) -> Iterator[Path]:
    """The files in a folder of their own, as long as they are read.  Raises: MessageInvalid."""
    if not isinstance(files, dict) or not 0 < len(files) <= _MOST_FILES:
        raise MessageInvalid(f"the coordinator shows no files of {subject}", expected="names and texts")
    with tempfile.TemporaryDirectory(prefix="datatrust-") as temporary:
        for name, text in files.items():
            if not _FILE.fullmatch(name) or not isinstance(text, str):
                raise MessageInvalid(f"{subject} has a file {escaped(name[:80])!r}", expected="*.toml and *.cedar")
            (Path(temporary) / name).write_bytes(text.encode("utf-8", "surrogatepass"))
        yield Path(temporary)
