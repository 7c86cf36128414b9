# ruff: noqa: E501 - one case a line
"""`datatrust root draft`: a founding root, the next version, and everything that is refused."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from datatrust.founding.files import moment
from tests.support.command import Run
from tests.support.founding import FOUNDING, NEXT_YEAR, NOW, change, ident, opened
from trust.canonical import canonical
from trust.charters.charter import Charter
from trust.documents.root import Root
from trust.errors import InvalidInput
from trust.signing.connection_key import connection_pem, is_connection_key
from trust.signing.envelope import Signer, key_id
from trust.signing.json_text import read_envelopes
from trust.signing.key_files import new_key, read_public, read_signer, write_key
from trust.times import read_time, write_time

# ---- founding


def test_a_draft_is_signed_by_nobody_and_says_what_comes_next(run: Run, here: Path) -> None:
    code, out, err = run("root", "draft", "founding.toml", "--out", "root-1.json")
    assert (code, out) == (0, "")
    assert "signed by nobody yet" in err
    assert "next, by 2 of its 3 members: datatrust root sign root-1.json --key FILE" in err
    envelope = read_envelopes(Path("root-1.json").read_bytes())[0]
    assert envelope.signatures == ()
    assert envelope.payloadType == "application/vnd.datatrust.root+json"


def test_what_is_drafted_is_what_was_written(run: Run, here: Path) -> None:
    run("root", "draft", "founding.toml", "--out", "root-1.json")
    root = opened(Path("root-1.json"))
    members = tuple(ident(f"member-{n}", here) for n in (1, 2, 3))
    charter = Charter.load("research")
    assert (root.trust, root.version, root.charter) == ("heart", 1, charter.folder_digest)
    assert read_time(root.expires) - read_time(root.issued) == timedelta(days=365)
    assert {name: (role.keys, role.threshold) for name, role in root.roles.items()} == {
        "root": (members, charter.committee.quorum),
        "committee": (members, charter.committee.quorum),
        "coordinator": ((ident("coordinator", here),), 1),
        "auditor": ((ident("auditor", here),), 1),
        "lay": ((members[2],), charter.committee.roles["lay"]),
    }
    assert root.partners["north"].sign == read_public(here / "north-sign.pub").public
    assert root.partners["north"].seal == read_public(here / "north-seal.pub").public
    assert root.researchers["lab-1"].key == ident("lab-1", here)
    assert root.researchers["lab-1"].accredited_until == f"{NEXT_YEAR}T00:00:00Z"
    assert set(root.keys) == {*members, *(ident(name, here) for name in ("coordinator", "auditor", "lab-1"))}


def test_a_draft_on_standard_output_is_the_same_file(run: Run, here: Path) -> None:
    for words in (["--out", "root-1.json"], []):
        code, out, _ = run("root", "draft", "founding.toml", "--issued", NOW.date().isoformat(), *words)
        assert code == 0
    assert out == Path("root-1.json").read_text()
    assert canonical(json.loads(out)) + b"\n" == out.encode()


def test_paths_begin_at_the_file_not_where_the_command_is_run(
    run: Run, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    assert run("root", "draft", here / "founding.toml", "--out", here / "root-1.json")[0] == 0


@pytest.mark.parametrize(
    ("options", "expires"),
    [
        (["--expires", NEXT_YEAR], f"{NEXT_YEAR}T00:00:00Z"),
        (["--expires", f"{NEXT_YEAR}T12:30:00Z"], f"{NEXT_YEAR}T12:30:00Z"),
        (["--expires", "30", "--issued", "2099-01-01"], "2099-01-31T00:00:00Z"),
        (["--expires", "1", "--issued", "2096-02-28"], "2096-02-29T00:00:00Z"),
    ],
)
def test_an_expiry_is_a_date_a_time_or_days(run: Run, here: Path, options: list[str], expires: str) -> None:
    assert run("root", "draft", "founding.toml", "--out", "r.json", *options)[0] == 0
    assert opened(Path("r.json")).expires == expires


def test_a_time_of_another_zone_is_written_in_utc(run: Run, here: Path) -> None:
    Path("founding.toml").write_text(FOUNDING.replace(NEXT_YEAR, "2099-01-01T12:00:00+02:00"))
    assert run("root", "draft", "founding.toml", "--out", "r.json")[0] == 0
    assert opened(Path("r.json")).researchers["lab-1"].accredited_until == "2099-01-01T10:00:00Z"


def test_a_stricter_quorum_and_a_role_of_two_stand(run: Run, here: Path) -> None:
    more = FOUNDING.replace(
        'roles.lay = ["member-3.pub"]',
        'quorum = 3\nroles.lay = {keys = ["member-2.pub", "member-3.pub"], threshold = 2}',
    )
    Path("founding.toml").write_text(more)
    code, _, err = run("root", "draft", "founding.toml", "--out", "r.json")
    roles = opened(Path("r.json")).roles
    assert code == 0
    assert (roles["root"].threshold, roles["committee"].threshold, roles["lay"].threshold) == (3, 3, 2)
    assert "note: every member must sign" in err


def test_a_trust_of_few_partners_may_begin_and_hears_what_it_cannot_do(run: Run, here: Path) -> None:
    Path("founding.toml").write_text(re.sub("partners.(south|east).*", "", FOUNDING))
    code, _, err = run("root", "draft", "founding.toml", "--out", "r.json")
    assert code == 0
    assert "note: 1 partners: no study can run with fewer than 3" in err


def test_a_charter_of_its_own(run: Run, here: Path) -> None:
    own = here / "charter"
    own.mkdir()
    source = Path(__file__).parents[3] / "trust" / "charters" / "research"
    for file in source.iterdir():
        (own / file.name).write_bytes(file.read_bytes())
    with (own / "charter.toml").open("a") as file:
        file.write("# ours\n")
    Path("founding.toml").write_text(FOUNDING.replace('"research"', '"charter"'))
    assert run("root", "draft", "founding.toml", "--out", "r.json")[0] == 0
    assert opened(Path("r.json")).charter == Charter.load(own).folder_digest != Charter.load("research").folder_digest


# ---- what a founding file may not say

SWAP = FOUNDING.replace
BAD: list[tuple[str, str, str]] = [
    ("a file of a megabyte", "#" * (1 << 20) + FOUNDING, "too large"),
    ("no TOML", "trust = ", "not valid TOML"),
    ("an unknown field", "qourum = 2\n" + FOUNDING, "unknown field 'qourum'; expected 'quorum', perhaps"),
    ("an unknown field of a partner", SWAP("seal =", "seel ="), "'seal', perhaps"),
    ("no auditor", SWAP('auditor = "auditor.pub"', ""), "no field 'auditor'"),
    ("a name with a space", SWAP('"heart"', '"he art"'), "the name 'he art'; expected small letters"),
    ("a name of capitals", SWAP('"heart"', '"Heart"'), "the name 'Heart'"),
    ("a name that begins with a hyphen", SWAP('"heart"', '"-heart"'), "no hyphen first"),
    ("a name of 64 letters", SWAP('"heart"', f'"{"h" * 64}"'), "at most 63"),
    ("a partner's name with a dot", SWAP("partners.north", 'partners."n.orth"'), "the name 'n.orth'"),
    ("a researcher's name in capitals", SWAP("[researchers.lab-1]", "[researchers.Lab]"), "the name 'Lab'"),
    ("a role's name in capitals", SWAP("roles.lay", "roles.Lay"), "the name 'Lay'"),
    ("a missing file", SWAP("member-2.pub", "member-9.pub"), "no file 'member-9.pub'"),
    ("a file that is not a key", SWAP("member-2.pub", "founding.toml"), "founding.toml"),
    ("a member twice", SWAP("member-2.pub", "member-1.pub"), "'member-1.pub' is the key of somebody already listed"),
    ("two members", SWAP('"member-1.pub", ', ""), "2 members; expected at least 3"),
    ("a quorum of 0", "quorum = 0\n" + FOUNDING, "a quorum of 0 of 3 members; expected 1 to 3"),
    ("a quorum above the members", "quorum = 4\n" + FOUNDING, "a quorum of 4 of 3 members"),
    ("a quorum below the charter's", "quorum = 1\n" + FOUNDING, "quorum is 1, and the charter 'research' asks for 2"),
    ("a quorum that is not a number", 'quorum = "two"\n' + FOUNDING, "quorum"),
    ("a quorum that is true", "quorum = true\n" + FOUNDING, "quorum"),
    ("nobody in the charter's role", SWAP("roles.lay", "roles.law"), "nobody has the role 'lay'"),
    ("a role without keys", SWAP('roles.lay = ["member-3.pub"]', "roles.lay = []"), "lay"),
    ("a role held by a stranger", SWAP('lay = ["member-3.pub"]', 'lay = ["member-4.pub"]'), "somebody who is not a member"),
    ("a role of none", SWAP('["member-3.pub"]\n', '{keys = ["member-3.pub"], threshold = 0}\n'), "threshold"),
    ("a role above its keys", SWAP('= ["member-3.pub"]\n', '= {keys = ["member-3.pub"], threshold = 2}\n'), "2 of 1 keys"),
    ("a role that a field gives", SWAP("roles.lay =", 'roles.committee = ["member-1.pub"]\nroles.lay ='), "'members'"),
    ("a sealing key that signs", SWAP("member-2.pub", "north-seal.pub"), "is a key of kind seal; expected a key to sign"),
    ("a signing key that seals", SWAP("north-seal.pub", "lab-2.pub"), "is a key of kind sign; expected a key to be sealed"),
    ("a member who coordinates", SWAP("coordinator.pub", "member-1.pub"), "one key for a member and the coordinator"),
    ("a researcher who is a member", SWAP("lab-1.pub", "member-1.pub"), "a member and researcher 'lab-1'"),
    ("two partners with one key", SWAP("south-sign.pub", "north-sign.pub"), "one key for partner 'north' and partner"),
    ("two partners with one sealing key", SWAP("south-seal.pub", "north-seal.pub"), "one key for partner 'north'"),
    ("a past accreditation", SWAP(NEXT_YEAR, "2020-01-01"), "researcher 'lab-1', accredited_until: 2020-01-01T00:00:00Z is past"),
    ("an accreditation in days", SWAP(NEXT_YEAR, "30"), "accredited_until: 30; expected a date"),
    ("an accreditation that is not a date", SWAP(NEXT_YEAR, '"2027-02-30"'), "'2027-02-30' is not a date"),
    ("a time without a zone", SWAP(NEXT_YEAR, "2099-01-01T12:00:00"), "without a zone"),
    ("an expiry in the past", 'expires = "2020-01-01"\n' + FOUNDING, "expires: 2020-01-01T00:00:00Z is past"),
    ("an expiry of 0 days", "expires = 0\n" + FOUNDING, "1 to 3650 days"),
    ("an expiry in a hundred years of days", "expires = 36500\n" + FOUNDING, "1 to 3650 days"),
    ("an expiry of less than none", "expires = -5\n" + FOUNDING, "1 to 3650 days"),
    ("an expiry that is true", "expires = true\n" + FOUNDING, "no date"),
    ("no organisation", SWAP('"Institute"', '""'), "organisation"),
    ("an unknown charter", SWAP('"research"', '"reserch"'), "no charter"),
    ("a charter that protects nobody", SWAP('"research"', '"sandbox"'), "protects nobody and is for a trust in one process"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "said"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_a_founding_file_that_is_refused(run: Run, here: Path, text: str, said: str) -> None:
    Path("founding.toml").write_text(text)
    code, out, err = run("root", "draft", "founding.toml", "--out", "root-1.json")
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1
    assert not Path("root-1.json").exists()


def test_the_sandbox_is_for_a_local_trust(run: Run, here: Path) -> None:
    """The positive control of the last case."""
    Path("founding.toml").write_text(FOUNDING.replace('"research"', '"sandbox"').replace('"heart"', '"local"'))
    assert run("root", "draft", "founding.toml", "--out", "root-1.json")[0] == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param([], "neither a file nor --from", id="nothing"),
        pytest.param(["none.toml"], "cannot be read", id="no such file"),
        pytest.param(["."], "cannot be read", id="a folder"),
        pytest.param(["founding.toml", "--expires", "soon"], "expires: 'soon' is not a date", id="no date"),
        pytest.param(["founding.toml", "--expires", "999999999999"], "1 to 3650 days", id="a great many days"),
        pytest.param(
            ["founding.toml", "--issued", "today"], "issued: 'today' is not a date", id="issued is not a date"
        ),
        pytest.param(["founding.toml", "--issued", "5"], "issued: 5; expected a date", id="issued is a number"),
        pytest.param(
            ["founding.toml", "--issued", "2099-01-01", "--expires", "2098-01-01"], "is not after", id="ends first"
        ),
        pytest.param(["founding.toml", "--charter", "none"], "no charter 'none'", id="no such charter"),
        pytest.param(["--from", "none.json"], "'none.json' cannot be read", id="no such root"),
        pytest.param(["--from", "founding.toml"], "not JSON", id="a root that is none"),
        pytest.param(["founding.toml", "--out", "no/where.json"], "cannot be written", id="no such folder"),
    ],
)
def test_options_that_are_refused(run: Run, here: Path, words: list[str], said: str) -> None:
    code, out, err = run("root", "draft", *words)
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


def test_nothing_is_overwritten(run: Run, signed: Path) -> None:
    before = signed.read_bytes()
    code, _, err = run("root", "draft", "founding.toml", "--out", signed)
    assert code == 2
    assert "exists; nothing is overwritten" in err
    assert signed.read_bytes() == before


def test_a_file_that_is_not_utf_8(run: Run, here: Path) -> None:
    Path("founding.toml").write_bytes(b'trust = "\xff"')
    assert "not UTF-8" in run("root", "draft", "founding.toml")[2]


# ---- the next version


def test_only_the_dates_are_new(run: Run, signed: Path) -> None:
    code, _, err = run("root", "draft", "--from", signed, "--expires", "400", "--out", "root-2.json")
    old, new = opened(signed), opened(Path("root-2.json"))
    assert code == 0
    assert f"--key FILE --from {signed}" in err
    assert new.version == 2
    assert read_time(new.expires) - read_time(new.issued) == timedelta(days=400)
    same = {"version", "issued", "expires"}
    assert new.model_dump(exclude=same) == old.model_dump(exclude=same)


def test_members_come_and_go(draft_next: Callable[..., Root], here: Path) -> None:
    root = draft_next('[members]\nadd = ["member-4.pub", "member-5.pub"]\nremove = ["member-1.pub"]')
    expected = tuple(ident(f"member-{n}", here) for n in (2, 3, 4, 5))
    assert root.roles["root"].keys == root.roles["committee"].keys == expected
    assert ident("member-1", here) not in root.keys
    assert root.roles["lay"].keys == (ident("member-3", here),)


def test_a_member_is_named_by_a_key_s_id_too(draft_next: Callable[..., Root], here: Path) -> None:
    """Whoever drafts has the earlier root, and not everybody's .pub file."""
    gone = ident("member-1", here)
    assert gone not in draft_next(f'[members]\nadd = ["member-4.pub"]\nremove = ["{gone}"]').keys


