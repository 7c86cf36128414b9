"""The trust root: who the members, the coordinator, the partners and the researchers are, and with which keys.

Every node pins one; its next version is signed by a quorum of this one.  Format: docs/formats.md, 7.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, model_validator

from trust.canonical import Model, read_document
from trust.errors import MessageInvalid, Refused
from trust.signing.connection_key import is_connection_key
from trust.signing.envelope import Envelope, key_id, verified
from trust.times import Time, read_time

__all__ = ["Partner", "Researcher", "Role", "Root", "TrustRoot"]

Key: TypeAlias = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Name: TypeAlias = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]


_SMALL_ORDER = frozenset(
    bytes.fromhex(text)
    for text in (
        "00" * 32,
        "01" + "00" * 31,
        "ec" + "ff" * 30 + "7f",
        "ed" + "ff" * 30 + "7f",
        "ee" + "ff" * 30 + "7f",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    )
)
"""Ed25519 points of small order, the sign bit cleared: one signature under such a key fits many messages.  RFC 8032."""


class Role(Model):
    """Who may act in a role, and how many of them must."""

    keys: tuple[Key, ...] = Field(min_length=1)
    threshold: int = Field(ge=1)

    @model_validator(mode="after")
    def _reachable(self) -> Role:
        if len(set(self.keys)) != len(self.keys):
            raise ValueError("a key stands twice in a role")
        if self.threshold > len(self.keys):
            raise ValueError("a threshold above the number of keys")
        return self


class Partner(Model):
    """A partner's public keys: Ed25519 to sign, X25519 to be sealed to, P-256 for its connection, each in hex.

    `flower` is written as `trust.connection_key` says; empty where the whole trust is on one machine, and the keys of
    its connections are made for the occasion.
    """

    sign: Key
    seal: Key
    flower: str = Field(default="", max_length=182)

    @model_validator(mode="after")
    def _connection(self) -> Partner:
        if self.flower and not is_connection_key(self.flower):
            raise ValueError("a connection's key that is not a key of P-256: DER of a SubjectPublicKeyInfo, in hex")
        return self


class Researcher(Model):
    """A researcher's key and accreditation."""

    key: Key
    organisation: str
    accredited_until: Time


class Root(Model):
    """The founding document."""

    schema_: Literal["datatrust/root/1"] = Field(default="datatrust/root/1", alias="schema")
    trust: Name
    version: int = Field(ge=1)
    issued: Time
    expires: Time
    charter: str
    keys: dict[Key, Key]
    roles: dict[str, Role]
    partners: dict[Name, Partner]
    researchers: dict[Name, Researcher]

    @model_validator(mode="after")
    def _consistent(self) -> Root:
        for keyid, public in self.keys.items():
            if key_id(bytes.fromhex(public)) != keyid:
                raise ValueError("a key id that is not the SHA-256 of its key")
        for public in (*self.keys.values(), *(partner.sign for partner in self.partners.values())):
            raw = bytes.fromhex(public)
            if raw[:31] + bytes([raw[31] & 0x7F]) in _SMALL_ORDER:
                raise ValueError("a key of small order, under which anybody can sign")
        for name in ("root", "committee", "coordinator", "auditor"):
            if name not in self.roles:
                raise ValueError(f"no role {name!r}")
        for name, role in self.roles.items():
            if not set(role.keys) <= set(self.keys):
                raise ValueError(f"role {name!r} names a key that the root does not have")
        for researcher in self.researchers.values():
            if researcher.key not in self.keys:
                raise ValueError("a researcher's key that the root does not have")
        if read_time(self.issued) >= read_time(self.expires):
            raise ValueError("a root that expires before it is issued")
        members = set(self.roles["committee"].keys)
        if members & {*self.roles["coordinator"].keys, *(r.key for r in self.researchers.values())}:
            raise ValueError("a member of the committee who is the coordinator or a researcher: nobody approves alone")
        identities = [partner.sign for partner in self.partners.values()]
        if len(set(identities)) != len(identities):
            raise ValueError("two partners have the same key")
        connections = [partner.flower for partner in self.partners.values() if partner.flower]
        if len(set(connections)) != len(connections):
            raise ValueError("two partners have the same connection's key")
        return self

    @classmethod
    def read(cls, payload: bytes) -> Root:
        """From canonical bytes, whose signatures are the caller's to verify.  Raises: MessageInvalid."""
        return read_document(cls, payload, MessageInvalid, "the trust root")

    def keys_of(self, role: str) -> dict[str, bytes]:
        """`{key id: raw public key}` of a role."""
        return {keyid: bytes.fromhex(self.keys[keyid]) for keyid in self.roles[role].keys}

    def verify_keys(self) -> Mapping[str, bytes]:
        """`{partner: raw Ed25519 key}`."""
        return {name: bytes.fromhex(partner.sign) for name, partner in self.partners.items()}


