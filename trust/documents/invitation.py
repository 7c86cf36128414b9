"""An invitation: what the coordinator's operator hands to everybody who is to reach the trust.  It holds no secret.

It is believed only when its root's fingerprint was compared with what its members say, or when that root was pinned
before: an address and an authority of somebody else would lead to somebody else's coordinator, whose answers the pinned
root would refuse.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Literal, TypeAlias

from cryptography import x509
from pydantic import AfterValidator, Field, model_validator

from trust.canonical import Model, read_model
from trust.documents.root import Name, TrustRoot
from trust.errors import InvalidInput, Refused
from trust.signing.envelope import Envelope
from trust.signing.json_text import read_json

__all__ = ["LARGEST_BYTES", "Invitation"]

LARGEST_BYTES = 1 << 22
"""Bytes of an invitation's file."""

_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])"
_PORT = r":[1-9][0-9]{0,4}"


def _url(text: str) -> str:
    if not re.fullmatch(rf"https://{_HOST}(?:{_PORT})?", text):
        raise ValueError("no address of the form https://host:port")
    return text


def _place(text: str) -> str:
    if not re.fullmatch(rf"{_HOST}{_PORT}", text):
        raise ValueError("no address of the form host:port")
    return text


def _certificates(text: str) -> str:
    if text:
        try:
            x509.load_pem_x509_certificates(text.encode("ascii"))
        except ValueError:
            raise ValueError("no certificate in PEM") from None
    return text


Url: TypeAlias = Annotated[str, AfterValidator(_url)]
Place: TypeAlias = Annotated[str, AfterValidator(_place)]
Certificates: TypeAlias = Annotated[str, Field(max_length=1 << 16), AfterValidator(_certificates)]


class Invitation(Model):
    """Where a trust is, and who it is.

    Attributes:
        url: of the interface, `https://host:port`.
        nodes: of the SuperLink, `host:port`.
        authority: PEM of whom their certificates are from; empty: one of the system's authorities.
        roots: the signed versions of the trust root, from the first.
    """

    schema_: Literal["datatrust/invitation/1"] = Field(default="datatrust/invitation/1", alias="schema")
    trust: Name
    url: Url
    nodes: Place
    authority: Certificates = ""
    roots: tuple[Envelope, ...] = Field(min_length=1, max_length=1000)

    @model_validator(mode="before")
    @classmethod
    def _check_partner_names(cls, value: object) -> object:
        if isinstance(value, dict) and "roots" in value and not isinstance(value["roots"], list | tuple):
            raise ValueError("the roots are a list of signed documents")
        return value

    @classmethod
    def read(cls, raw: bytes) -> Invitation:
        """From a file's bytes; what it says is not verified, see `root`.  Raises: InvalidInput."""
        value = read_json(raw, largest=LARGEST_BYTES)
        if not isinstance(value, dict) or value.get("schema") != "datatrust/invitation/1":
            raise InvalidInput(
                "a file that is not an invitation",
                expected="invitation.json, as the coordinator's operator hands it out",
                remedy="ask for it again",
            )
        return read_model(cls, value, InvalidInput, "the invitation")

    def root(self) -> TrustRoot:
        """The root in force, when each version follows from the one before it.  The first is taken on its own word.

        Raises: Refused (`root-trust`, `root-version`, `signature`), MessageInvalid.
        """
        root = TrustRoot.chain(self.roots)
        if root.root.trust != self.trust:
            raise Refused(
                "root-trust", "the invitation's trust root is another trust's", remedy="ask who runs the trust"
            )
        return root

    def file(self) -> bytes:
        """The file's bytes, for `read`."""
        return json.dumps(self.document(), indent=2, sort_keys=True).encode("ascii") + b"\n"
