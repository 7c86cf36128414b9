"""`datatrust root publish`: hand a signed trust root to the coordinator, from whom everybody else takes it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from datatrust import pins
from datatrust.key_commands import PassphraseFile
from datatrust.meeting import meet
from datatrust.own_key import KEY, Own
from datatrust.places import Invited
from trust.errors import InvalidInput, Refused
from trust.json_text import read_envelopes
from trust.root import Root, TrustRoot
from trust.signing import sha256
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
    envelopes = read_envelopes(pins.read_file(file))
    if len(envelopes) != 1:
        raise InvalidInput(f"{str(file)!r} holds {len(envelopes)} trust roots", expected="one, the next version")
    signer = Own(key, passphrase_file).signer
    met = meet(url, invitation=invitation, signer=signer)
    try:
        before, wanted = met.trust.root, Root.read(envelopes[0].unverified_payload)
        if wanted.version > before.root.version:
            before.next(envelopes[0]).in_force(now())
        met.link.post("/v1/roots", envelopes[0].document())
        known = {TrustRoot(e.unverified_payload).root.version: e for e in met.again().roots}
    finally:
        met.link.close()
    if wanted.version not in known or known[wanted.version].payload != envelopes[0].payload:
        text = "the coordinator took the trust root and does not show it"
        raise Refused("root-version", text, "ask who runs the coordinator; nodes take no root that they do not see")
    typer.echo(f"in force: version {wanted.version} of {wanted.trust}, {sha256(envelopes[0].unverified_payload)}")