class TrustRoot:
    """A root together with the exact bytes that were signed.

    Attributes:
        root: the document.
        digest: SHA-256 of its signed bytes, 32 bytes; protocols bind to it.
    """

    def __init__(self, payload: bytes) -> None:
        self.root = Root.read(payload)
        self.payload = payload
        self.digest = hashlib.sha256(payload).digest()

    @property
    def coordinator_keys(self) -> list[bytes]:
        """Raw public keys, 32 bytes each, any of which signs the coordinator's messages."""
        return list(self.root.keys_of("coordinator").values())

    @classmethod
    def founding(cls, envelope: Envelope) -> TrustRoot:
        """The first root that a node pins: signed by a quorum of its own root role.

        Raises: Refused, MessageInvalid.
        """
        claimed = Root.read(envelope.unverified_payload)
        payload = verified("root", envelope, claimed.keys_of("root"), threshold=claimed.roles["root"].threshold)
        return cls(payload)

    def next(self, envelope: Envelope) -> TrustRoot:
        """The root that follows this one: the next version, signed by a quorum of this root's root role and, so that
        nobody is locked out by a wrong key, by a quorum of its own.

        An old root is refused, no matter who signed it (rollback); one that never changes ends with its expiry
        (freeze). Source: The Update Framework, specification 1.0.33, section 5.3.

        Raises: Refused (`root-version`, `root-trust`, `signature`), MessageInvalid.
        """
        claimed = Root.read(envelope.unverified_payload)
        own_root = self.root
        if claimed.trust != own_root.trust:
            raise Refused("root-trust", "the trust root is another trust's", remedy="use the root of this trust")
        if claimed.version != own_root.version + 1:
            text = f"the trust root that follows version {own_root.version} is version {own_root.version + 1}"
            raise Refused("root-version", text, remedy="accept each version in its order")
        for root in (own_root, claimed):
            payload = verified("root", envelope, root.keys_of("root"), threshold=root.roles["root"].threshold)
        if read_time(claimed.issued) < read_time(own_root.issued):
            raise Refused(
                "root-version", "a trust root is not issued before the one that it follows", remedy="date it again"
            )
        return TrustRoot(payload)

    @classmethod
    def chain(cls, envelopes: Sequence[Envelope], pinned: TrustRoot | None = None) -> TrustRoot:
        """The last root of a chain of signed versions, each verified by the one before it.

        Args:
            envelopes: versions in order, the first a founding root or any version that `pinned` is or precedes.
            pinned: the root that is trusted; without one, the first is taken on its own quorum's word.

        Raises: Refused (`root-version`, `root-pinned`, …), MessageInvalid.
        """
        if not envelopes:
            raise MessageInvalid("a chain without a trust root", expected="the signed root of each version")
        if pinned is None:
            root, rest = cls.founding(envelopes[0]), envelopes[1:]
        else:
            root, rest = pinned, [e for e in envelopes if Root.read(e.unverified_payload).version > pinned.root.version]
            same_version = [e for e in envelopes if Root.read(e.unverified_payload).version == pinned.root.version]
            if any(e.unverified_payload != pinned.payload for e in same_version):
                raise Refused(
                    "root-pinned", "the trust root is not the one that was pinned", remedy="ask who runs the trust"
                )
        for envelope in rest:
            root = root.next(envelope)
        return root

    def require_in_force(self, now: datetime) -> None:
        """Raises: Refused where the root has expired or is not yet issued."""
        if now >= read_time(self.root.expires):
            raise Refused("root-expired", "the trust root has expired", remedy="accept the next version")
        if now < read_time(self.root.issued):
            raise Refused("root-expired", "the trust root is not in force yet", remedy="check the clock")
