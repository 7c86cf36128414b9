"""Do the words that left the hospitals look random?  A chi-square test of their bytes."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from scipy import stats

__all__ = ["randomness"]

_BITS = 52
"""Bits of a word that carry a mask in every layout: the top 12 of a wide word are always 0."""


def randomness(uploads: Iterable[bytes]) -> float:
    """p-value of Pearson's chi-square test that the low 52 bits of all words, as bytes, are uniform.

    Each upload is u64 words, little-endian.  A value below 1e-6 would say that they are not random.
    """
    words = np.frombuffer(b"".join(uploads), dtype=np.uint8).reshape(-1, 8)
    bits = np.unpackbits(words, axis=1, bitorder="little")[:, :_BITS].reshape(-1)
    whole = np.packbits(bits[: len(bits) // 8 * 8])
    return float(stats.chisquare(np.bincount(whole, minlength=256)).pvalue)
