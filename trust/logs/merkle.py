"""An append-only Merkle log: the tree, its proofs, and entries.  Journals and the register are such logs.

Source: RFC 6962 (Certificate Transparency), sections 2.1, 2.1.1 and 2.1.2; proofs are verified by the algorithms of
RFC 9162, sections 2.1.3.2 and 2.1.4.2.  A root of 32 bytes commits to every entry and to their order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from trust.canonical import Model
from trust.errors import MessageInvalid, Refused
from trust.times import Time

__all__ = ["EMPTY", "Entry", "Tree", "check_consistency", "check_inclusion", "leaf_hash", "node_hash"]

EMPTY = hashlib.sha256(b"").digest()
"""Root of the empty tree."""


class Entry(Model):
    """One entry of a journal or of the register; its leaf is the hash of its canonical bytes.  docs/formats.md, 9."""

    at: Time
    body: dict[str, Any]
    kind: str
    seq: int = Field(ge=0)
    study: str
    v: Literal[1] = 1

    @classmethod
    def of(cls, kind: str, study: str, time: str, body: Mapping[str, Any], *, seq: int) -> Entry:
        """An entry at its place."""
        return cls(at=time, body=dict(body), kind=kind, seq=seq, study=study)


def leaf_hash(entry: bytes) -> bytes:
    """SHA-256(0x00 || entry), 32 bytes."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left_child: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 || left || right), 32 bytes."""
    return hashlib.sha256(b"\x01" + left_child + right).digest()


class Tree:
    """The Merkle tree over leaf hashes: appending costs one or two hashes, a root or a proof their logarithm."""

    def __init__(self, leaves: Iterable[bytes] = ()) -> None:
        self._levels: list[list[bytes]] = [[]]
        for leaf in leaves:
            self.append(leaf)

    def __len__(self) -> int:
        return len(self._levels[0])

    def append(self, leaf: bytes) -> int:
        """Add a leaf hash; its index."""
        index = len(self._levels[0])
        node, level = leaf, 0
        while True:
            nodes = self._levels[level]
            nodes.append(node)
            if len(nodes) % 2:
                return index
            node, level = node_hash(nodes[-2], nodes[-1]), level + 1
            if level == len(self._levels):
                self._levels.append([])

    def leaf(self, index: int) -> bytes:
        """The leaf hash at `index`."""
        return self._levels[0][index]

    def root(self, size: int | None = None) -> bytes:
        """The root over the first `size` leaves (all, if not said)."""
        size = self._within(len(self) if size is None else size)
        return self._root(0, size) if size else EMPTY

    def inclusion(self, index: int, size: int | None = None) -> list[bytes]:
        """The audit path of leaf `index` in the tree over the first `size` leaves."""
        size = self._within(len(self) if size is None else size)
        if not 0 <= index < size:
            raise MessageInvalid(f"entry {index} of a log of {size}", expected="an entry that it has")
        return self._path(index, 0, size)

    def consistency(self, old: int, size: int | None = None) -> list[bytes]:
        """The proof that the tree over the first `size` leaves extends the one over the first `old`."""
        size = self._within(len(self) if size is None else size)
        if not 0 <= old <= size:
            raise MessageInvalid(f"the size {old} of a log of {size}", expected="an earlier size")
        return self._subproof(old, 0, size, True) if 0 < old < size else []

    def _within(self, size: int) -> int:
        if not 0 <= size <= len(self):
            raise MessageInvalid(f"the size {size} of a log of {len(self)}", expected="a size that it has had")
        return size

    def _root(self, start: int, end: int) -> bytes:
        """Over leaves start to end; a complete subtree stands ready."""
        count = end - start
        if count & (count - 1) == 0 and start % count == 0:
            return self._levels[count.bit_length() - 1][start // count]
        split = start + _largest_below(count)
        return node_hash(self._root(start, split), self._root(split, end))

    def _path(self, index: int, start: int, end: int) -> list[bytes]:
        if end - start == 1:
            return []
        split = start + _largest_below(end - start)
        if index < split:
            return [*self._path(index, start, split), self._root(split, end)]
        return [*self._path(index, split, end), self._root(start, split)]

    def _subproof(self, old: int, start: int, end: int, whole: bool) -> list[bytes]:
        if old == end - start:
            return [] if whole else [self._root(start, end)]
        split = _largest_below(end - start)
        if old <= split:
            return [*self._subproof(old, start, start + split, whole), self._root(start + split, end)]
        return [*self._subproof(old - split, start + split, end, False), self._root(start, start + split)]


def _largest_below(count: int) -> int:
    """The largest power of two smaller than `count`, which is at least 2."""
    return 1 << ((count - 1).bit_length() - 1)


def check_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Entry `index` with this leaf hash is in the tree of this size and root.  Raises: Refused (`proof-invalid`)."""
    if not 0 <= index < size:
        raise _unproved("an entry outside the log")
    position, last, digest = index, size - 1, leaf
    for part in proof:
        if last == 0 or len(part) != 32:
            raise _unproved("a proof of another length")
        if position % 2 or position == last:
            digest = node_hash(part, digest)
            while position % 2 == 0 and position:
                position, last = position >> 1, last >> 1
        else:
            digest = node_hash(digest, part)
        position, last = position >> 1, last >> 1
    if last or digest != root:
        raise _unproved("this entry does not lead to the log's root")


def check_consistency(old: int, size: int, old_root: bytes, root: bytes, proof: Sequence[bytes]) -> None:
    """The tree of `size` and `root` extends the one of `old` and `old_root`.  Raises: Refused (`proof-invalid`)."""
    if not 0 <= old <= size or any(len(part) != 32 for part in proof):
        raise _unproved("a log that has become shorter, or a proof of another length")
    if old in (0, size):
        if proof or (old == 0 and old_root != EMPTY) or (old == size and old_root != root):
            raise _unproved("two logs of one size with different entries")
        return
    parts = [*([old_root] if old & (old - 1) == 0 else []), *proof]
    position, last = old - 1, size - 1
    while position % 2:
        position, last = position >> 1, last >> 1
    if not parts:
        raise _unproved("a proof of another length")
    first = second = parts[0]
    for part in parts[1:]:
        if last == 0:
            raise _unproved("a proof of another length")
        if position % 2 or position == last:
            first, second = node_hash(part, first), node_hash(part, second)
            while position % 2 == 0 and position:
                position, last = position >> 1, last >> 1
        else:
            second = node_hash(second, part)
        position, last = position >> 1, last >> 1
    if last or first != old_root or second != root:
        raise _unproved("the later log does not extend the earlier one")


def _unproved(text: str) -> Refused:
    return Refused("proof-invalid", text, remedy="fetch the proof again; if it still fails, tell the trust's auditor")
