"""Whatever comes from outside ends in one of our errors, or is what it seems: 1,000 inputs for each decoder and parser.

Size and nesting are bounded before anything is built, so each input is also quick.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datatrust.research.formulas import parse_formula
from tests.conftest import DATA
from tests.support import strategies as our
from trust.analyses.base import Ask, Block, Sum
from trust.canonical import canonical, parse
from trust.charters.charter import Charter
from trust.dataset.cohort import Cohort
from trust.dataset.dataset import Dataset
from trust.dataset.expressions import parse_expression
from trust.documents.mandate import Mandate
from trust.documents.root import Root, TrustRoot
from trust.documents.study import Study
from trust.errors import DataTrustError
from trust.protocol.asks import pack_asks, unpack_arrays, unpack_asks
from trust.protocol.messages import DOWN, UP, pack, unpack
from trust.secure_sum import Layout, Record, Upload
from trust.signing.envelope import Envelope, Signer, sign, signers_of

many = settings(max_examples=1_000, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
HEART = Dataset.load(DATA / "heart.yaml")
HEART_TEXT = (DATA / "heart.yaml").read_text()
STUDY: dict[str, Any] = {
    "schema": "datatrust/study/1",
    "id": "s-abcd",
    "title": "t",
    "summary": {"en": "t"},
    "purpose": "AcademicResearch",
    "researcher": "r",
    "dataset": "heart",
    "dataset_digest": HEART.digest(),
    "cohort": "age > 1",
    "analyses": {
        "table": {"kind": "describe", "columns": ["age"], "by": ["sex"]},
        "risk": {
            "kind": "glm",
            "outcome": {"column": "disease"},
            "terms": [[{"column": "age"}], [{"function": "log", "of": {"column": "age"}}]],
            "link": "logit",
            "family": "binomial",
        },
    },
    "protections": {},
    "not_before": "2026-01-01T00:00:00Z",
    "expires": "2026-02-01T00:00:00Z",
}
HASH = "sha256:" + 64 * "0"
MANDATE: dict[str, Any] = {
    "id": "2026-0001", "study": HASH, "plan": HASH, "dataset": HASH, "charter": HASH, "root": 1,
    "partners": ["a", "b", "c"], "participation": "joined", "m": 3, "c": 1, "sums": 4, "bytes": 100,
    "not_before": "2026-01-01T00:00:00Z", "expires": "2026-02-01T00:00:00Z",
}  # fmt: skip
SIGNER = Signer()
OTHER = Signer()


def only_ours(read: Callable[[], Any]) -> Any:
    """What was read, or None where one of our errors said why not; anything else fails the test."""
    try:
        return read()
    except DataTrustError:
        return None


@many
@given(
    st.one_of(st.binary(max_size=300), our.wellformed(our.json_values), our.mutated(our.wellformed(our.json_values)))
)
def test_canonical_json(raw: bytes) -> None:
    value = only_ours(lambda: parse(raw))
    if value is not None:
        assert canonical(value) == raw


@many
@given(our.canonical_values)
def test_canonical_json_reads_back(value: Any) -> None:
    assert parse(canonical(value)) == value


def test_canonical_json_is_bounded_before_it_is_built() -> None:
    for raw in (b"[" * 10_000_000, b'{"a":' * 500_000, b'"' + b"a" * 2_000_000 + b'"', b'["' * 400_000):
        assert only_ours(lambda raw=raw: parse(raw)) is None


@many
@given(st.one_of(our.messages, our.mutated(our.messages)), st.sampled_from([DOWN, UP]))
def test_messages(raw: bytes, kinds: frozenset[str]) -> None:
    found = only_ours(lambda: unpack(raw, kinds))
    if found is not None:
        header, body = found
        assert pack(header, body) == raw


BLOCKS = (Block("n", (), "count"), Block("x", (2,)), Block("y", (1, 2)))
PLANS = {"a": {"s": Sum(gives=BLOCKS, takes=BLOCKS), "t": Sum(gives=BLOCKS)}, "b": {"s": Sum(gives=BLOCKS)}}


@many
@given(st.one_of(st.binary(min_size=40, max_size=40), st.binary(max_size=60)))
def test_arrays(raw: bytes) -> None:
    found = only_ours(lambda: unpack_arrays(BLOCKS, raw))
    if found is not None:
        assert len(raw) == 40
        assert all(np.isfinite(array).all() for array in found.values())


@many
@given(
    st.one_of(our.canonical_values, st.dictionaries(st.sampled_from("abc"), st.sampled_from("stu"), max_size=3)),
    st.binary(max_size=90),
)
def test_questions(names: Any, raw: bytes) -> None:
    found = only_ours(lambda: unpack_asks(names, raw, PLANS))
    if found is not None:
        asks, rest = found
        sums, packed = pack_asks(asks, PLANS)
        assert sums == names
        assert packed + rest == raw


def test_a_question_reads_back() -> None:
    values = {"n": np.array(3), "x": np.array([0.5, -1.0]), "y": np.array([[1e300, -0.0]])}
    sums, raw = pack_asks({"a": Ask("s", values), "b": Ask("s")}, PLANS)
    asks, rest = unpack_asks(sums, raw, PLANS)
    assert rest == b""
    assert all(np.array_equal(asks["a"].values[name], array) for name, array in values.items())


@many
@given(
    st.one_of(
        our.yaml_soup,
        st.text(max_size=80),
        our.odcs_values.map(lambda value: yaml.safe_dump(value)),
        our.changed(st.just(yaml.safe_load(HEART_TEXT))).map(lambda value: yaml.safe_dump(value)),
        our.mutated(st.just(HEART_TEXT.encode())).map(lambda raw: raw.decode("utf-8", "replace")),
    )
)
def test_datasets(text: str) -> None:
    found = only_ours(lambda: Dataset.parse(text))
    if found is not None:
        assert Dataset.parse(found.to_yaml()) == found


@many
@given(st.one_of(our.cohorts, our.word_soup, st.text(max_size=60)))
def test_cohorts(text: str) -> None:
    found = only_ours(lambda: Cohort.parse(text, HEART))
    if found is not None:
        again = Cohort.parse(found.text, HEART)
        assert (again.text, again.columns) == (found.text, found.columns)


@many
@given(our.expressions)
def test_expressions(text: str) -> None:
    found = only_ours(lambda: parse_expression(text, HEART))
    if found is not None:
        assert parse_expression(found.text(), HEART) == found


@many
@given(our.formulas)
def test_formulas(text: str) -> None:
    only_ours(lambda: parse_formula(text, HEART))


@many
@given(
    st.one_of(
        st.binary(max_size=100),
        our.wellformed(our.changed(st.just(STUDY))),
        our.mutated(st.just(canonical(STUDY))),
    )
)
def test_studies(raw: bytes) -> None:
    found = only_ours(lambda: Study.read(raw))
    if found is not None:
        assert Study.read(found.canonical()) == found


@many
@given(st.one_of(our.wellformed(our.changed(st.just(MANDATE))), our.mutated(st.just(canonical(MANDATE)))))
def test_mandates_and_their_envelopes(raw: bytes) -> None:
    """A mandate is only ever read out of an envelope whose signatures count."""
    value = only_ours(lambda: parse(raw))
    if not isinstance(value, dict):
        return
    envelope = sign("mandate", value, SIGNER)
    assert signers_of("mandate", envelope, {SIGNER.key_id: SIGNER.public})
    try:
        Mandate.model_validate(value)
    except ValueError:
        return


@many
@given(st.one_of(our.json_values, our.changed(st.just(sign("study", STUDY, SIGNER).document()))))
def test_envelopes(value: Any) -> None:
    found = only_ours(lambda: Envelope.read(value))
    if found is not None:
        only_ours(lambda: signers_of("study", found, {SIGNER.key_id: SIGNER.public}))
        only_ours(lambda: TrustRoot.founding(found))


ROOT: dict[str, Any] = {
    "schema": "datatrust/root/1",
    "trust": "t",
    "version": 1,
    "issued": "2026-01-01T00:00:00Z",
    "expires": "2027-01-01T00:00:00Z",
    "charter": HASH,
    "keys": {signer.key_id: signer.public.hex() for signer in (SIGNER, OTHER)},
    "roles": {
        role: {"keys": [(OTHER if role == "coordinator" else SIGNER).key_id], "threshold": 1}
        for role in ("root", "committee", "coordinator", "auditor")
    },
    "partners": {"a": {"sign": SIGNER.public.hex(), "seal": SIGNER.public.hex()}},
    "researchers": {},
}


@many
@given(st.one_of(our.wellformed(our.changed(st.just(ROOT))), our.mutated(st.just(canonical(ROOT)))))
def test_roots(raw: bytes) -> None:
    only_ours(lambda: TrustRoot(raw))


def test_a_root_reads_back() -> None:
    assert TrustRoot(canonical(ROOT)).root == Root.model_validate(ROOT)


RECORD: dict[str, Any] = {
    "schema": "datatrust/sum-record/1", "T": 64 * "0", "r": 0, "plan_digest": 64 * "1", "U": ["a", "b"],
    "digests": [64 * "2"] * 2, "signatures": [128 * "3"] * 2, "total": 64 * "4", "sig": 128 * "5",
}  # fmt: skip
UPLOAD = {"kind": "upload", "v": 1, "T": 64 * "0", "r": 0, "ctx": 64 * "1", "name": "a", "sig": 128 * "2"}


@many
@given(st.one_of(our.json_values, our.changed(st.just(RECORD))))
def test_sum_records(value: Any) -> None:
    found = only_ours(lambda: Record.parse(value))
    if found is not None:
        assert found.document() == value


@many
@given(st.one_of(our.json_values, our.changed(st.just(UPLOAD))), st.binary(max_size=32))
def test_uploads(header: Any, body: bytes) -> None:
    layout = Layout("u64", 1)
    for words in (body, bytes(16)):
        found = only_ours(lambda words=words: Upload.parse(header, words, layout))
        if found is not None:
            assert found.header() == header


@pytest.fixture(scope="module")
def charter_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("charter")


READY = Path(__file__).parents[1] / "trust" / "charters" / "research"
CHARTER = (READY / "charter.toml").read_bytes()
PURPOSES = (READY / "purposes.toml").read_bytes()


@many
@given(
    st.one_of(our.toml_soup.map(str.encode), our.mutated(st.just(CHARTER)), st.binary(max_size=60)),
    st.one_of(st.just(PURPOSES), our.toml_soup.map(str.encode), our.mutated(st.just(PURPOSES))),
)
def test_charters(charter_folder: Path, charter: bytes, purposes: bytes) -> None:
    (charter_folder / "charter.toml").write_bytes(charter)
    (charter_folder / "purposes.toml").write_bytes(purposes)
    only_ours(lambda: Charter.load(charter_folder))


def test_json_values_of_the_strategies_are_json() -> None:
    """The strategies are worth something only if they make what they say."""
    assert json.loads(json.dumps(STUDY)) == STUDY
