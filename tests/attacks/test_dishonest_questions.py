"""A coordinator that asks questions of its own.  Nodes replay the analyses on the totals, and refuse."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

import datatrust as dt
from tests.support.example import contract, number, small_trust
from tests.support.trust_parts import TrustParts
from trust.analyses.base import Ask
from trust.documents.study import plan
from trust.errors import DataTrustError, Refused, StudyInvalid
from trust.protocol.asks import pack_asks, unpack_asks
from trust.times import read_time

DATASET = contract(
    number("x", 0, 100),
    "name: y, logicalType: boolean",
    name="questions",
)


def world() -> TrustParts:
    rng = np.random.default_rng(7)
    frames = {}
    for name in ("a", "b", "c"):
        x = rng.uniform(0, 100, 2_000)
        frames[name] = pd.DataFrame({"x": x, "y": rng.random(2_000) < 1 / (1 + np.exp(2 - x / 30))})
    return TrustParts(small_trust(frames, DATASET))


def written(of: TrustParts, **analyses: Any) -> Any:
    return of.trust.study("questions", purpose="AcademicResearch", analyses=analyses).study


def asking(of: TrustParts, study: Any, r: int, change: Any) -> Any:
    """A change of the asks of sum `r`: `change` gets and returns them."""
    plans = plan(study, of.trust._scope(study))

    def changed(name: str, header: dict[str, Any], body: bytes) -> tuple[dict[str, Any], bytes]:
        if header["kind"] != "ask" or header["r"] != r:
            return header, body
        asks, rest = unpack_asks(header["asks"], body, plans)
        sums, packed = pack_asks(change(asks), plans)
        return {**header, "asks": sums}, packed + rest

    return changed


def rule_of(error: pytest.ExceptionInfo[DataTrustError]) -> str:
    return error.value.rule if isinstance(error.value, Refused) else error.value.code


MODEL = {"m": dt.Glm("y ~ x", family="binomial")}


def test_the_honest_study_is_answered() -> None:
    of = world()
    conducted = of.run(written(of, **MODEL))
    assert conducted.partners == ("a", "b", "c")
    assert all(session.trouble is None for session in of.sessions.values())


def test_coefficients_of_the_coordinators_own_are_refused() -> None:
    of = world()
    study = written(of, **MODEL)

    def steep(asks: Any) -> Any:
        asks["m"].values["beta"][:] += [0.0, 0.25]
        return asks

    def copied(asks: Any) -> Any:
        return steep({n: type(a)(a.sum, {k: np.array(v) for k, v in a.values.items()}) for n, a in asks.items()})

    with pytest.raises(DataTrustError) as error:
        of.run(study, change=asking(of, study, 2, copied))
    assert rule_of(error) == "state-not-derived"
    assert all(session.handle(of.channel.down[-1][1]) for session in of.sessions.values())


def test_a_difference_in_the_last_places_is_tolerated() -> None:
    """The positive control: two machines may round differently."""
    of = world()
    study = written(of, **MODEL)

    def nudged(asks: Any) -> Any:
        return {n: type(a)(a.sum, {k: np.array(v) * (1 + 1e-12) for k, v in a.values.items()}) for n, a in asks.items()}

    with pytest.raises(DataTrustError) as error:  # the conductor of this test expects its own bytes to be answered
        of.run(study, change=asking(of, study, 2, nudged))
    assert rule_of(error) == "transcript-differs"
    assert of.sessions["a"].trouble is None
    assert [s.r for s in of.sessions["a"].egress.sent if s.kind == "upload"] == [0, 1, 2]


def test_quantile_brackets_of_the_coordinators_own_are_refused() -> None:
    of = world()
    study = written(of, q=dt.Quantiles(["x"], [0.5]))
    assert len(of.run(study).records) > 2
    other = world()

    def narrow(asks: Any) -> Any:
        return {
            n: type(a)(a.sum, {k: np.array(v) + 0.001 if v.dtype.kind == "f" else v for k, v in a.values.items()})
            for n, a in asks.items()
        }

    with pytest.raises(DataTrustError) as error:
        other.run(study, change=asking(other, study, 1, narrow))
    assert rule_of(error) == "state-not-derived"


def test_a_sum_asked_again_under_the_next_number_is_refused() -> None:
    of = world()
    study = written(of, **MODEL)
    with pytest.raises(DataTrustError) as error:
        of.run(study, change=asking(of, study, 2, lambda asks: {"m": Ask("start")}))
    assert rule_of(error) == "sum-budget"


def test_two_analyses_that_ask_the_same_are_refused_when_the_study_is_read() -> None:
    """The second would be the first one's question again, and hide a repetition."""
    of = world()
    with pytest.raises(StudyInvalid, match="the same"):
        written(of, one=dt.Describe(["x"]), two=dt.Describe(["x"]))


def test_a_skipped_sum_is_refused() -> None:
    of = world()
    study = written(of, **MODEL)

    def skip(name: str, header: dict[str, Any], body: bytes) -> tuple[dict[str, Any], bytes]:
        return ({**header, "r": 5}, body) if header["kind"] == "ask" and header["r"] == 1 else (header, body)

    with pytest.raises(DataTrustError):
        of.run(study, change=skip)


