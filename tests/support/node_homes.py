"""Homes of three partners' nodes as `datatrust node init` and `enrol` make them, in a trust founded for the test."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from nodes.keys import PartnerFile
from nodes.operate.enrolment import enrol, given, init
from tests.support.example import DATASET, HOSPITALS
from trust.analyses import Describe
from trust.charters.charter import Charter
from trust.dataset.dataset import Dataset
from trust.documents.invitation import Invitation
from trust.documents.root import Partner, Researcher, Role, Root, TrustRoot
from trust.documents.study import Study
from trust.privacy.protections import Protections
from trust.signing.connection_key import connection_hex
from trust.signing.envelope import Envelope, Signer, distinct, sign
from trust.times import write_time

PARTNERS = tuple(HOSPITALS)
CHARTER = Charter.load("research")


@dataclass
class Founders:
    """Who may sign the root, and the versions that they have signed."""

    partners: dict[str, Partner]
    members: list[Signer] = field(default_factory=lambda: [Signer(), Signer(), Signer()])
    coordinator: Signer = field(default_factory=Signer)
    auditor: Signer = field(default_factory=Signer)
    researcher: Signer = field(default_factory=Signer)
    roots: list[Envelope] = field(default_factory=list)

    def found(self, *, days: float = 300, issued: datetime | None = None, **changes: Any) -> TrustRoot:
        """The next version, signed by all members."""
        at = issued or datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=5)
        ids = tuple(distinct(self.members))
        roles = {name: Role(keys=ids, threshold=2) for name in ("root", "committee")}
        roles |= {name: Role(keys=ids[:n], threshold=n) for name, n in CHARTER.committee.roles.items()}
        roles["coordinator"] = Role(keys=(self.coordinator.key_id,), threshold=1)
        roles["auditor"] = Role(keys=(self.auditor.key_id,), threshold=1)
        expires = write_time(at + timedelta(days=days))
        everyone = distinct([*self.members, self.coordinator, self.auditor, self.researcher])
        lab = Researcher(key=self.researcher.key_id, organisation="Institute", accredited_until=expires)
        fields: dict[str, Any] = {
            "trust": "pressure",
            "version": len(self.roots) + 1,
            "issued": write_time(at),
            "expires": expires,
            "charter": CHARTER.folder_digest,
            "keys": {name: key.hex() for name, key in everyone.items()},
            "roles": roles,
            "partners": self.partners,
            "researchers": {"lab-1": lab},
        }
        root = Root(**{**fields, **changes})
        self.roots.append(sign("root", root.document(), *self.members))
        return TrustRoot(self.roots[-1].unverified_payload)

    def invitation(self, **changes: Any) -> Invitation:
        """To everybody."""
        fields = {"trust": "pressure", "url": "https://127.0.0.1:1", "nodes": "127.0.0.1:1", "authority": ""}
        return Invitation(**{**fields, "roots": tuple(self.roots), **changes})

    def study(self, **changes: Any) -> Study:
        """One that the charter allows."""
        at = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=1)
        fields: dict[str, Any] = {
            "id": "pressure-by-age",
            "title": "Age and pressure",
            "summary": {"en": "A description"},
            "purpose": "AcademicResearch",
            "researcher": "lab-1",
            "dataset": "pressure",
            "dataset_digest": Dataset.parse(DATASET).digest(),
            "cohort": "age >= 40",
            "analyses": {"table": Describe(columns=("age", "pressure"))},
            "protections": Protections(),
            "not_before": write_time(at),
            "expires": write_time(at + timedelta(days=20)),
        }
        return Study(**{**fields, **changes})


def partner_of(file: PartnerFile) -> Partner:
    return Partner(sign=file.sign, seal=file.seal, flower=connection_hex(file.flower.encode()))


def make_homes(folder: Path) -> Founders:
    """folder/NAME for each partner, with its rows in rows.csv, and files that are shared beside them."""
    founders = Founders({name: partner_of(init(folder / name, name)) for name in PARTNERS})
    founders.found()
    (folder / "dataset.yaml").write_text(DATASET)
    for name, frame in HOSPITALS.items():
        frame.to_csv(folder / name / "rows.csv", index=False)
        (folder / name / "rows.csv").chmod(0o400)
        (folder / name / "source.toml").write_text('url = "rows.csv"\n')
    return founders


def enrol_offline(folder: Path, name: str, founders: Founders, **changes: Any) -> Any:
    """As with --dataset and --charter."""
    return enrol(
        folder / name, founders.invitation(**changes), lambda root: given(folder / "dataset.yaml", "research", root)
    )


def copied(folder: Path, to: Path) -> Path:
    shutil.copytree(folder, to, dirs_exist_ok=True)
    return to


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below, byte for byte."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
