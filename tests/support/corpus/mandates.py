"""Cases of kind mandate: root.json (pinned), mandate.json, study.json, perhaps revocation.json, now."""

from __future__ import annotations

import json
from typing import Any

from tests.support.corpus.honest import (
    ACCREDITED,
    AUDITOR,
    BEGINS,
    CHARTER,
    COORDINATOR,
    ENDS,
    EXPIRES,
    ISSUED,
    MEMBERS,
    NOW,
    PARTNERS,
    RESEARCHER,
    ROOT,
    STRANGER,
    STUDY,
    Cases,
    Change,
    Document,
    Files,
    add_key,
    file_of,
    flipped,
    ids,
    mandate_document,
    more,
    odd_texts,
    relabelled,
    root_document,
    set_to,
    sign_bytes,
    signed_root,
    signed_study,
    study_document,
    text_of,
    with_document,
    with_signatures,
    without,
)
from trust.canonical import canonical
from trust.signing.envelope import Envelope, Signature, Signer, payload_type, sha256, sign

__all__ = ["mandates"]

DOCUMENT = mandate_document(STUDY)
QUORUM = MEMBERS[:3]
SIGNED = sign("mandate", DOCUMENT, *QUORUM)


def files(
    mandate: Envelope | Document = SIGNED,
    study: Envelope | Document = STUDY,
    root: Envelope = ROOT,
    now: str = NOW,
    revocation: Envelope | None = None,
) -> Files:
    found = {"mandate.json": file_of(mandate), "study.json": file_of(study), "root.json": file_of(root)}
    if revocation is not None:
        found["revocation.json"] = file_of(revocation)
    return {**found, "now": f"{now}\n".encode()}


def by(*signers: Signer) -> Files:
    return files(sign("mandate", DOCUMENT, *signers))


def of(change: Change, *signers: Signer) -> Files:
    """Another mandate, signed by a quorum."""
    return files(sign("mandate", mandate_document(STUDY, change), *(signers or QUORUM)))


def one_more(*signatures: Signature) -> Files:
    """Two good signatures and these."""
    return files(with_signatures(SIGNED, *SIGNED.signatures[:2], *signatures))


def revoked(signer: Signer, member: Signer | None = None, **fields: Any) -> Envelope:
    document = {
        "schema": "datatrust/revocation/1",
        "mandate": sha256(SIGNED.unverified_payload),
        "member": (member or signer).key_id,
        "reason": "The purpose has changed.",
        "at": "2026-11-20T00:00:00Z",
        **fields,
    }
    return sign("revocation", document, signer)


def of_study(change: Change, *signers: Signer) -> Files:
    """Another study, and a mandate for it."""
    study = signed_study(change, *signers)
    return files(sign("mandate", mandate_document(study), *QUORUM), study)


def under(change: Change, mandate: Change = lambda d: None, version: int = 1, *signers: Signer) -> Files:
    """Another trust root, and a mandate under it."""
    root = signed_root(root_document(version, change))
    document = mandate_document(STUDY, mandate)
    return files(sign("mandate", document, *(signers or QUORUM)), root=root)


def mandates() -> Cases:
    cases = Cases("mandate")
    _signers(cases)
    _signatures(cases)
    _documents(cases)
    _dates(cases)
    _studies(cases)
    _revocations(cases)
    return cases


