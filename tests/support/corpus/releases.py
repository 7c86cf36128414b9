"""Cases of kind release: result.json, root.json (what the reader pinned, absent where nothing is), now."""

from __future__ import annotations

import json

import numpy as np

from tests.support.corpus.honest import (
    BEGINS,
    CHARTER,
    COORDINATOR,
    ENDS,
    MEMBERS,
    NOW,
    ROOT,
    STRANGER,
    STUDY,
    Cases,
    Document,
    add_key,
    file_of,
    flipped,
    key,
    odd_texts,
    replace_key,
    root_document,
    set_to,
    sign_bytes,
    signed_root,
    signed_study,
    with_document,
    with_signatures,
)
from tests.support.corpus.release import AT, DECISIONS, HONEST, SIGNED, VALUES, Release, array, files, mandate, register
from trust.decision import Decision, Decisions
from trust.logs.checkpoint import Checkpoint, register_origin, sign_checkpoint
from trust.signing.envelope import sha256, sign

__all__ = ["releases"]

SECOND_COORDINATOR = key("coordinator-2")


def releases() -> Cases:
    cases = Cases("release")
    _files(cases)
    _roots(cases)
    _signers(cases)
    _mandates(cases)
    _contents(cases)
    _registers(cases)
    return cases


def _files(cases: Cases) -> None:
    good, fail = cases.good, cases.fail
    good("honest", "All is as it should be, and the root is pinned.", files(SIGNED))
    good("root-not-pinned", "All is as it should be; the root is taken on the file's own word.", files(SIGNED, None))
    good("envelope-indented", "The envelope's own spacing says nothing.",
         {**files(SIGNED), "result.json": json.dumps(SIGNED.document(), indent=1).encode() + b"\n\n"})  # fmt: skip
    raw = file_of(SIGNED)
    fail("cut-short", "The file ends too early.", {**files(SIGNED), "result.json": raw[:-100]})
    fail("empty", "The file is empty.", {**files(SIGNED), "result.json": b""})
    fail("only-the-payload", "The document is there, but nobody has signed it.",
         {**files(SIGNED), "result.json": SIGNED.unverified_payload})  # fmt: skip
    fail("envelope-with-an-unknown-field", "An envelope has three fields.", files({**SIGNED.document(), "note": "x"}))
    fail("envelope-with-a-key-twice", "Which of the two is meant?",
         {**files(SIGNED), "result.json": b'{"payload":"",' + raw[1:]})  # fmt: skip
    fail(
        "payload-that-is-no-base64", "The payload cannot be read.", files(SIGNED.model_copy(update={"payload": "%%%%"}))
    )
    fail("201-signatures", "More signatures than anybody looks at.",
         files(with_signatures(SIGNED, *SIGNED.signatures * 201)))  # fmt: skip
    odd = odd_texts(HONEST.document())
    for name in ("space-after-a-comma", "key-twice", "float", "null", "cut-short", "not-ascii", "nested-too-deeply"):
        said, payload = odd[name]
        fail(
            f"signed-{name}",
            f"What the coordinator has signed {said}.",
            files(sign_bytes("result", payload, COORDINATOR)),
        )
    for name, said, change in (
        ("an-unknown-field", "A result is closed.", set_to(note="x")),
        ("another-schema", "It is another kind of document.", set_to(schema="datatrust/result/2")),
        ("no-register", "A result has its place in the register.", lambda d: d.pop("register")),
        ("no-mandate", "A result carries its mandate.", lambda d: d.pop("mandate")),
        ("no-root", "A result carries its trust root.", set_to(root=[])),
    ):
        fail(f"signed-with-{name}", said, Release(signed=change).files())


