"""Judges one folder of tests/conformance with verify.py alone: `python verify.py --kind mandate FOLDER`.

What stands in a folder, and what makes it one that must be refused: tests/conformance/README.md.
"""

from verify import (
    ANY,
    ANYTHING,
    KEY,
    No,
    digest,
    envelope,
    fits,
    follow,
    need,
    quorum,
    read_canonical,
    read_checkpoint,
    read_json,
    read_mandate,
    read_roots,
    read_study,
    require_in_force,
    root_by_path,
    sha,
    steps,
    time,
)

REVOCATION = {
    "schema?": "datatrust/revocation/1",
    "mandate": "sha256:[0-9a-f]{64}",
    "member": KEY,
    "reason": ".{1,2000}",
    "at": time,
}
ENTRY = {"at": time, "body": (ANY, ANYTHING), "kind": ANY, "seq": 0, "study": ANY, "v": 1}


def case(kind, folder):
    """Raises No for a case that must be refused."""

    def file(name):
        return (folder / name).read_bytes() if (folder / name).exists() else None

    now = time(text(file("now")).strip()) if file("now") else None
    pinned = follow(read_roots(folder / "root.json"), None) if file("root.json") else None
    if kind == "release":
        list(steps(file("result.json"), pinned, now))
    elif kind == "root":
        numbered = sorted((path for path in folder.glob("*.json") if path.stem.isdigit()), key=lambda p: int(p.stem))
        root = follow([envelope(read_json(path.read_bytes())) for path in numbered], pinned)
        require_in_force("the trust root", root.issued, now, root.expires)
    elif kind == "mandate":
        signed = envelope(read_json(file("mandate.json")))
        read_study(envelope(read_json(file("study.json"))), read_mandate(signed, pinned, now), pinned, now)
        revocation = file("revocation.json")
        need(not (revocation and revokes(revocation, signed, pinned)), "the mandate was revoked")
    else:
        register(file, pinned)


def revokes(raw, signed, root):
    """Whether a member has revoked this mandate; what no member has signed counts for nothing."""
    try:
        given = envelope(read_json(raw))
        revocation = read_canonical(given.raw, REVOCATION, "the revocation")
        members = root.keys_of["committee"]
        quorum("revocation", given, {k: v for k, v in members.items() if k == revocation["member"]}, 1)
    except No:
        return False
    return revocation["mandate"] == digest(signed.raw)


def register(file, root):
    """All entries of a register, its checkpoint, and proofs about them, which are made again and compared."""
    size, tree = read_checkpoint(text(file("checkpoint")), root)
    lines = file("entries.jsonl").split(b"\n")
    need(lines.pop() == b"", "a last entry without its line feed")
    entries = [read_canonical(line, ENTRY, "an entry") for line in lines]
    need(all(entry["v"] == 1 for entry in entries), "an entry of another version")
    need([entry["seq"] for entry in entries] == list(range(len(entries))), "entries that are not in their order")
    leaves = [sha(b"\x00" + line) for line in lines]
    need((len(leaves), tree_root(leaves)) == (size, tree), "the entries are not those of the checkpoint")
    if file("old"):
        old_size, old_tree = read_checkpoint(text(file("old")), root)
        need(old_size <= size, "a log that has become shorter")
        need(tree_root(leaves[:old_size]) == old_tree, "the later log does not extend the earlier one")
        proof = hashes(read_json(file("consistency.json")))
        need(proof == consistency(old_size, leaves), "another proof than the one that shows it")
    if file("inclusion.json"):
        given = fits(read_json(file("inclusion.json")), {"index": 0, "proof": [KEY]}, "a proof of inclusion")
        need(given["index"] < size, "an entry outside the log")
        found = root_by_path(leaves[given["index"]], given["index"], size, hashes(given["proof"]))
        need(found == tree, "this entry does not lead to the log's root")


def text(raw):
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise No("a note that is not text") from None


def hashes(value):
    return [bytes.fromhex(part) for part in fits(value, [KEY], "a proof")]


def half(leaves):
    """The largest power of two below the number of leaves."""
    return 1 << (len(leaves) - 1).bit_length() - 1


def tree_root(leaves):
    if len(leaves) < 2:
        return leaves[0] if leaves else sha(b"")
    return sha(b"\x01" + tree_root(leaves[: half(leaves)]) + tree_root(leaves[half(leaves) :]))


def consistency(old, leaves, whole=True):
    """The proof that the tree over these leaves extends the one over the first `old` (RFC 6962, 2.1.2)."""
    if old == 0 or old == len(leaves):
        return [] if whole else [tree_root(leaves)]
    left = half(leaves)
    if old <= left:
        return [*consistency(old, leaves[:left], whole), tree_root(leaves[left:])]
    return [*consistency(old - left, leaves[left:], False), tree_root(leaves[:left])]
