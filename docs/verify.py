#!/usr/bin/env python3
"""Verify a result file of a data trust.  One file, Python 3.11 or later and the `cryptography` package, nothing else.

    python verify.py RESULT.json [--root ROOT.json]     exit code 0 verified, 1 not verified, 2 no result file

ROOT.json is the trust root that you trust: the signed root, or a list of all its versions.  Without it the file is held
to its own first root, which proves only that it agrees with itself: compare the fingerprint that is printed with the
one that the trust has published.

1 file       an envelope of kind result, whose payload is closed and canonical JSON
2 root       the versions of the trust root follow from the one that you trust, each signed by the one before it
3 result     signed by the coordinator of the root in force
4 mandate    signed by the committee's quorum and the root's further roles; root and mandate in force at the release
5 study      signed by a researcher accredited then; the mandate is for it, and the results are of its analyses
6 rules      every decision was a yes, and as many cells are hidden as the result says
7 register   the release stands in the register whose checkpoint the coordinator has signed

It shares no code with the datatrust project, so that one can be held against the other.  Formats: docs/formats.md.
Not read are the fields of an analysis and of the protections: nothing that is proved depends on them.  With `--kind`
it judges a folder of the project's conformance corpus (`verify_cases.py`, beside this file).
Sources: DSSE 1.0.2; RFC 8032 (Ed25519); RFC 6962 (Merkle tree); C2SP signed-note and tlog-checkpoint; The Update
Framework 1.0.33, section 5.3 (root rotation).
"""

import argparse
import base64
import hashlib
import json
import math
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

LARGEST, DEEPEST, MOST_SIGNATURES, MOST_ENTRIES = 64 << 20, 64, 200, 1 << 26
SURROGATE = re.compile("[\ud800-\udfff]")
STEPS = ("file", "root", "result", "mandate", "study", "rules", "register")
CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
SMALL_ORDER = {
    "00" * 32, "01" + "00" * 31, "ec" + "ff" * 30 + "7f", "ed" + "ff" * 30 + "7f", "ee" + "ff" * 30 + "7f",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
}  # fmt: skip
FOUR_ROLES = ("root", "committee", "coordinator", "auditor")


class No(Exception):
    """Refused, and why."""


def need(condition, why):
    if not condition:
        raise No(why)


def sha(raw):
    return hashlib.sha256(raw).digest()


def canonical(value, depth=0):
    """Sorted keys, no spaces, ASCII; strings, booleans, whole numbers below 2^53, lists and objects."""
    if isinstance(value, str | bool):
        need(isinstance(value, bool) or not SURROGATE.search(value), "a text that is not Unicode")
        return json.dumps(value)
    if isinstance(value, int):
        need(abs(value) < 2**53, "a whole number of 2^53 or more")
        return str(value)
    need(depth < DEEPEST, "nested too deeply")
    if isinstance(value, list):
        return "[" + ",".join(canonical(item, depth + 1) for item in value) + "]"
    need(isinstance(value, dict), "null, which has no place here")
    return "{" + ",".join(f"{canonical(k)}:{canonical(value[k], depth + 1)}" for k in sorted(value)) + "}"


def read_json(raw):
    """Any spacing, but no key twice; a float becomes null, which no form has a place for."""

    def once(pairs):
        need(len(dict(pairs)) == len(pairs), "a key stands twice")
        return dict(pairs)

    need(len(raw) <= LARGEST, "a file that is too large")
    try:
        no_float = {"parse_float": lambda _: None, "parse_constant": lambda _: None}
        return json.loads(raw.decode("utf-8"), object_pairs_hook=once, **no_float)
    except (ValueError, RecursionError):
        raise No("a file that is not JSON") from None


def read_canonical(raw, form, what, largest=1 << 20):
    need(len(raw) <= largest, f"{what} is too large")
    value = read_json(raw)
    need(canonical(value).encode() == raw, f"{what} is not in canonical form")
    return fits(value, form, what)


