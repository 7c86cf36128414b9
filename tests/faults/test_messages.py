"""Messages lost, answered in vain, doubled or late: the same result or a reason, never two parts of one sum."""

from __future__ import annotations

import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

import datatrust as dt
from coordinator.study.conductor import Coordinator, StudyOutcome, conduct
from tests.faults.test_node_restarts import same
from tests.support.restartable_trust import NAMES, RestartableTrust
from tests.support.sizes import FULL
from trust.errors import Fault, Refused
from trust.protocol.messages import DOWN, UP, unpack

EXAMPLES = 1000 if FULL else 12
ASKED = {"r": dt.Glm("x ~ y", family="gaussian")}
STEPS = 6
"""Exchanges of this study: mandate, start, three sums, close."""
ACTIONS = ("request lost", "answer lost", "twice", "late", "very late", "restart", "silent")
Schedule = dict[tuple[int, str], str]


class Lossy:
    """A channel with a schedule: what happens to the message of one exchange to one node, the first time it is sent.

    What was not answered is sent again with the same bytes, as `coordinator.serve.study_process.RetryingChannel` does.
    """

    def __init__(self, places: RestartableTrust, schedule: Schedule) -> None:
        self.places, self._schedule = places, dict(schedule)
        self.step = -1
        self.kinds: list[str] = []
        self.uploads: dict[tuple[str, int], set[bytes]] = defaultdict(set)
        self._late: dict[str, list[tuple[int, bytes]]] = {name: [] for name in NAMES}

    def exchange(self, messages: Mapping[str, bytes], *, deadline: float) -> dict[str, bytes]:
        self.step += 1
        found = {}
        for name, raw in messages.items():
            if name == NAMES[0]:
                self.kinds.append(unpack(raw, DOWN)[0]["kind"])
            answer = self._sent(name, raw)
            if answer is not None:
                found[name] = answer
        return found

    def _sent(self, name: str, raw: bytes) -> bytes | None:
        act = self._schedule.get((self.step, name), "")
        for _ in range(2 if act == "twice" else 1):
            if act in ("answer lost", "twice", "silent"):
                self._given(name, raw)
        if act == "silent":
            return None
        if act == "restart":
            self.places.start(name)
        answer = self._given(name, raw)
        if act in ("late", "very late"):
            self._late[name].append((self.step + (1 if act == "late" else 2), raw))
        for due, copy in list(self._late[name]):
            if due <= self.step:
                self._late[name].remove((due, copy))
                self._given(name, copy)
        return answer

    def _given(self, name: str, raw: bytes) -> bytes:
        answer = self.places.up[name].handle(raw)
        header, body = unpack(answer, UP)
        if header["kind"] == "upload":
            self.uploads[name, header["r"]].add(bytes(body))
        return answer


@pytest.fixture(scope="module")
def places() -> Iterator[RestartableTrust]:
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        yield RestartableTrust(Path(folder))


def run(places: RestartableTrust, channel: Lossy) -> StudyOutcome:
    _, signed, mandate, planned = places.study(asked=ASKED)
    return conduct(Coordinator(places.of.keys.coordinator, places.of.keys.root), signed, mandate, planned, channel)


@pytest.fixture(scope="module")
def calm(places: RestartableTrust) -> StudyOutcome:
    channel = Lossy(places, {})
    calm = run(places, channel)
    assert channel.kinds == ["mandate", "start", "ask", "ask", "ask", "close"]
    return calm


def check(places: RestartableTrust, calm: StudyOutcome, schedule: Schedule) -> str:
    """What it has come to: nothing, or a rule or code."""
    channel, study = Lossy(places, schedule), ""
    try:
        found = run(places, channel)
    except (Fault, Refused) as wrong:
        study = wrong.rule if isinstance(wrong, Refused) else wrong.code
    else:
        assert same(found, calm)
    for key, bodies in channel.uploads.items():
        assert len(bodies) == 1, key
    for name in NAMES:
        entries = list(places.node(name).store._journal.entries())
        asked = Counter((e.study, e.body["r"]) for e in entries if e.kind == "sum-contributed")
        assert not asked or max(asked.values()) == 1, name
        ends = Counter(e.study for e in entries if e.kind == "study-closed")
        assert not ends or max(ends.values()) == 1, name
        places.start(name)  # what was left open is nobody's any more
    return study


@pytest.mark.parametrize("act", ACTIONS)
def test_each_alone(places: RestartableTrust, calm: StudyOutcome, act: str) -> None:
    """The control: all but silence come to the same result."""
    for step in (1, 3) if not FULL else range(STEPS):
        ended = check(places, calm, {(step, "b"): act})
        silent_before_the_end = act == "silent" and step < STEPS - 1
        assert bool(ended) == silent_before_the_end, (step, ended)


schedules = st.dictionaries(
    st.tuples(st.integers(0, STEPS - 1), st.sampled_from(NAMES)), st.sampled_from(ACTIONS), max_size=8
)


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=not FULL,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(schedule=schedules)
def test_any_schedule(places: RestartableTrust, calm: StudyOutcome, schedule: Schedule) -> None:
    ended = check(places, calm, schedule)
    event(ended or "the same result")
    acts = set(schedule.values())
    if not acts & {"silent", "restart"}:
        assert ended == ""
    if "silent" not in acts:
        assert ended in ("", "message-order", "sum-order", "already-started", "study-closed")
