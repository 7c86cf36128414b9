"""A sum's named blocks as one vector of ring words, and back.  docs/protocol.md, 2 and 6.

A vector is L rows of d + 1 columns; the last column is the check number, 1 at every node.  Sums of counts alone use
u64 words, sums with a model block (and no reals) u32, all others wide words.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from trust.secure_sum.errors import UploadShape, ValueNotFinite, ValueOutOfRange
from trust.secure_sum.fixedpoint import (
    STATISTICS,
    FixedPoint,
    decode_integers,
    decode_reals,
    encode_integers,
    encode_reals,
)
from trust.secure_sum.masks import Words, carry
from trust.secure_sum.parameters import LARGEST_N

__all__ = [
    "Layout",
    "NamedBlock",
    "Word",
    "counts",
    "decode_sum",
    "dequantised",
    "encode_sum",
    "layout_of",
    "model_steps",
    "quantised",
]

Word: TypeAlias = Literal["u32", "u64", "wide"]
_DTYPE: Final[Mapping[str, str]] = {"u32": "<u4", "u64": "<u8", "wide": "<u8"}
_TAIL: Final = 13.5
"""Standard deviations of noise that are kept free; the tables of noise end there."""


class NamedBlock(Protocol):
    """What is read of a block: its name, its shape, and what its numbers are."""

    @property
    def name(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def encoding(self) -> Literal["count", "real", "model"]: ...


@dataclass(frozen=True)
class Layout:
    """How a sum's vector lies in memory and on the wire: known from the plan, before anything is read."""

    word: Word
    columns: int
    fixed: FixedPoint | None = None

    def __post_init__(self) -> None:
        if self.columns < 1 or (self.word == "wide") != (self.fixed is not None):
            raise ValueError("a layout without columns, or whose fixed point does not go with its word")

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns, the check number's column included."""
        return (self.fixed.limbs if self.fixed else 1), self.columns + 1

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of a word, little-endian."""
        return np.dtype(_DTYPE[self.word])

    @property
    def nbytes(self) -> int:
        """Length of an upload's body."""
        return math.prod(self.shape) * self.dtype.itemsize

    def empty(self) -> Words:
        """A vector (rows, columns + 1) whose check number is 1 and whose other columns are still to be written."""
        vector = np.empty(self.shape, self.dtype)
        vector[:, -1] = 0
        vector[0, -1] = 1
        return vector

    def read(self, body: bytes | memoryview) -> Words:
        """The words of an upload's body, not copied.  Raises: UploadShape for a wrong length or a word over 52 bits."""
        if len(body) != self.nbytes:
            raise UploadShape(f"a body of {len(body)} bytes", expected=f"{self.nbytes}")
        words: Words = np.frombuffer(body, self.dtype).reshape(self.shape)
        if self.word == "wide" and int(words.max()) >> 52:
            raise UploadShape("a word above 52 bits", expected="52 bits")
        return words

    def normalise(self, vector: Words) -> None:
        """Bring sums of words into canonical form, in place."""
        if self.word == "wide":
            carry(vector)


def layout_of(blocks: Sequence[NamedBlock], fixed: FixedPoint = STATISTICS) -> Layout:
    """The layout of a sum that gives `blocks`.  A model block takes one column more: how many numbers were clipped."""
    kinds = {block.encoding for block in blocks}
    columns = sum(_columns(block) for block in blocks)
    if "real" in kinds:
        return Layout("wide", columns, fixed)
    return Layout("u32" if "model" in kinds else "u64", columns)


def _columns(block: NamedBlock) -> int:
    return math.prod(block.shape) + (block.encoding == "model")


def counts(
    x: npt.NDArray[Any], *, n: int, name: str, bits: int = 64, bound: int | None = None
) -> npt.NDArray[np.int64]:
    """Whole numbers, as int64, of which n fit a ring of `bits` bits.

    `bound`: the largest magnitude at one node; by default all that n allows.  Raises: ValueNotFinite,
    ValueOutOfRange, also for n * bound >= 2^(bits - 1) and for what is not whole.
    """
    most = ((1 << (bits - 1)) - 1) // _partners(n)
    if bound is not None and bound > most:
        raise ValueOutOfRange(f"block {name}: a bound too large for {n} partners", expected=f"n * bound < 2^{bits - 1}")
    limit = most if bound is None else bound
    x = np.asarray(x)
    if x.dtype.kind == "f":
        if not np.isfinite(x).all():
            raise ValueNotFinite(f"block {name}: NaN or infinity", expected="whole numbers")
        if not (np.abs(x) < 2.0**63).all() or (x != np.rint(x)).any():
            raise ValueOutOfRange(f"block {name}: numbers that are not whole, or too large", expected="whole numbers")
    elif x.dtype.kind not in "biu":
        raise ValueOutOfRange(f"block {name}: numbers of dtype {x.dtype.name}", expected="whole numbers")
    if x.size and (int(x.max()) > limit or int(x.min()) < -limit):
        raise ValueOutOfRange(f"block {name}: a number too large", expected=f"magnitudes of {limit} at most")
    return x.astype(np.int64, copy=False)


