"""Cases of kind root: versions 1.json, 2.json, … of a trust root, perhaps root.json (the pinned one), now."""

from __future__ import annotations

import json

from tests.support.corpus.honest import (
    AUDITOR,
    COORDINATOR,
    EXPIRES,
    ISSUED,
    MEMBERS,
    NOW,
    PARTNERS,
    RESEARCHER,
    ROOT,
    STRANGER,
    Cases,
    Change,
    Document,
    Files,
    add_key,
    drop_key,
    file_of,
    flipped,
    key,
    more,
    odd_texts,
    relabelled,
    replace_key,
    root_document,
    set_to,
    sign_bytes,
    signed_root,
    text_of,
    with_document,
    with_payload,
    with_signatures,
    without,
)
from trust.signing.envelope import Envelope, Signature, Signer, payload_type, sha256, sign

__all__ = ["roots"]

M1, M2, M3, M4, M5 = MEMBERS
NEW = [key(f"member-{n}") for n in range(6, 11)]
BOTH = ("root", "committee")
LATER = "2026-06-01T00:00:00Z"
SIGNED = ROOT


def files(*versions: Envelope | Document, now: str = NOW, pinned: Envelope | None = None, first: int = 1) -> Files:
    found = {f"{at}.json": file_of(version) for at, version in enumerate(versions, first)}
    if pinned is not None:
        found["root.json"] = file_of(pinned)
    return {**found, "now": f"{now}\n".encode()}


def version(number: int, change: Change, *signers: Signer) -> Envelope:
    return signed_root(root_document(number, change), *signers)


def second(change: Change, *signers: Signer) -> Files:
    """The honest first version, and a second one."""
    return files(SIGNED, version(2, change, *signers))


def first(change: Change, *signers: Signer) -> Files:
    """A founding root alone."""
    return files(version(1, change, *(signers or MEMBERS)))


def same(document: Document) -> None:
    """No change."""


def rotated(document: Document) -> None:
    """The fifth member's key replaced by a sixth's."""
    replace_key(document, M5, NEW[0], *BOTH)


def all_new(document: Document) -> None:
    for old, new in zip(MEMBERS, NEW, strict=True):
        replace_key(document, old, new, *BOTH, *(["lay"] if old in MEMBERS[:2] else []))


def threshold(number: int, role: str = "root") -> Change:
    return lambda document: document["roles"][role].update(threshold=number)


def roots() -> Cases:
    cases = Cases("root")
    _founding(cases)
    _following(cases)
    _pinned(cases)
    _signatures(cases)
    _documents(cases)
    _dates(cases)
    return cases


def _founding(cases: Cases) -> None:
    good, fail = cases.good, cases.fail
    good("founded-by-3-of-5", "A quorum of its own founds it.", files(SIGNED))
    good("founded-by-all", "More than the quorum have signed.", files(signed_root(root_document(), *MEMBERS)))
    good("founded-by-1-of-5-where-1-is-needed", "A root's threshold may be 1.", first(threshold(1), M3))
    good("founded-with-a-stranger-beside", "An unknown key is passed over.", first(same, STRANGER, M1, M2, M3))
    good("founded-without-partners", "Partners may come later.", first(set_to(partners={})))
    good("founded-at-version-4", "What is known of a trust may begin at a later version.", files(version(4, same)))
    fail("founded-by-2-of-5", "Two have signed where three are needed.", first(same, M1, M2))
    fail("founded-by-nobody", "There is no signature.", files(with_signatures(SIGNED)))
    fail("founded-by-strangers", "Keys that the root does not have.", first(same, *NEW))
    fail(
        "founded-by-two-and-the-coordinator",
        "The coordinator is not in the root role.",
        first(same, M1, M2, COORDINATOR),
    )
    fail("founded-by-two-and-the-auditor", "The auditor is not in the root role.", first(same, M1, M2, AUDITOR))
    fail("founded-by-two-and-a-partner", "A partner is not in the root role.", first(same, M1, M2, PARTNERS["east"][0]))
    fail("no-root", "There is no version at all.", files())