def _signers(cases: Cases) -> None:
    good, fail = cases.good, cases.fail
    m1, m2, m3, m4, m5 = MEMBERS
    good("3-of-5-the-quorum-exactly", "Three of five members have signed, one of them lay.", files())
    good("5-of-5", "All members have signed.", by(*MEMBERS))
    good("4-of-5-in-another-order", "Signatures stand in no particular order.", by(m5, m2, m4, m1))
    good("the-other-lay-member", "Any of the lay members will do.", by(m2, m4, m5))
    good("a-strangers-signature-beside-the-quorum", "An unknown key is passed over.", by(STRANGER, *QUORUM))
    good(
        "the-coordinators-signature-beside-the-quorum",
        "It counts nothing, and harms nothing.",
        by(*QUORUM, COORDINATOR),
    )
    good("no-further-role", "A root without further roles asks for the quorum only.",
         under(lambda d: d["roles"].pop("lay"), lambda d: None, 1, m3, m4, m5))  # fmt: skip
    good("quorum-of-1", "A committee's threshold may be 1.",
         under(lambda d: d["roles"]["committee"].update(threshold=1), lambda d: None, 1, m1))  # fmt: skip
    good("quorum-of-5", "A committee's threshold may be all.",
         under(lambda d: d["roles"]["committee"].update(threshold=5), lambda d: None, 1, *MEMBERS))  # fmt: skip
    good("version-2-of-the-root", "The mandate names the version that is pinned.",
         under(lambda d: None, set_to(root=2), 2))  # fmt: skip
    fail("2-of-5", "Two have signed where three are needed.", by(m1, m2))
    fail("1-of-5", "One has signed.", by(m1))
    fail("nobody-has-signed", "There is no signature.", by())
    fail("4-of-5-where-5-are-needed", "The quorum is all five.",
         under(lambda d: d["roles"]["committee"].update(threshold=5), lambda d: None, 1, *MEMBERS[:4]))  # fmt: skip
    fail("no-lay-member-among-the-quorum", "Three members have signed, none of them lay.", by(m3, m4, m5))
    fail("1-of-2-lay-where-2-are-needed", "A further role has a threshold of its own.",
         under(lambda d: d["roles"]["lay"].update(threshold=2), lambda d: None, 1, m1, m3, m4))  # fmt: skip
    fail("a-lay-key-that-is-no-member", "A key outside the committee fills no further role.",
         under(lambda d: (add_key(d, STRANGER), d["roles"].update(lay={"keys": ids(STRANGER), "threshold": 1})),
               lambda d: None, 1, m1, m2, m3, STRANGER))  # fmt: skip
    fail("the-coordinator-as-the-third", "The coordinator is no member.", by(m1, m2, COORDINATOR))
    fail("the-auditor-as-the-third", "The auditor is no member.", by(m1, m2, AUDITOR))
    fail("the-researcher-as-the-third", "The researcher is no member.", by(m1, m2, RESEARCHER))
    fail("a-partner-as-the-third", "A partner is no member.", by(m1, m2, PARTNERS["east"][0]))
    fail("a-stranger-as-the-third", "A key that the root does not have.", by(m1, m2, STRANGER))
    fail("strangers-only", "Three unknown keys.", by(STRANGER, *(PARTNERS[n][0] for n in ("east", "north"))))