def model_steps(n: int, *, share_sigma: float = 0.0) -> int:
    """`K`: steps on each side of zero that one node may use in a u32 ring, so that n of them never wrap.

    `share_sigma`: standard deviation, in steps, of each node's share of noise.  Raises: ValueOutOfRange.
    """
    steps = (2**31 - 1) // _partners(n) - math.ceil(_TAIL * share_sigma)
    if steps < 1:
        raise ValueOutOfRange("noise too wide for the ring", expected=f"13.5 sigma below (2^31 - 1) / {n}")
    return steps


def quantised(x: npt.NDArray[Any], *, clip: float, steps: int, name: str) -> tuple[npt.NDArray[np.int64], int]:
    """`x` as whole steps of clip / steps, clipped to `steps` on each side, and how many numbers were clipped.

    Rounded in float64 whatever the dtype: in float32, +clip would come out above `steps`.  Raises: ValueNotFinite,
    ValueOutOfRange.
    """
    if not 0 < clip < math.inf:
        raise ValueOutOfRange(f"block {name}: a clip that is not positive", expected="a positive number")
    x = np.asarray(x, np.float64)
    if not np.isfinite(x).all():
        raise ValueNotFinite(f"block {name}: NaN or infinity", expected="finite numbers")
    q = np.rint(np.clip(x, -clip, clip) * (steps / clip))
    return np.clip(q, -steps, steps).astype(np.int64), int(np.count_nonzero(np.abs(x) > clip))


def dequantised(total: npt.NDArray[np.int64], *, clip: float, steps: int) -> npt.NDArray[np.float64]:
    """A total of steps as numbers."""
    return total.astype(np.float64) * (clip / steps)


def encode_sum(
    blocks: Sequence[NamedBlock],
    arrays: Mapping[str, npt.NDArray[Any]],
    *,
    n: int,
    fixed: FixedPoint = STATISTICS,
    clip: float = 1.0,
    random: Callable[[int], bytes] | None = os.urandom,
) -> Words:
    """One node's vector of `layout_of(blocks, fixed)`, not yet masked; block after block, each row after row.

    `n` partners are named, `clip` bounds the numbers of model blocks, `random` gives the fill's keys of 32 bytes
    (None: no fill, for vectors and tests only).  Nothing is sent when it raises: ValueNotFinite, ValueOutOfRange,
    both naming the block, UploadShape where arrays are not those of the plan.
    """
    _partners(n)
    layout = layout_of(blocks, fixed)
    if sorted(block.name for block in blocks) != sorted(arrays):
        raise UploadShape("arrays with other names", expected="those of the plan's blocks, each once")
    vector, column = layout.empty(), 0
    for block in blocks:
        values = np.asarray(arrays[block.name])
        if values.shape != tuple(block.shape):
            raise UploadShape(f"block {block.name} of shape {values.shape}", expected=f"{tuple(block.shape)}")
        out = vector[:, column : column + _columns(block)]
        column += _columns(block)
        if block.encoding == "real":
            key = None if random is None else random(32)
            encode_reals(values.reshape(-1), out, fixed, name=block.name, key=key)
        else:
            _put(_whole(block, values.reshape(-1), layout, n, clip), out, layout, block.name)
    return vector


def _whole(block: NamedBlock, values: npt.NDArray[Any], layout: Layout, n: int, clip: float) -> npt.NDArray[np.int64]:
    bits = 32 if layout.word == "u32" else 64
    if block.encoding == "count":
        return counts(values, n=n, name=block.name, bits=bits)
    steps, clipped = quantised(values, clip=clip, steps=model_steps(n), name=block.name)
    return np.append(steps, counts(np.array([clipped]), n=n, name=block.name, bits=bits))


def _put(q: npt.NDArray[np.int64], out: Words, layout: Layout, name: str) -> None:
    if layout.fixed:
        encode_integers(q, out, layout.fixed, name=name)
    else:
        np.copyto(out[0], q, casting="unsafe")  # modulo the word


def decode_sum(
    blocks: Sequence[NamedBlock], total: Words, *, n: int, fixed: FixedPoint = STATISTICS, clip: float = 1.0
) -> dict[str, npt.NDArray[Any]]:
    """The totals by block of an opened vector: counts int64, reals and models float64.

    A model block `w` comes with `w/clipped`, how many numbers the nodes clipped.  Raises: ValueOutOfRange for a
    total that no honest nodes give.
    """
    layout = layout_of(blocks, fixed)
    totals: dict[str, npt.NDArray[Any]] = {}
    column = 0
    for block in blocks:
        words = total[:, column : column + _columns(block)]
        column += _columns(block)
        if block.encoding == "real":
            totals[block.name] = decode_reals(words, fixed).reshape(block.shape)
            continue
        q = _plain_words(words, layout, block.name)
        if block.encoding == "count":
            totals[block.name] = q.reshape(block.shape)
        else:
            totals[block.name] = dequantised(q[:-1], clip=clip, steps=model_steps(n)).reshape(block.shape)
            totals[f"{block.name}/clipped"] = q[-1:].reshape(())
    return totals


def _plain_words(words: Words, layout: Layout, name: str) -> npt.NDArray[np.int64]:
    if layout.fixed:
        return decode_integers(words, layout.fixed, name=name)
    signed_words: npt.NDArray[np.signedinteger[Any]] = words[0].view("<i4" if layout.word == "u32" else "<i8")
    return signed_words.astype(np.int64)


def _partners(n: int) -> int:
    if not 1 <= n <= LARGEST_N:
        raise ValueOutOfRange(f"{n} partners", expected=f"1 to {LARGEST_N}")
    return n
