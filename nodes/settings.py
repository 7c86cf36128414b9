"""A node from its folder.  Two layouts, and in both a node opens only what all partners share and what is its own.

Deployed, one folder N on the partner's machine:

N/node.toml                            name, how the coordinator and its SuperLink are reached (`NodeToml`)
N/dataset.yaml, charter/, roots/       as `enrol` has fetched and verified them; roots/1.json is pinned
N/source.toml, policy/                 where the rows are; the partner's own policy, where it has one
N/keys/                                sign.pem, seal.pem; next/ and old/ while keys are rotated
N/connection/                          node.pem, ca.pem: how it reaches the SuperLink; node_id is kept there
N/…                                    the node's state

On one machine, a trust's folder DIR: DIR/nodes/NAME is what is its own, and DIR/dataset.yaml, charter/ and roots/ are
shared.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from pydantic import AfterValidator, StrictBool, TypeAdapter, ValidationError

from nodes.node import Node
from nodes.rows.editions import EditionKeeper
from nodes.rows.source import Source
from nodes.state.restored import abandoned_keys
from nodes.state.store import SqliteStore
from trust.canonical import Model, read_model
from trust.charters.charter import Charter
from trust.charters.partner_policy import PartnerPolicy, floor_of
from trust.dataset.dataset import Dataset
from trust.documents.invitation import Place, Url
from trust.documents.root import Name, TrustRoot
from trust.errors import InvalidInput
from trust.files import parse_toml, read_file
from trust.secure_sum.frames import is_name
from trust.signing.envelope import Envelope, Signer
from trust.signing.read import read_curve, read_envelope, read_roots, read_sealing, read_signing
from trust.times import now

__all__ = ["NodeSettings", "NodeToml"]

_HEALTH = "127.0.0.1:8765"


def _loopback(text: str) -> str:
    """host:port of this machine alone; empty: none."""
    host, _, port = text.rpartition(":")
    host = host.strip("[]")
    try:
        ok = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        ok = False
    if text and not (ok and re.fullmatch(r"[1-9][0-9]{0,4}", port) and int(port) < 65_536):
        raise ValueError(f"no address of this machine alone, such as {_HEALTH}")
    return text


def _proxy(text: str) -> str:
    """`http://host:port`: a password would stand in the clear."""
    if text and not re.fullmatch(r"http://[A-Za-z0-9.-]+:[1-9][0-9]{0,4}", text):
        raise ValueError("no address of the form http://host:port")
    return text


def _reached(form: Any, words: str) -> AfterValidator:
    """An address of this form, or none yet."""
    adapter = TypeAdapter(form)

    def check(text: str) -> str:
        try:
            return str(adapter.validate_python(text)) if text else text
        except ValidationError:
            raise ValueError(f"no address of the form {words}") from None

    return AfterValidator(check)


Loopback: TypeAlias = Annotated[str, AfterValidator(_loopback)]
Proxy: TypeAlias = Annotated[str, AfterValidator(_proxy)]


class NodeToml(Model):
    """node.toml: a node's settings, closed.

    Attributes:
        coordinator: `https://host:port`; empty before `enrol`.
        superlink: `host:port`; empty before `enrol`.
        proxy: `http://host:port` through which both are reached; empty: none.
        health: where this machine alone can ask how the node is; empty: nowhere.
        metrics: whether figures are given there too.
    """

    name: Name
    coordinator: Annotated[str, _reached(Url, "https://host:port")] = ""
    superlink: Annotated[str, _reached(Place, "host:port")] = ""
    proxy: Proxy = ""
    health: Loopback = _HEALTH
    metrics: StrictBool = False

    @classmethod
    def load(cls, path: Path) -> NodeToml:
        """Raises: InvalidInput, naming the first field that is wrong."""
        name = repr(str(path))
        return read_model(cls, parse_toml(read_file(path), name), InvalidInput, name)


@dataclass(frozen=True)
class NodeSettings:
    """Where one partner's node has its files.

    Attributes:
        shared: the folder of dataset, charter and roots.
        toml: what node.toml says; None in a trust's folder on one machine.
    """

    shared: Path
    name: str
    toml: NodeToml | None = None

    def __post_init__(self) -> None:
        """Raises: InvalidInput for a name that could lead elsewhere, and where there is no such folder."""
        if not is_name(self.name) or not self.own.is_dir():
            raise InvalidInput(f"no node {self.name!r} in {str(self.shared)!r}", expected="a folder nodes/NAME in it")

    @classmethod
    def at(cls, home: Path) -> NodeSettings:
        """Of a partner's machine.  Raises: InvalidInput."""
        file = home / "node.toml"
        if not file.is_file():
            raise InvalidInput(
                f"no node in {str(home)!r}", expected="a folder with node.toml", remedy="datatrust node init NAME"
            )
        toml = NodeToml.load(file)
        return cls(home, toml.name, toml)

    @property
    def own(self) -> Path:
        """This partner's folder."""
        return self.shared if self.toml else self.shared / "nodes" / self.name

    @property
    def connection(self) -> Path:
        """How it reaches the SuperLink."""
        return self.own / "connection"

    @property
    def superlink(self) -> str:
        """host:port of the SuperLink.  Raises: InvalidInput before the node is enrolled."""
        if self.toml is None or not self.toml.superlink:
            raise InvalidInput("a node that is not enrolled", remedy="datatrust node enrol invitation.json")
        return self.toml.superlink

    def connection_key(self) -> EllipticCurvePrivateKey:
        """The key that Flower knows the node by; it signs nothing that we rely on.  Raises: InvalidInput."""
        return read_curve(self.connection / "node.pem")

    def authority(self) -> bytes:
        """The certificate that the SuperLink's must be signed by.  Raises: InvalidInput."""
        return read_file(self.connection / "ca.pem")

    # ---- what all share

    def dataset(self) -> Dataset:
        """Raises: InvalidInput."""
        return Dataset.load(self.shared / "dataset.yaml")

    def charter(self) -> Charter:
        """Raises: InvalidInput."""
        return Charter.load(self.shared / "charter")

    def roots(self) -> tuple[Envelope, ...]:
        """The signed versions of the root that were enrolled.  Raises: InvalidInput before any was."""
        roots_read = read_roots(self.shared / "roots")
        if not roots_read:
            raise InvalidInput("a node that is not enrolled", remedy="datatrust node enrol invitation.json")
        return roots_read

    def root(self) -> TrustRoot:
        """The newest version that was enrolled.  Raises: InvalidInput, Refused, MessageInvalid."""
        return TrustRoot.chain(self.roots())

    # ---- what is its own

    def source(self) -> Source:
        """Raises: InvalidInput."""
        return Source.load(self.own / "source.toml")

    def policy(self, charter: Charter) -> PartnerPolicy | None:
        """The partner's own, None where it has none.  Raises: InvalidInput where it does not fit the charter."""
        if not (self.own / "policy").is_dir():
            return None
        policy = PartnerPolicy.load(self.own / "policy")
        policy.check_fits(charter)
        return policy

    def identity(self) -> Signer:
        """The key that signs what leaves.  Raises: InvalidInput."""
        return Signer(read_signing(self.own / "keys" / "sign.pem"))

    def node(self) -> Node:
        """The node; its store is open, in the thread that calls this.

        Raises: DataTrustError of whatever in the folder cannot be used.
        """
        dataset, charter = self.dataset(), self.charter()
        policy = self.policy(charter)
        identity, abandoned = self.identity(), abandoned_keys(self.own)
        return Node(
            name=self.name,
            dataset=dataset,
            source=self.source().checked(dataset),
            charter=charter,
            root=self._pinned(),
            identity=identity,
            seal=read_sealing(self.own / "keys" / "seal.pem"),
            store=SqliteStore(self.own),
            editions=EditionKeeper(self.own / "editions", dataset, persons=floor_of(charter, policy).persons),
            clock=now,
            policy=policy,
            revocations=self.own / "revocations",
            former=tuple(key for key in self._former(self.roots()) if key not in (identity.public, *abandoned)),
            abandoned=abandoned,
        )

    def _former(self, roots: Sequence[Envelope]) -> list[bytes]:
        """The keys that earlier roots named under this partner's name."""
        versions = (TrustRoot(envelope.unverified_payload) for envelope in roots)
        return [v.root.verify_keys()[self.name] for v in versions if self.name in v.root.partners]

    def _pinned(self) -> TrustRoot:
        """The founding root; newer ones prove themselves, and are kept in the store."""
        return TrustRoot.founding(read_envelope(self.shared / "roots" / "1.json"))
