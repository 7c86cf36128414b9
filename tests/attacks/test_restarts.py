"""A malicious coordinator that times its messages around a node's restarts is answered nothing more than without."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import datatrust as dt
from coordinator.study.conductor import Coordinator, StudyOutcome, conduct
from nodes.state.store import SqliteStore
from nodes.study import sessions
from nodes.study.session import Session
from tests.nodes.study.test_policies import policy
from tests.support.restartable_trust import NAMES, Disturbed, RestartableTrust, frame
from trust.protocol.asks import pack_asks, unpack_asks
from trust.protocol.messages import DOWN, UP, pack_signed, unpack
from trust.secure_sum import Party
from trust.secure_sum.errors import StoreUnavailable

MODEL = {"r": dt.Glm("y ~ x", family="binomial")}


def header_of(raw: bytes) -> dict[str, Any]:
    return {k: v for k, v in unpack(raw, DOWN)[0].items() if k not in ("v", "sig")}


class Asking:
    """A conductor of one study over nodes that may be started again; `instead` may answer in a node's place."""

    def __init__(self, folder: Path, asked: Mapping[str, Any] = MODEL) -> None:
        self.places = RestartableTrust(folder)
        self.study, self.signed, self.mandate, self.planned = self.places.study(asked=asked)
        self.down: dict[str, list[bytes]] = {name: [] for name in NAMES}

    def run(self, before: Callable[[str, int], None]) -> StudyOutcome:
        keys = self.places.of.keys
        channel = Disturbed(self.places, before=before)
        exchange = channel.exchange

        def kept(messages: Mapping[str, bytes], *, deadline: float) -> dict[str, bytes]:
            for name, raw in messages.items():
                self.down[name].append(raw)
            return exchange(messages, deadline=deadline)

        channel.exchange = kept  # type: ignore[method-assign]
        coordinator = Coordinator(keys.coordinator, keys.root)
        return conduct(coordinator, self.signed, self.mandate, self.planned, channel)

    def ask(self, name: str, header: dict[str, Any], body: bytes = b"") -> dict[str, Any]:
        raw = pack_signed(header, self.places.of.keys.coordinator, body)
        return unpack(self.places.up[name].handle(raw), UP)[0]

    @property
    def contributed(self) -> list[int]:
        store = self.places.node("b").store
        return [r for r in range(50) if store.contribution(self.study.id, r) is not None]


class Stop(Exception):
    pass


def stopped(asking: Asking, at: int) -> None:
    """The study goes on until b is to be sent its message number `at` (0 the mandate, 1 the start, 2 sum 0)."""

    def before(name: str, n: int) -> None:
        if n >= at and name == "b":  # the close as well
            raise Stop

    with suppress(Stop):
        asking.run(before)


# ---- what was judged at the mandate is judged again


def test_a_policy_that_the_partner_has_made_stricter_ends_what_runs_at_the_restart(tmp_path: Path) -> None:
    for name, forbids in (("control", False), ("attack", True)):
        folder = tmp_path / name
        folder.mkdir()
        asking = Asking(folder)

        def before(name: str, n: int, asking: Asking = asking, folder: Path = folder, no: bool = forbids) -> None:
            if name == "b" and n == 3:
                if no:
                    asking.places._node["b"] = replace(asking.places.node("b"), policy=policy(folder))
                asking.places.start("b")

        if not forbids:
            assert asking.run(before).partners == NAMES
            continue
        with pytest.raises(dt.Refused) as refused:
            asking.run(before)
        assert refused.value.rule == "b/never-y" or "study-closed" in refused.value.rule
        assert asking.contributed == [0]


def test_a_mandate_that_does_not_follow_from_the_node_as_it_starts_again_is_not_gone_on_with(tmp_path: Path) -> None:
    """A node that was upgraded, or whose dataset was replaced, between two of its processes."""
    asking = Asking(tmp_path)

    def before(name: str, n: int) -> None:
        if name == "b" and n == 3:
            node = asking.places.node("b")
            other = dt.Dataset.parse(_other(node.dataset))
            asking.places._node["b"] = replace(node, dataset=other)
            asking.places.start("b")

    with pytest.raises(dt.DataTrustError):
        asking.run(before)
    assert asking.contributed == [0]


def _other(dataset: dt.Dataset) -> str:
    from tests.support.restartable_trust import DATASET

    return DATASET.replace("maximum: 100", "maximum: 90000")


@pytest.mark.parametrize("attack", [False, True], ids=["control", "another key of a partner"])
def test_a_study_is_not_started_again_with_other_approvals(tmp_path: Path, attack: bool) -> None:
    """After the restart the same start is answered again, since its answer may have been lost; and no other."""
    asking = Asking(tmp_path)
    stopped(asking, 2)
    asking.places.start("b")
    header = header_of(asking.down["b"][1])
    assert header["kind"] == "start"
    if attack:
        header["approvals"] = [
            {**each, "E": "09" * 32} if each["name"] == "c" else each for each in header["approvals"]
        ]
    answer = asking.ask("b", header)
    expected = {"kind": "refusal", "rule": "already-started"} if attack else {"kind": "ready"}
    assert {name: answer[name] for name in expected} == expected
    state = asking.places.node("b").store.study(asking.study.id)
    assert state is not None
    assert attack or answer["T"] == state.transcript.hex()


# ---- sums passed over, and sums gone back to


