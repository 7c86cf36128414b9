"""A whole secure sum in memory: partners with their stores, and a coordinator.  Nothing of ours is mocked."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from nodes.state.store import SqliteStore
from trust.decision import Decision
from trust.secure_sum.encoding import Layout
from trust.secure_sum.messages import Approval, Context, Upload
from trust.secure_sum.opening import Opening
from trust.secure_sum.parameters import Parameters, Participation, smallest_m
from trust.secure_sum.party import Gate, Party
from trust.secure_sum.question import AnalysisAsk, Question
from trust.secure_sum.state import StudyState

NOW = datetime(2026, 11, 24, 12, 0, 1, tzinfo=UTC)
MANDATE = hashlib.sha256(b"mandate").digest()
ROOT = hashlib.sha256(b"root").digest()
COORDINATOR = Ed25519PrivateKey.from_private_bytes(bytes([0xF1]) * 32)

Compute = Callable[[], Any]


def identity(place: int) -> Ed25519PrivateKey:
    """Fixed, so that failures repeat: 11.., 12.., 13.. as in the protocol's test vectors."""
    return Ed25519PrivateKey.from_private_bytes(bytes([0x11 + place]) * 32)


def yes() -> list[Decision]:
    return [Decision("gate/1", True, "yes")]


def no() -> list[Decision]:
    return [Decision("gate/2", False, "the mandate has expired")]


def nothing() -> dict[str, dict[str, Any]]:
    return {}


def vector(numbers: Sequence[int], layout: Layout) -> Any:
    """Whole numbers as the u64 vector of a layout."""
    words = layout.empty()
    words[0, :-1] = np.asarray(numbers, np.int64).view(np.uint64)
    return words


def question(
    r: int = 0, plan: bytes = b'{"q":1}', *, columns: int = 3, values: Mapping[str, Any] | None = None
) -> Question:
    part = AnalysisAsk("risk", "step", plan, "derived" if values else "none", values or {})
    return Question.of(r, [part], Layout("u64", columns))


@dataclass(frozen=True)
class Block:
    """What the encoding reads of a block."""

    name: str
    shape: tuple[int, ...] = ()
    encoding: Literal["count", "real", "model"] = "real"


@dataclass
class Federation:
    """`parties`, `identities` and `stores` by name; `approvals` in the order of names."""

    parameters: Parameters
    identities: dict[str, Ed25519PrivateKey]
    stores: dict[str, SqliteStore]
    parties: dict[str, Party]
    approvals: list[Approval]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(sorted(self.parties))

    def start(self) -> bytes:
        return {party.start(self.approvals, now=NOW) for party in self.parties.values()}.pop()

    def restart(self, name: str) -> None:
        """The node's process ends, and another one opens its folder."""
        folder = self.stores[name].folder
        self.stores[name].close()
        self.stores[name] = SqliteStore(folder, durable=False)
        self.parties[name] = Party(self.parameters, name, self.identities[name], self.stores[name])

    def signed(self, name: str, key: bytes, *, mandate: bytes = MANDATE, root: bytes = ROOT) -> Approval:
        """An approval of any key that `name` is willing to sign."""
        return Approval(name, key, self.identities[name].sign(Approval.message(mandate, root, name, key)))

    def swapped(self, approval: Approval) -> list[Approval]:
        """The approvals with that of one partner replaced."""
        return [approval if old.name == approval.name else old for old in self.approvals]

    def contribute(
        self,
        name: str,
        asked: Question,
        numbers: Sequence[int] = (1, 2, 3),
        *,
        partners: Sequence[str] | None = None,
        gate: Gate = yes,
        replay: Callable[[], Any] = nothing,
        compute: Compute | None = None,
    ) -> Upload:
        return self.parties[name].contribute(
            asked,
            self.names if partners is None else partners,
            gate=gate,
            replay=replay,
            compute=compute or (lambda: vector(numbers, asked.layout)),
            now=NOW,
        )

    def context(self, asked: Question) -> Context:
        state = self.stores[self.names[0]].study(self.parameters.study)
        assert state is not None
        return Context(state.transcript, asked.r, asked.question_digest, self.names)

    def opening(self, asked: Question) -> Opening:
        return Opening(self.parameters, self.context(asked), asked.layout)


def federation(
    folder: Path,
    names: Sequence[str] | int = 3,
    *,
    m: int | None = None,
    c: int = 1,
    sums: int = 8,
    participation: Participation = "joined",
    study: str = "study-1",
    mandate: bytes = MANDATE,
    start: bool = True,
    fixed: bool = False,
) -> Federation:
    """Partners that have approved and, unless `start` is false, started one study.  Stores live under `folder`.

    `fixed`: ephemeral keys 01.., 02.., 03.., as in the protocol's test vectors.
    """
    names = [f"p{i:03d}" for i in range(names)] if isinstance(names, int) else list(names)
    identities = {name: identity(place) for place, name in enumerate(names)}
    parameters = Parameters(
        study=study,
        mandate=mandate,
        root=ROOT,
        partners={name: key.public_key() for name, key in identities.items()},
        m=smallest_m(len(names), c) if m is None else m,
        c=c,
        sums=sums,
        participation=participation,
    )
    stores = {name: SqliteStore(folder / name, durable=False) for name in names}
    parties = {name: Party(parameters, name, identities[name], stores[name]) for name in names}
    if fixed:
        for place, name in enumerate(sorted(names), start=1):
            with stores[name].transaction() as tx:
                tx.put_study(StudyState(study, "approved", mandate, ROOT, ephemeral=bytes([place]) * 32))
    approvals = [parties[name].approve(yes, now=NOW) for name in sorted(names)]
    made = Federation(parameters, identities, stores, parties, approvals)
    if start:
        made.start()
    return made
