"""`datatrust root show`: a root in words, its verdict, what changed, and nothing that poses as a word of ours."""

from __future__ import annotations

import json
import re
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from datatrust.in_process.keys import RoleKeys
from tests.support.command import Run
from tests.support.founding import NEXT_YEAR, ident, opened
from trust.charters.charter import Charter
from trust.documents.root import Root, TrustRoot
from trust.plain.root import review_root, root_json, root_text
from trust.signing.envelope import Envelope, Signer, sign
from trust.signing.json_text import read_envelopes
from trust.signing.key_files import new_key, write_key
from trust.times import read_time

# ---- showing


def test_a_founding_root_in_words(run: Run, signed: Path, here: Path) -> None:
    code, out, err = run("root", "show", signed)
    assert (code, err) == (0, "")
    assert out.startswith("Trust root of heart, version 1\n  Fingerprint  sha256:")
    assert "the ready charter research" in out
    assert re.search(r"Expires +\S+, in 36[45] days", out)
    assert f"{ident('member-3', here)}  root, committee, lay: has signed" in out
    assert f"{ident('member-2', here)}  root, committee\n" in out
    assert f"north  signs with {ident('north-sign', here)}\n" in out
    assert f"receives under {ident('north-seal', here)}\n" in out
    assert "by 2 of the 3 keys of version 1; 2 are needed" in out
    assert out.splitlines()[-1].startswith("VALID as a founding root")
    assert max(map(len, out.splitlines())) < 125


def test_the_same_in_french(run: Run, signed: Path) -> None:
    code, out, _ = run("root", "show", signed, "--lang", "fr")
    assert code == 0
    assert "Racine de confiance de heart, version 1" in out
    assert "la version 1\N{NARROW NO-BREAK SPACE}; 2 sont nécessaires" in out
    assert "lay\N{NO-BREAK SPACE}: a signé" in out
    assert out.splitlines()[-1].startswith("VALABLE comme racine fondatrice")


def test_an_unsigned_root_is_not_valid(run: Run, here: Path) -> None:
    run("root", "draft", "founding.toml", "--out", "root-1.json")
    code, out, _ = run("root", "show", "root-1.json")
    assert code == 1
    assert out.endswith("NOT VALID: signatures are missing.\n")


def test_one_object_and_nothing_else(run: Run, signed: Path, here: Path) -> None:
    code, out, err = run("root", "show", signed, "--json")
    told = json.loads(out)
    assert (code, err) == (0, "")
    assert (told["trust"], told["version"], told["valid"], told["why_not"]) == ("heart", 1, True, None)
    assert told["days_left"] in (364, 365)
    assert told["signed_by"] == sorted(ident(f"member-{n}", here) for n in (1, 3))
    assert told["quorums"] == [{"version": 1, "signed": 2, "keys": 3, "needed": 2}]
    assert told["fingerprint"] == "sha256:" + TrustRoot.founding(read_envelopes(signed.read_bytes())[0]).digest.hex()
    east = {"sign": ident("east-sign", here), "seal": ident("east-seal", here), "flower": None}
    assert told["partners"]["east"] == east


def test_what_changed_is_listed(run: Run, draft_next: Callable[..., Root], signed: Path, here: Path) -> None:
    write_key(here / "fresh-seal", new_key("seal"), None)
    draft_next(
        'quorum = 3\nauditor = "member-5.pub"\nroles.law = ["member-2.pub"]\nexpires = "2090-01-01"\n'
        'partners.west = {sign = "west-sign.pub", seal = "west-seal.pub"}\n'
        'researchers.lab-1 = {key = "lab-2.pub", organisation = "Other", accredited_until = 2099-01-01}\n'
        '[members]\nadd = ["member-4.pub"]\n[remove]\npartners = ["south"]\n'
        '[replace]\n"north-seal.pub" = "fresh-seal.pub"'
    )
    code, out, _ = run("root", "show", "root-2.json", signed, "--json")
    old = opened(signed)
    assert code == 1
    assert json.loads(out)["changes"] == [
        f"expires: 2090-01-01T00:00:00Z instead of {old.expires}",
        f"role auditor: key removed: {ident('auditor', here)}",
        f"role auditor: key added: {ident('member-5', here)}",
        f"role committee: key added: {ident('member-4', here)}",
        "role committee: 3 must act instead of 2",
        "role law: new, 1 of 1",
        f"role root: key added: {ident('member-4', here)}",
        "role root: 3 must act instead of 2",
        "partner north: other keys",
        "partner south: removed",
        "partner west: added",
        "researcher lab-1: another key",
        f"researcher lab-1: Other, until 2099-01-01T00:00:00Z instead of Institute, until {NEXT_YEAR}T00:00:00Z",
    ]


def test_nothing_but_the_dates(run: Run, draft_next: Callable[..., Root], signed: Path) -> None:
    draft_next("", "--expires", opened(signed).expires)
    assert "only the version and its dates" in run("root", "show", "root-2.json", signed)[1]


def test_a_later_version_alone_says_what_was_not_checked(
    run: Run, draft_next: Callable[..., Root], signed: Path, keys: Path
) -> None:
    draft_next("")
    for name in ("member-1", "member-2"):
        run("root", "sign", "root-2.json", "--key", keys / name, "--from", signed, "--yes")
    code, out, _ = run("root", "show", "root-2.json")
    assert code == 0
    assert "Whether it follows version 1 was not checked" in out