def test_an_earlier_sum_asked_again_is_refused() -> None:
    of = world()
    study = written(of, **MODEL)

    def back(name: str, header: dict[str, Any], body: bytes) -> tuple[dict[str, Any], bytes]:
        return ({**header, "r": 0}, body) if header["kind"] == "ask" and header["r"] == 2 else (header, body)

    with pytest.raises(DataTrustError) as error:
        of.run(study, change=back)
    assert rule_of(error) in {"sum-conflict", "sum-order"}


def test_totals_that_are_not_those_of_the_uploads_are_refused() -> None:
    of = world()
    study = written(of, **MODEL)

    def forged(name: str, header: dict[str, Any], body: bytes) -> tuple[dict[str, Any], bytes]:
        if "record" in header:
            header = {**header, "record": {**header["record"], "total": "00" * 32}}
        return header, body

    with pytest.raises(DataTrustError) as error:
        of.run(study, change=forged)
    assert rule_of(error) == "record-invalid"


def test_a_question_without_the_totals_that_it_follows_from_is_refused() -> None:
    of = world()
    study = written(of, **MODEL)

    def hidden(name: str, header: dict[str, Any], body: bytes) -> tuple[dict[str, Any], bytes]:
        if "record" not in header:
            return header, body
        plans = plan(study, of.trust._scope(study))
        _, rest = unpack_asks(header["asks"], body, plans)
        bare = {k: v for k, v in header.items() if k not in ("record", "to")}
        return bare, body[: len(body) - len(rest)]

    with pytest.raises(DataTrustError) as error:
        of.run(study, change=hidden)
    assert rule_of(error) == "state-not-derived"


NONE = "sha256:" + 64 * "0"


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        ("study", NONE, "mandate-study"),
        ("dataset", NONE, "mandate-study"),
        ("charter", NONE, "mandate-study"),
        ("expires", "2036-01-01T00:00:00Z", "mandate-study"),
        ("partners", ("a", "b", "c", "d"), "partners-invalid"),
        ("participation", "all", "mandate-partners"),
        ("m", 4, "mandate-partners"),
        ("c", 2, "mandate-partners"),
        ("plan", NONE, "plan"),
        ("sums", 1000, "plan"),
        ("bytes", 10**9, "plan"),
        ("conditions", ("anything",), "plan"),
        ("root", 2, "root-version"),
        ("not_before", "2026-01-01T00:00:00Z", "mandate-study"),
    ],
)
def test_a_mandate_that_does_not_follow_from_the_study_is_refused(field: str, value: Any, rule: str) -> None:
    """Signed by the whole quorum, and still: each node computes every field again."""
    of = world()
    study = written(of, **MODEL)
    answers = of.mandate_answers(study, lambda drafted: drafted.model_copy(update={field: value}))
    assert {answer["kind"] for answer in answers} == {"refusal"}
    assert {answer["rule"] for answer in answers} == {rule}


def test_the_honest_mandate_is_approved() -> None:
    of = world()
    answers = of.mandate_answers(written(of, **MODEL), lambda drafted: drafted)
    assert {answer["kind"] for answer in answers} == {"approval"}


@pytest.mark.parametrize(
    ("when", "rule"),
    [("2028-01-01T00:00:00Z", "root-expired"), ("2020-01-01T00:00:00Z", "root-expired")],
)
def test_out_of_its_time_a_trust_root_is_refused(when: str, rule: str) -> None:
    of = world()
    study = written(of, **MODEL)
    answers = of.mandate_answers(study, lambda drafted: drafted, clock=read_time(when))
    assert {answer["rule"] for answer in answers} == {rule}


def test_after_its_time_a_mandate_is_refused() -> None:
    of = world()
    study = written(of, **MODEL)
    answers = of.mandate_answers(study, lambda drafted: drafted, clock=read_time(study.expires))
    assert {answer["rule"] for answer in answers} == {"mandate-expired"}
    soon = of.mandate_answers(study, lambda drafted: drafted, clock=read_time(study.expires) - timedelta(seconds=1))
    assert {answer["kind"] for answer in soon} == {"approval"}


@pytest.mark.parametrize("what", ["mandate", "root"])
def test_what_expires_between_two_sums_is_refused_at_the_next(what: str) -> None:
    of = world()
    study = written(of, **MODEL)
    ends = read_time(study.expires if what == "mandate" else of.keys.root.root.expires)

    def expire(name: str, header: dict[str, Any], body: bytes) -> tuple[dict[str, Any], bytes]:
        if header["kind"] == "ask" and header["r"] == 2:
            of.clock = ends
        return header, body

    with pytest.raises(Refused) as error:
        of.run(study, change=expire)
    assert error.value.rule in ("mandate-expired", "root-expired")
    assert all([s.r for s in session.egress.sent if s.kind == "upload"] == [0, 1] for session in of.sessions.values())


def test_a_charter_that_is_not_the_roots_is_refused() -> None:
    of = world()
    other = of.trust.charter.model_copy(update={"folder_digest": NONE})
    answers = of.mandate_answers(written(of, **MODEL), lambda drafted: drafted, charter=other)
    assert {answer["rule"] for answer in answers} == {"charter"}


def test_a_mandate_without_its_quorum_is_refused() -> None:
    of = world()
    with pytest.raises(Refused, match="signed by 1 of 3"):
        of.run(written(of, **MODEL), members=1)
