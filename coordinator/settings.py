"""A coordinator from its folder: what is public, and what is its own.

DIR/dataset.yaml, charter/, roots/     shared, public
DIR/keys/coordinator.pem               signs messages, the register and results
DIR/coordinator/                       state.sqlite: docket and register
DIR/coordinator/engine/                ca.pem, the secrets `control` and `executor`, nodes/NAME.pem: the public keys by
                                       which partners' nodes are let in; server.pem and server.key are the SuperLink's
DIR/results/                           the signed file of each released study
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from coordinator.docket import Docket, Trust
from coordinator.flower import Secrets
from trust.canonical import parse
from trust.charter import Charter
from trust.dataset import Dataset
from trust.errors import Fault, InvalidInput, MessageInvalid
from trust.pem import read_secret, read_signing
from trust.signing import Envelope, Signer

__all__ = ["CoordinatorSettings", "now"]


def now() -> datetime:
    """The time, to the second, as documents write it."""
    return datetime.now(UTC).replace(microsecond=0)


@dataclass(frozen=True)
class CoordinatorSettings:
    """Where the coordinator has its files.  Raises, in whatever is read: InvalidInput."""

    folder: Path

    @cached_property
    def trust(self) -> Trust:
        """Every signed version of the root, the dataset, the charter."""
        files = sorted((self.folder / "roots").glob("*.json"), key=lambda path: (len(path.name), path.name))
        charter = Charter.load(self.folder / "charter")
        return Trust(tuple(map(_envelope, files)), Dataset.load(self.folder / "dataset.yaml"), charter)

    @cached_property
    def identity(self) -> Signer:
        """The coordinator's key."""
        return Signer(read_signing(self.folder / "keys" / "coordinator.pem"))

    @property
    def engine(self) -> Path:
        """What belongs to the SuperLink."""
        return self.folder / "coordinator" / "engine"

    def secrets(self) -> Secrets:
        """What the SuperLink knows the coordinator by."""
        return Secrets(
            _bytes(self.engine / "ca.pem"),
            read_secret(self.engine / "control"),
            read_secret(self.engine / "executor"),
        )

    def nodes(self) -> dict[str, bytes]:
        """Partner of the root -> the public key of its node's connection."""
        return {name: _bytes(self.engine / "nodes" / f"{name}.pem") for name in self.trust.root.root.partners}

    def docket(self) -> Docket:
        """The docket and the register; one object a thread."""
        return Docket(self.folder / "coordinator", self.trust, self.identity, now)

    def keep_result(self, study: str, raw: bytes) -> None:
        """Write the signed file of a released study, whole or not at all.  Raises: Fault."""
        path = self.folder / "results" / f"{study}.json"
        try:
            unfinished = path.with_suffix(".new")
            unfinished.touch(0o600)
            unfinished.write_bytes(raw)
            unfinished.replace(path)
        except OSError as wrong:
            raise Fault(
                f"the result cannot be written to {str(path)!r} ({wrong.strerror}); mend disk or rights"
            ) from None


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as wrong:
        raise InvalidInput(f"{str(path)!r} cannot be read ({wrong.strerror})", remedy="put it back") from None


def _envelope(path: Path) -> Envelope:
    try:
        return Envelope.read(parse(_bytes(path).strip()))
    except MessageInvalid as wrong:
        raise InvalidInput(f"{str(path)!r}: {wrong.got}", expected="a signed trust root") from None
