"""Condition: transparency.  Whatever was asked, signed, refused or released stands in a register that anybody reads.

In English and French; it is the log that proofs lead to, and a refusal never says how many persons there are.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import datatrust as dt
from tests.support.outside_view import Wire, command, program, rule_of, watched
from tests.support.small_trusts import K, dataset, rows, study, trust
from trust.documents.result import read_result, write_envelope
from trust.documents.verification import verify
from trust.logs.checkpoint import read_checkpoint, register_origin
from trust.logs.merkle import check_inclusion, leaf_hash
from trust.protocol.messages import UP, unpack

FRAMES = {name: rows(60, seed) for seed, name in enumerate("abc", 2)}


@dataclass(frozen=True)
class Kept:
    """A trust in a folder that has released one study and refused two."""

    folder: Path
    trust: Any
    result: Any
    wire: Wire


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    folder = tmp_path_factory.mktemp("kept") / "trust"
    of = dt.local(FRAMES, dataset(), state=folder)
    with watched() as wire:
        result = study(of, dt.Describe(["x"])).run()
    assert rule_of(study(of, dt.Describe(["z"]), purpose="Marketing").run) == "no-permit"
    assert rule_of(study(of, dt.Describe(["z"]), cohort="x > 84").run) == "persons"
    return Kept(folder, of, result, wire)


def shown(kept: Kept, *more: object) -> list[str]:
    code, said = command("register", "show", "--state", kept.folder, *more)
    assert code == 0
    return said.splitlines()


def test_the_register_shows_every_entry_of_the_log_and_nothing_else(kept: Kept) -> None:
    """`register show --json` gives the very bytes whose hashes lead to the signed head."""
    lines = shown(kept, "--json")
    log = [entry.canonical().decode() for entry in kept.trust.docket.register.entries()]
    assert lines == log
    _, note = kept.trust.docket.register.inclusion(0)
    head = read_checkpoint(note, register_origin("local"), [kept.trust._keys.coordinator.public])
    assert head.size == len(lines)
    for index, entry in enumerate(lines):
        proof, _ = kept.trust.docket.register.inclusion(index)
        check_inclusion(leaf_hash(entry.encode()), index, head.size, proof, head.root)


def test_anybody_can_check_it_with_one_command(kept: Kept) -> None:
    code, said = program("register", "verify", "--state", kept.folder)
    assert (code, said.splitlines()[-1]) == (0, "ok")


def test_what_was_done_is_what_the_register_says(kept: Kept) -> None:
    """The bytes on the wire and the entries tell the same story."""
    of_study = [json.loads(line) for line in shown(kept, "--json", "--study", kept.result.provenance["study"])]
    kinds = [entry["kind"] for entry in of_study]
    assert [kind for kind in kinds if kind not in ("journal-head", "sum-record")] == ["study", "mandate", "release"]
    rounds = {r for _, r in kept.wire.uploads()}
    assert sorted(e["body"]["record"]["r"] for e in of_study if e["kind"] == "sum-record") == sorted(rounds)
    mandate = next(entry for entry in of_study if entry["kind"] == "mandate")
    assert mandate["body"]["digest"] == kept.result.provenance["mandate_digest"]


def test_the_released_file_is_the_one_that_the_register_names(kept: Kept) -> None:
    raw = (kept.folder / "results" / f"{kept.result.provenance['study']}.json").read_bytes()
    _, _, place = read_result(raw)
    entry = json.loads(shown(kept, "--json")[place.index])
    assert (entry["kind"], entry["body"]["mandate"]) == ("release", kept.result.provenance["mandate_digest"])
    assert kept.result.verify(kept.trust._keys.root).ok


@pytest.mark.parametrize(("more", "ok"), [(199, True), (200, False)])
def test_a_file_that_would_only_cost_its_readers_time_is_not_read(kept: Kept, more: int, ok: bool) -> None:
    """Signatures of nobody in particular; 200 in all are looked at, and not one more."""
    envelope = kept.result.envelope
    others = tuple(envelope.signatures[0].model_copy(update={"keyid": f"{n:064x}"}) for n in range(more))
    padded = envelope.model_copy(update={"signatures": (*envelope.signatures, *others)})
    assert verify(write_envelope(padded), pinned=kept.trust._keys.root).ok is ok


def test_it_can_be_read_in_english_and_in_french_line_by_line(kept: Kept) -> None:
    english, french = shown(kept, "--lang", "en"), shown(kept, "--lang", "fr")
    assert len(english) == len(french) == len(shown(kept, "--json"))
    assert [line.split()[0] for line in english] == [line.split()[0] for line in french]
    for en, fr in (("study filed", "étude déposée"), ("refused", "refus"), ("result released", "résultat diffusé")):
        where = [at for at, line in enumerate(english) if f"  {en}  " in line]
        assert where
        assert all(f"  {fr}  " in french[at] for at in where)


def test_a_mandate_is_explained_in_both_languages_from_the_bytes_that_are_signed(kept: Kept) -> None:
    name = kept.result.provenance["study"]
    english = command("review", "show", name, "--state", kept.folder, "--lang", "en")[1]
    french = command("review", "show", name, "--state", kept.folder, "--lang", "fr")[1]
    assert "3 partners: a, b, c" in english
    assert "3 partenaires" in french
    assert re.search("never happens|What never", english)


# ---- a refusal hides n


def entries_of(small: int, seed: int) -> tuple[list[dict[str, Any]], Wire]:
    """What the register says of a study that partner d could not join with so many persons, and what d sent."""
    of = trust(FRAMES | {"d": rows(small, seed)})
    with watched() as wire:
        study(of, dt.Describe(["x"])).run()
    return [entry.document() for entry in of.docket.register.entries() if entry.kind == "refusal"], wire


@pytest.mark.parametrize("small", [1, K - 2, K - 1])
def test_a_refusal_says_the_rule_and_never_how_many(small: int) -> None:
    (entry,), wire = entries_of(small, 9)
    assert entry["body"] == {
        "rule": "persons",
        "text": "a partner takes part with at least 11 persons in the cohort",
        "remedy": "widen the cohort",
        "partner": "",
    }
    assert wire.sent("d") == ["refusal"]
    said = [{k: v for k, v in unpack(raw, UP)[0].items() if k != "sig"} for name, raw in wire.up if name == "d"]
    assert said == [
        {"kind": "refusal", "name": "d", "v": 1} | {k: entry["body"][k] for k in ("rule", "text", "remedy")}
    ]


def test_no_refusal_of_the_register_holds_a_number_that_the_rule_does_not(kept: Kept) -> None:
    said = [json.loads(line)["body"] for line in shown(kept, "--json") if '"kind":"refusal"' in line]
    assert len(said) >= 2
    numbers = {number for body in said for number in re.findall(r"\d+", body["text"] + body["remedy"])}
    assert numbers <= {"11"}
    assert all(set(body) == {"rule", "text", "remedy", "partner"} for body in said)


def test_a_committee_that_says_no_gives_its_reasons_to_everybody(tmp_path: Path) -> None:
    folder = tmp_path / "trust"
    of = dt.local(FRAMES, dataset(), state=folder)
    job = study(of, dt.Describe(["x"])).submit()
    words = folder / "committee" / "passphrase"
    for member in (1, 2):
        file = folder / "committee" / f"member-{member}.pem"
        command(
            "review", "refuse", job.id, "--state", folder, "--key", file, "--passphrase-file", words,
            "--reason", f"no benefit for patients, says {member}",
        )  # fmt: skip
    code, said = command("register", "show", "--state", folder, "--study", job.id, "--lang", "fr")
    assert code == 0
    assert "vote contre" in said
    assert "no benefit for patients, says 1" in said
