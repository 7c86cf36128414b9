"""A trust of three partners and three members, the first of them lay, without any rows: for tests of the docket."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import datatrust as dt
from coordinator.docket.database import open_database
from coordinator.docket.docket import Docket
from datatrust.in_process.keys import RoleKeys
from tests.support.example import DATASET as EXAMPLE
from trust.charters.charter import Charter
from trust.dataset.dataset import Dataset
from trust.documents.filed_study import TrustDocuments
from trust.documents.register_checks import check_register
from trust.documents.root import Root
from trust.documents.study import Study
from trust.documents.votes import Refusal, Revocation
from trust.errors import Refused
from trust.signing.envelope import Envelope, Signer, sign
from trust.times import write_time

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
CHARTER = Charter.load("research")
DATASET = Dataset.parse(EXAMPLE)
KEYS = RoleKeys.make(("east", "north", "south"), CHARTER, NOW)
LAY, SECOND, THIRD = KEYS.members
NAME = "age-1a2b"
TABLES = (
    *("against", "checkpoint", "datatrust_version", "head", "journal_head", "kept", "lease", "log"),
    *("published", "revoked", "root", "said", "study", "told", "used"),
)


def study(name: str = NAME, **changes: Any) -> Study:
    """A study of the local researcher, in force from now on."""
    fields: dict[str, Any] = {
        "id": name,
        "title": "Age",
        "summary": {"en": "How old are they?"},
        "purpose": "AcademicResearch",
        "researcher": "local",
        "dataset": DATASET.id,
        "dataset_digest": DATASET.digest(),
        "analyses": {"table": dt.Describe(["age"]).resolve(DATASET).document()},
        "protections": CHARTER.defaults(),
        "not_before": write_time(NOW),
        "expires": write_time(NOW + timedelta(days=30)),
    }
    return Study.model_validate(fields | changes)


def signed(name: str = NAME, signer: Signer = KEYS.researcher, **changes: Any) -> Envelope:
    return sign("study", study(name, **changes).document(), signer)


def vote(digest: str, member: Signer, *, named: str = "", reasons: tuple[str, ...] = ("no benefit",)) -> Envelope:
    made = Refusal(mandate=digest, member=named or member.key_id, reasons=reasons, at=write_time(NOW))
    return sign("vote", made.document(), member)


def revocation(digest: str, member: Signer, *, named: str = "") -> Envelope:
    made = Revocation(mandate=digest, member=named or member.key_id, reason="a mistake", at=write_time(NOW))
    return sign("revocation", made.document(), member)


def rotated(
    change: Callable[[dict[str, Any]], object] = lambda root: None, keys: RoleKeys = KEYS
) -> tuple[Envelope, ...]:
    """The founding root, and a second version in which something is changed; signed by everybody."""
    document = copy.deepcopy(Root.read(keys.envelope.unverified_payload).document())
    document["version"] = 2
    change(document)
    return keys.envelope, sign("root", document, *keys.members)


def without(member: Signer, instead: Signer) -> Callable[[dict[str, Any]], None]:
    """A change of the root: another member in the place of this one."""

    def change(root: dict[str, Any]) -> None:
        root["keys"][instead.key_id] = instead.public.hex()
        for role in root["roles"].values():
            role["keys"] = [instead.key_id if key == member.key_id else key for key in role["keys"]]

    return change


@dataclass
class Desk:
    """A docket whose clock stands still; `again()` opens its place anew, as another process does."""

    place: Path | str
    roots: tuple[Envelope, ...] = (KEYS.envelope,)
    now: datetime = NOW
    opened: list[Docket] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.docket = self.again()

    def again(self, roots: tuple[Envelope, ...] | None = None, **changes: Any) -> Docket:
        fields: dict[str, Any] = {"roots": roots or self.roots, "dataset": DATASET, "charter": CHARTER} | changes
        trust = TrustDocuments(**fields)
        self.opened.append(Docket(self.place, trust, KEYS.coordinator, lambda: self.now, durable=False))
        return self.opened[-1]

    def close(self) -> None:
        for docket in self.opened:
            docket.close()

    def state(self, name: str = NAME) -> str:
        return self.docket.find(name).state

    def digest(self, name: str = NAME) -> str:
        return self.docket.find(name).mandate_digest

    def sign(self, *members: Signer, name: str = NAME) -> str:
        """Each member signs what the docket has; the state after it."""
        for member in members:
            filed = self.docket.find(name)
            self.docket.sign(name, filed.mandate.with_signature(member))
        return self.state(name)

    def bring_to(self, state: str, name: str = NAME) -> None:
        """A new study in that state, by the way that leads there."""
        self.docket.file(signed(name))
        if state == "refused":
            self.docket.refuse(vote(self.digest(name), LAY))
        elif state == "revoked":
            self.docket.revoke(revocation(self.digest(name), LAY))
        elif state == "cancelled":
            self.docket.cancel(name, "researcher")
        elif state != "filed":
            self.sign(LAY, SECOND, name=name)
            for then in {"released": ("running", "released"), "failed": ("running", "failed")}.get(state, (state,)):
                if then != "mandated":
                    self.docket.move(name, then)  # type: ignore[arg-type]

    def kinds(self, name: str | None = None) -> list[str]:
        """Kinds of the register's entries, of one study or of all."""
        return [e.kind for e in self.docket.register.entries() if name is None or e.study == name]

    def dump(self) -> list[str]:
        """Every row of every table."""
        with contextlib.closing(open_database(self.place, durable=False)) as db:
            return [f"{table}: {row}" for table in TABLES for row in sorted(db.execute(f"SELECT * FROM {table}"))]

    def by_hand(self, *statements: str) -> None:
        """As somebody with a shell does."""
        with contextlib.closing(open_database(self.place, durable=False)) as db:
            for statement in statements:
                db.execute(statement)


def refused(rule: str, text: str = "") -> Any:
    """What must be raised: by this rule, with this in its text."""
    return pytest.raises(Refused, match=f"refused by {rule}: .*{text}")


def mandate(desk: Desk, *members: Signer, name: str = NAME) -> Envelope:
    """The mandate as filed, signed by these and by nobody else."""
    return sign("mandate", desk.docket.find(name).drafted.document(), *members)


def checks(desk: Desk) -> dict[str, bool]:
    """What `datatrust register verify` says."""
    with contextlib.closing(open_database(desk.place, durable=False)) as db:
        opened: Any = db
        return {d.rule: d.ok for d in check_register(opened, desk.roots)}