def fits(value, form, what):
    """The value, if it is of a form: a text by its pattern, a whole number by its least, a list by its items' form, an
    object by (pattern of names, form of values) or by its fields (`name?` may be absent), else by a function."""
    if isinstance(form, str):
        fitting = isinstance(value, str) and not SURROGATE.search(value) and re.fullmatch(form, value, re.DOTALL)
    elif isinstance(form, int):
        fitting = isinstance(value, int) and not isinstance(value, bool) and value >= form
    elif isinstance(form, list):
        fitting = isinstance(value, list)
        for item in value if fitting else ():
            fits(item, form[0], what)
    elif isinstance(form, tuple):
        fitting = isinstance(value, dict)
        for name, inner in value.items() if fitting else ():
            fits(inner, form[1], f"{what}, {fits(name, form[0], what)}")
    elif isinstance(form, dict):
        fitting = isinstance(value, dict)
        unknown = set(value) - {name.rstrip("?") for name in form} if fitting else ()
        need(not unknown, f"{what} has an unknown field {min(unknown, default='')!r}")
        for name, inner in form.items() if fitting else ():
            need(name.endswith("?") or name in value, f"{what} has no field {name!r}")
            if name.rstrip("?") in value:
                fits(value[name.rstrip("?")], inner, f"{what}, {name.rstrip('?')}")
    else:
        fitting = form(value)
    need(fitting, f"{what} is not of its form")
    return value


def time(value):
    try:
        return datetime.strptime(fits(value, "[1-9][0-9-]{9}T[0-9:]{8}Z", "a time"), "%Y-%m-%dT%H:%M:%SZ").replace(
            tzinfo=UTC
        )
    except ValueError:
        raise No("a time that does not exist") from None


def unbase64(value):
    try:
        return base64.b64decode(value, validate=True)
    except ValueError:
        raise No("a text that is not base64") from None


ANYTHING, TRUTH = (lambda value: True), (lambda value: isinstance(value, bool))
ANY, NAME, KEY = ".*", "[a-z0-9][a-z0-9-]{0,62}", "[0-9a-f]{64}"
P256 = "3059301306072a8648ce3d020106082a8648ce3d03010703420004[0-9a-f]{128}"
ANALYSIS, ARRAY = "[a-z0-9][a-z0-9_-]{0,62}", "[A-Za-z][A-Za-z0-9_]{0,62}"
ENVELOPE = {"payload": ANY, "payloadType": ANY, "signatures": [{"keyid": ANY, "sig": ANY}]}
ROOT = {
    "schema": "datatrust/root/1", "trust": NAME, "version": 1, "issued": time, "expires": time, "charter": ANY,
    "keys": (KEY, KEY), "roles": (ANY, {"keys": [KEY], "threshold": 1}),
    "partners": (NAME, {"sign": KEY, "seal": KEY, "flower?": f"({P256})?"}),
    "researchers": (NAME, {"key": KEY, "organisation": ANY, "accredited_until": time}),
}  # fmt: skip
MANDATE = {
    "schema": "datatrust/mandate/1", "id": NAME, "study": ANY, "plan": ANY, "dataset": ANY, "charter": ANY, "root": 1,
    "partners": [NAME], "participation": "all|joined", "m": -(2**53), "c": 1, "sums": 1, "bytes": 1, "audit?": "nodes",
    "conditions?": [ANY], "not_before": time, "expires": time,
}  # fmt: skip
STUDY = {
    "schema": "datatrust/study/1", "id": NAME, "title": ".{1,200}", "summary": ("en|fr", ANY), "purpose": ANY,
    "researcher": ANY, "dataset": ANY, "dataset_digest": ANY, "cohort?": ANY, "protections": (ANY, ANYTHING),
    "analyses": (ANALYSIS, (ANY, ANYTHING)), "not_before": time, "expires": time,
}  # fmt: skip
RESULT = {
    "schema": "datatrust/result/1", "study": ENVELOPE, "mandate": ENVELOPE, "root": [ENVELOPE],
    "results": (ANALYSIS, (ARRAY, {"kind": "real|count|text|truth", "shape": [0], "values": [ANYTHING]})),
    "suppressed": (ANALYSIS, 0), "decisions": [{"rule": ANY, "ok": TRUTH, "text": ANY, "remedy": ANY}],
    "register": {"at": time, "index": 0, "proof": [KEY], "checkpoint": ANY},
}  # fmt: skip


def good(public, signature, message):
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def envelope(value):
    """A DSSE envelope: its payload's bytes, of which nothing is verified."""
    found = fits(value, ENVELOPE, "an envelope")
    need(len(found["signatures"]) <= MOST_SIGNATURES, "an envelope with too many signatures")
    signatures = [(s["keyid"], s["sig"]) for s in found["signatures"]]
    return SimpleNamespace(raw=unbase64(found["payload"]), type=found["payloadType"], signatures=signatures)


