"""The keys of every role of a trust in one process, and what is signed with them.

Only a trust in one process may hold them all: deployed, each actor keeps its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from trust.charter import Charter
from trust.mandate import Mandate
from trust.root import Partner, Researcher, Role, Root, TrustRoot
from trust.signing import Envelope, Signer, distinct, sign
from trust.study import Study
from trust.times import write_time

__all__ = ["Keys", "PartnerKeys"]

RESEARCHER = "local"


@dataclass(frozen=True)
class PartnerKeys:
    """A partner's private keys."""

    sign: Signer = field(default_factory=Signer)
    seal: X25519PrivateKey = field(default_factory=X25519PrivateKey.generate, repr=False)

    @property
    def public(self) -> Partner:
        """Their public halves, for the trust root."""
        return Partner(sign=self.sign.public.hex(), seal=self.seal.public_key().public_bytes_raw().hex())


class Keys:
    """Members (the first are those of the charter's roles), a coordinator, an auditor, a researcher, the partners."""

    def __init__(self, partners: Iterable[str], charter: Charter, now: datetime) -> None:
        self.members = [Signer() for _ in range(max(3, charter.committee.quorum))]
        self.coordinator, self.auditor, self.researcher = Signer(), Signer(), Signer()
        self.partners = {name: PartnerKeys() for name in partners}
        everyone = [*self.members, self.coordinator, self.auditor, self.researcher]
        members = tuple(distinct(self.members))
        quorum = charter.committee.quorum
        roles = {
            "root": Role(keys=members, threshold=quorum),
            "committee": Role(keys=members, threshold=quorum),
            "coordinator": Role(keys=(self.coordinator.key_id,), threshold=1),
            "auditor": Role(keys=(self.auditor.key_id,), threshold=1),
            **{role: Role(keys=members[:n], threshold=n) for role, n in charter.committee.roles.items()},
        }
        expires = write_time(now + timedelta(days=365))
        root = Root(
            trust="local",
            version=1,
            issued=write_time(now),
            expires=expires,
            charter=charter.folder_digest,
            keys={name: key.hex() for name, key in distinct(everyone).items()},
            roles=roles,
            partners={name: keys.public for name, keys in self.partners.items()},
            researchers={
                RESEARCHER: Researcher(key=self.researcher.key_id, organisation="local", accredited_until=expires)
            },
        )
        self.quorum = quorum
        self.root = TrustRoot.founding(sign("root", root.document(), *self.members[:quorum]))

    def study(self, study: Study) -> Envelope:
        """Signed by the researcher."""
        return sign("study", study.document(), self.researcher)

    def mandate(self, mandate: Mandate) -> Envelope:
        """Signed by a quorum of the committee."""
        return sign("mandate", mandate.document(), *self.members[: self.quorum])
