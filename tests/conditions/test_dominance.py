"""Condition: dominance.  No person makes up more than 85 % of a partner's sum of a business figure."""

from __future__ import annotations

from typing import Any

import pytest

import datatrust as dt
from tests.support.outside_view import rule_of, watched
from tests.support.small_trusts import absent, rows, study, trust
from trust.protocol.messages import UP, unpack

SMALL = 20


def with_one(share: float, sign: float = 1.0, column: str = "money") -> Any:
    """A trust of four, at whose partner d one person of 21 holds this share of the total of 1,000."""
    others = (1000 - 10 * share) / SMALL
    amounts = [sign * 10 * share] + [others] * SMALL
    frame = rows(SMALL + 1, money=[10.0] * (SMALL + 1), plain=[10.0] * (SMALL + 1))
    frame[column] = amounts
    return trust({name: rows(60, seed) for seed, name in enumerate("abc", 2)} | {"d": frame})


@pytest.mark.parametrize(("share", "missing"), [(84.9, {}), (85, {}), (85.1, {"d": "dominance"})])
def test_a_person_with_more_than_85_per_cent_keeps_a_partner_out(share: float, missing: dict[str, str]) -> None:
    assert absent(with_one(share), dt.Describe(["money"])) == missing


@pytest.mark.parametrize(("share", "missing"), [(84.9, {}), (85, {}), (85.1, {"d": "dominance"})])
def test_a_negative_amount_counts_with_its_size(share: float, missing: dict[str, str]) -> None:
    """A loss of 851 beside gains of 149: its share of the plain sum would be no share at all."""
    assert absent(with_one(share, sign=-1.0), dt.Describe(["money"])) == missing


def test_gains_and_losses_that_cancel_do_not_hide_a_large_one() -> None:
    amounts = [860.0, *[-7.0] * SMALL]
    frame = rows(SMALL + 1, money=amounts)
    of = trust({name: rows(60, seed) for seed, name in enumerate("abc", 2)} | {"d": frame})
    assert absent(of, dt.Describe(["money"])) == {"d": "dominance"}


@pytest.mark.parametrize("share", [85.1, 99.9])
def test_the_partner_sends_its_refusal_and_not_how_much(share: float) -> None:
    of = with_one(share)
    with watched() as wire:
        study(of, dt.Describe(["money"])).run()
    assert wire.sent("d") == ["refusal"]
    (header,) = [unpack(raw, UP)[0] for name, raw in wire.up if name == "d"]
    assert header["text"] == "no person makes up more than 85 % of a partner's sum of 'money'"
    assert set(header) == {"kind", "name", "rule", "text", "remedy", "sig", "v"}


def test_a_column_that_is_no_business_figure_is_not_judged() -> None:
    """The positive control: the same numbers, not marked as a magnitude."""
    assert absent(with_one(85.1, column="plain"), dt.Describe(["plain"])) == {}


def test_a_study_cannot_ask_for_a_laxer_share() -> None:
    lax = study(with_one(85.1), dt.Describe(["money"]), protections={"dominance_percent": 86})
    assert rule_of(lax.run) == "floor/dominance_percent"
