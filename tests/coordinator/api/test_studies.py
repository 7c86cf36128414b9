"""From the filing of a study to its result over the interface, and everything handed in twice."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support.coordinator_at_work import PARTNERS, CoordinatorAtWork, opened, problem, raw
from tests.support.postgres import new_schema
from trust.dataset.dataset import Dataset
from trust.documents.mandate import SignedMandate
from trust.documents.root import TrustRoot
from trust.errors import Refused
from trust.logs.checkpoint import read_checkpoint, register_origin
from trust.logs.merkle import Entry, check_consistency, check_inclusion, leaf_hash
from trust.signing.envelope import Envelope
from trust.times import now

_DAY = timedelta(days=1)


def name_of(envelope: Envelope) -> str:
    return str(json.loads(envelope.unverified_payload)["id"])


def test_a_study_goes_its_whole_way(world: CoordinatorAtWork) -> None:
    study = world.study()
    filed = world.ask("POST", "/v1/studies", raw(study), by="researcher")
    assert filed.status_code == 201
    document = filed.json()
    assert document["state"] == "filed"
    assert Envelope.read(document["study"]).payload == study.payload
    assert document["number"].startswith(f"{now():%Y}-")
    assert (document["votes"], document["revocations"], document["told"]) == ([], [], "")
    assert "ended" not in document
    name = document["id"]
    for member in world.keys.members:
        mandate = Envelope.read(document["mandate"]).model_copy(update={"signatures": ()}).with_signature(member)
        answer = world.ask("POST", f"/v1/studies/{name}/signatures", raw(mandate), by=member)
        assert answer.status_code == 200
        document = answer.json()
        if document["state"] == "mandated":
            break
    assert document["state"] == "mandated"
    SignedMandate(Envelope.read(document["mandate"]), TrustRoot.chain(world.versions)).require_in_force(now())
    problem(world.ask("GET", f"/v1/studies/{name}/result", by="researcher"), 409, "study-state")
    world.docket.move(name, "running")
    world.docket.notes.write(name, "sum 4 of about 7")
    seen = world.ask("GET", f"/v1/studies/{document['number']}", by="researcher").json()
    assert (seen["state"], seen["told"]) == ("running", "sum 4 of about 7")
    world.docket.released(name, {})
    world.settings.keep_result(name, b'{"the":"bytes"}')
    result = world.ask("GET", f"/v1/studies/{name}/result", by="researcher")
    assert (result.status_code, result.content) == (200, b'{"the":"bytes"}')


def test_a_study_that_is_handed_in_twice_is_answered_as_the_first_time(world: CoordinatorAtWork) -> None:
    body = raw(world.study())
    first = world.ask("POST", "/v1/studies", body, by="researcher")
    second = world.ask("POST", "/v1/studies", body, by="researcher")
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()
    world.filed()
    assert world.ask("POST", "/v1/studies", body, by="researcher").json() == first.json()
    other = raw(world.study(name=first.json()["id"], title="Another"))
    assert problem(world.ask("POST", "/v1/studies", other, by="researcher"), 409)["type"] == "/errors/conflict"


def test_the_charter_refuses_says_what_would_pass_and_the_register_has_it_once(world: CoordinatorAtWork) -> None:
    study = world.study(purpose="Marketing")
    for _ in range(2):
        document = problem(world.ask("POST", "/v1/studies", raw(study), by="researcher"), 403)
        assert document["rule"]
        assert document["text"]
        assert "purpose" in document["explanation"]
    entries = world.send("GET", "/v1/register/entries").json()["entries"]
    assert [e["kind"] for e in entries if e["study"] == name_of(study)] == ["study", "refusal"]
    problem(world.ask("POST", "/v1/studies", raw(world.study(name=name_of(study))), by="researcher"), 409)


def test_a_study_of_another_is_not_filed_for_her(world: CoordinatorAtWork) -> None:
    theirs = world.study(researcher="other", signer=world.other)
    problem(world.ask("POST", "/v1/studies", raw(theirs), by="researcher"), 403, "request-role")
    forged = world.study(researcher="other", signer=world.keys.researcher)
    problem(world.ask("POST", "/v1/studies", raw(forged), by="other researcher"), 403, "signature")
    assert world.ask("POST", "/v1/studies", raw(theirs), by="other researcher").status_code == 201


def test_a_researcher_sees_her_own_studies_and_others_all(world: CoordinatorAtWork) -> None:
    mine = world.filed()
    theirs = world.study(researcher="other", signer=world.other)
    world.ask("POST", "/v1/studies", raw(theirs), by="other researcher")
    seen = {
        role: [one["id"] for one in world.ask("GET", "/v1/studies", by=role).json()["studies"]]
        for role in ("researcher", "other researcher", "member", "partner", "operator", "auditor")
    }
    both = [mine, name_of(theirs)]
    assert seen.pop("researcher") == [mine]
    assert seen.pop("other researcher") == [name_of(theirs)]
    assert all(found == both for found in seen.values())


def ids(world: CoordinatorAtWork, query: str, role: str) -> tuple[list[str], int | None]:
    """A page of the list, and where it goes on."""
    page = world.ask("GET", f"/v1/studies{query}", by=role).json()
    return [one["id"] for one in page["studies"]], page.get("next")


def test_the_list_of_studies_comes_in_pages_that_a_new_study_does_not_shift(world: CoordinatorAtWork) -> None:
    mine, every = [], []
    for _ in range(3):
        theirs = world.docket.file(world.study(researcher="other", signer=world.other)).id
        mine.append(world.filed())
        every += [theirs, mine[-1]]
    assert ids(world, "?limit=6", "member") == (every, None)
    first, after = ids(world, "?limit=2", "member")
    hers, own = ids(world, "?limit=2", "researcher")
    mine.append(world.filed())
    every.append(mine[-1])
    for role, seen, then, expected in (("member", first, after, every), ("researcher", hers, own, mine)):
        while then is not None:
            page, then = ids(world, f"?after={then}&limit=2", role)
            assert 0 < len(page) <= 2
            seen += page
        assert seen == expected
    assert ids(world, f"?after={10**6}", "member") == ([], None)


def test_large_studies_come_one_by_one(world: CoordinatorAtWork, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [world.filed() for _ in range(3)]
    monkeypatch.setattr("coordinator.api.studies._MOST_BYTES", 1)
    seen, then = ids(world, "", "member")
    assert (seen, then) == (names[:1], 1)
    assert ids(world, "?after=2", "member") == (names[2:], None)


def test_signatures_are_of_the_member_who_asks_and_twice_is_once(world: CoordinatorAtWork) -> None:
    name = world.filed()
    first, second, *_ = world.keys.members
    body = raw(world.signature(name, first))
    problem(world.ask("POST", f"/v1/studies/{name}/signatures", body, by=second), 403, "signature")
    answers = [world.ask("POST", f"/v1/studies/{name}/signatures", body, by=first) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json() == answers[1].json()
    other = raw(world.signature(world.filed(), first))
    problem(world.ask("POST", f"/v1/studies/{name}/signatures", other, by=first), 409, "mandate-study")
    world.docket.sign(name, world.signature(name, second))
    world.docket.move(name, "running")
    late = world.ask("POST", f"/v1/studies/{name}/signatures", body, by=first)  # its answer was lost before
    assert (late.status_code, late.json()["state"]) == (200, "running")


def test_votes_and_revocations_twice_are_once(world: CoordinatorAtWork) -> None:
    members = world.keys.members
    name = world.filed()
    vote = raw(world.vote(name, members[2]))
    problem(world.ask("POST", "/v1/votes", vote, by=members[1]), 403, "request-role")
    answers = [world.ask("POST", "/v1/votes", vote, by=members[2]) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json() == answers[1].json()
    assert [one["payload"] for one in answers[0].json()["votes"]] == [json.loads(vote)["payload"]]
    again = raw(world.vote(name, members[2]).model_copy(update={"signatures": ()}))
    problem(world.ask("POST", "/v1/votes", again, by=members[2]), 403, "signature")

    running = world.filed("mandated")
    body = raw(world.revocation(running))
    problem(world.ask("POST", "/v1/revocations", body, by=members[1]), 403, "request-role")
    answers = [world.ask("POST", "/v1/revocations", body, by="member") for _ in range(2)]
    assert [answer.json()["state"] for answer in answers] == ["revoked", "revoked"]
    assert [one["payload"] for one in answers[1].json()["revocations"]] == [json.loads(body)["payload"]]
    other = raw(world.revocation(running, members[1]))
    problem(world.ask("POST", "/v1/revocations", other, by=members[1]), 409, "study-state")


@pytest.mark.parametrize("role", ["researcher", "operator"])
def test_a_study_is_withdrawn_once_and_says_by_whom(world: CoordinatorAtWork, role: str) -> None:
    name = world.filed("running")
    answers = [world.ask("POST", f"/v1/studies/{name}/cancel", by=role) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json() == answers[1].json()
    assert answers[0].json()["state"] == "cancelled"
    ended = answers[0].json()["ended"]
    assert ended["rule"] == "cancelled"
    assert role in ended["text"]
    released = world.filed("released")
    problem(world.ask("POST", f"/v1/studies/{released}/cancel", by=role), 409, "study-state")


def test_no_more_wait_for_the_committee_than_one_researcher_may_have(
    world: CoordinatorAtWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [world.ask("POST", "/v1/studies", raw(world.study()), by="researcher").json()["id"] for _ in range(2)]
    mine = sum(1 for filed in world.docket.studies() if filed.state == "filed" and filed.id in names)
    monkeypatch.setattr("coordinator.api.studies._MOST_WAITING", mine)
    answer = world.ask("POST", "/v1/studies", raw(world.study()), by="researcher")
    assert answer.status_code == 429
    assert "wait for the committee" in answer.text
    world.ask("POST", f"/v1/studies/{names[0]}/cancel", by="researcher")
    assert world.ask("POST", "/v1/studies", raw(world.study()), by="researcher").status_code == 201


# ---- roots


def test_the_next_root_is_in_force_for_every_request_after_it(world: CoordinatorAtWork) -> None:
    assert world.ask("GET", "/v1/status", by="member").status_code == 200
    root = world.next_root()
    answers = [world.ask("POST", "/v1/roots", raw(root), by=role) for role in ("operator", "operator", "member")]
    assert [answer.status_code for answer in answers] == [201, 200, 200]
    assert world.send("GET", "/v1/trust").json()["version"] == 3
    roots = [Envelope.read(one).payload for one in world.send("GET", "/v1/roots").json()]
    assert roots == [one.payload for one in world.versions]
    assert (world.folder / "roots" / "3.json").is_file()
    world.close()  # the same folder, another process
    assert world.send("GET", "/v1/trust").json()["version"] == 3


def test_a_key_that_the_next_root_leaves_out_is_refused_at_once(world: CoordinatorAtWork) -> None:
    gone = world.keys.partners["east"].sign
    assert world.ask("GET", "/v1/studies", by=gone).status_code == 200
    assert world.ask("POST", "/v1/roots", raw(world.next_root(without="east")), by="operator").status_code == 201
    assert "no role" in problem(world.ask("GET", "/v1/studies", by=gone), 403, "request-role")["detail"]


def test_a_root_that_too_few_have_signed_is_refused(world: CoordinatorAtWork) -> None:
    root = world.next_root()
    few = root.model_copy(update={"signatures": root.signatures[:1]})
    problem(world.ask("POST", "/v1/roots", raw(few), by="operator"), 403, "signature")
    skipped = raw(world.next_root())
    problem(world.ask("POST", "/v1/roots", skipped, by="member"), 409, "root-version")
    assert world.send("GET", "/v1/trust").json()["version"] == 2


# ---- what is public


def test_what_is_public_is_what_the_root_names(world: CoordinatorAtWork) -> None:
    root = TrustRoot.chain([Envelope.read(one) for one in world.send("GET", "/v1/roots").json()]).root
    trust = world.send("GET", "/v1/trust").json()
    assert (trust["trust"], trust["version"], trust["charter"]["digest"]) == (root.trust, 2, root.charter)
    assert (trust["url"], trust["nodes"]) == (world.url, "trust.example:9443")
    assert trust["policies"] == dict.fromkeys(PARTNERS)
    dataset = world.send("GET", "/v1/dataset")
    assert Dataset.parse(dataset.text).digest() == trust["dataset"]["digest"]
    files = world.send("GET", "/v1/charter").json()["files"]
    assert {name: text.encode() for name, text in files.items()} == dict(world.docket.trust.charter.files)


def test_a_policy_that_a_partner_publishes_is_shown_and_asked(world: CoordinatorAtWork) -> None:
    folder = world.folder / "policies" / "north"
    folder.mkdir(parents=True)
    (folder / "partner.toml").write_text('name = "north"\nversion = 1\npublished = true\n[floor]\npersons = 500\n')
    shown = world.send("GET", "/v1/trust").json()["policies"]
    assert shown["east"] is None
    assert "persons = 500" in shown["north"]["files"]["partner.toml"]
    document = problem(world.ask("POST", "/v1/studies", raw(world.study()), by="researcher"), 403)
    assert "persons" in document["explanation"]


def test_the_register_can_be_checked_from_outside(world: CoordinatorAtWork) -> None:
    for _ in range(5):
        world.filed()
    keys = TrustRoot.chain(world.versions).root.keys_of("coordinator").values()
    origin = register_origin("local")
    got = world.send("GET", "/v1/register/entries?start=2&limit=3").json()
    assert [e["seq"] for e in got["entries"]] == [2, 3, 4]
    for document in got["entries"]:
        proof = world.send("GET", f"/v1/register/inclusion?index={document['seq']}").json()
        head = read_checkpoint(proof["checkpoint"], origin, keys)
        leaf = leaf_hash(Entry.model_validate(document).canonical())
        check_inclusion(leaf, document["seq"], head.size, [bytes.fromhex(p) for p in proof["proof"]], head.root)
    old = read_checkpoint(world.send("GET", "/v1/register/checkpoint").text, origin, keys)
    assert old.size == got["size"]
    world.filed()
    grown = world.send("GET", f"/v1/register/consistency?old={old.size}").json()
    head = read_checkpoint(grown["checkpoint"], origin, keys)
    proof = [bytes.fromhex(part) for part in grown["proof"]]
    check_consistency(old.size, head.size, old.root, head.root, proof)
    with pytest.raises(Refused):
        check_consistency(old.size, head.size, head.root, old.root, proof)
    assert world.send("GET", f"/v1/register/entries?start={head.size}").json() == {"entries": [], "size": head.size}


def test_large_entries_come_in_parts(world: CoordinatorAtWork) -> None:
    for at in range(9):
        world.docket.publish("sum-record", "large", {"text": f"{at}" * (1 << 19)})
    size = world.send("GET", "/v1/register/entries?limit=1").json()["size"]
    start, seen = 0, []
    while start < size:
        answer = world.send("GET", f"/v1/register/entries?start={start}&limit=1000")
        assert len(answer.content) < 6 << 20
        seen += [e["seq"] for e in answer.json()["entries"]]
        start = seen[-1] + 1
    assert seen == list(range(size))


def test_every_type_of_a_problem_has_its_page(world: CoordinatorAtWork) -> None:
    for path in ("/nothing", "/v1/studies", "/v1/trust?x=1"):
        kind = world.send("GET", path).json()["type"]
        page = world.send("GET", kind)
        assert page.status_code == 200
        assert page.json()["title"]


# ---- status and health


def test_the_status_counts_and_says_what_runs_and_who_is_there(world: CoordinatorAtWork) -> None:
    world.filed()
    running = world.filed("running")
    world.docket.notes.write(running, "sum 1 of about 2")
    told = {"partners": {"east": {"online": True, "since": "2026-11-28T12:00:00Z"}, "north": {"online": False}}}
    world.docket.notes.write("", json.dumps(told))
    status = world.ask("GET", "/v1/status", by="operator").json()
    assert (status["states"]["filed"], status["states"]["running"], status["states"]["failed"]) == (1, 1, 0)
    assert [(one["study"], one["told"]) for one in status["running"]] == [(running, "sum 1 of about 2")]
    assert status["partners"]["east"] == {"online": True, "since": "2026-11-28T12:00:00Z"}
    assert status["partners"]["south"]["online"] == "unknown"
    assert status["register"]["size"] == world.docket.register.head()[0]
    for nonsense in ("{", "[]", '{"partners": 1}', '{"partners": {"east": 1}}'):
        world.docket.notes.write("", nonsense)
        assert world.ask("GET", "/v1/status", by="operator").json()["partners"]["east"]["online"] == "unknown"


def test_readiness_names_what_is_wrong(world: CoordinatorAtWork) -> None:
    def wrong() -> list[str]:
        answer = world.send("GET", "/readyz")
        bad = [one["check"] for one in answer.json() if not one["ok"]]
        assert answer.status_code == (503 if bad else 200)
        assert str(world.folder) not in answer.text
        return bad

    assert wrong() == []
    world.shift = world.settings.days_left(now()) * _DAY
    assert wrong() == ["certificate"]
    world.shift = 400 * _DAY
    assert wrong() == ["trust root", "certificate"]
    world.shift = -2 * _DAY
    assert set(wrong()) == {"trust root", "clock", "certificate"}
    world.shift = 0 * _DAY
    (world.settings.engine / "server.pem").write_text("no certificate")
    assert wrong() == ["certificate"]


# ---- the other database


def test_over_postgresql_it_is_the_same(tmp_path: Path, postgres: str) -> None:
    secret = tmp_path / "database"
    secret.touch(mode=0o600)
    secret.write_text(new_schema(postgres))
    with opened(tmp_path / "coordinator") as world:
        with (world.folder / "coordinator.toml").open("a") as file:
            file.write(f'database = "file:{secret}"\n')
        body = raw(world.study())
        assert [world.ask("POST", "/v1/studies", body, by="researcher").status_code for _ in range(2)] == [201, 200]
        name = world.filed("mandated")
        vote = raw(world.vote(world.filed()))
        answers = [world.ask("POST", "/v1/votes", vote, by="member") for _ in range(2)]
        assert answers[0].json()["votes"] == answers[1].json()["votes"] != []
        assert world.ask("POST", f"/v1/studies/{name}/cancel", by="operator").json()["state"] == "cancelled"
        assert world.ask("GET", "/v1/status", by="operator").json()["states"]["cancelled"] == 1
        assert world.send("GET", "/v1/register/entries?start=1").json()["entries"][0]["seq"] == 1
        assert world.send("GET", "/readyz").status_code == 200
        problem(world.ask("GET", "/v1/studies/none", by="member"), 404)
        every = [filed.id for filed in world.docket.studies()]
        assert ids(world, "?limit=2", "researcher") == (every[:2], 2)
        assert ids(world, "?after=2", "researcher") == (every[2:], None)