def test_a_key_is_replaced_wherever_it_stands(draft_next: Callable[..., Root], here: Path) -> None:
    write_key(here / "fresh-seal", new_key("seal"), None)
    root = draft_next(
        '[replace]\n"member-3.pub" = "member-4.pub"\n"lab-1.pub" = "lab-2.pub"\n'
        f'"{ident("coordinator", here)}" = "member-5.pub"\n"{ident("north-seal", here)}" = "fresh-seal.pub"\n'
        '"north-sign.pub" = "west-sign.pub"'
    )
    assert root.roles["lay"].keys == (ident("member-4", here),)
    assert root.roles["root"].keys[2] == root.roles["committee"].keys[2] == ident("member-4", here)
    assert root.researchers["lab-1"].key == ident("lab-2", here)
    assert root.roles["coordinator"].keys == (ident("member-5", here),)
    assert root.partners["north"].seal == read_public(here / "fresh-seal").public
    assert root.partners["north"].sign == read_public(here / "west-sign.pub").public


def test_partners_and_researchers_come_change_and_go(draft_next: Callable[..., Root], here: Path) -> None:
    root = draft_next(
        'partners.west = {sign = "west-sign.pub", seal = "west-seal.pub"}\n'
        f'researchers.lab-2 = {{key = "lab-2.pub", organisation = "Other", accredited_until = {NEXT_YEAR}}}\n'
        '[remove]\npartners = ["south"]\nresearchers = ["lab-1"]'
    )
    assert set(root.partners) == {"north", "east", "west"}
    assert set(root.researchers) == {"lab-2"}


