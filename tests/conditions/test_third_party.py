"""Condition: the third party keeps only results.  What the coordinator sees fits many inputs; it learns the totals.

A coordinator that has every byte of a study cannot tell the partners' true numbers from others with the same total.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest

import datatrust as dt
from tests.support.outside_view import Wire, watched
from tests.support.small_trusts import dataset, rows
from tests.support.trust_parts import TrustParts
from trust.errors import Fault
from trust.protocol.messages import DOWN, UP, unpack
from trust.secure_sum import party

PARTNERS = ("a", "b", "c")
TABLE = {"t": dt.Crosstab("sex", "g")}
"""Counts alone, so that a vector is whole numbers modulo 2^64."""
RANDOM = {
    "E",
    "T",
    "U",
    "ctx",
    "digests",
    "head",
    "sig",
    "sigs",
    "signatures",
    "total",
    "approvals",
    "mandate",
    "study",
}
"""Fields of a header that are keys, signatures, hashes and ids, or what is made of them; new in each study."""


def frames() -> dict[str, pd.DataFrame]:
    return {name: rows(40 + 20 * at, at) for at, name in enumerate(PARTNERS, 1)}


def asked(frames: Mapping[str, pd.DataFrame]) -> tuple[Any, Any, Wire]:
    trust = dt.local(dict(frames), dataset())
    with watched() as wire:
        result = trust.study("a table", purpose="AcademicResearch", analyses=TABLE).run()
    return trust, result, wire


@pytest.fixture(scope="module")
def study() -> tuple[Any, Any, Wire]:
    return asked(frames())


def moved() -> dict[str, pd.DataFrame]:
    """The same persons, dealt out to the partners otherwise."""
    pooled = pd.concat(frames().values(), ignore_index=True)
    pooled = pooled.sample(frac=1, random_state=9).reset_index(drop=True)
    return {"a": pooled[:100], "b": pooled[100:130], "c": pooled[130:]}


def readable(wire: Wire) -> list[Any]:
    """All that the coordinator can read: headers without what is new each time, and how long each body is."""
    messages = []
    for kinds, sent in ((DOWN, wire.down), (UP, wire.up)):
        for name, raw in sent:
            header, body = unpack(raw, kinds)
            messages.append((name, {k: v for k, v in header.items() if k not in RANDOM}, len(body)))
    return messages


def words(trust: Any) -> dict[str, np.ndarray[Any, Any]]:
    """The masked vectors of the last study's only sum, as whole numbers modulo 2^64."""
    (uploads,) = trust.uploads
    return {name: np.frombuffer(body, "<u8") for name, body in uploads.items()}


def true_part(trust: Any, name: str) -> dict[str, int]:
    frame = frames()[name]
    return {f"{s} {g}": int(n) for (s, g), n in frame.groupby(["sex", "g"]).size().items()}


def test_two_trusts_whose_partners_hold_other_numbers_look_the_same(study: tuple[Any, Any, Wire]) -> None:
    """The positive control: the partners' numbers do differ."""
    trust, result, wire = study
    other_trust, other, other_wire = asked(moved())
    assert moved()["a"].groupby(["sex", "g"]).size().to_dict() != frames()["a"].groupby(["sex", "g"]).size().to_dict()
    assert readable(wire) == readable(other_wire)
    assert json.dumps(result["t"].to_dict()["values"]) == json.dumps(other["t"].to_dict()["values"])
    assert {name: part.shape for name, part in words(trust).items()} == {
        name: part.shape for name, part in words(other_trust).items()
    }


@pytest.mark.parametrize("seed", range(5))
def test_any_other_numbers_with_the_same_total_explain_every_byte_as_well(
    study: tuple[Any, Any, Wire], seed: int
) -> None:
    """For each choice of two partners' numbers there are pads, one for each pair, that give these very uploads."""
    seen = words(study[0])
    total = seen["a"] + seen["b"] + seen["c"]
    rng = np.random.default_rng(seed)
    claimed = {name: rng.integers(0, 1000, total.shape, dtype=np.uint64) for name in ("a", "b")}
    if seed == 0:
        claimed["a"] = np.zeros_like(total)  # that a partner has nobody at all
    claimed["c"] = total - claimed["a"] - claimed["b"]
    pad_ab = rng.integers(0, 2**64, total.shape, dtype=np.uint64)
    pad_ac = seen["a"] - claimed["a"] - pad_ab
    pad_bc = seen["b"] - claimed["b"] + pad_ab
    assert (claimed["a"] + pad_ab + pad_ac == seen["a"]).all()
    assert (claimed["b"] - pad_ab + pad_bc == seen["b"]).all()
    assert (claimed["c"] - pad_ac - pad_bc == seen["c"]).all()


def test_one_partners_vector_is_noise_to_whoever_sees_it(study: tuple[Any, Any, Wire]) -> None:
    """A count is below 2^20; a masked word is anywhere below 2^64."""
    for name, part in words(study[0]).items():
        assert not set(true_part(study[0], name).values()) & set(part.tolist())
        assert (part > 2**40).sum() >= part.size - 2
    assert int((words(study[0])["a"] + words(study[0])["b"] + words(study[0])["c"]).max()) < 2**20


def test_without_the_masks_the_same_reading_tells_every_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """The positive control."""
    monkeypatch.setattr(party, "add_masks", lambda *_, **__: None)
    trust, _, _ = asked(frames())
    for name, part in words(trust).items():
        assert set(true_part(trust, name).values()) <= set(part.tolist())


def test_all_vectors_but_one_open_nothing(study: tuple[Any, Any, Wire]) -> None:
    """Only the sum over every partner of the set is a table of counts."""
    seen = words(study[0])
    for left_out in PARTNERS:
        part = sum((seen[name] for name in PARTNERS if name != left_out), np.zeros_like(seen["a"]))
        assert (part > 2**40).sum() >= part.size - 2


def test_a_partner_that_does_not_answer_leaves_the_coordinator_with_noise() -> None:
    of = TrustParts(dt.local(frames(), dataset()))
    written = of.trust.study("a table", purpose="AcademicResearch", analyses=TABLE).study
    with pytest.raises(Fault, match="'c' did not answer"):
        of.run(
            written,
            change=lambda name, header, body: None if (name, header["kind"]) == ("c", "ask") else (header, body),
        )
    bodies = [np.frombuffer(body, "<u8") for _, raw in of.channel.up for header, body in [unpack(raw, UP)] if body]
    assert len(bodies) == 2
    assert ((bodies[0] + bodies[1]) > 2**40).sum() >= bodies[0].size - 2
