"""A node from its folder: only what all partners share, and what is its own.

DIR/dataset.yaml, charter/, roots/1.json     shared, public; the first root is the one that this node pins
DIR/nodes/NAME/keys/                         sign.pem, seal.pem
DIR/nodes/NAME/source.toml                   where the rows are
DIR/nodes/NAME/policy/                       the partner's own policy, where it has one
DIR/nodes/NAME/connection/                   node.pem, ca.pem: how it reaches the SuperLink; node_id is kept there
DIR/nodes/NAME/…                             the node's state

A node opens nothing else of DIR: no other partner's folder, no key of coordinator or committee.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from nodes.editions import Editions
from nodes.node import Node
from nodes.sources import Source
from nodes.store import SqliteStore
from trust.charter import Charter
from trust.dataset import Dataset
from trust.errors import InvalidInput
from trust.files import read_curve, read_envelope, read_file, read_sealing, read_signing
from trust.partner_policy import PartnerPolicy, floor_of
from trust.root import TrustRoot
from trust.secure_sum.frames import is_name
from trust.signing import Signer
from trust.times import now

__all__ = ["NodeSettings"]


@dataclass(frozen=True)
class NodeSettings:
    """Where one partner's node has its files."""

    folder: Path
    name: str

    def __post_init__(self) -> None:
        """Raises: InvalidInput for a name that could lead elsewhere, and where there is no such folder."""
        if not is_name(self.name) or not self.own.is_dir():
            raise InvalidInput(f"no node {self.name!r} in {str(self.folder)!r}", expected="a folder nodes/NAME in it")

    @property
    def own(self) -> Path:
        """This partner's folder."""
        return self.folder / "nodes" / self.name

    @property
    def connection(self) -> Path:
        """How it reaches the SuperLink."""
        return self.own / "connection"

    def connection_key(self) -> EllipticCurvePrivateKey:
        """The key that Flower knows the node by; it signs nothing that we rely on.  Raises: InvalidInput."""
        return read_curve(self.connection / "node.pem")

    def authority(self) -> bytes:
        """The certificate that the SuperLink's must be signed by.  Raises: InvalidInput."""
        return read_file(self.connection / "ca.pem")

    def node(self) -> Node:
        """The node; its store is open, in the thread that calls this.

        Raises: DataTrustError of whatever in the folder cannot be used.
        """
        dataset, charter = Dataset.load(self.folder / "dataset.yaml"), Charter.load(self.folder / "charter")
        policy = PartnerPolicy.load(self.own / "policy") if (self.own / "policy").is_dir() else None
        if policy is not None:
            policy.fits(charter)
        return Node(
            self.name,
            dataset,
            Source.load(self.own / "source.toml").checked(dataset),
            charter,
            self._pinned(),
            Signer(read_signing(self.own / "keys" / "sign.pem")),
            read_sealing(self.own / "keys" / "seal.pem"),
            SqliteStore(self.own),
            Editions(self.own / "editions", dataset, persons=floor_of(charter, policy).persons),
            now,
            policy,
            self.own / "revocations",
        )

    def _pinned(self) -> TrustRoot:
        """The founding root; newer ones come with messages, prove themselves, and are kept in the store."""
        return TrustRoot.founding(read_envelope(self.folder / "roots" / "1.json"))
