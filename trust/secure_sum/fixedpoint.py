"""Reals as integers over 2^frac, in 52-bit limbs: sums of them are exact.  docs/protocol.md, 6.

A total is the float64 nearest the exact sum of what the nodes encoded, whatever the order of adding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from trust.secure_sum.errors import ValueNotFinite, ValueOutOfRange
from trust.secure_sum.masks import LIMB_BITS, carry, keystream

__all__ = [
    "STATISTICS",
    "TINY",
    "FixedPoint",
    "decode_integers",
    "decode_reals",
    "encode_integers",
    "encode_reals",
    "fill",
]

_LIMB: Final = (1 << LIMB_BITS) - 1
_HEADROOM: Final = 11
"""Bits kept free at the top: a sign, and 10 for n <= 1000 partners."""
_COLUMNS: Final = 1 << 13
"""Columns at a time, so that every intermediate array stays in the cache."""
_EXPONENT: Final = 1075
"""A float64 with biased exponent E > 0 has its last place at 2^(E - 1075)."""


@dataclass(frozen=True)
class FixedPoint:
    """Numbers modulo 2^(52 limbs) in units of 2^-fraction; |x| < 2^(52 limbs - fraction - 11).

    Terms whose last place is at least 2^-fraction are exact, smaller ones are rounded to it.
    """

    limbs: int = 4
    fraction: int = 104

    def __post_init__(self) -> None:
        if not 2 <= self.limbs <= 16 or not 0 <= self.fraction <= min(self.bits - _HEADROOM - 1, 900):
            raise ValueError("a fixed point outside 2 to 16 limbs, or with no room above its fraction")

    @property
    def bits(self) -> int:
        """Length of a number in bits."""
        return LIMB_BITS * self.limbs

    @property
    def limit(self) -> float:
        """Every |x| is below this power of two, so that 1,000 of them never wrap."""
        return 2.0 ** (self.bits - self.fraction - _HEADROOM)


STATISTICS: Final = FixedPoint(4, 104)
"""|x| < 2^93, terms from 2^-52 up exact."""
TINY: Final = FixedPoint(6, 182)
"""|x| < 2^119, terms from 2^-130 up exact: for blocks whose sums are near 1e-20."""


def encode_reals(
    x: npt.NDArray[Any], out: npt.NDArray[np.uint64], fixed: FixedPoint = STATISTICS, *, name: str, key: bytes | None
) -> None:
    """Write reals `x` (k,) as canonical limbs into `out` (limbs, k), rounded to the nearest unit, ties to even.

    `key`, 32 random bytes used once, fills the bits below each number's last place (`fill`); None, for vectors and
    tests only, leaves them zero.  `name` is the block's, for the message.  Raises: ValueNotFinite, ValueOutOfRange.
    """
    x = np.ascontiguousarray(x, np.float64)
    if not np.isfinite(x).all():
        raise ValueNotFinite(f"block {name}: NaN or infinity", expected="finite numbers")
    if not (np.abs(x) < fixed.limit).all():
        raise ValueOutOfRange(f"block {name}: a number too large", expected=f"magnitudes below {fixed.limit:.0e}")
    signed_words = out.view(np.int64)
    with np.errstate(under="ignore"):
        for low in range(0, x.size, _COLUMNS):
            rest = x[low : low + _COLUMNS].copy()
            for limb in range(fixed.limbs - 1, 0, -1):
                # Scaling by a power of two is exact, and so is taking the leading bits away.
                head = np.trunc(rest * 2.0 ** (fixed.fraction - LIMB_BITS * limb))
                rest -= head * 2.0 ** (LIMB_BITS * limb - fixed.fraction)
                signed_words[limb, low : low + _COLUMNS] = head
            signed_words[0, low : low + _COLUMNS] = np.rint(rest * 2.0**fixed.fraction)
    if key is not None:
        for limb, low_bits in enumerate(fill(x, key, fixed)):
            signed_words[limb] += low_bits
    carry(out)


def fill(x: npt.NDArray[np.float64], key: bytes, fixed: FixedPoint = STATISTICS) -> npt.NDArray[np.int64]:
    """Uniform random integers below each number's last place, as signed limbs (rows, k).

    Below the large partners' last place a total would hold the smallest partner's bits alone.  With 2^t the last
    place of x in units of 2^-fraction, the integer is uniform on [-2^(t-1), 2^(t-1)); 0 where t <= 0, so for x = 0.
    Limb i of number j takes the low bits it needs of word i*k + j of `PRG(key)`.  Each term moves by half
    its own last place at most, so a total equals the pooled one as nearly as adding in double would: whole numbers
    that must come out whole go in a block of counts.
    """
    places = (x.view(np.int64) >> 52 & 0x7FF) - (_EXPONENT - fixed.fraction)
    rows = -(-int(places.max(initial=0)) // LIMB_BITS)  # limbs - 1 at most: the top limb lies above every last place
    limbs = keystream(key, rows * x.size).view(np.int64).reshape(rows, x.size)
    for low in range(0, x.size, _COLUMNS):
        for limb in range(rows):
            bits_left = places[low : low + _COLUMNS] - LIMB_BITS * limb
            bits = np.clip(bits_left, 0, LIMB_BITS)
            in_limb = (bits_left >= 1) & (bits_left <= LIMB_BITS)  # bit t - 1 lies in this limb
            word = limbs[limb, low : low + _COLUMNS]
            word &= (1 << bits) - 1
            word -= in_limb << np.maximum(bits - 1, 0)
    return limbs


def decode_reals(words: npt.NDArray[np.uint64], fixed: FixedPoint = STATISTICS) -> npt.NDArray[np.float64]:
    """The float64 nearest the exact total / 2^fraction, ties to even, of canonical limbs (limbs, k).

    The same as Python's `int / int`, which is correctly rounded.
    """
    total = np.empty(words.shape[1])
    for low in range(0, words.shape[1], _COLUMNS):
        total[low : low + _COLUMNS] = _nearest(words[:, low : low + _COLUMNS], fixed)
    return total


def _nearest(words: npt.NDArray[np.uint64], fixed: FixedPoint) -> npt.NDArray[np.float64]:
    negative = words[-1] >= 1 << (LIMB_BITS - 1)
    limbs = words.view(np.int64).copy()
    if negative.any():
        np.negative(limbs, where=negative, out=limbs)
        carry(limbs.view(np.uint64))
    used = [i for i, limb in enumerate(limbs) if limb.any()]
    top = max(used, default=0)
    # The leading three limbs of each number, at `position` the first of them, and whether anything lies below.
    first, second, third = limbs[top], *(limbs[i] if i >= 0 else np.zeros_like(limbs[0]) for i in (top - 1, top - 2))
    below = np.zeros(first.size, bool)
    for limb in limbs[: max(top - 2, 0)]:
        below |= limb != 0
    position = np.full(first.size, top)
    for lower in range(top - 3, -4, -1):
        empty = first == 0
        if not empty.any():
            break
        following = limbs[lower] if lower >= 0 else np.zeros_like(first)
        first, second = np.where(empty, second, first), np.where(empty, third, second)
        third = np.where(empty, following, third)
        position -= empty
        below = np.where(empty, _any_below(limbs, lower), below)
    # 62 bits with a one in front, the last of them set where anything is lost: a conversion then rounds once.
    length = (np.maximum(first, 1).astype(np.float64).view(np.int64) >> 52) - 1022
    shift = LIMB_BITS - length
    upper = first << shift | second >> length
    middle = (second << shift & _LIMB) | third >> length
    lost = (middle & ((1 << 42) - 1)) | (third << shift & _LIMB) | below
    leading = upper << 10 | middle >> 42 | (lost != 0)
    magnitude: npt.NDArray[np.float64] = np.ldexp(
        leading.astype(np.float64), LIMB_BITS * position - fixed.fraction - shift - 10
    )
    np.negative(magnitude, where=negative, out=magnitude)
    return magnitude


def _any_below(limbs: npt.NDArray[np.int64], limb: int) -> npt.NDArray[np.bool_]:
    """Whether a number has a bit in a limb below `limb`."""
    if limb <= 0:
        return np.zeros(limbs.shape[1], bool)
    return np.asarray(limbs[:limb].any(axis=0))


def encode_integers(q: npt.NDArray[np.int64], out: npt.NDArray[np.uint64], fixed: FixedPoint, *, name: str) -> None:
    """Write whole numbers `q` (k,) as canonical limbs into `out` (limbs, k).  Raises: ValueOutOfRange."""
    limit = fixed.limit
    if limit < 2.0**63 and not (np.abs(q.astype(np.float64)) < limit).all():
        raise ValueOutOfRange(f"block {name}: a number too large", expected=f"magnitudes below {limit:.0e}")
    signed_words = out.view(np.int64)
    start, offset = divmod(fixed.fraction, LIMB_BITS)
    signed_words[:start] = 0
    signed_words[start] = (q & ((1 << (LIMB_BITS - offset)) - 1)) << offset
    rest = q >> (LIMB_BITS - offset)
    for limb in range(start + 1, fixed.limbs):
        signed_words[limb] = rest & _LIMB
        rest = rest >> LIMB_BITS


def decode_integers(words: npt.NDArray[np.uint64], fixed: FixedPoint, *, name: str) -> npt.NDArray[np.int64]:
    """Whole numbers (k,) of canonical limbs (limbs, k).

    Raises: ValueOutOfRange for a total that is not whole, or does not fit an int64.
    """
    start, offset = divmod(fixed.fraction, LIMB_BITS)
    limbs = words[start:].view(np.int64).copy()
    limbs[-1] = (limbs[-1] ^ (1 << (LIMB_BITS - 1))) - (1 << (LIMB_BITS - 1))  # the sign
    q: npt.NDArray[np.int64] = limbs[0] >> offset
    for i, limb in enumerate(limbs[1:3], start=1):
        shift = LIMB_BITS * i - offset
        if shift < 64:
            q |= limb << shift
    again = np.empty_like(words)
    try:
        encode_integers(q, again, fixed, name=name)
        round_trip = np.array_equal(again, words)
    except ValueOutOfRange:
        round_trip = False
    if not round_trip:
        raise ValueOutOfRange(f"block {name}: a total that is not whole", expected="a sum of whole numbers")
    return q
