"""The keys of every role of a trust in one process, and what is signed with them.

Only a trust in one process may hold them all: deployed, each actor keeps its own.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from trust.charters.charter import Charter
from trust.documents.mandate import Mandate
from trust.documents.root import Partner, Researcher, Role, Root, TrustRoot
from trust.documents.study import Study
from trust.errors import InvalidInput
from trust.files import write_new, writing
from trust.signing.envelope import Envelope, Signer, distinct, sign
from trust.signing.key_files import read_passphrase, read_seal, read_signer, write_key
from trust.times import write_time

__all__ = ["RESEARCHER", "PartnerKeys", "RoleKeys"]

RESEARCHER = "local"
_ROLES = ("coordinator", "auditor", "researcher")
_PASSPHRASE = "passphrase"  # noqa: S105 - a file's name


@dataclass(frozen=True)
class PartnerKeys:
    """A partner's private keys."""

    sign: Signer = field(default_factory=Signer)
    seal: X25519PrivateKey = field(default_factory=X25519PrivateKey.generate, repr=False)

    @property
    def public(self) -> Partner:
        """Their public halves, for the trust root."""
        return Partner(sign=self.sign.public.hex(), seal=self.seal.public_key().public_bytes_raw().hex())


@dataclass
class RoleKeys:
    """Members (the first are those of the charter's roles), a coordinator, an auditor, a researcher, the partners.

    Attributes:
        envelope: the founding root, signed by a quorum of the members.
        root: the same, verified.
    """

    members: list[Signer]
    coordinator: Signer
    auditor: Signer
    researcher: Signer
    partners: dict[str, PartnerKeys]
    quorum: int
    envelope: Envelope

    def __post_init__(self) -> None:
        self.root = TrustRoot.founding(self.envelope)

    @classmethod
    def make(cls, partners: Iterable[str], charter: Charter, now: datetime) -> RoleKeys:
        """New keys for everybody, and the root that names them."""
        further = charter.committee.roles
        members = [Signer() for _ in range(max(3, charter.committee.quorum, *further.values()))]
        partner_keys = {name: PartnerKeys() for name in partners}
        coordinator, auditor, researcher = Signer(), Signer(), Signer()
        ids = tuple(distinct(members))
        quorum = charter.committee.quorum
        roles = {
            "root": Role(keys=ids, threshold=quorum),
            "committee": Role(keys=ids, threshold=quorum),
            "coordinator": Role(keys=(coordinator.key_id,), threshold=1),
            "auditor": Role(keys=(auditor.key_id,), threshold=1),
            **{role: Role(keys=ids[:n], threshold=n) for role, n in further.items()},
        }
        expires = write_time(now + timedelta(days=365))
        everyone = distinct([*members, coordinator, auditor, researcher])
        root = Root(
            trust="local",
            version=1,
            issued=write_time(now),
            expires=expires,
            charter=charter.folder_digest,
            keys={name: key.hex() for name, key in everyone.items()},
            roles=roles,
            partners={name: keys.public for name, keys in partner_keys.items()},
            researchers={RESEARCHER: Researcher(key=researcher.key_id, organisation="local", accredited_until=expires)},
        )
        envelope = sign("root", root.document(), *members[:quorum])
        return cls(members, coordinator, auditor, researcher, partner_keys, max(quorum, *further.values(), 1), envelope)

    # ---- kept in the folder of `datatrust.in_process.folder`

    def save(self, folder: Path, passphrase: str | None) -> None:
        """Write each key to its file; members' under a passphrase.

        Without one, a random passphrase is made and kept beside the members' keys, for trying things out alone: a
        real member makes a key of her own with `datatrust key new`.  Raises: InvalidInput.
        """
        committee = folder / "committee"
        secret = secrets.token_urlsafe(24) if passphrase is None else passphrase
        for number, member in enumerate(self.members, 1):  # first, since the passphrase may be too short
            write_key(committee / f"member-{number}.pem", member, secret)
        if passphrase is None:
            _keep(committee / _PASSPHRASE, secret)
        for name in _ROLES:
            write_key(folder / "keys" / f"{name}.pem", getattr(self, name), None)
        for name, keys in self.partners.items():
            write_key(folder / "nodes" / name / "keys" / "sign.pem", keys.sign, None)
            write_key(folder / "nodes" / name / "keys" / "seal.pem", keys.seal, None)

    @classmethod
    def load(
        cls, folder: Path, partners: Iterable[str], envelope: Envelope, quorum: int, passphrase: str | None
    ) -> RoleKeys:
        """Read them back; without the members' passphrase nobody's vote can be cast here, and `members` is empty.

        Raises: InvalidInput.
        """
        passphrase_path = folder / "committee" / _PASSPHRASE
        if passphrase is None and passphrase_path.is_file():
            passphrase = read_passphrase(passphrase_path)
        files = sorted((folder / "committee").glob("member-*.pem"), key=lambda path: (len(path.name), path.name))
        members = [read_signer(path, passphrase) for path in files] if passphrase is not None else []
        partner_keys = {
            name: PartnerKeys(
                read_signer(folder / "nodes" / name / "keys" / "sign.pem", None),
                read_seal(folder / "nodes" / name / "keys" / "seal.pem", None),
            )
            for name in partners
        }
        coordinator, auditor, researcher = (read_signer(folder / "keys" / f"{name}.pem", None) for name in _ROLES)
        return cls(members, coordinator, auditor, researcher, partner_keys, quorum, envelope)

    def serve(self, root: Root, charter: Charter) -> None:
        """From now on those vote who are members of this root, a further role's first, as many as it asks for."""
        further = charter.committee.roles
        first = {key for role in further if role in root.roles for key in root.roles[role].keys}
        today = [member for member in self.members if member.key_id in root.roles["committee"].keys]
        self.members = sorted(today, key=lambda member: member.key_id not in first)
        self.quorum = max(self.quorum, root.roles["committee"].threshold, *further.values())

    # ---- what they sign

    def study(self, study: Study) -> Envelope:
        """Signed by the researcher."""
        return sign("study", study.document(), self.researcher)

    def mandate(self, mandate: Mandate) -> Envelope:
        """Signed by a quorum of the committee."""
        return sign("mandate", mandate.document(), *self._quorum())

    def signed(self, envelope: Envelope) -> Envelope:
        """The same mandate, with the signatures of a quorum of the committee.  Raises: InvalidInput."""
        for member in self._quorum():
            envelope = envelope.with_signature(member)
        return envelope

    def require_votes(self) -> None:
        """Raises: InvalidInput where the members' keys are not open here, or too few of them are."""
        if len(self.members) < self.quorum:
            raise InvalidInput(
                f"{len(self.members)} members' keys are open here, and {self.quorum} must sign",
                expected="their passphrase: dt.local(…, passphrase=…)",
                remedy="or submit the study, and let the members sign: datatrust review sign",
            )

    def _quorum(self) -> list[Signer]:
        self.require_votes()
        return self.members[: self.quorum]


def _keep(path: Path, passphrase: str) -> None:
    with writing(path, "name another folder"):
        write_new(path, f"{passphrase}\n".encode("ascii"), 0o600)