def test_an_accreditation_is_prolonged(draft_next: Callable[..., Root], here: Path) -> None:
    root = draft_next(
        '[researchers.lab-1]\nkey = "lab-1.pub"\norganisation = "Institute"\naccredited_until = 2099-01-01'
    )
    assert root.researchers["lab-1"].accredited_until == "2099-01-01T00:00:00Z"


def test_quorum_roles_coordinator_and_auditor_change(draft_next: Callable[..., Root], here: Path) -> None:
    root = draft_next(
        'quorum = 3\ncoordinator = "member-4.pub"\nauditor = "member-5.pub"\nroles.lay = ["member-1.pub"]\n'
        'roles.law = ["member-2.pub"]'
    )
    assert root.roles["root"].threshold == root.roles["committee"].threshold == 3
    assert root.roles["coordinator"].keys == (ident("member-4", here),)
    assert root.roles["auditor"].keys == (ident("member-5", here),)
    assert root.roles["lay"].keys == (ident("member-1", here),)
    assert root.roles["law"].threshold == 1


BAD_CHANGES: list[tuple[str, str, str]] = [
    ("a list of members", 'members = ["member-1.pub"]', "write [members] with add = [...] and remove = [...]"),
    ("another trust's name", 'trust = "other"', "unknown field 'trust'"),
    ("an unknown field", "[member]\nadd = []", "unknown field 'member'; expected 'members', perhaps"),
    ("a member who is one", '[members]\nadd = ["member-1.pub"]', "is a member already"),
    ("a stranger who leaves", '[members]\nremove = ["member-4.pub"]', "'member-4.pub' is not a member"),
    ("an id that nobody has", f'[members]\nremove = ["{"0" * 64}"]', "no file"),
    ("too few members", '[members]\nremove = ["member-1.pub"]', "2 members; expected at least 3"),
    ("the only layman leaves", '[members]\nadd = ["member-4.pub"]\nremove = ["member-3.pub"]', "nobody has the role 'lay' any more"),
    ("a partner who is none", '[remove]\npartners = ["nort"]', "no partner 'nort' to remove; expected 'north', perhaps"),
    ("a researcher who is none", '[remove]\nresearchers = ["x"]', "no researcher 'x' to remove"),
    ("a key that is not there", '[replace]\n"member-4.pub" = "member-5.pub"', "has no key in the earlier version"),
    ("a key replaced by another kind", '[replace]\n"member-1.pub" = "west-seal.pub"', "kind seal"),
    ("a key replaced by a colleague's", '[replace]\n"member-1.pub" = "member-2.pub"', "one key for a member and a member"),
    ("a quorum below the charter's", "quorum = 1", "the charter 'research' asks for 2"),
    ("the sandbox", 'charter = "sandbox"', "protects nobody"),
    ("an expiry in the past", 'expires = "2020-01-01"', "is past"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "said"), [c[1:] for c in BAD_CHANGES], ids=[c[0] for c in BAD_CHANGES])
