"""A deployment behind a bad network: slow, cut in the middle, silent for a while; and nodes that stand still.

Every study ends, with the same result or with a reason, and no node contributes to one sum twice.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import datatrust as dt
from datatrust.demo.deployment import DeployedTrust, Processes
from datatrust.demo.hospitals import COHORT, EDGES, write
from datatrust.demo.question import CHARTER, PURPOSE
from datatrust.research.result import Result
from tests.faults.test_killed import entries
from tests.support.sizes import FULL
from tests.support.tcp_relay import Relay
from trust.charters.charter import Charter
from trust.dataset.dataset import Dataset

PATIENCE = 15
"""Seconds: how long this coordinator waits for a partner."""
CUTS = (1, 3_000, 20_000, 60_000)
"""Bytes, of one study: after how many more each cut comes."""
SEVERAL = {
    "model": dt.Glm("disease ~ age + sex + smoker", family="binomial"),
    "age": dt.Quantiles(["age"], [0.25, 0.5]),
}
OTHERS = {"ages": dt.Histogram("age", edges=[40, 60, 80])}
"""Another question, since one that four have answered is not put to three of them."""
ONE = {"ages": dt.Histogram("age", edges=list(EDGES))}


class Relayed(Processes):
    """Nodes and coordinator reach the SuperLink through a relay."""

    relay: Relay

    def _superlink(self) -> int:
        self.relay = Relay(super()._superlink())
        return self.relay.port

    def end(self) -> None:
        super().end()
        if hasattr(self, "relay"):
            self.relay.close()


@dataclass
class Live:
    trust: DeployedTrust
    processes: Relayed
    folder: Path
    several: Result
    one: Result

    @property
    def relay(self) -> Relay:
        return self.processes.relay

    def begin(self, analyses: dict[str, object] = SEVERAL) -> str:  # type: ignore[assignment]
        job = self.trust.study("Network", purpose=PURPOSE, cohort=COHORT, analyses=analyses).submit()
        self.trust.docket.sign(job.id, self.trust._keys.signed(self.trust.docket.find(job.id).mandate))
        return job.id

    def sums(self, study: str) -> int:
        return sum(e.kind == "sum-record" and e.study == study for e in self.trust.docket.register.entries())

    def wait_for(self, what: Callable[[], bool], seconds: float = 60.0) -> None:
        end = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < end, "it has not come to that"
            time.sleep(0.01)

    def runs(self, study: str) -> bool:
        return self.trust.docket.find(study).state in ("mandated", "running")

    def ended(self, study: str, seconds: float) -> str:
        """Its state once it has ended."""
        self.wait_for(lambda: not self.runs(study), seconds)
        return self.trust.docket.find(study).state

    def once(self, study: str, sums: int) -> None:
        """Each node has answered each sum once, and nobody hangs."""
        for name in self.trust.partners:
            journal = [e for e in entries(self.folder / "nodes" / name / "state.sqlite") if e.study == study]
            asked = Counter(e.body["r"] for e in journal if e.kind == "sum-contributed")
            assert asked == dict.fromkeys(range(sums), 1), name
        assert self.trust.docket.ids("running") == []

    @contextmanager
    def stopped(self, name: str) -> Iterator[None]:
        """A node's process stands still, as on a machine that swaps or sleeps."""
        pid = self.processes.pids[f"node {name}"]
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    home = tmp_path_factory.mktemp("network")
    written = write(home / "data")
    folder = home / "trust"
    trust = DeployedTrust.founded(folder, Dataset.load(written.dataset), Charter.load(CHARTER), written.sources())
    patience(folder, PATIENCE)
    with Relayed(folder, trust.partners, home / "logs", lambda event: None) as processes:
        study = trust.study("Calm", purpose=PURPOSE, cohort=COHORT, analyses=SEVERAL)
        one = trust.study("Calm", purpose=PURPOSE, cohort=COHORT, analyses=ONE)
        yield Live(trust, processes, folder, study.run(), one.run())
    trust.docket.close()


def patience(folder: Path, seconds: int) -> None:
    """Of the studies that begin from here on."""
    (folder / "coordinator.toml").write_text(f"patience = {seconds}\n")


def same(one: Result, other: Result) -> bool:
    np.testing.assert_allclose(one["model"].params, other["model"].params, rtol=1e-9)
    return bool(one["age"].quantile(0.5) == other["age"].quantile(0.5))


# ---- the relay itself