def quorum(kind, signed, keys, threshold):
    """Ids of those of `keys` ({id: raw public key}) that have signed these bytes as this kind; each counts once."""
    type_, found = f"application/vnd.datatrust.{kind}+json", set()
    message = b"DSSEv1 %d %s %d %s" % (len(type_), type_.encode(), len(signed.raw), signed.raw)
    for keyid, signature in signed.signatures if signed.type == type_ else ():
        try:
            found |= {keyid} if keyid in keys and good(keys[keyid], unbase64(signature), message) else set()
        except No:
            continue  # a text that is not base64 is not a signature
    need(len(found) >= threshold, f"the {kind} is signed by {len(found)} of {len(keys)} keys; {threshold} are needed")
    return found


def digest(raw):
    return "sha256:" + sha(raw).hex()


def read_root(signed):
    """A version of the trust root, each field checked; nothing is verified."""
    root = read_canonical(signed.raw, ROOT, "the trust root")
    for keyid, public in root["keys"].items():
        need(digest(bytes.fromhex(public)) == f"sha256:{keyid}", "a key id that is not its key's SHA-256")
    need(set(FOUR_ROLES) <= set(root["roles"]), "a role is missing")
    for role in root["roles"].values():
        need(
            len(set(role["keys"])) == len(role["keys"]) >= role["threshold"], "a key twice, or a threshold out of reach"
        )
        need(set(role["keys"]) <= set(root["keys"]), "a role names a key that the root does not have")
    need(len({p["sign"] for p in root["partners"].values()}) == len(root["partners"]), "two partners have one key")
    links = [p["flower"] for p in root["partners"].values() if p.get("flower")]
    need(len(set(links)) == len(links), "two partners have one connection's key")
    for who in root["researchers"].values():
        need(who["key"] in root["keys"], "a researcher's key that the root does not have")
    need(time(root["issued"]) < time(root["expires"]), "a root that expires before it is issued")
    alone = {*root["roles"]["coordinator"]["keys"], *(who["key"] for who in root["researchers"].values())}
    need(not alone & set(root["roles"]["committee"]["keys"]), "a member who is the coordinator or a researcher")
    for public in (*root["keys"].values(), *(partner["sign"] for partner in root["partners"].values())):
        need(f"{public[:62]}{int(public[62:], 16) & 127:02x}" not in SMALL_ORDER, "a key of small order")
    keys = {keyid: bytes.fromhex(public) for keyid, public in root["keys"].items()}
    keys_of = {name: {k: keys[k] for k in role["keys"]} for name, role in root["roles"].items()}
    return SimpleNamespace(**root, signed=signed, all_keys=keys, keys_of=keys_of)


def follow(envelopes, pinned):
    """The last of the versions, each signed by a quorum of the one before it and by one of its own."""
    roots = [read_root(signed) for signed in envelopes]
    need(roots, "a chain without a trust root")
    current = pinned or roots[0]
    need(all(root.trust == current.trust for root in roots), "the trust root is of another trust")
    order = list(range(roots[0].version, roots[0].version + len(roots)))
    need([root.version for root in roots] == order, "the versions of the trust root do not stand in their order")
    need(roots[-1].version >= current.version, "made under an older version of the trust root than the pinned one")
    if not pinned:
        quorum("root", current.signed, current.keys_of["root"], current.roles["root"]["threshold"])
    for root in roots:
        need(root.version != current.version or root.signed.raw == current.signed.raw, "not the pinned trust root")
        if root.version > current.version:
            need(root.version == current.version + 1, "a version of the trust root is missing")
            for signer in (current, root):
                quorum("root", root.signed, signer.keys_of["root"], signer.roles["root"]["threshold"])
            need(time(root.issued) >= time(current.issued), "a trust root issued before the one that it follows")
            current = root
    return current


def require_in_force(what, begins, at, ends):
    need(time(begins) <= at < time(ends), f"{what} has expired, or is not in force yet")