def _signatures(cases: Cases) -> None:
    good, fail = cases.good, cases.fail
    first, _, third = SIGNED.signatures
    (strange,) = sign("mandate", DOCUMENT, STRANGER).signatures
    broken = third.model_copy(update={"sig": "%%%"})
    good("a-broken-signature-of-a-stranger", "A text that is no base64 under an unknown key is passed over.",
         files(more(SIGNED, strange.model_copy(update={"sig": "not base64"}))))  # fmt: skip
    good("a-broken-signature-before-the-members-own", "It takes nothing from the true one.",
         files(with_signatures(SIGNED, broken, *SIGNED.signatures)))  # fmt: skip
    good("a-wrong-signature-before-the-members-own", "It takes nothing from the true one.",
         files(with_signatures(SIGNED, relabelled(strange, QUORUM[2]), *SIGNED.signatures)))  # fmt: skip
    good("a-member-twice-beside-the-quorum", "A second signature of one key counts nothing, and harms nothing.",
         files(more(SIGNED, first)))  # fmt: skip
    good("envelope-indented", "The envelope's own spacing says nothing.",
         {**files(), "mandate.json": json.dumps(SIGNED.document(), indent=2).encode()})  # fmt: skip
    fail("2-of-5-one-signs-twice", "One member's two signatures are one.", one_more(first))
    fail("2-of-5-one-signs-three-times", "One member's three signatures are one.", one_more(first, first))
    fail("a-strangers-signature-under-a-members-key-id", "The id says a member, the signature does not.",
         one_more(relabelled(strange, QUORUM[2])))  # fmt: skip
    fail("a-members-signature-under-another-members-key-id", "One member cannot sign for two.",
         one_more(relabelled(first, QUORUM[2])))  # fmt: skip
    fail("one-bit-of-a-signature", "The third signature has one bit changed.", one_more(flipped(third)))
    fail("one-bit-of-a-signatures-second-half", "The third signature has one bit changed.", one_more(flipped(third, 0)))
    fail("a-signature-that-is-no-base64", "The third signature cannot be read.", one_more(broken))
    fail("a-signature-that-is-empty", "The third signature is empty.", one_more(third.model_copy(update={"sig": ""})))
    fail("a-signature-in-hex", "The third signature is not in base64.",
         one_more(third.model_copy(update={"sig": "00" * 64})))  # fmt: skip
    fail("a-key-id-in-capitals", "The third key id is not the root's.",
         one_more(third.model_copy(update={"keyid": third.keyid.upper()})))  # fmt: skip
    document = SIGNED.document()
    unknown = {**document, "signatures": [{**s, "cert": "x"} for s in document["signatures"]]}
    fail("envelope-with-an-unknown-field", "An envelope has three fields.", files({**document, "note": "x"}))
    fail("signature-with-an-unknown-field", "A signature has two fields.", files(unknown))
    fail("signature-without-a-key-id", "A signature has two fields.",
         files({**document, "signatures": [{"sig": s["sig"]} for s in document["signatures"]]}))  # fmt: skip
    fail(
        "envelope-without-signatures",
        "An envelope has three fields.",
        files({k: document[k] for k in ("payload", "payloadType")}),
    )
    fail("envelope-in-a-list", "An envelope is an object.", {**files(), "mandate.json": text_of([document])})
    fail("envelope-with-a-key-twice", "Which of the two is meant?",
         {**files(), "mandate.json": b'{"payload":"",' + file_of(SIGNED)[1:]})  # fmt: skip
    fail("envelope-cut-short", "The file ends too early.", {**files(), "mandate.json": file_of(SIGNED)[:-20]})
    fail("envelope-empty", "The file is empty.", {**files(), "mandate.json": b""})
    fail(
        "envelope-that-is-no-utf-8", "The file is no text.", {**files(), "mandate.json": b"\xff\xfe" + file_of(SIGNED)}
    )
    for kind in ("study", "vote", "root", "result"):
        fail(f"signed-as-a-{kind}", "Signatures over one kind of document are none over another.",
             files(sign(kind, DOCUMENT, *QUORUM)))  # fmt: skip
    vote = sign("vote", DOCUMENT, *QUORUM)
    fail("signed-as-a-vote-and-relabelled", "The type is part of what is signed.",
         files(vote.model_copy(update={"payloadType": payload_type("mandate")})))  # fmt: skip
    fail("payload-type-of-another-program", "Only the project's own type will do.",
         files(SIGNED.model_copy(update={"payloadType": "application/json"})))  # fmt: skip
    fail(
        "payload-that-is-no-base64", "The payload cannot be read.", files(SIGNED.model_copy(update={"payload": "%%%%"}))
    )
    fail("payload-cut-by-a-letter", "Base64 comes in fours.",
         files(SIGNED.model_copy(update={"payload": SIGNED.payload[:-1]})))  # fmt: skip