def test_all_versions_in_one_file_or_in_any_order(
    run: Run, draft_next: Callable[..., Root], signed: Path, keys: Path
) -> None:
    draft_next("")
    for name in ("member-1", "member-2"):
        run("root", "sign", "root-2.json", "--key", keys / name, "--from", signed, "--yes")
    run("root", "draft", "--from", "root-2.json", "--out", "root-3.json")
    for name in ("member-2", "member-3"):
        assert run("root", "sign", "root-3.json", "--key", keys / name, "--from", "root-2.json", "--yes")[0] == 0
    texts = [Path(f"root-{n}.json").read_text() for n in (2, 3, 1)]
    Path("roots.json").write_text(f"[{','.join(texts)}]")
    for words in (
        ["root-3.json", "root-2.json", str(signed)],
        ["root-3.json", str(signed), "root-2.json"],
        ["roots.json"],
    ):
        code, out, _ = run("root", "show", *words)
        assert code == 0
        assert "VALID: it follows version 2." in out
    code, out, _ = run("root", "show", "root-3.json", signed)
    assert code == 1
    assert "NOT VALID: a root follows the version just before it" in out


KEYS = RoleKeys.make(["a", "b", "c"], Charter.load("research"), read_time("2026-11-24T00:00:00Z"))
FIRST = KEYS.envelope


def following(edit: Callable[[dict[str, Any]], object] = lambda d: d, *signers: Signer) -> Envelope:
    document = {**KEYS.root.root.document(), "version": 2}
    edit(document)
    return sign("root", document, *(signers or KEYS.members))


@pytest.mark.parametrize(
    ("envelope", "earlier", "at", "rule"),
    [
        pytest.param(FIRST, [], "2026-12-01T00:00:00Z", "", id="a founding root"),
        pytest.param(FIRST, [], "2026-11-23T23:59:59Z", "early", id="before it is issued"),
        pytest.param(FIRST, [], "2027-11-23T23:59:59Z", "", id="in its last second"),
        pytest.param(FIRST, [], "2027-11-24T00:00:00Z", "root-expired", id="when it expires"),
        pytest.param(following(), [FIRST], "2026-12-01T00:00:00Z", "", id="what follows"),
        pytest.param(
            following(lambda d: d.update(trust="x")), [FIRST], "2026-12-01T00:00:00Z", "root-trust", id="another trust"
        ),
        pytest.param(FIRST, [FIRST], "2026-12-01T00:00:00Z", "root-version", id="itself"),
        pytest.param(FIRST, [following()], "2026-12-01T00:00:00Z", "root-version", id="an older one"),
        pytest.param(
            following(lambda d: d, KEYS.members[0]), [FIRST], "2026-12-01T00:00:00Z", "signature", id="one signature"
        ),
        pytest.param(
            following(), [sign("root", KEYS.root.root.document())], "2026-12-01T00:00:00Z", "earlier", id="no footing"
        ),
        pytest.param(sign("root", KEYS.root.root.document(), Signer(), Signer()), [], "2026-12-01T00:00:00Z",
                     "signature", id="strangers"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("lang", ["en", "fr"])
def test_every_verdict(envelope: Envelope, earlier: list[Envelope], at: str, rule: str, lang: str) -> None:
    one = review_root(envelope, earlier, read_time(at))
    assert (one.rule, one.valid) == (rule, not rule)
    last = root_text(one, lang).splitlines()[-1]
    assert last.startswith(("VALID", "VALABLE") if one.valid else ("NOT VALID", "NON VALABLE", "PAS ENCORE VALABLE"))
    assert root_json(one)["why_not"] == (rule or None)


def test_what_goes_and_what_comes_in_either_direction() -> None:
    def edit(document: dict[str, Any]) -> None:
        document["roles"].pop("lay")
        document["researchers"]["lab"] = document["researchers"].pop("local")

    one = review_root(following(edit), [FIRST], read_time("2026-12-01T00:00:00Z"))
    assert root_json(one)["changes"] == [
        "role lay: removed",
        f"researcher lab: added, local, until {KEYS.root.root.expires}",
        "researcher local: removed",
    ]


def test_one_signature_is_needed_and_two_are() -> None:
    def one_of(document: dict[str, Any]) -> None:
        document["roles"]["root"]["threshold"] = 1

    one = review_root(following(one_of), [FIRST], read_time("2026-12-01T00:00:00Z"))
    assert "of version 2; 1 is needed\n" in root_text(one)
    assert "of version 1; 2 are needed\n" in root_text(one)
    assert "1 est nécessaire" in root_text(one, "fr")


def test_signatures_that_count_nothing_are_counted_apart() -> None:
    envelope = sign("root", KEYS.root.root.document(), Signer(), KEYS.members[0], KEYS.coordinator)
    text = root_text(review_root(envelope, [], read_time("2026-12-01T00:00:00Z")))
    assert "by 1 of the 3 keys of version 1" in text
    assert "2 by other keys, or not valid: they do not count" in text


def test_words_that_somebody_else_chose_cannot_pose() -> None:
    """A name of a role or an organisation that would move the cursor, turn the line or look like a verdict."""

    def pose(document: dict[str, Any]) -> None:
        document["roles"]["lay\u202e\x1b[2J"] = document["roles"].pop("lay")
        document["researchers"]["local"]["organisation"] = "x\nVALID: it follows\r\x1b[1A"
        document["charter"] = "\x1b]0;title\x07"

    text = root_text(review_root(following(pose), [FIRST], read_time("2026-12-01T00:00:00Z")))
    assert set(text) <= set(string.printable + "⟨⟩") - {"\r", "\x1b", "\x0b", "\x0c", "\t"}
    assert not any(
        line.startswith("VALID: it follows\r") or line.strip() == "VALID: it follows" for line in text.splitlines()
    )


# ---- words


@pytest.mark.parametrize("lang", ["de", "EN", ""])
def test_an_unknown_language(run: Run, signed: Path, lang: str) -> None:
    code, out, err = run("root", "show", signed, "--lang", lang)
    assert (code, out) == (2, "")
    assert "expected one of: en, fr" in err