def _roots(cases: Cases) -> None:
    good, fail = cases.good, cases.fail

    def rotated(document: Document) -> None:
        replace_key(document, COORDINATOR, SECOND_COORDINATOR, "coordinator")

    two, three = signed_root(root_document(2)), signed_root(root_document(3, rotated))
    later = Release(root=(ROOT, two, three), mandate=mandate(set_to(root=3)),
                    coordinator=SECOND_COORDINATOR, signers=(SECOND_COORDINATOR,))  # fmt: skip
    good("three-versions-pinned-the-first", "The root in force follows from the pinned one.", later.files())
    good("three-versions-pinned-the-second", "The root in force follows from the pinned one.", later.files(two))
    good("three-versions-pinned-the-last", "The root in force is pinned.", later.files(three))
    good("three-versions-not-pinned", "The root in force follows from the file's first.", later.files(None))
    chain = [envelope.document() for envelope in (ROOT, two)]
    good("pinned-as-a-list", "root.json may hold all versions, of which the last is pinned.", later.files(chain))
    other_trust = signed_root(root_document(1, set_to(trust="other")))
    fail("pinned-another-trust", "The result is of another trust than the reader's.", files(SIGNED, other_trust))
    fail("pinned-another-first-version", "A trust of the same name with another root.",
         files(SIGNED, signed_root(root_document(1, set_to(charter=sha256(b"other"))))))  # fmt: skip
    fail("pinned-a-later-version", "The result rests on a version older than the pinned one.", files(SIGNED, two))
    fail("pinned-root-not-signed", "What the reader holds is no root.", files(SIGNED, with_signatures(ROOT)))
    fail("a-version-missing", "The chain of roots has a gap.",
         Release(**{**vars(later), "root": (ROOT, three)}).files())  # fmt: skip
    fail("versions-exchanged", "The chain of roots is not in its order.",
         Release(**{**vars(later), "root": (two, ROOT, three)}).files())  # fmt: skip
    weak = signed_root(root_document(3, rotated), *MEMBERS[:2])
    fail("last-version-signed-by-2-of-5", "The root in force has no quorum.",
         Release(**{**vars(later), "root": (ROOT, two, weak)}).files())  # fmt: skip
    fail("signed-by-the-coordinator-before", "The second root's coordinator was replaced.",
         Release(**{**vars(later), "signers": (COORDINATOR,)}).files())  # fmt: skip
    fail("register-of-the-coordinator-before", "The checkpoint's key was replaced.",
         Release(**{**vars(later), "coordinator": COORDINATOR}).files())  # fmt: skip
    fail("mandate-of-the-version-before", "The mandate was signed for another version of the root.",
         Release(**{**vars(later), "mandate": mandate(set_to(root=2))}).files())  # fmt: skip
    expired = signed_root(root_document(1, set_to(expires=AT)))
    fail("root-expired-at-the-release", "The root had expired.", Release(root=(expired,)).files(expired))
    late = signed_root(root_document(1, set_to(issued="2026-11-24T11:00:01Z")))
    fail("root-issued-after-the-release", "The root was not in force yet.", Release(root=(late,)).files(late))


def _signers(cases: Cases) -> None:
    good, fail = cases.good, cases.fail
    good(
        "a-strangers-signature-beside",
        "An unknown key is passed over.",
        Release(signers=(STRANGER, COORDINATOR)).files(),
    )

    def two_keys(document: Document) -> None:
        add_key(document, SECOND_COORDINATOR, "coordinator")
        document["roles"]["coordinator"]["threshold"] = 2

    both = signed_root(root_document(1, two_keys))
    good("two-coordinators-of-whom-both-sign", "The coordinator's role has a threshold of 2.",
         Release(root=(both,), signers=(COORDINATOR, SECOND_COORDINATOR)).files(both))  # fmt: skip
    fail("two-coordinators-of-whom-one-signs", "The coordinator's role has a threshold of 2.",
         Release(root=(both,)).files(both))  # fmt: skip
    fail("not-signed", "There is no signature.", Release(signers=()).files())
    fail("signed-by-a-stranger", "The key is unknown.", Release(signers=(STRANGER,)).files())
    fail("signed-by-the-members", "Members are no coordinator.", Release(signers=MEMBERS).files())
    fail("signed-as-a-mandate", "Signatures over one kind of document are none over another.",
         files(sign("mandate", HONEST.document(), COORDINATOR)))  # fmt: skip
    fail("one-bit-of-the-signature", "The signature has one bit changed.",
         files(with_signatures(SIGNED, *map(flipped, SIGNED.signatures))))  # fmt: skip
    number = array("mean", values=["54.5", "0.1"])
    fail("a-number-changed-after-signing", "A mean is not what was signed.", files(with_document(SIGNED, number)))
    fail("a-date-changed-after-signing", "The date is not what was signed.",
         files(with_document(SIGNED, register(at="2026-11-24T10:00:00Z"))))  # fmt: skip
    fail("a-number-changed-and-signed-by-a-stranger", "A mean was changed, and signed by an unknown key.",
         Release(signed=number, signers=(STRANGER,)).files())  # fmt: skip
    fail("a-number-changed-and-signed-again", "The coordinator signs other numbers than those in the register.",
         Release(signed=number).files())  # fmt: skip