@contextmanager
def echo() -> Iterator[int]:
    """A server that sends back what it is sent."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    here, _ = server.accept()
                except OSError:
                    return
                with here:
                    try:
                        while piece := here.recv(4096):
                            here.sendall(piece)
                    except OSError:
                        continue

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def test_the_relay_delays_stalls_and_cuts() -> None:
    with echo() as port:
        relay = Relay(port)
        try:
            with socket.create_connection(("127.0.0.1", relay.port), 5) as here:
                here.sendall(b"a" * 100)
                assert here.recv(100) == b"a" * 100
                relay.delay, begun = 0.1, time.monotonic()
                here.sendall(b"b")
                assert here.recv(1) == b"b"
                assert time.monotonic() - begun >= 0.2
                relay.delay = 0.0
                relay.stall()
                here.sendall(b"c")
                here.settimeout(0.3)
                with pytest.raises(TimeoutError):
                    here.recv(1)
                relay.flow()
                here.settimeout(5)
                assert here.recv(1) == b"c"
                relay.cut_after(10)
                here.sendall(b"d" * 6)
                got = b""
                try:
                    while piece := here.recv(100):
                        got += piece
                except OSError:
                    pass
                assert len(got) < 6
                assert relay.cuts == 1
            with socket.create_connection(("127.0.0.1", relay.port), 5) as again:
                again.sendall(b"e")
                assert again.recv(1) == b"e"
        finally:
            relay.close()


# ---- studies behind it


@pytest.mark.slow
def test_200_ms_each_way_change_nothing_but_the_time(live: Live) -> None:
    begun = time.monotonic()
    live.relay.delay = 0.2
    try:
        result = live.trust.job(study := live.begin(ONE)).result()
    finally:
        live.relay.delay = 0.0
    assert time.monotonic() - begun > 4, "the control: it was slow"
    np.testing.assert_array_equal(result["ages"].counts, live.one["ages"].counts)
    live.once(study, live.sums(study))


@pytest.mark.slow
@pytest.mark.parametrize("first", range(20) if FULL else [1])
def test_cut_in_the_middle_of_sums(live: Live, first: int) -> None:
    """Each cut hits whatever is on its way: requests, answers, handshakes, of nodes and of the coordinator."""
    patience(live.folder, 120)
    study, cuts = live.begin(), 0
    for number, size in enumerate(CUTS):
        live.wait_for(lambda n=number: live.sums(study) > n or not live.runs(study))  # type: ignore[misc]
        if live.runs(study):
            cuts += live.relay.cut_and_wait(size + 977 * (first - 1), 60)
    patience(live.folder, PATIENCE)
    assert same(live.trust.job(study).result(), live.several)
    assert cuts >= 3
    live.once(study, live.sums(study))


@pytest.mark.slow
def test_a_silence_that_is_longer_than_a_clients_time(live: Live) -> None:
    """With FULL=1 35 s, where Flower's clients wait for 30: they give up, ask again, and the study goes on."""
    patience(live.folder, 120)
    study = live.begin()
    live.wait_for(lambda: live.sums(study) > 1)
    live.relay.stall()
    try:
        before = live.sums(study)
        time.sleep(35 if FULL else 12)
        assert live.sums(study) <= before + 1, "the control: nothing passes"
    finally:
        live.relay.flow()
        patience(live.folder, PATIENCE)
    assert same(live.trust.job(study).result(), live.several)
    live.once(study, live.sums(study))


@pytest.mark.slow
def test_a_node_that_stands_still_and_goes_on(live: Live) -> None:
    study = live.begin()
    live.wait_for(lambda: live.sums(study) > 1)
    with live.stopped("south"):
        before = live.sums(study)
        time.sleep(4)
        assert live.sums(study) <= before + 1, "the control: no sum without it"
        assert live.trust.docket.find(study).state == "running"
    assert same(live.trust.job(study).result(), live.several)
    live.once(study, live.sums(study))


@pytest.mark.slow
def test_without_a_node_from_the_beginning_the_others_go_on(live: Live) -> None:
    begun = time.monotonic()
    with live.stopped("south"):
        result = live.trust.job(live.begin(OTHERS)).result()
        assert time.monotonic() - begun < 3 * PATIENCE
    assert result.provenance["partners"] == [n for n in live.trust.partners if n != "south"]
    assert live.trust.docket.ids("running") == []


@pytest.mark.slow
def test_without_two_nodes_it_ends_with_a_reason(live: Live) -> None:
    begun = time.monotonic()
    with live.stopped("south"), live.stopped("east"):
        study = live.begin(OTHERS)
        assert live.ended(study, 4 * PATIENCE) == "refused"
        assert time.monotonic() - begun < 4 * PATIENCE
    ended = live.trust.docket.find(study).ended
    assert ended is not None
    assert ended.rule == "organisations"
    assert live.sums(study) == 0, "nothing is opened with fewer than the mandate's partners"


@pytest.mark.slow
def test_a_node_that_is_gone_after_the_start_ends_the_study_after_the_patience(live: Live) -> None:
    study = live.begin()
    live.wait_for(lambda: live.sums(study) > 1)
    with live.stopped("east"):
        begun = time.monotonic()
        assert live.ended(study, 4 * PATIENCE) == "failed"
        assert PATIENCE - 5 < time.monotonic() - begun < 3 * PATIENCE
    ended = live.trust.docket.find(study).ended
    assert ended is not None
    assert live.trust.docket.ids("running") == []
    assert same(live.trust.job(live.begin()).result(), live.several), "it takes part again"
