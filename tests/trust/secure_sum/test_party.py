"""A node's half: the order of its checks, and that nothing leaves before they pass."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.support.secure_sum import COORDINATOR, NOW, no, question, vector, yes
from trust.errors import Refused
from trust.secure_sum.encoding import Layout
from trust.secure_sum.errors import (
    AlreadyStarted,
    ApprovalSet,
    NotAvailable,
    PartnersInvalid,
    QuestionRepeated,
    RecordInvalid,
    StudyClosed,
    SumBudget,
    SumConflict,
    SumOrder,
    UploadShape,
)
from trust.secure_sum.party import Party
from trust.secure_sum.question import AnalysisAsk, Question


def never() -> Any:
    raise AssertionError("computed before the checks had passed")


def opened(made: Any, asked: Question, uploads: Any) -> list[int]:
    opening = made.opening(asked)
    for upload in uploads:
        opening.add(upload)
    return [int(v) for v in opening.total().view(np.int64)[0]]


def test_three_partners_add_and_only_the_total_is_opened(make: Any) -> None:
    made, asked = make(3), question()
    uploads = [made.contribute(name, asked, [i + 1, -5, 2**40]) for i, name in enumerate(made.names)]
    assert opened(made, asked, uploads) == [6, -15, 3 * 2**40, 3]


def test_joined_starts_without_those_who_did_not_approve_and_all_does_not(make: Any) -> None:
    joined = make(5, m=4, start=False)
    there = [a for a in joined.approvals if a.name != "p002"]
    for name in ("p000", "p001", "p003", "p004"):
        joined.parties[name].start(there, now=NOW)
    partners = tuple(a.name for a in there)
    assert joined.contribute("p000", question(), partners=partners).name == "p000"
    everybody = make(5, m=4, participation="all", start=False)
    with pytest.raises(ApprovalSet):
        everybody.parties["p000"].start([a for a in everybody.approvals if a.name != "p002"], now=NOW)
    everybody.start()


def test_an_approval_may_be_repeated_until_the_start_and_is_the_same(make: Any) -> None:
    made = make(3, start=False)
    assert made.parties["p000"].approve(yes, now=NOW) == made.approvals[0]
    made.start()
    with pytest.raises(AlreadyStarted):
        made.parties["p000"].approve(yes, now=NOW)


def test_a_gate_that_says_no_or_says_nothing_refuses_everywhere_and_first(make: Any) -> None:
    made, asked = make(3), question(r=99)  # over budget too: the gate comes first
    for gate in (no, list):
        with pytest.raises(Refused):
            made.parties["p000"].approve(gate, now=NOW)
        with pytest.raises(Refused):
            made.contribute("p000", asked, gate=gate, compute=never)


def test_a_mandate_that_expires_between_start_and_contribute_refuses_a_resend_too(make: Any) -> None:
    made, asked = make(3), question()
    made.contribute("p000", asked)
    with pytest.raises(Refused, match="expired"):
        made.contribute("p000", asked, gate=no)


def test_the_same_request_gets_the_stored_bytes_and_computes_nothing(make: Any) -> None:
    made, asked = make(3), question()
    first = made.contribute("p000", asked)
    again = made.contribute("p000", asked, compute=never)
    assert (bytes(again.body), again.sig, again.ctx) == (bytes(first.body), first.sig, first.ctx)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ("another plan on the same sum", SumConflict),
        ("another state on the same sum", SumConflict),
        ("other partners on the same sum", SumConflict),
        ("the same question under a new sum", QuestionRepeated),
        ("a sum that went by", SumOrder),
        ("a sum over the budget", SumBudget),
        ("a negative sum", SumOrder),
    ],
)
def test_after_sum_3(make: Any, change: str, error: type[Exception]) -> None:
    made = make(5)
    values = {"beta": np.array([0.5])}
    made.contribute("p000", question(3, values=values), replay=lambda: {"risk": values})
    other = {"beta": np.array([0.25])}
    asked, partners = {
        "another plan on the same sum": (question(3, b'{"q":2}', values=values), made.names),
        "another state on the same sum": (question(3, values=other), made.names),
        "other partners on the same sum": (question(3, values=values), made.names[:-1]),
        "the same question under a new sum": (question(4, values=values), made.names),
        "a sum that went by": (question(2, b'{"q":2}'), made.names),
        "a sum over the budget": (question(8, b'{"q":2}'), made.names),
        "a negative sum": (question(-1, b'{"q":2}'), made.names),
    }[change]
    with pytest.raises(error):
        made.contribute("p000", asked, partners=partners, replay=lambda: {"risk": values}, compute=never)


@pytest.mark.parametrize(
    "partners",
    [
        ("p001", "p000", "p002", "p003", "p004"),
        ("p000", "p000", "p001", "p002", "p003", "p004"),
        ("p001", "p002", "p003", "p004"),
        ("p000", "p001", "p002", "p003"),
        ("p000", "p001", "p002", "p003", "p004", "p005"),
        ("p000", "p001", "p002", "p003", "P004"),
        ("p000", "p001"),
        (),
    ],
)
def test_a_partner_set_other_than_the_one_of_the_start_is_refused(make: Any, partners: tuple[str, ...]) -> None:
    with pytest.raises(PartnersInvalid):
        make(5).contribute("p000", question(), partners=partners, compute=never)


def test_a_repetition_is_found_inside_a_sum_of_several_analyses(make: Any) -> None:
    made, layout = make(3), Layout("u64", 3)
    risk, table, other = (
        AnalysisAsk("risk", "step", b"1"),
        AnalysisAsk("table", "moments", b"2"),
        AnalysisAsk("other", "step", b"3"),
    )
    made.contribute("p000", Question.of(0, [risk, table], layout))
    with pytest.raises(QuestionRepeated, match="table/moments"):
        made.contribute("p000", Question.of(1, [table, other], layout), compute=never)
    assert made.contribute("p000", Question.of(1, [other], layout)).r == 1


def test_another_study_may_repeat_a_question_to_the_same_partners_only(make: Any, tmp_path: Any) -> None:
    first = make(5, folder=tmp_path / "shared")
    first.contribute("p000", question())
    same = make(5, folder=tmp_path / "shared", study="study-2")
    assert same.contribute("p000", question()).r == 0
    fewer = make(5, folder=tmp_path / "shared", study="study-3", start=False)
    for name in first.names[:4]:
        fewer.parties[name].start(fewer.approvals[:4], now=NOW)
    with pytest.raises(QuestionRepeated, match="another study"):
        fewer.contribute("p000", question(), partners=first.names[:4], compute=never)


def test_steps_before_approval_before_start_and_after_close_are_out_of_order(make: Any) -> None:
    made = make(3, start=False)
    with pytest.raises(SumOrder):
        made.contribute("p000", question(), compute=never)
    made.start()
    with pytest.raises(AlreadyStarted):
        made.parties["p000"].start(made.approvals, now=NOW)
    made.contribute("p000", question())
    made.parties["p000"].close("revoked", now=NOW)
    made.parties["p000"].close("revoked", now=NOW)
    for step in (
        lambda: made.contribute("p000", question(), compute=never),
        lambda: made.parties["p000"].start(made.approvals, now=NOW),
        lambda: made.parties["p000"].approve(yes, now=NOW),
    ):
        with pytest.raises(StudyClosed):
            step()


def test_a_party_of_another_mandate_does_not_take_over_a_study(make: Any, tmp_path: Any) -> None:
    make(3, folder=tmp_path / "shared")
    with pytest.raises(AlreadyStarted, match="another mandate"):
        make(3, folder=tmp_path / "shared", mandate=bytes(32))


def test_a_party_needs_the_identity_key_that_is_pinned(make: Any) -> None:
    made = make(3)
    for name, key in (("p000", made.identities["p001"]), ("p999", made.identities["p000"])):
        with pytest.raises(PartnersInvalid):
            Party(made.parameters, name, key, made.stores["p000"])


@pytest.mark.parametrize("wrong", ["shape", "word", "check number", "gaps"])
def test_a_vector_that_is_not_the_plan_s_is_not_sent(make: Any, wrong: str) -> None:
    asked = question()
    words = vector([1, 2, 3], asked.layout)
    bad = {
        "shape": words[:, 1:].copy(),
        "word": words.astype(np.uint32),
        "check number": np.where(np.arange(4) == 3, 2, words).astype(np.uint64),
        "gaps": np.repeat(words, 2, axis=1)[:, ::2],
    }[wrong]
    with pytest.raises(UploadShape):
        make(3).contribute("p000", asked, compute=lambda: bad)


def test_what_compute_raises_leaves_the_sum_open(make: Any) -> None:
    made, asked = make(3), question()
    with pytest.raises(AssertionError):
        made.contribute("p000", asked, compute=never)
    uploads = [made.contribute(name, asked) for name in made.names]
    assert opened(made, asked, uploads) == [3, 6, 9, 3]


def test_skipped_sums_are_ratcheted_over_and_cancel_all_the_same(make: Any) -> None:
    made = make(4)
    for r, plan in ((2, b"1"), (3, b"2"), (7, b"3")):
        asked = question(r, plan)
        assert opened(made, asked, [made.contribute(name, asked) for name in made.names]) == [4, 8, 12, 4]


def test_a_settled_upload_is_deleted_and_its_sum_stays_closed(make: Any) -> None:
    made, asked = make(3), question()
    opening = made.opening(asked)
    for name in made.names:
        opening.add(made.contribute(name, asked))
    record, _ = opening.record(COORDINATOR)
    party, folder = made.parties["p000"], made.stores["p000"]._uploads
    assert len(list(folder.iterdir())) == 1
    party.settle(record, COORDINATOR.public_key(), now=NOW)
    assert not list(folder.iterdir())
    with pytest.raises(NotAvailable):
        made.contribute("p000", asked, compute=never)
    with pytest.raises(SumConflict):
        made.contribute("p000", question(0, b"other"), compute=never)


def test_a_record_of_a_sum_without_me_is_refused(make: Any) -> None:
    made, asked = make(3), question()
    opening = made.opening(asked)
    for name in made.names:
        opening.add(made.contribute(name, asked))
    record, _ = opening.record(COORDINATOR)
    with pytest.raises(RecordInvalid):
        make(3).parties["p000"].settle(record, COORDINATOR.public_key(), now=NOW)