def _documents(cases: Cases) -> None:
    good, fail = cases.good, cases.fail
    good(
        "three-of-four-partners",
        "A mandate may name some of the partners.",
        of(set_to(partners=["east", "north", "south"])),
    )
    good("with-conditions", "Conditions are texts.", of(set_to(conditions=["Publish within a year."])))
    for name, value in (
        ("m", 2), ("c", 2), ("sums", 500), ("bytes", 8192), ("expires", EXPIRES), ("partners", sorted(PARTNERS)[1:]),
        ("study", sha256(b"another")), ("charter", sha256(b"another")), ("participation", "all"),
    ):  # fmt: skip
        fail(f"mandate-with-{name}-changed-after-signing", f"The field {name} is not what was signed.",
             files(with_document(SIGNED, set_to(**{name: value}))))  # fmt: skip
    for name, (said, raw) in odd_texts(DOCUMENT).items():
        fail(f"signed-{name}", f"What the quorum has signed {said}.", files(sign_bytes("mandate", raw, *QUORUM)))
    odd: list[tuple[str, str, Change]] = [
        ("an-unknown-field", "A mandate is closed.", set_to(note="x")),
        ("no-field-plan", "A mandate has a plan.", without("plan")),
        ("another-schema", "It is another kind of document.", set_to(schema="datatrust/mandate/2")),
        ("partners-not-sorted", "Partners stand in their order.", set_to(partners=["north", "east", "south"])),
        ("a-partner-twice", "Each partner stands once.", set_to(partners=["east", "east", "south"])),
        ("a-partner-that-is-not-the-roots", "The root does not have it.", set_to(partners=["east", "north", "zoe"])),
        ("a-name-in-capitals", "Names are small letters.", set_to(id="2026-A")),
        ("an-audit-by-others", "Only nodes audit.", set_to(audit="coordinator")),
        ("participation-of-another-kind", "All, or those that joined.", set_to(participation="some")),
        ("no-colluder", "At least one is provided for.", set_to(c=0)),
        ("no-sum", "At least one is allowed.", set_to(sums=0)),
        ("no-byte", "At least one is allowed.", set_to(bytes=0)),
        ("version-0-of-the-root", "Versions begin at 1.", set_to(root=0)),
        ("a-later-version-of-the-root", "It was signed for another version.", set_to(root=2)),
        ("another-charter", "The charter is not the root's.", set_to(charter=sha256(b"another"))),
        ("it-ends-before-it-begins", "Its dates are the wrong way round.", set_to(not_before=ENDS, expires=BEGINS)),
        ("a-day-that-does-not-exist", "There is no 31 November.", set_to(expires="2026-11-31T00:00:00Z")),
        ("a-time-with-an-offset", "Times are in UTC, and end with Z.", set_to(expires="2026-12-01T00:00:00+01:00")),
        ("a-time-to-the-millisecond", "Times are to the second.", set_to(expires="2026-12-01T00:00:00.000Z")),
    ]  # fmt: skip
    for name, said, change in odd:
        fail(f"signed-with-{name}", said, of(change))
    fail("an-earlier-version-of-the-root", "It was signed for another version.",
         under(lambda d: None, lambda d: None, 2))  # fmt: skip


def _dates(cases: Cases) -> None:
    good, fail = cases.good, cases.fail
    good("first-second", "It is in force at not_before.", files(now=BEGINS))
    good("one-second-before-its-expiry", "It is in force until the second before.", files(now="2026-11-30T23:59:59Z"))
    good("one-second-before-the-roots-expiry", "The root is in force until the second before.",
         under(set_to(expires="2026-11-24T12:00:01Z")))  # fmt: skip
    good("first-second-of-the-root", "The root is in force when it is issued.", under(set_to(issued=NOW)))
    good("one-second-before-the-accreditations-end", "She is accredited until the second before.",
         under(lambda d: d["researchers"]["lab"].update(accredited_until="2026-11-24T12:00:01Z")))  # fmt: skip
    fail("the-second-of-its-expiry", "It has expired.", files(now=ENDS))
    fail("a-day-after-its-expiry", "It has expired.", files(now="2026-12-02T00:00:00Z"))
    fail("one-second-before-it-begins", "It is not in force yet.", files(now="2026-10-31T23:59:59Z"))
    fail("the-second-of-the-roots-expiry", "The root has expired.", under(set_to(expires=NOW)))
    fail(
        "one-second-before-the-root-is-issued",
        "The root is not in force yet.",
        under(set_to(issued="2026-11-24T12:00:01Z")),
    )
    fail("long-after-everything", "All has expired.", files(now="2038-01-19T03:14:08Z"))
    fail("before-everything", "Nothing is in force yet.", files(now="1970-01-01T00:00:00Z"))
    fail("the-second-of-the-accreditations-end", "She is accredited no longer.",
         under(lambda d: d["researchers"]["lab"].update(accredited_until=NOW)))  # fmt: skip
    assert ISSUED < BEGINS < ENDS < ACCREDITED < EXPIRES  # what the cases above rest on