def test_changes_that_are_refused(run: Run, signed: Path, text: str, said: str) -> None:
    Path("changes.toml").write_text(text)
    code, out, err = run("root", "draft", "changes.toml", "--from", signed, "--out", "root-2.json")
    assert (code, out) == (2, "")
    assert said in err
    assert not Path("root-2.json").exists()


def test_an_unsigned_root_is_followed_by_nothing(run: Run, here: Path) -> None:
    run("root", "draft", "founding.toml", "--out", "root-1.json")
    code, out, err = run("root", "draft", "--from", "root-1.json")
    assert (code, out) == (1, "")
    assert "signed by 0 of 3 keys" in err


def test_a_root_is_not_issued_before_the_one_it_follows(run: Run, signed: Path) -> None:
    code, _, err = run("root", "draft", "--from", signed, "--issued", "2020-01-01", "--expires", "2099-01-01")
    assert code == 2
    assert "is before version 1" in err


def test_a_charter_that_is_no_ready_one_is_to_be_named(run: Run, signed: Path, keys: Path) -> None:
    change(
        signed,
        lambda d: d.update(charter="sha256:" + "0" * 64),
        *(read_signer(keys / f"member-{n}", None) for n in (1, 2)),
    )
    code, _, err = run("root", "draft", "--from", signed)
    assert code == 2
    assert "expected --charter FOLDER" in err
    assert run("root", "draft", "--from", signed, "--charter", "research")[0] == 0


