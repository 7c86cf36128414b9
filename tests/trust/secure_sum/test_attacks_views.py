"""Attacks on the partner set: different views, subsets, colluders that take their own masks off."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest

from tests.support.secure_sum import NOW, Federation, identity, question
from trust.secure_sum.errors import ParametersUnsafe, PartnersInvalid, SumConflict, UploadMissing, UploadSignature
from trust.secure_sum.frames import mask_seed
from trust.secure_sum.masks import add_masks
from trust.secure_sum.messages import Context, Upload
from trust.secure_sum.opening import Opening
from trust.secure_sum.parameters import Parameters, smallest_m


def words(upload: Upload) -> Any:
    return np.frombuffer(upload.body, np.uint64)


def sane(check: int) -> bool:
    """A subset of a handful of partners whose masks cancel has a check number of that size."""
    return check <= 1000


def subsets(vectors: list[Any]) -> list[Any]:
    return [sum(some) for size in range(1, len(vectors) + 1) for some in combinations(vectors, size)]


def test_no_proper_subset_of_honest_uploads_opens_and_all_of_them_do(make: Any) -> None:
    made, asked = make(5), question()
    totals = subsets([words(made.contribute(name, asked)) for name in made.names])
    assert [sane(int(t[-1])) for t in totals].count(True) == 1
    assert totals[-1].tolist() == [5, 10, 15, 5]


def _views(made: Federation, views: dict[str, tuple[str, ...]]) -> list[Any]:
    """Each partner starts from its own view of who approved, and uploads to it."""
    uploads = []
    for name, view in views.items():
        made.parties[name].start([a for a in made.approvals if a.name in view], now=NOW)
        uploads.append(words(made.contribute(name, question(), partners=view)))
    return uploads


def test_a_split_view_opens_nothing(make: Any) -> None:
    made = make(5, start=False)
    names = made.names
    uploads = _views(made, {name: names if place < 2 else names[1:] for place, name in enumerate(names)})
    assert not any(sane(int(total[-1])) for total in subsets(uploads))


def test_cyclic_views_open_nothing(make: Any) -> None:
    made = make(5, start=False)
    names = made.names
    views = {name: tuple(n for n in names if n != names[(place + 2) % 5]) for place, name in enumerate(names)}
    assert not any(sane(int(total[-1])) for total in subsets(_views(made, views)))


def test_a_second_partner_set_for_one_sum_is_a_conflict(make: Any) -> None:
    made, asked = make(5), question()
    made.contribute("p001", asked)
    with pytest.raises(SumConflict):
        made.contribute("p001", asked, partners=made.names[1:])


def _two_totals(n: int, m: int, c: int) -> bool:
    """Whether colluders can complete two partner sets: no honest partner is in both, as it contributes once."""
    everybody = range(n)
    sets = [frozenset(s) for size in range(m, n + 1) for s in combinations(everybody, size)]
    return any(
        one != other and one & other <= set(bad)
        for bad in combinations(everybody, c)
        for one, other in combinations(sets, 2)
    )


@pytest.mark.parametrize("n", [3, 4, 5, 6, 7])
def test_for_every_m_and_c_accepted_no_two_sets_complete_and_at_least_two_honest_are_in_one(n: int) -> None:
    keys = {f"p{i}": identity(i).public_key() for i in range(n)}
    for c in range(1, n):
        for m in range(1, n + 1):
            try:
                Parameters(study="s", mandate=bytes(32), root=bytes(32), partners=keys, m=m, c=c, sums=1)
            except ParametersUnsafe:
                # Positive control: what is refused is refused for one of these reasons.
                assert m < c + 2 or _two_totals(n, m, c), (n, m, c)
                continue
            assert m >= smallest_m(n, c)
            assert m - c >= 2
            assert not _two_totals(n, m, c), (n, m, c)


def test_colluders_that_take_off_every_mask_they_know_get_the_honest_sum_only(make: Any) -> None:
    made, asked = make(6, c=2), question()
    names, honest, colluders = made.names, made.names[:4], made.names[4:]
    known = {bad: dict(made.stores[bad].study("study-1").keys) for bad in colluders}
    numbers = {name: [i + 1, 10 * i, 2**20] for i, name in enumerate(names)}
    uploads = {name: made.contribute(name, asked, numbers[name]) for name in names}
    ctx = made.context(asked).digest
    stripped = []
    for name in honest:
        y = words(uploads[name]).copy()
        add_masks(y, [], [mask_seed(known[bad][name], ctx) for bad in colluders])  # they come later: it added them
        stripped.append(y)
    totals = subsets(stripped)
    assert [sane(int(t[-1])) for t in totals].count(True) == 1
    assert totals[-1].tolist() == [1 + 2 + 3 + 4, 60, 4 * 2**20, 4]


def test_a_subset_with_a_record_of_its_own_does_not_open(make: Any) -> None:
    made, asked = make(5), question()
    uploads = {name: made.contribute(name, asked) for name in made.names}
    fewer = made.names[1:]
    whole = made.context(asked)
    context = Context(whole.transcript, whole.r, whole.plan_digest, fewer)
    opening = Opening(made.parameters, context, asked.layout)
    old = uploads["p001"]
    with pytest.raises(UploadSignature):
        opening.add(Upload(old.transcript, old.r, context.digest, old.name, old.sig, old.body))
    too_few = Context(whole.transcript, whole.r, whole.plan_digest, made.names[:2])
    with pytest.raises(PartnersInvalid):
        Opening(made.parameters, too_few, asked.layout)
    with pytest.raises(UploadMissing, match="p000"):
        Opening(made.parameters, whole, asked.layout).total()