def _mandates(cases: Cases) -> None:
    good, fail = cases.good, cases.fail
    good("released-in-the-mandates-first-second", "It is in force at not_before.", Release(at=BEGINS).files())
    good("released-one-second-before-its-expiry", "It is in force until the second before.",
         Release(at="2026-11-30T23:59:59Z").files(now=ENDS))  # fmt: skip
    fail(
        "mandate-signed-by-2-of-5",
        "The committee's quorum is three.",
        Release(mandate=mandate(lambda d: None, *MEMBERS[:2])).files(),
    )
    fail(
        "mandate-without-a-lay-member",
        "One of the lay members must sign.",
        Release(mandate=mandate(lambda d: None, *MEMBERS[2:])).files(),
    )
    fail("mandate-of-another-study", "The mandate is for another study.",
         Release(mandate=mandate(study=signed_study(set_to(title="Other")))).files())  # fmt: skip
    fail(
        "mandate-of-another-charter",
        "The charter is not the root's.",
        Release(mandate=mandate(set_to(charter=CHARTER[:-1]))).files(),
    )
    fail("released-in-the-second-of-its-expiry", "The mandate had expired.", Release(at=ENDS).files(now=ENDS))
    fail("released-before-the-mandate", "The mandate was not in force yet.", Release(at="2026-10-31T23:59:59Z").files())
    fail("study-not-signed", "A study is signed by its researcher.", Release(study=with_signatures(STUDY)).files())
    study = signed_study(set_to(researcher="other"))
    fail(
        "study-of-an-unknown-researcher",
        "The root does not have her.",
        Release(study=study, mandate=mandate(study=study)).files(),
    )
    past = signed_root(root_document(1, lambda d: d["researchers"]["lab"].update(accredited_until=AT)))
    fail("researcher-no-longer-accredited", "Her accreditation had ended.", Release(root=(past,)).files(past))
    study = signed_study(set_to(dataset_digest=CHARTER))
    fail("study-of-another-dataset", "Study and mandate name different datasets.",
         Release(study=study, mandate=mandate(study=study)).files())  # fmt: skip


def _contents(cases: Cases) -> None:
    good, fail = cases.good, cases.fail
    table = VALUES["table"]
    good("an-infinite-statistic", "An F of infinity is written inf.",
         Release(values={**VALUES, "table": {**table, "F": np.array([np.inf, -np.inf])}}).files())  # fmt: skip
    good("a-count-of-2-to-the-53", "It is written as a text.",
         Release(values={**VALUES, "table": {**table, "nobs": np.array(2**53)}}).files())  # fmt: skip
    good("texts-of-other-letters", "Names of levels may have any letters.",
         Release(values={**VALUES, "table": {**table, "names": np.array(["âge", "\u5e74", ""])}}).files())  # fmt: skip
    good("an-array-without-entries", "A shape may hold a 0.",
         Release(values={**VALUES, "table": {**table, "none": np.zeros((2, 0, 3))}}).files())  # fmt: skip
    nothing = {name: values for name, values in VALUES["ages"].items() if name != "hidden"} | {
        "counts": np.array([20, 41])
    }
    good("nothing-hidden", "No cell had to be hidden.", Release(values={**VALUES, "ages": nothing}).files())
    fail("an-analysis-missing", "The study asks two analyses.", Release(values={"table": table}).files())
    fail("an-analysis-too-many", "The study does not ask it.", Release(values={**VALUES, "more": table}).files())
    no = Decision("leverage", False, "a person makes up too much", "leave the term out")
    fail(
        "a-rule-said-no",
        "A result is released when all rules say yes.",
        Release(decisions=Decisions([*DECISIONS, no])).files(),
    )
    fail("no-rule-was-asked", "What no rule allows is refused.", Release(decisions=Decisions()).files())
    for name, said, change in (
        ("fewer-hidden-cells-than-there-are", "Two are hidden.", set_to(suppressed={"ages": 1, "table": 0})),
        ("more-hidden-cells-than-there-are", "None is hidden.", set_to(suppressed={"ages": 2, "table": 1})),
        ("no-number-of-hidden-cells", "Each analysis says how many.", set_to(suppressed={"ages": 2})),
        ("a-count-withheld-unsaid", "A count is empty, and no cell is said to be hidden.", array("nobs", values=[""])),
        ("a-real-that-is-not-the-shortest", "54.250 is 54.25.", array("mean", values=["54.250", "0.1"])),
        ("a-real-that-is-nan", "Undefined is the empty text.", array("mean", values=["nan", "0.1"])),
        ("a-real-that-is-a-number", "A real is a text.", array("mean", values=[54, "0.1"])),
        ("a-real-with-an-underscore", "A real is a plain text.", array("mean", values=["5_4.25", "0.1"])),
        ("a-negative-count", "A count is not negative.", array("nobs", values=[-1])),
        ("a-small-count-as-a-text", "Below 2^53 a count is a number.", array("nobs", values=["97"])),
        ("a-count-of-2-to-the-63", "Counts are below 2^63.", array("nobs", values=[str(2**63)])),
        ("a-count-that-is-true", "True is no count.", array("nobs", values=[True])),
        ("a-truth-that-is-1", "1 is no truth.", array("hidden_groups", values=[1, False])),
        ("a-shape-of-another-size", "Shape and entries differ.", array("mean", shape=[3, 1])),
        ("a-negative-shape", "Shapes are not negative.", array("mean", shape=[-2, -1])),
        ("a-huge-empty-shape", "A shape of nothing may not be huge.", array("mean", shape=[0, 2**40], values=[])),
        ("an-array-of-another-kind", "There are four kinds.", array("mean", kind="complex")),
        ("an-unknown-field-of-an-array", "An array is closed.", array("mean", note="x")),
        ("an-unknown-field-of-a-decision", "A decision is closed.", lambda d: d["decisions"][0].update(note="x")),
        ("a-decision-that-is-a-text", "Yes is true.", lambda d: d["decisions"][0].update(ok="true")),
    ):
        fail(f"entered-with-{name}", said, Release(content=change).files())