def test_a_researcher_whose_time_is_over_is_carried_over_and_named(run: Run, signed: Path, keys: Path) -> None:
    def lapse(document: dict[str, Any]) -> None:
        document["researchers"]["lab-1"]["accredited_until"] = "2020-01-01T00:00:00Z"

    change(signed, lapse, *(read_signer(keys / f"member-{n}", None) for n in (1, 2)))
    code, _, err = run("root", "draft", "--from", signed, "--out", "root-2.json")
    assert code == 0
    assert "note: no longer accredited: lab-1" in err
    assert "accreditation ended 2020-01-01T00:00:00Z" in run("root", "show", "root-2.json")[1]


# ---- dates


@pytest.mark.parametrize(
    ("value", "after", "stands"),
    [("2028-02-29", -1, True), ("2028-02-29", 0, False), ("2028-02-29", 1, False), ("2038-01-19T03:14:08Z", -1, True)],
)
def test_a_date_stands_until_its_first_second(value: str, after: int, stands: bool) -> None:
    at = read_time(value if "T" in value else f"{value}T00:00:00Z")
    now = at + timedelta(seconds=after)
    if stands:
        assert moment(value, "expires", now) == write_time(at)
        return
    with pytest.raises(InvalidInput, match="is past"):
        moment(value, "expires", now)


