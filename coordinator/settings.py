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
from functools import cached_property
from pathlib import Path

from coordinator.docket import Docket, Trust
from coordinator.flower import Secrets
from trust.charter import Charter
from trust.dataset import Dataset
from trust.errors import Fault
from trust.files import read_file, read_roots, read_secret, read_signing, write_new
from trust.signing import Signer
from trust.times import now

__all__ = ["CoordinatorSettings"]


@dataclass(frozen=True)
class CoordinatorSettings:
    """Where the coordinator has its files.  Raises, in whatever is read: InvalidInput."""

    folder: Path

    @cached_property
    def trust(self) -> Trust:
        """Every signed version of the root, the dataset, the charter."""
        dataset, charter = Dataset.load(self.folder / "dataset.yaml"), Charter.load(self.folder / "charter")
        return Trust(read_roots(self.folder / "roots"), dataset, charter)

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
            read_file(self.engine / "ca.pem"),
            read_secret(self.engine / "control"),
            read_secret(self.engine / "executor"),
        )

    def nodes(self) -> dict[str, bytes]:
        """Partner of the root -> the public key of its node's connection."""
        return {name: read_file(self.engine / "nodes" / f"{name}.pem") for name in self.trust.root.root.partners}

    def docket(self) -> Docket:
        """The docket and the register; one object a thread."""
        return Docket(self.folder / "coordinator", self.trust, self.identity, now)

    def result(self, study: str) -> Path:
        """The signed file of a released study."""
        return self.folder / "results" / f"{study}.json"

    def keep_result(self, study: str, raw: bytes) -> None:
        """Write that file, whole or not at all.  Raises: Fault."""
        path = self.result(study)
        try:
            write_new(path, raw, 0o600)
        except OSError as wrong:
            raise Fault(
                f"the result cannot be written to {str(path)!r} ({wrong.strerror}); mend disk or rights"
            ) from None
