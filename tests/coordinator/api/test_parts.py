"""The parts alone: buckets, nonces, dockets, and what a key is."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import httpx
import pytest

from coordinator.api.access import Directory, Nonces
from coordinator.api.dockets import Dockets
from coordinator.api.limits import TokenBuckets
from coordinator.api.problems import PROBLEMS, Http, problem_of, titles
from coordinator.docket.docket import Docket
from tests.support.coordinator_at_work import CoordinatorAtWork, problem, raw
from trust.errors import Fault, InvalidInput, Refused
from trust.signing.http_signatures import Signed
from trust.times import now


def test_a_bucket_empties_and_fills_again() -> None:
    seconds = 0.0
    buckets = TokenBuckets(3, 0.5, lambda: seconds)
    assert [buckets.take("a") for _ in range(4)] == [0, 0, 0, 2]
    assert buckets.take("b") == 0
    seconds = 2.0
    assert [buckets.take("a") for _ in range(2)] == [0, 2]
    seconds = 1e9
    assert [buckets.take("a") for _ in range(4)] == [0, 0, 0, 2]


def test_names_beyond_what_can_be_remembered_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coordinator.api.limits._MOST_BUCKETS", 2)
    buckets = TokenBuckets(1, 0.001, lambda: 0.0)
    assert [buckets.take(name) for name in ("a", "b", "a", "c")] == [0, 0, 1000, 0]
    assert [buckets.take(name) for name in ("a", "b")] == [1000, 0]  # b was not seen for longest


def test_a_nonce_is_taken_once_and_none_is_forgotten_before_its_time() -> None:
    at = now()
    expires = int(at.timestamp()) + 60
    nonces = Nonces(most=2)
    nonces.take(Signed("a", "1", expires), at)
    with pytest.raises(Refused, match="request-replayed"):
        nonces.take(Signed("a", "1", expires), at)
    nonces.take(Signed("b", "1", expires), at)
    with pytest.raises(Http):  # full: refused rather than forgotten
        nonces.take(Signed("a", "2", expires), at)
    later = at + timedelta(seconds=122)
    nonces.take(Signed("a", "2", expires + 122), later)


def test_a_key_may_be_several_things_and_an_expired_one_is_nothing(world: CoordinatorAtWork) -> None:
    directory = Directory(world.docket.trust.roots)
    coordinator = directory.asker(world.keys.coordinator.key_id, now())
    assert (coordinator.roles, coordinator.sees_all) == ({"operator"}, True)
    late = world.late.key_id
    assert directory.asker(late, world.began).researchers == {"late"}
    with pytest.raises(Refused, match="accreditation is over"):
        directory.asker(late, world.began + timedelta(minutes=1))
    with pytest.raises(Refused, match="no role"):
        directory.asker(world.keys.auditor.key_id, now())


def test_no_more_dockets_than_were_said_and_each_for_one_request_at_a_time(world: CoordinatorAtWork) -> None:
    dockets = Dockets(world.settings.docket, most=2, patience=0.1)

    async def lend() -> None:
        async with dockets.lent() as one, dockets.lent() as two:
            assert one is not two
            with pytest.raises(Fault, match="too busy"):
                async with dockets.lent():
                    pass
        async with dockets.lent() as again:
            assert again in (one, two)

    asyncio.run(lend())
    dockets.close()


def test_a_docket_that_does_not_open_is_tried_again(world: CoordinatorAtWork) -> None:
    broken = [True]

    def open_one() -> Docket:
        if broken:
            broken.pop()
            raise Fault("the disk")
        return world.settings.docket()

    dockets = Dockets(open_one, most=1)
    with pytest.raises(Fault, match="the disk"):
        dockets.take()
    docket = dockets.take()
    assert docket is not None
    assert docket.studies() == []
    dockets.close()


def test_more_requests_at_once_than_there_are_threads_are_all_answered(world: CoordinatorAtWork) -> None:
    """With fewer dockets than threads, and threads than requests, none waits for another for ever."""

    async def many() -> list[int]:
        transport = httpx.ASGITransport(world.app)
        async with httpx.AsyncClient(transport=transport, base_url=world.url) as client:
            answers = await asyncio.gather(*(client.get("/v1/register/entries") for _ in range(120)))
        return [answer.status_code for answer in answers]

    assert asyncio.run(many()) == [200] * 120


def test_another_charter_in_the_newest_root_is_ours_to_mend(
    world: CoordinatorAtWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert world.send("GET", "/v1/trust").status_code == 200

    def other(_: Docket) -> None:
        raise InvalidInput("the charter is not the one that the trust root names")

    monkeypatch.setattr(Docket, "trust", property(other))
    problem(world.send("GET", "/v1/trust"), 503)
    bad = [one["check"] for one in world.send("GET", "/readyz").json() if not one["ok"]]
    assert bad == ["database"]


def test_the_same_study_from_many_at_once_is_filed_once(world: CoordinatorAtWork) -> None:
    body = raw(world.study())
    headers = [world.signed("POST", "/v1/studies", body) | {"Content-Type": "application/json"} for _ in range(8)]

    async def many() -> list[int]:
        transport = httpx.ASGITransport(world.app)
        async with httpx.AsyncClient(transport=transport, base_url=world.url) as client:
            asked = [client.post("/v1/studies", content=body, headers=fields) for fields in headers]
            return [answer.status_code for answer in await asyncio.gather(*asked)]

    assert sorted(asyncio.run(many())) == [200] * 7 + [201]
    assert len(world.docket.studies()) == 1


def test_a_fault_does_not_say_what_only_our_log_may() -> None:
    document = problem_of(Fault("the state in '/srv/secret' cannot be used"))
    assert "secret" not in str(document)
    assert document["status"] == 503
    assert problem_of(Refused("log-corrupt", "the register was changed"))["status"] == 503
    assert set(PROBLEMS) <= set(titles())
    assert not any(title.endswith(".") or "\n" in title or not title for title in titles().values())