def read_mandate(signed, root, at):
    """Signed by the committee's quorum and the further roles; mandate and root in force."""
    who = quorum("mandate", signed, root.keys_of["committee"], root.roles["committee"]["threshold"])
    mandate = read_canonical(signed.raw, MANDATE, "the mandate")
    need(mandate["partners"] == sorted(set(mandate["partners"])), "partners that are not sorted, each once")
    need(mandate["root"] == root.version, "the mandate was signed for another version of the trust root")
    for name in set(root.roles) - set(FOUR_ROLES):
        enough = len(who & set(root.roles[name]["keys"])) >= root.roles[name]["threshold"]
        need(enough, f"the mandate is not signed by as many of role {name!r} as are needed")
    require_in_force("the trust root", root.issued, at, root.expires)
    require_in_force("the mandate", mandate["not_before"], at, mandate["expires"])
    need(mandate["charter"] == root.charter, "the mandate is under another charter than the trust root's")
    need(set(mandate["partners"]) <= set(root.partners), "the mandate names a partner that the root does not have")
    return mandate


def read_study(signed, mandate, root, at):
    """Signed by its researcher, accredited then; the one that the mandate is for."""
    study = read_canonical(signed.raw, STUDY, "the study")
    need(time(study["not_before"]) < time(study["expires"]), "a study that expires before it begins")
    need(1 <= len(study["analyses"]) <= 50, "a study without analyses, or with too many")
    who = root.researchers.get(study["researcher"])
    need(who, "the study's researcher is not in the trust root")
    quorum("study", signed, {who["key"]: root.all_keys[who["key"]]}, 1)
    need(at < time(who["accredited_until"]), "the study's researcher was no longer accredited")
    need(digest(signed.raw) == mandate["study"], "the mandate is for another study")
    need(study["dataset_digest"] == mandate["dataset"], "study and mandate name different datasets")
    return study


def root_by_path(leaf, index, size, proof):
    """The root to which a leaf leads by its audit path (RFC 6962, 2.1.1)."""
    need(0 <= index < size and (size == 1) == (not proof), "an entry outside the log, or a proof of another length")
    if size == 1:
        return leaf
    left = 1 << (size - 1).bit_length() - 1
    if index < left:
        return sha(b"\x01" + root_by_path(leaf, index, left, proof[:-1]) + proof[-1])
    return sha(b"\x01" + proof[-1] + root_by_path(leaf, index - left, size - left, proof[:-1]))


def read_checkpoint(note, root):
    """(size, root) of the register's signed note; lines of other names and keys are passed over."""
    origin = f"datatrust/{root.trust}/register"
    signed, blank, signatures = note.rpartition("\n\n")
    lines = signed.split("\n")
    need(not CONTROL.search(note), "a checkpoint with control characters")
    need(len(note) <= 16384 and blank and len(lines) >= 3 and note.endswith("\n"), "a text that is not a checkpoint")
    need(lines[0] == origin, "the checkpoint is of another log")
    size, tree = int(fits(lines[1], "0|[1-9][0-9]{0,15}", "a log's size")), unbase64(lines[2])
    need(len(tree) == 32, "a checkpoint's root that is not 32 bytes")
    ok = False
    for line in signatures[:-1].split("\n"):
        found = re.fullmatch("\N{EM DASH} (\\S+) ([A-Za-z0-9+/]+={0,2})", line)
        blob = unbase64(found[2]) if found else b""
        need(len(blob) >= 5, "a line that is not a signature")
        for key in root.keys_of["coordinator"].values() if found[1] == origin else ():
            hint = sha(f"{origin}\n\x01".encode() + key)[:4]
            ok |= blob[:4] == hint and good(key, blob[4:], f"{signed}\n".encode())
    need(ok, "the checkpoint is not signed by its log's key")
    return size, tree


def is_entry(kind, entry):
    """Whether it may stand in an array of this kind; in counts and reals, an empty text is hidden or undefined."""
    if not isinstance(entry, str):
        return kind == "truth" if isinstance(entry, bool) else kind == "count" and isinstance(entry, int) and entry >= 0
    if kind == "count":
        return entry == "" or (bool(re.fullmatch("[1-9][0-9]{15,18}", entry)) and 2**53 <= int(entry) < 2**63)
    try:
        return (kind == "text" and "\0" not in entry) or (
            kind == "real" and (entry == "" or (entry != "nan" and repr(float(entry)) == entry))
        )
    except ValueError:
        return False