# ---- a partner by one file


def partner_json(called: str, path: Path, **other: object) -> str:
    """As a node writes it; the PEM of its connection's key."""
    pem = generate_private_key(SECP256R1()).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    document = {
        "schema": "datatrust/partner/1",
        "name": called,
        "sign": Signer().public.hex(),
        "seal": X25519PrivateKey.generate().public_key().public_bytes_raw().hex(),
        "flower": pem.decode(),
    }
    path.write_text(json.dumps({**document, **other}))
    return pem.decode()


def test_a_partner_is_named_by_the_file_of_its_node(run: Run, here: Path) -> None:
    pem = partner_json("east", here / "east.json")
    text = FOUNDING.replace('{sign = "east-sign.pub", seal = "east-seal.pub"}', '{partner = "east.json"}')
    Path("one.toml").write_text(text)
    code, _, err = run("root", "draft", "one.toml", "--out", "root-1.json")
    assert code == 0, err
    assert "no key for the connection of north, south" in err
    root = opened(Path("root-1.json"))
    assert connection_pem(root.partners["east"].flower).decode() == pem
    assert root.partners["north"].flower == ""
    _, out, _ = run("root", "show", "root-1.json")
    assert out.count("connects with ") == 1
    assert key_id(bytes.fromhex(root.partners["east"].flower)) in out


