"""Hypothesis strategies of the secure sum."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from trust.secure_sum.fixedpoint import STATISTICS, TINY, FixedPoint

fixed_points = st.sampled_from(
    [STATISTICS, TINY, FixedPoint(2, 40), FixedPoint(3, 60), FixedPoint(5, 0), FixedPoint(4, 130)]
)


@st.composite
def near_ties(draw: st.DrawFn, bits: int) -> int:
    """Integers of up to `bits` - 1 bits and a sign, many of them a last place or less from where rounding turns."""
    length = draw(st.integers(0, bits - 1))
    number = draw(st.integers(0, (1 << length) - 1)) if length else 0
    if length > 54 and draw(st.booleans()):
        head = draw(st.integers(1 << 53, (1 << 54) - 1))  # 53 bits and the one that decides
        number = (head << (length - 54)) + draw(st.sampled_from([-1, 0, 1]))
    return draw(st.sampled_from([1, -1])) * min(number, (1 << (bits - 1)) - 1)


def reals_below(limit: float) -> st.SearchStrategy[float]:
    """Every float64 of magnitude below `limit`: zeros of both signs, subnormals, powers of two."""
    largest = float(np.nextafter(limit, 0))
    powers = st.builds(lambda sign, power: sign * 2.0**power, st.sampled_from([1, -1]), st.integers(-200, 80))
    return st.floats(-largest, largest) | powers.filter(lambda x: abs(x) < limit)
