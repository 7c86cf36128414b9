"""The conformance corpus, judged twice: by `trust`, and by the stand-alone verifier, which shares no code with it.

A folder whose name ends in `_fail` must be refused, any other accepted.  A case is files and a name: whoever writes
another implementation runs it over the same folders.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.support import make_conformance
from trust.canonical import parse, read_model
from trust.documents.root import TrustRoot
from trust.documents.verification import check_mandate, check_roots, check_study, require_verified
from trust.documents.votes import read_revocation
from trust.errors import DataTrustError, MessageInvalid, Refused
from trust.logs.checkpoint import read_checkpoint, register_origin
from trust.logs.merkle import Entry, Tree, check_consistency, check_inclusion, leaf_hash
from trust.signing.envelope import Envelope, sha256
from trust.signing.json_text import read_envelopes, read_json
from trust.times import read_time

FOLDER = make_conformance.FOLDER
DOCS = FOLDER.parents[1] / "docs"
CASES = sorted(path for kind in make_conformance.KINDS for path in (FOLDER / kind).iterdir())
AT_LEAST = {"mandate": 60, "root": 50, "release": 40, "register": 40}


# ---- ours


def envelope(path: Path) -> Envelope:
    return Envelope.read(read_json(path.read_bytes(), largest=1 << 20))


def now(folder: Path) -> Any:
    return read_time((folder / "now").read_text().strip())


def pinned(folder: Path) -> TrustRoot:
    return check_roots(read_envelopes((folder / "root.json").read_bytes()), None)


def mandate(folder: Path) -> None:
    root, at, signed = pinned(folder), now(folder), envelope(folder / "mandate.json")
    root.require_in_force(at)
    found = check_mandate(signed, root, at)
    check_study(envelope(folder / "study.json"), found.mandate, root, at)
    if (folder / "revocation.json").exists() and revoked(folder, signed, root):
        raise Refused("mandate-revoked", "the mandate was revoked")


def revoked(folder: Path, signed: Envelope, root: TrustRoot) -> bool:
    """What no member has signed revokes nothing."""
    try:
        revocation = read_revocation(envelope(folder / "revocation.json"), root.root)
    except DataTrustError:
        return False
    return revocation.mandate == sha256(signed.unverified_payload)


def root(folder: Path) -> None:
    numbered = sorted((path for path in folder.glob("*.json") if path.stem.isdigit()), key=lambda path: int(path.stem))
    held = pinned(folder) if (folder / "root.json").exists() else None
    check_roots([envelope(path) for path in numbered], held).require_in_force(now(folder))


def release(folder: Path) -> None:
    held = pinned(folder) if (folder / "root.json").exists() else None
    require_verified((folder / "result.json").read_bytes(), pinned=held, now=now(folder))


def register(folder: Path) -> None:
    trusted = pinned(folder).root
    keys, origin = trusted.keys_of("coordinator").values(), register_origin(trusted.trust)
    checkpoint = read_checkpoint(read_note(folder / "checkpoint"), origin, keys)
    *lines, last = (folder / "entries.jsonl").read_bytes().split(b"\n")
    if last:
        raise MessageInvalid("a last entry without its line feed")
    for seq, line in enumerate(lines):
        entry = read_model(Entry, parse(line), MessageInvalid, "an entry")
        if entry.seq != seq or entry.canonical() != line:
            raise MessageInvalid(f"an entry that is not entry {seq}")
    tree = Tree(map(leaf_hash, lines))
    if (len(tree), tree.root()) != (checkpoint.size, checkpoint.root):
        raise Refused("proof-invalid", "the entries are not those of the checkpoint")
    if (folder / "old").exists():
        old = read_checkpoint(read_note(folder / "old"), origin, keys)
        proof = hashes(read(folder / "consistency.json"))
        check_consistency(old.size, checkpoint.size, old.root, checkpoint.root, proof)
    if (folder / "inclusion.json").exists():
        given = read(folder / "inclusion.json")
        leaf = leaf_hash(lines[given["index"]]) if given["index"] < len(lines) else b""
        check_inclusion(leaf, given["index"], checkpoint.size, hashes(given["proof"]), checkpoint.root)


def read(path: Path) -> Any:
    return read_json(path.read_bytes(), largest=1 << 20)


def read_note(path: Path) -> str:
    return path.read_bytes().decode()


def hashes(parts: Any) -> list[bytes]:
    try:
        return [bytes.fromhex(part) for part in parts]
    except ValueError:
        raise MessageInvalid("a proof that is not a list of hashes") from None


OURS: dict[str, Callable[[Path], None]] = {"mandate": mandate, "root": root, "release": release, "register": register}


# ---- the stand-alone verifier


@pytest.fixture(scope="module")
def alone() -> Any:
    """`verify` and `verify_cases` of docs/."""
    sys.path.insert(0, str(DOCS))
    import verify
    import verify_cases

    yield verify, verify_cases
    sys.path.remove(str(DOCS))
    del sys.modules["verify"], sys.modules["verify_cases"]


def accepts(judge: Callable[[], object], error: type[Exception]) -> bool:
    """Any other exception fails the test."""
    try:
        judge()
    except error:
        return False
    return True


@pytest.mark.parametrize("folder", CASES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_both_judge_as_the_name_says(folder: Path, alone: tuple[ModuleType, ModuleType]) -> None:
    verify, verify_cases = alone
    kind, wanted = folder.parent.name, not folder.name.endswith("_fail")
    assert accepts(lambda: OURS[kind](folder), DataTrustError) == wanted, "trust judges otherwise"
    assert accepts(lambda: verify_cases.case(kind, folder), verify.No) == wanted, "docs/verify.py judges otherwise"


# ---- the corpus itself


def test_there_are_enough_cases_and_two_thirds_must_be_refused() -> None:
    for kind, least in AT_LEAST.items():
        names = [path.name for path in CASES if path.parent.name == kind]
        assert len(names) >= least
        assert 3 * sum(name.endswith("_fail") for name in names) >= 2 * len(names), kind


def test_the_folder_is_what_is_made() -> None:
    """No drift: each byte is made again from the honest documents."""
    made = {f"{case.folder}/{name}": raw for case in make_conformance.cases() for name, raw in _files(case)}
    found = {str(path.relative_to(FOLDER)): path.read_bytes() for folder in CASES for path in folder.iterdir()}
    assert found.keys() == made.keys()
    assert [name for name in found if found[name] != made[name]] == []


def _files(case: Any) -> Any:
    return make_conformance.files(case).items()


def test_no_two_cases_are_the_same_files() -> None:
    """A case that is another one under a new name would be no case."""
    seen: dict[Any, str] = {}
    for case in make_conformance.cases():
        key = case.kind, tuple(sorted(case.files.items()))
        assert key not in seen, f"{case.name} and {seen[key]}"
        seen[key] = case.name


def test_no_private_key_stands_in_the_corpus() -> None:
    from tests.support.corpus import honest

    signers = [*honest.MEMBERS, honest.COORDINATOR, honest.AUDITOR, honest.RESEARCHER, honest.STRANGER]
    secrets = [signer.private.private_bytes_raw().hex().encode() for signer in signers]
    for folder in CASES:
        for path in folder.iterdir():
            raw = path.read_bytes()
            assert not any(secret in raw for secret in secrets)


@pytest.mark.parametrize("name", ["mandate/3-of-5-the-quorum-exactly", "mandate/2-of-5_fail"])
def test_the_stand_alone_verifier_judges_a_folder_from_the_command_line(name: str) -> None:
    command = [sys.executable, str(DOCS / "verify.py"), "--kind", name.partition("/")[0], str(FOLDER / name)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (1 if name.endswith("_fail") else 0, "")