def _studies(cases: Cases) -> None:
    good, fail = cases.good, cases.fail
    good("study-also-signed-by-a-stranger", "An unknown key is passed over.",
         files(study=sign("study", study_document(), STRANGER, RESEARCHER)))  # fmt: skip
    good("study-without-a-cohort", "A study may be of everybody.", of_study(without("cohort")))
    fail(
        "another-study", "The mandate is for another study.", files(study=signed_study(set_to(title="Age and wealth")))
    )
    fail(
        "study-signed-by-a-member",
        "A member is no researcher.",
        files(study=sign("study", study_document(), MEMBERS[0])),
    )
    fail(
        "study-signed-by-a-stranger",
        "A study is signed by its researcher.",
        files(study=sign("study", study_document(), STRANGER)),
    )
    fail("study-not-signed", "A study is signed by its researcher.", files(study=with_signatures(STUDY)))
    fail("study-with-a-purpose-changed-after-signing", "The purpose is not what was signed.",
         files(study=with_document(STUDY, set_to(purpose="Marketing"))))  # fmt: skip
    fail("study-of-an-unknown-researcher", "The root does not have her.", of_study(set_to(researcher="other")))
    fail(
        "study-of-another-dataset",
        "Study and mandate name different datasets.",
        of_study(set_to(dataset_digest=PLAN_OF_OTHER)),
    )
    fail("study-with-an-unknown-field", "A study is closed.", of_study(set_to(note="x")))
    fail("study-without-analyses", "A study asks something.", of_study(set_to(analyses={})))
    fail(
        "study-that-ends-before-it-begins",
        "Its dates are the wrong way round.",
        of_study(set_to(not_before=ENDS, expires=BEGINS)),
    )
    fail("study-signed-as-a-mandate", "Signatures over one kind of document are none over another.",
         files(study=sign("mandate", study_document(), RESEARCHER)))  # fmt: skip
    fail("study-with-a-space", "What she has signed is not canonical.",
         _with_study_bytes(canonical(study_document()).replace(b",", b", ", 1)))  # fmt: skip
    fail("study-and-mandate-exchanged", "Each is what it is.", files(STUDY, SIGNED))


PLAN_OF_OTHER = sha256(b"another dataset")


def _with_study_bytes(raw: bytes) -> Files:
    study = sign_bytes("study", raw, RESEARCHER)
    return files(sign("mandate", mandate_document(study), *QUORUM), study)


def _revocations(cases: Cases) -> None:
    good, fail = cases.good, cases.fail
    member = MEMBERS[3]
    good("revocation-of-another-mandate", "It ends that one, not this.",
         files(revocation=revoked(member, mandate=CHARTER)))  # fmt: skip
    good("revocation-by-a-stranger", "Who is no member ends nothing.", files(revocation=revoked(STRANGER)))
    good("revocation-by-the-coordinator", "Who is no member ends nothing.", files(revocation=revoked(COORDINATOR)))
    good("revocation-that-names-another-member", "Nobody revokes in another's name.",
         files(revocation=revoked(STRANGER, member)))  # fmt: skip
    other, this = revoked(member, mandate=CHARTER), sha256(SIGNED.unverified_payload)
    good("revocation-changed-after-signing", "It was of another mandate.",
         files(revocation=with_document(other, set_to(mandate=this))))  # fmt: skip
    good("revocation-signed-as-a-vote", "Signatures over one kind of document are none over another.",
         files(revocation=sign("vote", json.loads(revoked(member).unverified_payload), member)))  # fmt: skip
    fail("revoked-by-a-member-who-signed-it", "One member is enough.", files(revocation=revoked(MEMBERS[0])))
    fail("revoked-by-a-member-who-did-not-sign-it", "Any member is enough.", files(revocation=revoked(member)))
    fail(
        "revoked-at-a-date-to-come",
        "Its date delays nothing.",
        files(revocation=revoked(member, at="2026-11-30T00:00:00Z")),
    )
    fail("revoked-by-a-member-and-a-stranger", "An unknown key beside it takes nothing away.",
         files(revocation=revoked(member).with_signature(STRANGER)))  # fmt: skip