def _following(cases: Cases) -> None:
    good, fail = cases.good, cases.fail
    good("same-again", "The second version changes nothing.", second(same))
    good("3-of-5-one-key-rotated-by-both", "Three old and three new members have signed.", second(rotated, M1, M2, M3))
    good("3-of-5-one-key-rotated-old-and-new-sign", "The old fifth and the new one have both signed.",
         second(rotated, M1, M2, M5, NEW[0]))  # fmt: skip
    good("all-keys-rotated", "Three old and three new members have signed.", second(all_new, *MEMBERS[:3], *NEW[:3]))
    good("coordinator-replaced", "The members replace the coordinator's key.",
         second(lambda d: replace_key(d, COORDINATOR, key("coordinator-2"), "coordinator")))  # fmt: skip
    good("member-added", "A sixth member.", second(lambda d: add_key(d, NEW[0], *BOTH)))
    good("member-gone", "The fifth member has left.", second(lambda d: drop_key(d, M5, *BOTH)))
    good("partner-gone", "A partner has left.", second(lambda d: d["partners"].pop("west")))
    good("researcher-gone", "A researcher has left.", second(lambda d: d["researchers"].pop("lab")))
    good("threshold-raised-by-both", "Four have signed, which is enough for both.", second(threshold(4), *MEMBERS[:4]))
    good("threshold-lowered-by-the-old-quorum", "Three have signed, as the old root asks.", second(threshold(2)))
    good("threshold-lowered-then-used", "Two are enough once the second version says so.",
         files(SIGNED, version(2, threshold(2)), version(3, threshold(2), M1, M2)))  # fmt: skip
    good("charter-changed", "A new charter.", second(set_to(charter=sha256(b"second"))))
    good("three-versions", "Each is signed by the one before it.",
         files(SIGNED, version(2, rotated, M1, M2, M3), version(3, rotated, M1, M2, NEW[0])))  # fmt: skip
    good("all-keys-rotated-and-used", "The third version is the new members' own.",
         files(SIGNED, version(2, all_new, *MEMBERS[:3], *NEW[:3]), version(3, all_new, *NEW[2:])))  # fmt: skip
    good("issued-a-second-later", "Two versions in a row.", second(set_to(issued="2026-01-01T00:00:01Z")))
    fail(
        "3-of-5-one-key-rotated",
        "Three old members have signed, but only two of the new ones.",
        second(rotated, M1, M2, M5),
    )
    fail(
        "3-of-5-one-key-rotated-by-the-new",
        "Three new members have signed, but only two of the old.",
        second(rotated, M1, M2, NEW[0]),
    )
    fail("all-keys-rotated-by-the-old", "No new member has signed.", second(all_new, *MEMBERS))
    fail("all-keys-rotated-by-the-new", "No old member has signed.", second(all_new, *NEW))
    fail("all-keys-rotated-and-an-old-one-used", "The third version is signed by those who were replaced.",
         files(SIGNED, version(2, all_new, *MEMBERS[:3], *NEW[:3]), version(3, all_new, *MEMBERS)))  # fmt: skip
    fail(
        "threshold-lowered-by-the-new-quorum",
        "Two have signed, as only the new root asks.",
        second(threshold(2), M1, M2),
    )
    fail(
        "threshold-raised-by-the-old-quorum",
        "Three have signed where the new root asks four.",
        second(threshold(4), M1, M2, M3),
    )
    fail(
        "committee-threshold-lowered-by-two",
        "It is the root role that signs a root.",
        second(threshold(1, "committee"), M1, M2),
    )
    fail("second-signed-by-2-of-5", "Two have signed where three are needed.", second(same, M1, M2))
    fail("second-not-signed", "There is no signature.", files(SIGNED, with_signatures(version(2, same))))
    fail("member-added-by-two-and-himself", "The new member cannot vote himself in.",
         second(lambda d: add_key(d, NEW[0], *BOTH), M1, M2, NEW[0]))  # fmt: skip
    fail("version-skipped", "The third version follows the first.", files(SIGNED, version(3, same)))
    fail("version-twice", "The first version follows itself.", files(SIGNED, SIGNED))
    fail("version-1-again-with-another-content", "A second first version.", files(SIGNED, version(1, rotated)))
    fail("rollback-to-version-1", "The first version follows the second.", files(SIGNED, version(2, same), SIGNED))
    fail("rollback-to-version-2", "The second version follows the third.",
         files(SIGNED, version(2, same), version(3, same), version(2, same)))  # fmt: skip
    fail("versions-exchanged", "The second version comes first.", files(version(2, same), SIGNED))
    fail("of-another-trust", "The second version is another trust's.", second(set_to(trust="other")))
    fail(
        "issued-before-the-first",
        "It is dated before the one that it follows.",
        second(set_to(issued="2025-12-31T23:59:59Z")),
    )
    fail("middle-version-not-signed", "The third is good, the second is not.",
         files(SIGNED, version(2, same, M1, M2), version(3, same)))  # fmt: skip


