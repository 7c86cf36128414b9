"""A model of a study's life: filed, signed, carried out by workers that are killed, cancelled, revoked; real nodes.

Whatever comes after what: only a mandate that a quorum has signed opened anything, a study that was cancelled or
revoked gets no further sum and no release, and each is released once at most.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule
from hypothesis.stateful import run_state_machine_as_test as run_model

import datatrust as dt
from coordinator.docket.docket import Docket
from coordinator.settings import CoordinatorSettings
from coordinator.study.carry_out import carry_out
from coordinator.study.conductor import Coordinator, conduct
from coordinator.study.replay import LeaveForAnother, Replay
from tests.support.committee import revocation, vote
from tests.support.restartable_trust import NAMES, RestartableTrust
from tests.support.sizes import FULL
from trust.documents.mandate import SignedMandate
from trust.documents.study import PlannedStudy
from trust.documents.study_states import ENDED, FOLLOWS
from trust.errors import DataTrustError, InvalidInput, Refused
from trust.logs.merkle import Entry
from trust.signing.envelope import Envelope, sign
from trust.times import now

__all__ = ["Life"]

EXAMPLES, STEPS = (1000, 60) if FULL else (12, 24)
ASKED = {"r": dt.Glm("x ~ y", family="gaussian")}
LEASE = 20.0


class Killed:
    """A channel after some of whose exchanges the worker is killed, before or after the nodes have the messages."""

    def __init__(self, places: RestartableTrust, left: int, sent: bool, between: Callable[[], object]) -> None:
        self._places, self._left, self._sent, self._between = places, left, sent, between
        self.stop = threading.Event()

    def exchange(self, messages: Mapping[str, bytes], *, deadline: float) -> dict[str, bytes]:
        self._left -= 1
        if self._left < 0:
            self.stop.set()  # nothing is kept any more, as after a kill
        if self._left < 0 and not self._sent:
            raise LeaveForAnother
        answers = {name: self._places.up[name].handle(raw) for name, raw in messages.items()}
        if self._left < 0:
            raise LeaveForAnother
        if self._left == 0:
            self._between()
        return answers


class Life(RuleBasedStateMachine):
    """Over one trust: its nodes and docket outlive the examples."""

    places: RestartableTrust
    folder: Path
    ids = Bundle("ids")

    @initialize(target=ids, signed=st.integers(1, 3))
    def begin(self, signed: int) -> Any:
        """Three studies, of which so many are mandated."""
        self.late = timedelta(0)
        self.docket = self.opened()
        self.first = self.docket.register.head()[0]
        self.mine: list[str] = []
        self.was: dict[str, str] = {}
        self.stopped: dict[str, int] = {}
        self.leases: dict[str, tuple[str, datetime]] = {}
        for name in NAMES:
            self.places.start(name)
        for number in range(3):
            study = self.places.trust.study("many", purpose="AcademicResearch", analyses=ASKED).study
            self.mine.append(self.docket.file(self.places.of.keys.study(study)).id)
            if number < signed:
                self.docket.sign(self.mine[-1], self.places.of.keys.signed(self.docket.find(self.mine[-1]).mandate))
        return multiple(*self.mine)

    def opened(self) -> Docket:
        settings = CoordinatorSettings(self.folder)
        place = self.folder / "coordinator"
        return Docket(place, settings.trust, settings.identity, lambda: now() + self.late, durable=False)

    def teardown(self) -> None:
        if hasattr(self, "docket"):
            self.docket.close()

    # ---- what people do

    @rule(study=ids, what=st.sampled_from(["sign", "sign all", "against", "cancel", "revoke"]), who=st.integers(0, 2))
    def act(self, study: str, what: str, who: int) -> None:
        """It happens, or is refused by the table of states."""
        filed, keys = self.docket.find(study), self.places.of.keys
        member = keys.members[who]
        with suppress(Refused, InvalidInput):
            match what:
                case "sign":
                    self.docket.sign(study, filed.mandate.with_signature(member))
                case "sign all":
                    self.docket.sign(study, keys.signed(filed.mandate))
                case "against":
                    self.docket.refuse(vote(filed.mandate_digest, member))
                case "cancel":
                    self.docket.cancel(study, "researcher")
                case _:
                    self.docket.revoke(revocation(filed.mandate_digest, member))

    @rule(study=ids)
    def signed_by_nobody(self, study: str) -> None:
        """The researcher's key is not a member's."""
        document = self.docket.find(study).drafted.document()
        with pytest.raises(Refused):
            self.docket.sign(study, sign("mandate", document, self.places.of.keys.researcher))

    # ---- what machines do

    @rule(
        study=ids,
        exchanges=st.sampled_from([99, 4, 3, 5, 2, 1, 0]),
        sent=st.booleans(),
        freed=st.booleans(),
        then=st.sampled_from(["", "", "", "cancel", "revoke"]),
    )
    def work(self, study: str, exchanges: int, sent: bool, freed: bool, then: str) -> None:
        """A worker takes it up, is killed after so many exchanges, and somebody may act while it works."""
        if self.docket.find(study).state not in ("mandated", "running"):
            return
        holder, docket = f"worker {len(self.leases)}", self.opened()
        held = self.leases.get(study)
        try:
            taken = docket.leases.acquire(study, holder, LEASE)
            assert taken == (held is None or held[1] <= now() + self.late), "one holds a study"
            if not taken:
                return
            self.leases[study] = holder, now() + self.late + timedelta(seconds=LEASE)
            channel = Killed(
                self.places,
                exchanges,
                sent,
                lambda: self.act(study, then, 0) if then else None,  # type: ignore[call-arg]
            )
            replay = Replay(docket, study, channel, channel.stop)
            with suppress(DataTrustError, LeaveForAnother):
                carry_out(docket, self.places.of.keys.coordinator, study, channel, replay=replay)
            if freed:
                docket.leases.release(study, holder)
                del self.leases[study]
        finally:
            docket.close()

    @rule(study=ids)
    def work_to_the_end(self, study: str) -> None:
        self.work(study, 99, False, True, "")

    @rule(name=st.sampled_from(NAMES))
    def restart_a_node(self, name: str) -> None:
        self.places.start(name)

    @rule()
    def lease_is_over(self) -> None:
        self.late += timedelta(seconds=LEASE)

    @rule(study=ids, signatures=st.integers(0, 1))
    def coordinator_claims_a_quorum(self, study: str, signatures: int) -> None:
        """The same study, in a mandate that too few have signed, straight to the nodes: they refuse it."""
        filed, before = self.docket.find(study), self.contributed(study)
        few = filed.mandate.model_copy(update={"signatures": filed.mandate.signatures[:signatures]})
        channel = Killed(self.places, 99, True, lambda: None)
        keys = self.places.of.keys
        with pytest.raises(DataTrustError):
            conduct(Coordinator(keys.coordinator, keys.root), filed.study, few, self.planned(filed.study), channel)
        assert self.contributed(study) == before

    def planned(self, study: Envelope) -> PlannedStudy:
        document = self.docket.trust.signed(study)[0]
        return PlannedStudy(study=document, scope=self.docket.trust.scope(document))

    # ---- what holds

    def contributed(self, study: str) -> int:
        """Contributions of all nodes to a study."""
        return sum(
            self.places.node(name)
            .store.db.execute("SELECT count(*) FROM contribution WHERE study = ?", (study,))
            .fetchone()[0]
            for name in NAMES
        )

    @invariant()
    def states_follow_the_table(self) -> None:
        for study in getattr(self, "mine", []):
            before, state = self.was.get(study, "filed"), self.docket.find(study).state
            assert state == before or state in _reachable(before), (before, state)
            self.was[study] = state
            if state in ENDED:
                assert self.contributed(study) == self.stopped.setdefault(study, self.contributed(study)), state

    @invariant()
    def the_register_tells_a_life_that_is_allowed(self) -> None:
        told: dict[str, list[Entry]] = {study: [] for study in getattr(self, "mine", [])}
        for entry in self.docket.register.entries(self.first) if told else ():
            if entry.study in told:
                told[entry.study].append(entry)
        for study, life in told.items():
            kinds = [entry.kind for entry in life]
            count = Counter(kinds)
            assert count["release"] <= 1
            assert count["mandate"] <= 1
            opened = [at for at, kind in enumerate(kinds) if kind in ("sum-record", "release", "journal-head")]
            if opened or self.contributed(study):
                assert kinds.index("mandate") < min(opened, default=len(kinds))
                mandate = Envelope.read(life[kinds.index("mandate")].body["envelope"])
                SignedMandate(mandate, self.docket.trust.root).require_in_force(now())  # raises without a quorum
            ends = [at for at, e in enumerate(life) if e.kind == "revocation" or e.body.get("rule") == "cancelled"]
            assert all(at < min(ends, default=len(life)) for at in opened if kinds[at] != "journal-head"), kinds
            assert self.docket.find(study).state != "released" or count["refusal"] == 0


def _reachable(state: str) -> set[str]:
    found, new = set[str](), {state}
    while new:
        new = {then for each in new for then in FOLLOWS[each]} - found  # type: ignore[index]
        found |= new
    return found


@pytest.fixture
def home(tmp_path: Path) -> Any:
    """Where nothing waits for a disk."""
    folder = Path(f"/dev/shm/datatrust-life-{os.getpid()}") if Path("/dev/shm").is_dir() else tmp_path / "life"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


def test_any_life(home: Path) -> None:
    places = RestartableTrust(home)

    class Here(Life):
        pass

    Here.places, Here.folder = places, home / "state"
    run_model(
        Here,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            derandomize=not FULL,
            phases=tuple(Phase) if FULL else (Phase.generate,),
            suppress_health_check=list(HealthCheck),
        ),
    )
    kinds = Counter(entry.kind for entry in places.trust.docket.register.entries())
    assert kinds["sum-record"] > 0, "the control: something was opened"
    assert kinds["refusal"] > 0