def _registers(cases: Cases) -> None:
    good, fail = cases.good, cases.fail
    good("only-entry-of-the-register", "The tree is one leaf, the proof empty.", Release(before=0, after=0).files())
    good("last-entry-of-seven", "The tree is not a power of two.", Release(before=6, after=0).files())
    good("first-entry-of-eight", "The tree is a power of two.", Release(before=0, after=7).files())
    good("released-this-second", "A release may be of now.", Release(at=NOW).files())
    witness = sign_checkpoint(Checkpoint("witness.example/w1", 7, bytes(32)), key("witness")).splitlines()[-1]
    honest = HONEST.document()["register"]
    note, proof = honest["checkpoint"], honest["proof"]
    good(
        "a-witness-beside-the-log",
        "A witness's line is passed over.",
        Release(signed=register(checkpoint=f"{note}{witness}\n")).files(),
    )
    fail("a-witness-alone", "The log itself has not signed.",
         Release(signed=register(checkpoint="\n".join([*note.split("\n")[:4], witness, ""]))).files())  # fmt: skip
    fail("released-in-the-future", "The release is dated after now.", Release(at="2026-11-24T12:00:01Z").files())
    fail(
        "register-of-another-trust",
        "The checkpoint is of another log.",
        Release(origin=register_origin("other")).files(),
    )
    fail(
        "a-journals-checkpoint",
        "A partner's journal is not the register.",
        Release(origin="datatrust/example/journal/east").files(),
    )
    fail("checkpoint-signed-by-a-stranger", "The key is unknown.", Release(coordinator=STRANGER).files())
    fail(
        "checkpoint-signed-by-a-member", "A member does not keep the register.", Release(coordinator=MEMBERS[0]).files()
    )
    longer = sign_checkpoint(Checkpoint(register_origin("example"), 8, bytes(32)), COORDINATOR)
    swapped = [proof[1], proof[0], *proof[2:]]
    bit = f"{int(proof[0], 16) ^ 1:064x}"
    for name, said, change in (
        (
            "checkpoint-of-another-tree",
            "The coordinator's checkpoint of a tree without this release.",
            register(checkpoint=longer),
        ),
        (
            "checkpoint-with-another-size",
            "The size is not what was signed.",
            register(checkpoint=note.replace("\n7\n", "\n8\n")),
        ),
        (
            "checkpoint-without-signature",
            "The note is not signed.",
            register(checkpoint=note.rpartition("\n\n")[0] + "\n\n"),
        ),
        (
            "checkpoint-without-blank-line",
            "The note is not of its form.",
            register(checkpoint=note.replace("\n\n", "\n")),
        ),
        ("one-bit-of-the-proof", "A part of the proof is changed.", register(proof=[bit, *proof[1:]])),
        ("proof-too-short", "A part of the proof is missing.", register(proof=proof[:-1])),
        ("proof-too-long", "The proof has a part too many.", register(proof=[*proof, proof[0]])),
        ("proof-empty", "There is no proof.", register(proof=[])),
        ("proof-in-another-order", "Two parts are exchanged.", register(proof=swapped)),
        ("proof-that-is-no-hex", "A part of the proof is no hash.", register(proof=["x" * 64, *proof[1:]])),
        ("another-index", "The entry stands elsewhere.", register(index=5)),
        ("an-index-outside-the-log", "The log is not so long.", register(index=7)),
        ("a-negative-index", "Entries are counted from 0.", register(index=-1)),
        ("another-date", "The entry is of another time.", register(at="2026-11-24T10:59:59Z")),
        ("an-unknown-field-of-the-register", "It is closed.", register(note="x")),
    ):
        fail(name, said, Release(signed=change).files())
    for name, said, change in (
        ("entry-of-another-mandate", "The entry names another mandate.", lambda e: e["body"].update(mandate=CHARTER)),
        ("entry-of-another-result", "The entry names other numbers.", lambda e: e["body"].update(result=CHARTER)),
        ("entry-of-another-study", "The entry names another study.", set_to(study="other")),
        ("entry-of-another-kind", "The entry is no release.", set_to(kind="mandate")),
        ("entry-of-another-place", "The entry says another place.", set_to(seq=3)),
    ):
        fail(name, said, Release(entered=change).files())