def test_a_change_of_a_partner_s_file_changes_all_its_keys(
    run: Run, signed: Path, draft_next: Callable[..., Root]
) -> None:
    before = opened(signed).partners
    partner_json("north", signed.parent / "north.json")
    after = draft_next('[partners.north]\npartner = "north.json"').partners
    assert before["north"].flower == ""
    assert is_connection_key(after["north"].flower)
    assert {**after, "north": 0} == {**before, "north": 0}
    assert "partner north: other keys" in run("root", "show", "root-2.json", signed)[1]


def test_a_partner_s_new_keys_are_signed_with_the_one_in_use(
    run: Run, signed: Path, draft_next: Callable[..., Root]
) -> None:
    changes = signed.parent / "changes.toml"
    changes.write_text('[partners.north]\npartner = "north.json"')
    file, signature = signed.parent / "north.json", signed.parent / "north.json.sig"
    partner_json("north", file)
    _, _, err = run("root", "draft", changes, "--from", signed, "--out", signed.parent / "unsigned.json")
    assert "new keys of north without north.json.sig: ask the partner" in err  # a lost key must be replaceable
    stranger = Signer()
    raw = base64.b64encode(stranger.sign(b"datatrust partner.json rotation 1\n" + file.read_bytes())).decode()
    signature.write_text(json.dumps({"keyid": stranger.key_id, "sig": raw}))
    code, _, err = run("root", "draft", changes, "--from", signed, "--out", signed.parent / "forged.json")
    assert code == 1
    assert "are not signed with the key that the trust root names" in err


BAD_FILES: list[tuple[str, dict[str, object], str]] = [
    ("another partner's", {"name": "west"}, "is of the partner 'west', and stands under 'north'"),
    ("without its connection's key", {"flower": ""}, "not a key of P-256"),
    ("a field too many", {"seel": "0"}, "seel"),
    ("another schema", {"schema": "datatrust/key/1"}, "schema"),
    ("a short key", {"sign": "00"}, "sign"),
]


@pytest.mark.parametrize(("other", "said"), [c[1:] for c in BAD_FILES], ids=[c[0] for c in BAD_FILES])
def test_a_partner_s_file_that_is_none(run: Run, signed: Path, other: dict[str, object], said: str) -> None:
    partner_json("north", signed.parent / "north.json", **other)
    Path("changes.toml").write_text('[partners.north]\npartner = "north.json"')
    code, out, err = run("root", "draft", "changes.toml", "--from", signed)
    assert (code, out) == (2, "")
    assert said in err


@pytest.mark.parametrize(
    "given", ['partner = "n.json"\nsign = "north-sign.pub"', 'sign = "north-sign.pub"', "", 'partner = "none.json"']
)
def test_a_partner_is_named_in_one_way(run: Run, signed: Path, given: str) -> None:
    Path("changes.toml").write_text(f"[partners.north]\n{given}")
    code, out, err = run("root", "draft", "changes.toml", "--from", signed)
    assert (code, out) == (2, "")
    assert "partner.json" in err or "none.json" in err


def test_one_connection_s_key_for_two_partners(run: Run, here: Path) -> None:
    pem = partner_json("east", here / "east.json")
    partner_json("north", here / "north.json", flower=pem)
    text = FOUNDING.replace('{sign = "east-sign.pub", seal = "east-seal.pub"}', '{partner = "east.json"}')
    Path("one.toml").write_text(
        text.replace('{sign = "north-sign.pub", seal = "north-seal.pub"}', '{partner = "north.json"}')
    )
    code, _, err = run("root", "draft", "one.toml")
    assert code == 2
    assert (
        "one key for partner 'north' and partner 'east'" in err
        or "one key for partner 'east' and partner 'north'" in err
    )
