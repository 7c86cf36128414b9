"""Masks: AES-256-CTR streams added to a vector, word by word.  docs/protocol.md, 1, 2 and 8.

A word and a uniform word added modulo 2^k are uniform, so what leaves says nothing beyond its length.  Streams are
made in pieces that stay in the second-level cache, into one buffer that is used again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from trust.secure_sum.frames import mask_seed

__all__ = ["CHUNK", "LIMB_BITS", "Words", "add_masks", "carry", "keystream", "raw", "seeds"]

Words = npt.NDArray[np.unsignedinteger[Any]]

CHUNK: Final = 1 << 17
"""Bytes of stream a call: they stay in the second-level cache, and the call gives the interpreter lock away."""

LIMB_BITS: Final = 52
_LIMB: Final = np.uint64((1 << LIMB_BITS) - 1)
_MOST_ADDITIONS: Final = 2000
"""Additions between carries: 2,000 masks below 2^52 and a limb of 53 bits stay within an int64."""
_ZERO: Final = np.zeros(CHUNK, np.uint8)
_ZERO.flags.writeable = False


def seeds(keys: Mapping[str, bytes], ctx: bytes, me: str) -> tuple[list[bytes], list[bytes]]:
    """Seeds of the masks that `me` adds (towards later names) and subtracts (towards earlier ones).

    `keys` maps each other member of the partner set to the pair key of this sum.
    """
    plus = [mask_seed(keys[name], ctx) for name in sorted(keys) if name > me]
    minus = [mask_seed(keys[name], ctx) for name in sorted(keys) if name < me]
    return plus, minus


def keystream(seed: bytes, count: int) -> npt.NDArray[np.uint64]:
    """The first `count` u64 words of `PRG(seed)`: AES-256-CTR, counter from 0, words little-endian."""
    out = np.empty(8 * count, np.uint8)
    update = _streams([seed], 0)[0]
    for low in range(0, out.size, CHUNK):
        piece = out[low : low + CHUNK]
        update(_ZERO[: piece.size], piece)
    return out.view("<u8").astype(np.uint64, copy=False)


def add_masks(
    vector: Words, plus: Sequence[bytes], minus: Sequence[bytes], *, wide: bool = False, threads: int = 1
) -> None:
    """Add `PRG(s)` for s in `plus` to `vector`, subtract it for s in `minus`, in place, modulo the word.

    `vector` is contiguous, u32 or u64; its words take the streams in the order of memory.  With `wide` a mask word is
    52 bits and carries are left for `carry`.  `threads` share the vector.
    """
    if len(plus) + len(minus) > _MOST_ADDITIONS:
        raise ValueError(f"{len(plus) + len(minus)} masks, expected {_MOST_ADDITIONS} at most between carries")
    if not vector.flags.c_contiguous:
        raise ValueError("a vector with gaps, expected contiguous words")
    flat = vector.reshape(-1)
    pieces = -(-flat.nbytes // CHUNK)
    step = -(-pieces // max(1, threads)) * (CHUNK // flat.itemsize)
    spans = [(low, min(low + step, flat.size)) for low in range(0, flat.size, step)] if flat.size else []
    if len(spans) < 2:
        for low, high in spans:
            _mask_span(flat, low, high, plus, minus, wide)
        return
    with ThreadPoolExecutor(len(spans)) as pool:
        for done in [pool.submit(_mask_span, flat, low, high, plus, minus, wide) for low, high in spans]:
            done.result()


def _mask_span(flat: Words, low: int, high: int, plus: Sequence[bytes], minus: Sequence[bytes], wide: bool) -> None:
    """Mask words `low` to `high`; `low` starts a chunk."""
    size = flat.itemsize
    first_block = low * size // 16
    steps: list[tuple[np.ufunc, Any]] = [(np.add, update) for update in _streams(plus, first_block)]
    steps += [(np.subtract, update) for update in _streams(minus, first_block)]
    buffer = np.empty(CHUNK, np.uint8)
    for start in range(low, high, CHUNK // size):
        words = flat[start : min(start + CHUNK // size, high)]
        zero, stream = _ZERO[: words.nbytes], buffer[: words.nbytes]
        mask = stream.view(flat.dtype.newbyteorder("<"))
        for combine, update in steps:
            update(zero, stream)
            if wide:
                np.bitwise_and(mask, _LIMB, out=mask)
            combine(words, mask, out=words)


def _streams(stream_seeds: Sequence[bytes], first_block: int) -> list[Any]:
    """For each seed, `update_into` of AES-256-CTR from the given 16-byte block on."""
    counter = modes.CTR(first_block.to_bytes(16, "big"))
    return [Cipher(algorithms.AES256(seed), counter).encryptor().update_into for seed in stream_seeds]


def raw(vector: Words) -> memoryview:
    """A vector's bytes as they go over the wire, not copied: `vector` is contiguous and little-endian."""
    return vector.reshape(-1).view(np.uint8).data


def carry(vector: npt.NDArray[np.uint64]) -> None:
    """Bring wide words (L, columns), limb 0 first, into canonical form in place: 52 bits each, modulo 2^(52 L).

    Without it the limbs of a total would be separate sums, which say more than the total.  A limb may hold a signed
    64-bit number.
    """
    signed_vector = vector.view(np.int64)
    step = CHUNK // 8
    for low in range(0, vector.shape[1], step):
        part = signed_vector[:, low : low + step]
        for limb in range(len(part) - 1):
            part[limb + 1] += part[limb] >> LIMB_BITS
            part[limb] &= np.int64(_LIMB)
        part[-1] &= np.int64(_LIMB)
