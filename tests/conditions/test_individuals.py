"""Condition: individuals.  Who has opted out is left out of the next study, before anything is counted.

What was released before is not called back.  Two results, before and after one opt-out, cannot be subtracted.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import datatrust as dt
from tests.support.outside_view import rule_of, watched
from tests.support.small_trusts import K, dataset, rows, study
from trust.decision import Decision


def person(partner: str, number: int) -> str:
    """An id that does not come about by chance in bytes that are masked."""
    return f"person-{partner}-{number:03d}"


class Partners:
    """A trust of three; partner a has a list of opt-outs, one id a line."""

    def __init__(self, folder: Path, **local: Any) -> None:
        self.frames = {
            name: rows(60, seed, id=[person(name, i) for i in range(60)]) for seed, name in enumerate("abc", 2)
        }
        self.list = folder / "opt-outs.txt"
        self.list.write_text("")
        sources = {**self.frames, "a": dt.Source(self.frames["a"], opt_out=self.list)}
        self.trust = dt.local(sources, dataset(rows_per_person=2), **local)

    def opt_out(self, persons: int) -> None:
        self.list.write_text("".join(f"{person('a', i)}\n" for i in range(persons)))

    def ask(self, column: str = "x") -> Any:
        return study(self.trust, dt.Describe([column])).run()["a"].to_frame()[column]

    def left(self, column: str, persons: int) -> pd.Series:
        """The pooled values without those who have opted out."""
        return pd.concat([self.frames["a"][column][persons:], self.frames["b"][column], self.frames["c"][column]])


@pytest.fixture
def of(tmp_path: Path) -> Partners:
    return Partners(tmp_path)


@pytest.mark.parametrize("persons", [1, K - 1, K])
def test_the_first_study_after_an_opt_out_is_without_these_persons(of: Partners, persons: int) -> None:
    of.opt_out(persons)
    found = of.ask()
    assert int(found["count"]) == 180 - persons
    assert float(found["sum"]) == pytest.approx(of.left("x", persons).sum(), rel=1e-12)


def test_from_one_study_to_the_next_they_are_gone(of: Partners) -> None:
    assert int(of.ask()["count"]) == 180
    of.opt_out(K)
    after = of.ask()
    assert int(after["count"]) == 180 - K
    assert float(after["sum"]) == pytest.approx(of.left("x", K).sum(), rel=1e-12)


def test_what_was_released_before_is_not_called_back(tmp_path: Path) -> None:
    of = Partners(tmp_path, state=tmp_path / "trust")
    result = study(of.trust, dt.Describe(["x"])).run()
    file = result.save(tmp_path / "result.json")
    before = file.read_bytes()
    of.opt_out(K)
    of.ask()
    kept = tmp_path / "trust" / "results" / f"{result.provenance['study']}.json"
    assert file.read_bytes() == before == kept.read_bytes()
    assert result.verify(of.trust._keys.root).ok
    assert of.trust.job(result.provenance["study"]).state == "released"


@pytest.mark.parametrize("persons", [1, K - 1])
def test_a_pair_of_studies_around_a_few_opt_outs_is_not_answered(of: Partners, persons: int) -> None:
    """The second would tell, subtracted, of those who have opted out."""
    of.ask()
    of.opt_out(persons)
    with watched() as wire:
        assert rule_of(of.ask) != "answered"
    assert wire.sent("a") == ["refusal"]
    assert wire.uploads() == []


def test_without_the_rule_on_differencing_the_pair_tells_their_values(
    of: Partners, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The positive control."""
    monkeypatch.setattr(
        "nodes.study.answered_cohorts.differencing", lambda *_: Decision("differencing", True, "switched off")
    )
    before = of.ask()
    of.opt_out(1)
    found = float(before["sum"]) - float(of.ask()["sum"])
    assert found == pytest.approx(of.frames["a"]["x"][0], abs=1e-6)


def test_nobody_outside_the_partner_is_told_who_has_opted_out(of: Partners) -> None:
    of.opt_out(K)
    with watched() as wire:
        of.ask()
    told = b"".join(wire.everything())
    assert not [i for i in range(K) if person("a", i).encode() in told]
    assert b"opt-outs.txt" not in told
    register = b"".join(entry.canonical() for entry in of.trust.docket.register.entries())
    assert b"opt-outs.txt" not in register


@pytest.mark.parametrize("broken", ["gone", "two fields", "not text"])
def test_a_list_that_cannot_be_read_lets_no_study_run(of: Partners, broken: str) -> None:
    """To go on without it would count persons who have said no."""
    if broken == "gone":
        of.list.unlink()
    else:
        of.list.write_bytes(b"a1,a2\n" if broken == "two fields" else b"\xff\xfe\x00")
    with watched() as wire:
        assert rule_of(of.ask) != "answered"
    assert wire.sent("a") == ["refusal"]
    assert wire.uploads() == []
