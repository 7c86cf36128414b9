"""The Merkle tree against RFC 6962 by its words, against Certificate Transparency's vectors, and against liars."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.vectors.make_log import FILES, FOLDER, LEAVES
from trust.errors import MessageInvalid, Refused
from trust.logs.merkle import EMPTY, Entry, Tree, check_consistency, check_inclusion, leaf_hash

MOST = 64
DATA = [bytes([at]) * at for at in range(MOST)]
HASHES = [leaf_hash(data) for data in DATA]
TREE = Tree(HASHES)

# ---- RFC 6962, section 2.1, by its words


def sha256(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def split(n: int) -> int:
    """The largest power of two smaller than n."""
    k = 1
    while 2 * k < n:
        k *= 2
    return k


def mth(data: Sequence[bytes]) -> bytes:
    """MTH(D[n])."""
    if not data:
        return sha256()
    if len(data) == 1:
        return sha256(b"\x00", data[0])
    k = split(len(data))
    return sha256(b"\x01", mth(data[:k]), mth(data[k:]))


def path(m: int, data: Sequence[bytes]) -> list[bytes]:
    """PATH(m, D[n])."""
    if len(data) == 1:
        return []
    k = split(len(data))
    return [*path(m, data[:k]), mth(data[k:])] if m < k else [*path(m - k, data[k:]), mth(data[:k])]


def subproof(m: int, data: Sequence[bytes], whole: bool) -> list[bytes]:
    """SUBPROOF(m, D[n], b); PROOF(m, D[n]) = SUBPROOF(m, D[n], true)."""
    if m == len(data):
        return [] if whole else [mth(data)]
    k = split(len(data))
    if m <= k:
        return [*subproof(m, data[:k], whole), mth(data[k:])]
    return [*subproof(m - k, data[k:], False), mth(data[:k])]


def included(leaf: bytes, m: int, n: int, proof: Sequence[bytes]) -> bytes | None:
    """The root that an audit path leads to, by the recursion of PATH; None for one of another length."""
    if n == 1:
        return None if proof else leaf
    if not proof:
        return None
    k, last = split(n), proof[-1]
    inner = included(leaf, m, k, proof[:-1]) if m < k else included(leaf, m - k, n - k, proof[:-1])
    if inner is None:
        return None
    return sha256(b"\x01", inner, last) if m < k else sha256(b"\x01", last, inner)


def extended(old: bytes, m: int, n: int, proof: Sequence[bytes], whole: bool) -> tuple[bytes, bytes] | None:
    """Old and new root that a consistency proof leads to, by the recursion of SUBPROOF."""
    if m == n:
        if whole:
            return None if proof else (old, old)
        return (proof[0], proof[0]) if len(proof) == 1 else None
    if not proof:
        return None
    k, last = split(n), proof[-1]
    if m <= k:
        inner = extended(old, m, k, proof[:-1], whole)
        return inner and (inner[0], sha256(b"\x01", inner[1], last))
    inner = extended(old, m - k, n - k, proof[:-1], False)
    return inner and (sha256(b"\x01", last, inner[0]), sha256(b"\x01", last, inner[1]))


# ---- roots and proofs


@pytest.mark.parametrize("n", range(MOST + 1))
def test_roots_and_proofs_of_each_size_are_those_of_the_rfc(n: int) -> None:
    assert TREE.root(n) == mth(DATA[:n])
    assert Tree(HASHES[:n]).root() == mth(DATA[:n])
    for m in range(n):
        proof = TREE.inclusion(m, n)
        assert proof == path(m, DATA[:n])
        check_inclusion(HASHES[m], m, n, proof, TREE.root(n))
    for m in range(n + 1):
        proof = TREE.consistency(m, n)
        assert proof == (subproof(m, DATA[:n], True) if m else [])
        check_consistency(m, n, TREE.root(m), TREE.root(n), proof)


def test_the_empty_tree() -> None:
    assert len(Tree()) == 0
    assert Tree().root() == EMPTY == hashlib.sha256(b"").digest()
    check_consistency(0, 0, EMPTY, EMPTY, [])


def test_an_append_returns_the_index_and_the_leaf_stays_there() -> None:
    tree = Tree()
    assert [tree.append(leaf) for leaf in HASHES[:9]] == list(range(9))
    assert [tree.leaf(at) for at in range(9)] == HASHES[:9]


@pytest.mark.parametrize(
    "asked",
    [
        lambda: TREE.root(MOST + 1),
        lambda: TREE.root(-1),
        lambda: TREE.inclusion(3, 3),
        lambda: TREE.inclusion(-1),
        lambda: TREE.inclusion(0, MOST + 1),
        lambda: TREE.consistency(4, 3),
        lambda: TREE.consistency(-1, 3),
        lambda: TREE.consistency(1, MOST + 1),
        lambda: Tree().inclusion(0),
    ],
)
def test_what_the_log_has_never_had_cannot_be_asked_for(asked: Any) -> None:
    with pytest.raises(MessageInvalid, match="of a log of"):
        asked()


# ---- published vectors: certificate-transparency, merkletree/merkle_tree_test.cc

CT_ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
CT_NODES = {
    "96a2": "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
    "5f08": "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
    "6b47": "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    "bc1a": "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    "ca85": "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
    "0ebc": "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
    "d37e": CT_ROOTS[4],
    "fac5": CT_ROOTS[2],
    "6e34": CT_ROOTS[1],
}


@pytest.fixture(scope="module")
def ct() -> Tree:
    return Tree(leaf_hash(bytes.fromhex(leaf)) for leaf in LEAVES)


def test_the_roots_of_certificate_transparency(ct: Tree) -> None:
    assert [ct.root(size).hex() for size in range(9)] == CT_ROOTS


@pytest.mark.parametrize(
    ("index", "size", "nodes"),
    [(0, 1, ""), (0, 8, "96a2 5f08 6b47"), (5, 8, "bc1a ca85 d37e"), (2, 3, "fac5"), (1, 5, "6e34 5f08 bc1a")],
)
def test_the_audit_paths_of_certificate_transparency(ct: Tree, index: int, size: int, nodes: str) -> None:
    assert [part.hex() for part in ct.inclusion(index, size)] == [CT_NODES[name] for name in nodes.split()]


@pytest.mark.parametrize(
    ("old", "size", "nodes"),
    [(1, 1, ""), (1, 8, "96a2 5f08 6b47"), (6, 8, "0ebc ca85 d37e"), (2, 5, "5f08 bc1a")],
)
def test_the_consistency_proofs_of_certificate_transparency(ct: Tree, old: int, size: int, nodes: str) -> None:
    assert [part.hex() for part in ct.consistency(old, size)] == [CT_NODES[name] for name in nodes.split()]


# ---- the vector file


@pytest.mark.parametrize("name", FILES)
def test_the_files_are_what_the_generator_makes(name: str) -> None:
    assert json.loads((FOLDER / name).read_text(encoding="ascii")) == json.loads(json.dumps(FILES[name]()))


def test_the_vector_file_by_the_second_implementation() -> None:
    vectors = json.loads((FOLDER / "log.json").read_text(encoding="ascii"))
    data = [bytes.fromhex(leaf) for leaf in vectors["leaves"]]
    assert vectors["leaf_hashes"] == [sha256(b"\x00", leaf).hex() for leaf in data]
    assert vectors["roots"] == [mth(data[:size]).hex() for size in range(len(data) + 1)]
    for case in vectors["inclusion"]:
        assert case["proof"] == [part.hex() for part in path(case["index"], data[: case["size"]])]
    for case in vectors["consistency"]:
        old = case["old"]
        assert case["proof"] == [part.hex() for part in subproof(old, data[: case["size"]], True)] if old else True
    entry = vectors["entry"]["bytes"].encode()
    assert vectors["entry"]["leaf"] == sha256(b"\x00", entry).hex()
    assert json.dumps(json.loads(entry), sort_keys=True, separators=(",", ":")).encode() == entry


# ---- liars

sizes = st.integers(1, MOST)
edits = st.lists(
    st.tuples(st.sampled_from(["flip", "drop", "double", "swap", "short", "add", "zero"]), st.integers(0, 300)),
    min_size=1,
    max_size=3,
)


def edited(proof: Sequence[bytes], steps: Sequence[tuple[str, int]]) -> list[bytes]:
    """A proof with some of its parts changed."""
    parts = list(proof)
    for what, number in steps:
        at = number % len(parts) if parts else 0
        if what == "add" or not parts:
            parts.insert(at, sha256(bytes([number % 256])))
        elif what == "flip":
            parts[at] = bytes([parts[at][0] ^ (1 << number % 8)]) + parts[at][1:] if parts[at] else b"\x01"
        elif what == "drop":
            del parts[at]
        elif what == "double":
            parts.insert(at, parts[at])
        elif what == "swap":
            parts[at], parts[-1] = parts[-1], parts[at]
        elif what == "short":
            parts[at] = parts[at][:31]
        else:
            parts[at] = bytes(32)
    return parts


def stands(check: Any, *arguments: Any) -> bool:
    try:
        check(*arguments)
    except Refused as refused:
        return refused.rule != "proof-invalid"  # another rule would be a mistake, and turn the test red
    return True


@given(sizes, st.data())
@settings(max_examples=400)
def test_an_entry_with_a_changed_leaf_index_path_or_root_is_refused(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    leaf, proof, root = HASHES[index], TREE.inclusion(index, size), TREE.root(size)
    changed = edited(proof, data.draw(edits))
    assert stands(check_inclusion, leaf, index, size, changed, root) is (changed == proof)
    other = data.draw(st.integers(-2, MOST + 2))
    assert stands(check_inclusion, leaf, other, size, proof, root) is (other == index)
    assert not stands(check_inclusion, leaf_hash(b"another"), index, size, proof, root)
    assert not stands(check_inclusion, leaf, index, size, proof, TREE.root(size - 1))
    assert not stands(check_inclusion, leaf, index, size, proof, sha256(root))


@given(sizes, st.data())
@settings(max_examples=400)
def test_a_later_log_with_a_changed_proof_or_root_is_refused(size: int, data: st.DataObject) -> None:
    old = data.draw(st.integers(0, size))
    proof, before, after = TREE.consistency(old, size), TREE.root(old), TREE.root(size)
    changed = edited(proof, data.draw(edits))
    assert stands(check_consistency, old, size, before, after, changed) is (changed == proof)
    assert not stands(check_consistency, old, size, sha256(before), after, proof)
    assert not stands(check_consistency, size + 1, size, before, after, proof)
    assert not stands(check_consistency, -1, size, before, after, proof)
    if old > 0:  # from the empty log every log follows
        assert not stands(check_consistency, old, size, before, sha256(after), proof)


@given(sizes, st.integers(-2, MOST + 2), st.integers(-2, MOST + 2), st.booleans(), st.data())
@settings(max_examples=600)
def test_proofs_for_other_sizes_stand_exactly_where_the_rfc_says(
    size: int, first: int, second: int, long: bool, data: st.DataObject
) -> None:
    """Sizes whose trees have the same shape on the way share a path: a size is bound by the checkpoint's signature."""
    index = data.draw(st.integers(0, size - 1))
    proof, root = TREE.inclusion(index, size), TREE.root(size)
    right = 0 <= first < second and included(HASHES[index], first, second, proof) == root
    assert stands(check_inclusion, HASHES[index], first, second, proof, root) is right
    steps, before = TREE.consistency(index, size), TREE.root(index)
    old, new = (first, size) if long else (index, second)
    if 0 < old <= new:
        led = extended(before, old, new, steps, True)
        assert stands(check_consistency, old, new, before, root, steps) is (led == (before, root))


# ---- entries


def test_an_entry_is_closed_and_its_bytes_are_canonical() -> None:
    entry = Entry.of("study", "s", "2026-11-24T12:00:01Z", {"b": 1, "a": "é"}, seq=0)
    expected = rb'{"at":"2026-11-24T12:00:01Z","body":{"a":"\u00e9","b":1},"kind":"study","seq":0,"study":"s","v":1}'
    assert entry.canonical() == expected
    for wrong in ({"seq": -1}, {"v": 2}, {"at": "2026-02-30T00:00:00Z"}, {"note": "x"}, {"body": []}):
        with pytest.raises(ValueError):  # noqa: PT011 - pydantic's own
            Entry.model_validate({**entry.document(), **wrong})