def steps(raw, pinned, now):
    """Yields a sentence for each of STEPS; raises No at the first that fails."""
    signed = envelope(read_json(raw))
    result = read_canonical(signed.raw, RESULT, "the result", LARGEST)
    results, register = result["results"], result["register"]
    study, mandate, *roots = map(envelope, (result["study"], result["mandate"], *result["root"]))
    need(1 <= len(results) <= 50 and len(result["decisions"]) <= 100_000, "too many analyses or decisions, or none")
    need(1 <= len(roots) <= 1000, "too many versions of the trust root, or none")
    for array in (array for arrays in results.values() for array in arrays.values()):
        need(len(array["shape"]) <= 8 and math.prod(n for n in array["shape"] if n) <= MOST_ENTRIES, "too many entries")
        need(math.prod(array["shape"]) == len(array["values"]), "an array whose shape and number of entries differ")
        need(all(is_entry(array["kind"], entry) for entry in array["values"]), f"an entry that is no {array['kind']}")
    yield f"a result file of {len(results)} analyses, released {register['at']}"
    root, at = follow(roots, pinned), time(register["at"])
    own = f"; root not pinned: this proves only that the file agrees with itself; it begins with {digest(roots[0].raw)}"
    yield f"version {root.version} of the trust root of {root.trust!r}{'' if pinned else own}"
    quorum("result", signed, root.keys_of["coordinator"], root.roles["coordinator"]["threshold"])
    yield f"the result is signed by the coordinator of {root.trust!r}"
    permit = read_mandate(mandate, root, at)
    yield f"mandate {permit['id']} is signed by the committee, and was in force"
    asked = read_study(study, permit, root, at)
    need(set(asked["analyses"]) == set(results), "the results are not those of the study's analyses")
    yield f"study {asked['id']} is signed by researcher {asked['researcher']!r}, and the mandate is for it"
    need(result["decisions"] and all(d["ok"] for d in result["decisions"]), "a rule said no, or none was asked")
    need(set(result["suppressed"]) == set(results), "the numbers of hidden cells are of other analyses")
    for name, arrays in results.items():
        masks = [a["values"] for n, a in arrays.items() if a["kind"] == "truth" and f"{n}_".startswith("hidden_")]
        hidden = sum(map(sum, masks))
        need(hidden == result["suppressed"][name], "the numbers of hidden cells are not those of the results")
        withheld = any(a["kind"] == "count" and "" in a["values"] for a in arrays.values())
        need(hidden or not withheld, "a count is withheld and no cell is said to be hidden")
    yield f"all {len(result['decisions'])} rules said yes; {sum(result['suppressed'].values())} cells are hidden"
    need(at <= now, "the release is dated later than now: check the clock")
    size, tree = read_checkpoint(register["checkpoint"], root)
    content = digest(canonical({name: value for name, value in result.items() if name != "register"}).encode())
    entry = {"at": register["at"], "body": {"mandate": digest(mandate.raw), "result": content}, "kind": "release"}
    entry |= {"seq": register["index"], "study": asked["id"], "v": 1}
    proof = [bytes.fromhex(part) for part in register["proof"]]
    found = root_by_path(sha(b"\x00" + canonical(entry).encode()), register["index"], size, proof)
    need(found == tree, "this release does not lead to the register's root")
    yield f"the release is entry {register['index']} of the {size} of the register"


def read_roots(path):
    value = read_json(path.read_bytes())
    return [envelope(item) for item in (value if isinstance(value, list) else [value])]


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    arguments.add_argument("file", type=Path, metavar="RESULT.json|FOLDER")
    arguments.add_argument("--root", type=Path, metavar="ROOT.json", help="the trust root that you trust")
    arguments.add_argument("--kind", choices=("mandate", "root", "release", "register"), help="judge a case's folder")
    given, done = arguments.parse_args(), 0
    try:
        pinned = follow(read_roots(given.root), None) if given.root else None
    except (No, OSError) as no:
        print(f"{given.root} is not a trust root: {no}")
        return 2
    try:
        if given.kind:
            sys.modules.setdefault("verify", sys.modules[__name__])
            from verify_cases import case

            case(given.kind, given.file)
        else:
            for sentence in steps(given.file.read_bytes(), pinned, datetime.now(UTC)):
                print(f"{done + 1} ok      {STEPS[done]:<9} {sentence}")
                done += 1
    except (No, OSError) as no:
        print(f"{done + 1} failed  {STEPS[done]:<9} {no}")
        print("not verified")
        return 1 if given.kind or done else 2
    print("verified")
    return 0


if __name__ == "__main__":
    sys.exit(main())
