"""A study that ended while no process carried it out, as one that was cancelled while the worker was down.

Its nodes still hold rows and keys, and what was kept of it has exact totals in it: they are told, and it goes.
"""

from __future__ import annotations

from contextlib import suppress

from coordinator.docket.docket import Docket
from coordinator.study.channel import Channel
from coordinator.study.replay import answered
from trust.documents.votes import read_revocation
from trust.errors import MessageInvalid, Refused
from trust.protocol.messages import UP, pack_signed, unpack
from trust.signing.envelope import Envelope, Signer

__all__ = ["tell_the_end"]

_PATIENCE = 60.0
"""Seconds in which nodes are told; one that is away for longer gives the study up by itself."""


def tell_the_end(docket: Docket, identity: Signer, study: str, channel: Channel) -> None:
    """Close a study at every partner that may hold its rows, with the revocations of its mandate.

    Nothing depends on the answers.  What is kept of it is the caller's to forget.  Raises: Fault.
    """
    filed_study, root = docket.find(study), docket.trust.root.root
    refusing = {name for name, raw in answered(docket, study, 0).items() if _is_refusal(raw)}
    revocations: list[Envelope] = []
    for envelope in docket.revocations(filed_study.mandate_digest):
        with suppress(Refused):  # of a former member
            read_revocation(envelope, root)
            revocations.append(envelope)
    header = {"kind": "close", "mandate": filed_study.mandate_digest.removeprefix("sha256:")}
    extra = {"revocations": [envelope.document() for envelope in revocations]} if revocations else {}
    close = pack_signed({**header, **extra}, identity)
    partners_to_tell = [name for name in filed_study.drafted.partners if name in root.partners and name not in refusing]
    channel.exchange(dict.fromkeys(partners_to_tell, close), deadline=_PATIENCE)


def _is_refusal(raw: bytes) -> bool:
    """Whether a partner took no part: it holds nothing."""
    with suppress(MessageInvalid):
        return bool(unpack(raw, UP)[0]["kind"] == "refusal")
    return False