def _pinned(cases: Cases) -> None:
    good, fail = cases.good, cases.fail
    one, two, three = SIGNED, version(2, rotated, M1, M2, M3), version(3, rotated, M1, M2, NEW[0])
    good("pinned-the-first", "The chain begins with the pinned root.", files(one, two, three, pinned=one))
    good("pinned-the-second", "The pinned root stands in the middle of the chain.", files(one, two, three, pinned=two))
    good("pinned-the-last", "The pinned root is the last of the chain.", files(one, two, three, pinned=three))
    good(
        "pinned-and-only-later-ones",
        "The chain goes on where the pinned root ends.",
        files(two, three, pinned=one, first=2),
    )
    other = version(1, set_to(charter=sha256(b"other")))
    fail("pinned-another-content", "The first version is not the pinned one.", files(one, two, pinned=other))
    fail(
        "pinned-another-trust",
        "The pinned root is another trust's.",
        files(one, two, pinned=version(1, set_to(trust="other"))),
    )
    fail("pinned-another-second-version", "The second version is not the pinned one.",
         files(one, version(2, same), pinned=two))  # fmt: skip
    fail("pinned-a-later-version", "The chain ends before the pinned root.", files(one, pinned=two))
    fail("pinned-and-a-gap", "A version is missing after the pinned one.", files(three, pinned=one, first=3))
    forged = version(2, all_new, *NEW)
    fail("pinned-and-a-second-by-strangers", "Keys that the pinned root does not have.", files(one, forged, pinned=one))


def _signatures(cases: Cases) -> None:
    good, fail = cases.good, cases.fail
    a, b, c = SIGNED.signatures
    (strange,) = sign("root", root_document(), STRANGER).signatures
    broken = c.model_copy(update={"sig": "%%%"})

    def two_and(*signatures: Signature) -> Files:
        return files(with_signatures(SIGNED, a, b, *signatures))

    good("a-broken-signature-of-a-stranger", "A text that is no base64 under an unknown key is passed over.",
         files(more(SIGNED, strange.model_copy(update={"sig": "no base64"}))))  # fmt: skip
    good("a-broken-signature-before-the-members-own", "It takes nothing from the true one.",
         files(with_signatures(SIGNED, broken, a, b, c)))  # fmt: skip
    good("envelope-indented", "The envelope's own spacing says nothing.",
         {**files(), "1.json": json.dumps(SIGNED.document(), indent=2).encode()})  # fmt: skip
    fail("2-of-5-one-signs-twice", "One member's two signatures are one.", two_and(a))
    fail("a-members-signature-under-anothers-key-id", "One member cannot sign for two.", two_and(relabelled(a, M3)))
    fail("a-strangers-signature-under-a-members-key-id", "The id says a member, the signature does not.",
         two_and(relabelled(strange, M3)))  # fmt: skip
    fail("one-bit-of-a-signature", "The third signature has one bit changed.", two_and(flipped(c)))
    fail("a-signature-that-is-no-base64", "The third signature cannot be read.", two_and(broken))
    fail("signed-as-a-mandate", "Signatures over one kind of document are none over another.",
         files(sign("mandate", root_document(), *MEMBERS)))  # fmt: skip
    vote = sign("vote", root_document(), *MEMBERS).model_copy(update={"payloadType": payload_type("root")})
    fail("signed-as-a-vote-and-relabelled", "The type is part of what is signed.", files(vote))
    fail(
        "payload-that-is-no-base64", "The payload cannot be read.", files(SIGNED.model_copy(update={"payload": "%%%%"}))
    )
    fail("envelope-with-an-unknown-field", "An envelope has three fields.", files({**SIGNED.document(), "note": "x"}))
    fail("envelope-in-a-list", "A file holds one version.", {**files(), "1.json": text_of([SIGNED.document()])})
    fail("envelope-cut-short", "The file ends too early.", {**files(), "1.json": file_of(SIGNED)[:-20]})
    fail("changed-after-signing", "The charter is not what was signed.",
         files(with_document(SIGNED, set_to(charter=sha256(b"other")))))  # fmt: skip
    fail("second-changed-after-signing", "The threshold is not what was signed.",
         files(SIGNED, with_document(version(2, same), threshold(1))))  # fmt: skip
    fail("second-with-the-firsts-signatures", "The signatures are over the first version.",
         files(SIGNED, with_payload(SIGNED, version(2, same).unverified_payload)))  # fmt: skip