@pytest.mark.parametrize("r", [0, 1], ids=["control", "sum 0 is passed over"])
def test_what_was_answered_is_known_after_a_restart(tmp_path: Path, r: int) -> None:
    asking = Asking(tmp_path)
    stopped(asking, 2)
    header = {**header_of(asking.down["b"][2]), "r": r}
    assert asking.ask("b", header)["kind"] == "upload"
    asking.places.start("b")
    session = Session.again(asking.places.node("b"), asking.study.id)
    assert session.trouble is None
    progress = session._open_study
    assert progress.given > 0
    assert progress.expected is None  # a total is due: nothing is asked before it was shown
    assert progress.last is not None
    assert progress.last[0].r == r


@pytest.mark.parametrize("r", [0, 1], ids=["control", "sum 0 is passed over"])
def test_rows_that_have_changed_are_not_summed_in_the_same_study(tmp_path: Path, r: int) -> None:
    asking = Asking(tmp_path)
    stopped(asking, 2)
    header = {**header_of(asking.down["b"][2]), "r": r}
    assert asking.ask("b", header)["kind"] == "upload"
    frame(99).to_csv(tmp_path / "b.csv", index=False)
    asking.places.start("b")
    session = Session.again(asking.places.node("b"), asking.study.id)
    assert getattr(session.trouble, "rule", "") == "edition-changed"
    assert asking.places.node("b").store.open_studies() == []


def test_an_earlier_sum_is_not_put_in_the_place_of_the_last_total(tmp_path: Path, monkeypatch: Any) -> None:
    """A node that was killed between two commits still has the upload of a settled sum.  Handed out again, its total
    would be taken for the last one's, and the replay would follow a path of the coordinator's own.
    """
    asking = Asking(tmp_path)
    settle = Party.settle
    killed: list[int] = []

    def dies(self: Party, record: Any, *rest: Any, **more: Any) -> None:
        if self.name == "b" and record.context.r == 1 and not killed:
            killed.append(1)
            raise KeyboardInterrupt  # the process ends here
        settle(self, record, *rest, **more)

    monkeypatch.setattr(Party, "settle", dies)
    honest = asking.places.up["b"].handle

    def handle(raw: bytes) -> bytes:
        try:
            return honest(raw)
        except KeyboardInterrupt:
            asking.places.start("b")
            return asking.places.up["b"].handle(raw)

    asking.places.up["b"].handle = handle  # type: ignore[method-assign]
    stopped(asking, 5)  # sums 0 to 2 are answered, and b is to be sent sum 3 with the record of sum 2
    assert killed  # the control: it was killed in between, and has gone on
    assert asking.contributed == [0, 1, 2]
    genuine = asking.down["b"]
    old, new = header_of(genuine[3]), header_of(genuine[5])
    assert (old["r"], new["r"]) == (1, 3)
    plans = asking.planned.plans
    asks, _ = unpack_asks(old["asks"], unpack(genuine[3], DOWN)[1], plans)
    _, shown = unpack_asks(new["asks"], unpack(genuine[5], DOWN)[1], plans)
    names, values = pack_asks(asks, plans)
    answer = asking.ask("b", {**new, "r": 1, "asks": names}, values + shown)
    assert answer["kind"] == "refusal"
    assert answer["rule"] == "sum-order"


# ---- what has ended stays so, and leaves nothing


def test_studies_leave_no_uploads_behind(tmp_path: Path) -> None:
    """The last sum of a study has no record that settles it; one upload a study, 100 MB at most, would stay."""
    asking = Asking(tmp_path)
    seen: list[int] = []
    uploads = asking.places.node("b").store.folder / "uploads"
    asking.run(lambda name, n: seen.append(len(list(uploads.iterdir()))))
    assert max(seen) > 0  # the control
    assert list(uploads.iterdir()) == []
    assert len(asking.contributed) > 2  # that it was given is remembered


@pytest.mark.parametrize("fails", [False, True], ids=["control", "the close cannot be written"])
def test_a_refused_study_is_not_revived_by_the_next_message(tmp_path: Path, monkeypatch: Any, fails: bool) -> None:
    asking = Asking(tmp_path)
    stopped(asking, 3)
    header, body = header_of(asking.down["b"][3]), unpack(asking.down["b"][3], DOWN)[1]
    put = SqliteStore.put_study

    def full(self: SqliteStore, state: Any) -> None:
        if state.status == "closed":
            raise StoreUnavailable("a full disk", expected="room")
        put(self, state)

    with monkeypatch.context() as patched:
        if fails:
            patched.setattr(SqliteStore, "put_study", full)
        assert asking.ask("b", {**header, "partners": ["a", "b"]}, body)["rule"] == "partners-invalid"
    again = asking.ask("b", header, body)
    assert again["kind"] == "refusal"
    assert asking.contributed == [0]
    assert asking.places.node("b").store.open_studies() == []


def test_the_question_of_that_test_is_one_that_is_answered(tmp_path: Path) -> None:
    asking = Asking(tmp_path)
    stopped(asking, 3)
    raw = asking.down["b"][3]
    assert asking.ask("b", header_of(raw), unpack(raw, DOWN)[1])["kind"] == "upload"


def test_a_coordinator_that_says_much_fills_no_memory(tmp_path: Path, monkeypatch: Any) -> None:
    asking = Asking(tmp_path)
    stopped(asking, 2)
    monkeypatch.setattr(sessions, "_MOST_COPIES", 20)
    header = header_of(asking.down["b"][2])
    for r in range(100):
        assert asking.ask("b", {**header, "r": -1 - r})["kind"] == "refusal"  # a message that is none changes nothing
    held = asking.places.up["b"]._holders[header["mandate"]]
    assert len(held.before) <= 21
    assert len(held.session.egress.sent) <= 60
    assert asking.ask("b", header)["kind"] == "upload"  # the control
