"""`datatrust root publish`: hand a signed trust root to the coordinator, from whom everybody else takes it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from datatrust.cli.command import Invited, PassphraseFile
from datatrust.person import pins
from datatrust.person.own_key import KEY, ActingKey
from datatrust.remote.coordinator_client import CoordinatorClient
from datatrust.remote.verified_trust import link_to
from trust.documents.root import Root, TrustRoot
from trust.errors import InvalidInput, MessageInvalid, Refused
from trust.signing.envelope import Envelope, sha256
from trust.signing.json_text import read_envelopes
from trust.times import now

__all__ = ["root_publish"]


def root_publish(
    file: Annotated[Path, typer.Argument(metavar="ROOT.json")],
    url: Annotated[str, typer.Option(metavar="URL", help="The address of the coordinator, https://host:port.")],
    invitation: Invited = None,
    key: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help=f"A member's key, or the coordinator's; else what {KEY} names."),
    ] = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Hand the next version of the trust root to the coordinator, once its quorums have signed it.

    It is verified here first. From then on it is in force: nodes take it within a minute, or with their next message.
    Handed in twice, it counts once.
    """
    envelopes = read_envelopes(pins.read_pin_file(file))
    if len(envelopes) != 1:
        raise InvalidInput(f"{str(file)!r} holds {len(envelopes)} trust roots", expected="one, the next version")
    (envelope_given,) = envelopes
    link, anchor = link_to(url, invitation=invitation, signer=ActingKey(key, passphrase_file).signer)
    try:
        pin = pins.pinned(TrustRoot(anchor.unverified_payload).root.trust) or TrustRoot(anchor.unverified_payload)
        newest = _newest(pin, [*_roots_of(link), envelope_given])
        link.post("/v1/roots", envelope_given.document())
        if envelope_given.unverified_payload not in {envelope.unverified_payload for envelope in _roots_of(link)}:
            text = "the coordinator took the trust root and does not show it"
            raise Refused(
                "root-version", text, remedy="ask who runs the coordinator; nodes take no root that it does not show"
            )
    finally:
        link.close()
    if newest.root.version > pin.root.version:
        pins.pin(newest, replace=True)
    root = Root.read(envelope_given.unverified_payload)
    typer.echo(f"in force: version {root.version} of {root.trust}, {sha256(envelope_given.unverified_payload)}")


def _roots_of(link: CoordinatorClient) -> list[Envelope]:
    roots_shown = link.json("/v1/roots")
    if not isinstance(roots_shown, list):
        raise MessageInvalid("the coordinator shows no trust root", expected="every signed version, in order")
    return [Envelope.read(document) for document in roots_shown]


def _newest(pin: TrustRoot, envelopes: Sequence[Envelope]) -> TrustRoot:
    """What follows from the pinned root, to the last that is given.

    That may be the pinned one, or one before it: a coordinator that was put back from a backup is given those again.
    Raises: Refused (`signature`, `root-version`, `root-trust`, `root-pinned`, `root-expired`).
    """
    newest = pin
    for envelope in envelopes:
        version = Root.read(envelope.unverified_payload).version
        if version > newest.root.version:
            newest = newest.next(envelope)
        elif version == newest.root.version and envelope.unverified_payload != newest.payload:
            text = f"another trust root of version {version} is pinned here, or shown by the coordinator"
            raise Refused("root-pinned", text, remedy="ask the members which one is theirs")
    newest.require_in_force(now())
    return newest