def _documents(cases: Cases) -> None:
    good, fail = cases.good, cases.fail
    good("further-roles", "A charter may ask for roles of its own.",
         first(lambda d: d["roles"].update(patients={"keys": [M5.key_id], "threshold": 1})))  # fmt: skip
    for name, (said, raw) in odd_texts(root_document()).items():
        fail(f"signed-{name}", f"What the quorum has signed {said}.", files(sign_bytes("root", raw, *MEMBERS)))
    spare = key("spare")
    odd: list[tuple[str, str, Change]] = [
        ("an-unknown-field", "A root is closed.", set_to(note="x")),
        ("an-unknown-field-of-a-role", "A role is closed.", lambda d: d["roles"]["root"].update(note="x")),
        ("an-unknown-field-of-a-partner", "A partner is closed.", lambda d: d["partners"]["east"].update(note="x")),
        ("an-unknown-field-of-a-researcher", "She is closed.", lambda d: d["researchers"]["lab"].update(note="x")),
        ("no-charter", "A root names its charter.", without("charter")),
        ("another-schema", "It is another kind of document.", set_to(schema="datatrust/root/2")),
        ("version-0", "Versions begin at 1.", set_to(version=0)),
        ("a-key-id-that-is-not-its-keys", "A stranger's key under a member's id.",
         lambda d: d["keys"].update({M1.key_id: STRANGER.public.hex()})),
        ("a-key-in-capitals", "Keys are small letters.", lambda d: d["partners"]["east"].update(seal="AB" * 32)),
        ("a-key-of-31-bytes", "Keys have 32 bytes.", lambda d: d["partners"]["east"].update(sign="00" * 31)),
        ("a-key-twice-in-a-role", "A key counts once.", lambda d: d["roles"]["root"]["keys"].append(M1.key_id)),
        ("a-threshold-of-0", "Somebody must sign.", threshold(0)),
        ("a-threshold-above-its-keys", "Nobody could reach it.", threshold(6)),
        ("a-negative-threshold", "Somebody must sign.", threshold(-1, "auditor")),
        ("a-role-without-keys", "Nobody could fill it.", lambda d: d["roles"]["auditor"].update(keys=[])),
        ("a-roles-key-that-it-does-not-have", "The role names an unknown key.",
         lambda d: d["roles"]["auditor"].update(keys=[spare.key_id])),
        ("a-researchers-key-that-it-does-not-have", "The root does not have her key.",
         lambda d: d["keys"].pop(RESEARCHER.key_id)),
        ("two-partners-of-one-key", "Two partners are two.",
         lambda d: d["partners"]["east"].update(sign=d["partners"]["west"]["sign"])),
        ("a-partners-name-with-a-space", "Names are small letters, digits and -.",
         lambda d: d["partners"].update({"far east": d["partners"].pop("east")})),
        ("a-trusts-name-with-a-path", "Names are small letters, digits and -.", set_to(trust="../other")),
        ("a-member-who-is-the-coordinator", "Nobody approves alone.",
         lambda d: d["roles"]["committee"]["keys"].append(COORDINATOR.key_id)),
        ("a-member-who-is-a-researcher", "Nobody approves alone.",
         lambda d: d["roles"]["committee"]["keys"].append(RESEARCHER.key_id)),
        ("a-key-of-small-order", "Under such a key anybody can sign.",
         lambda d: d["partners"]["east"].update(sign="01" + 62 * "0")),
        ("a-truth-for-a-threshold", "true is no number.", lambda d: d["roles"]["auditor"].update(threshold=True)),
        ("a-text-for-a-version", "A version is a number.", set_to(version="1")),
        ("no-schema", "A document names its schema.", without("schema")),
        ("a-year-below-1000", "Years have four digits.", set_to(issued="0999-01-01T00:00:00Z")),
        ("a-day-that-does-not-exist", "There is no 30 February.", set_to(expires="2027-02-30T00:00:00Z")),
        *((f"no-role-{role}", f"A root has a role {role}.", lambda d, role=role: d["roles"].pop(role))
          for role in ("root", "committee", "coordinator", "auditor")),
    ]  # fmt: skip
    for name, said, change in odd:
        fail(f"signed-with-{name}", said, first(change))


def _dates(cases: Cases) -> None:
    good, fail = cases.good, cases.fail
    good(
        "one-second-before-its-expiry",
        "It is in force until the second before.",
        files(SIGNED, now="2026-12-31T23:59:59Z"),
    )
    good("first-second", "It is in force when it is issued.", files(SIGNED, now=ISSUED))
    good("first-expired-second-in-force", "An expired version may still hand over.",
         second(set_to(issued=LATER, expires="2028-01-01T00:00:00Z")) | {"now": b"2027-06-01T00:00:00Z\n"})  # fmt: skip
    good("leap-day", "29 February 2028 exists.", first(set_to(expires="2028-02-29T00:00:00Z")))
    fail("the-second-of-its-expiry", "It has expired.", files(SIGNED, now=EXPIRES))
    fail("a-day-after-its-expiry", "It has expired.", files(SIGNED, now="2027-01-02T00:00:00Z"))
    fail("one-second-before-it-is-issued", "It is not in force yet.", files(SIGNED, now="2025-12-31T23:59:59Z"))
    fail("second-expired-first-in-force", "The last version counts.", second(set_to(expires="2026-11-01T00:00:00Z")))
    fail("second-not-issued-yet", "The last version counts.", second(set_to(issued="2026-12-01T00:00:00Z")))
    fail("expires-before-it-is-issued", "It is never in force.", first(set_to(issued=NOW, expires=LATER)))
    fail("leap-day-of-another-year", "29 February 2027 does not exist.", first(set_to(expires="2027-02-29T00:00:00Z")))
