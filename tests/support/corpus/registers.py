"""Cases of kind register: entries.jsonl, checkpoint, perhaps old and consistency.json, inclusion.json; root.json."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tests.support.corpus.honest import (
    AUDITOR,
    COORDINATOR,
    MEMBERS,
    PARTNERS,
    ROOT,
    STRANGER,
    Cases,
    Files,
    file_of,
    key,
    text_of,
)
from trust.canonical import canonical
from trust.logs.checkpoint import Checkpoint, journal_origin, register_origin, sign_checkpoint
from trust.logs.merkle import Entry, Tree, leaf_hash
from trust.signing.envelope import Signer, sha256

__all__ = ["registers"]

KINDS = ("root", "charter", "study", "mandate", "sum-record", "release", "journal-head", "refusal")
ORIGIN = register_origin("example")
Lines = list[bytes]


def entry(n: int, **fields: Any) -> bytes:
    """The n-th entry of the honest register."""
    body = {"sha256": sha256(b"body %d" % n)}
    made = Entry.of(KINDS[n % len(KINDS)], f"study-{n // 8}", f"2026-11-24T12:{n:02d}:00Z", body, seq=n)
    return canonical({**made.document(), **fields})


ENTRIES = [entry(n) for n in range(16)]


def tree(lines: Sequence[bytes]) -> Tree:
    return Tree(map(leaf_hash, lines))


def note(lines: Sequence[bytes], *, signer: Signer = COORDINATOR, origin: str = ORIGIN, size: int | None = None) -> str:
    """The signed checkpoint of these entries."""
    made = tree(lines)
    return sign_checkpoint(Checkpoint(origin, len(made) if size is None else size, made.root()), signer)


def sign_text(text: str, signer: Signer = COORDINATOR) -> str:
    """Any text as a note of the register: the signature line of an honest note over it."""
    prefix = base64.b64decode(note([]).split(" ")[-1])[:4]
    return f"{text}\n\N{EM DASH} {ORIGIN} {base64.b64encode(prefix + signer.sign(text.encode())).decode()}\n"


@dataclass(frozen=True)
class Log:
    """A register of `size` entries as somebody shows it, and what was seen of it before.

    `shown` are the entries that stand in the file; the checkpoint is over `lines`.
    """

    size: int = 7
    old: int | None = None
    index: int | None = None

    @property
    def lines(self) -> Lines:
        return ENTRIES[: self.size]

    def files(self, shown: Lines | None = None, **other: bytes) -> Files:
        shown = self.lines if shown is None else shown
        found = {"entries.jsonl": b"".join(line + b"\n" for line in shown), "checkpoint": note(self.lines).encode()}
        if self.old is not None:
            proof = [part.hex() for part in tree(self.lines).consistency(self.old)]
            found |= {"old": note(ENTRIES[: self.old]).encode(), "consistency": text_of(proof)}
        if self.index is not None:
            proof = [part.hex() for part in tree(self.lines).inclusion(self.index)]
            found["inclusion"] = text_of({"index": self.index, "proof": proof})
        named = {**found, **other}
        json = {"consistency": "consistency.json", "inclusion": "inclusion.json"}
        return {**{json.get(name, name): raw for name, raw in named.items()}, "root.json": file_of(ROOT)}


def registers() -> Cases:
    cases = Cases("register")
    _entries(cases)
    _checkpoints(cases)
    _consistency(cases)
    _inclusion(cases)
    return cases


def _entries(cases: Cases) -> None:
    good, fail = cases.good, cases.fail
    for size in (0, 1, 2, 7, 8, 16):
        good(f"{size}-entries", "The entries are those of the checkpoint.", Log(size).files())
    log = Log()
    lines = log.lines
    edited = lines[3].replace(b"study-0", b"study-1")
    for name, said, shown in (
        ("one-entry-edited", "An entry was changed.", [*lines[:3], edited, *lines[4:]]),
        ("one-letter-of-the-last-entry", "An entry was changed.", [*lines[:6], lines[6].replace(b"head", b"heap")]),
        ("first-entry-deleted", "An entry is gone.", lines[1:]),
        ("middle-entry-deleted", "An entry is gone.", [*lines[:3], *lines[4:]]),
        ("last-entry-deleted", "The log is shorter than its checkpoint.", lines[:-1]),
        ("truncated-to-4", "The log is shorter than its checkpoint.", lines[:4]),
        ("emptied", "The log is shorter than its checkpoint.", []),
        ("two-entries-exchanged", "Entries are not in their order.", [lines[1], lines[0], *lines[2:]]),
        ("reversed", "Entries are not in their order.", lines[::-1]),
        ("an-entry-twice", "An entry stands twice.", [*lines[:4], lines[3], *lines[4:]]),
        ("one-entry-appended", "The log is longer than its checkpoint.", [*lines, ENTRIES[7]]),
        ("one-entry-inserted", "The log is longer than its checkpoint.", [entry(0, study="x"), *lines]),
    ):
        fail(name, said, log.files(shown))

    def entered(name: str, said: str, changed: bytes) -> None:
        """The coordinator's own checkpoint, over an entry that is none."""
        shown = [*lines[:6], changed]
        fail(f"entered-{name}", said, log.files(shown, checkpoint=note(shown).encode()))

    entered("under-another-place", "An entry says its place.", entry(6, seq=7))
    entered("under-a-place-twice", "An entry says its place.", entry(6, seq=5))
    entered("with-an-unknown-field", "An entry is closed.", entry(6, note="x"))
    entered("with-another-version", "There is one version of entries.", entry(6, v=2))
    entered("with-a-negative-place", "Places are counted from 0.", entry(6, seq=-1))
    entered("with-a-space", "An entry is canonical.", lines[6].replace(b",", b", ", 1))
    entered("with-a-key-twice", "An entry is canonical.", lines[6].replace(b'"v":1', b'"v":1,"v":1'))
    entered("with-a-float", "An entry is canonical.", lines[6].replace(b'"seq":6', b'"seq":6.0'))
    entered("on-a-day-that-does-not-exist", "There is no 31 November.", lines[6].replace(b"11-24", b"11-31"))
    entered("as-a-text", "An entry is an object.", b'"entry"')
    entered("as-an-empty-line", "An entry is an object.", b"")
    fail("lines-ended-as-on-windows", "An entry is canonical.",
         log.files(**{"entries.jsonl": b"".join(line + b"\r\n" for line in lines)}))  # fmt: skip
    fail(
        "last-line-cut-short",
        "The last entry is not whole.",
        log.files(**{"entries.jsonl": b"\n".join(lines)[:-9] + b"\n"}),
    )
    fail(
        "no-line-feed-at-the-end",
        "Each entry ends with a line feed.",
        log.files(**{"entries.jsonl": b"\n".join(lines)}),
    )


def _checkpoints(cases: Cases) -> None:
    good, fail = cases.good, cases.fail
    log = Log()
    lines, right = log.lines, note(log.lines)
    body, _, line = right.partition("\n\n")
    origin, size, root = body.split("\n")
    text = f"{body}\n"
    witness = note(lines, signer=key("witness"), origin="witness.example/w1").split("\n")[-2]
    stranger = note(lines, signer=STRANGER).split("\n")[-2]

    def with_note(made: str) -> Files:
        return log.files(checkpoint=made.encode())

    good("a-witness-after-the-log", "A witness's line is passed over.", with_note(f"{right}{witness}\n"))
    good("a-witness-before-the-log", "A witness's line is passed over.", with_note(f"{text}\n{witness}\n{line}"))
    good("a-strangers-line-of-the-same-name", "An unknown key of the log's name is passed over.",
         with_note(f"{text}\n{stranger}\n{line}"))  # fmt: skip
    good("signed-twice", "A second line of the same key harms nothing.", with_note(f"{right}{line}"))
    good(
        "a-further-line-in-the-text", "A checkpoint may say more after its root.", with_note(sign_text(f"{text}more\n"))
    )
    makers: list[tuple[str, str, Callable[[], str]]] = [
        ("of-another-trust", "It is another log's.", lambda: note(lines, origin=register_origin("other"))),
        (
            "of-a-journal",
            "A partner's journal is not the register.",
            lambda: note(lines, origin=journal_origin("example", "east")),
        ),
        ("by-a-stranger", "The key is unknown.", lambda: note(lines, signer=STRANGER)),
        ("by-a-member", "A member does not keep the register.", lambda: note(lines, signer=MEMBERS[0])),
        ("by-the-auditor", "The auditor does not keep the register.", lambda: note(lines, signer=AUDITOR)),
        ("by-a-partner", "A partner does not keep the register.", lambda: note(lines, signer=PARTNERS["east"][0])),
        ("by-a-witness-alone", "The log itself has not signed.", lambda: f"{text}\n{witness}\n"),
        ("not-signed", "There is no signature.", lambda: f"{text}\n"),
        ("signed-with-a-smaller-size", "The size is not that of the entries.", lambda: note(lines, size=6)),
        ("signed-with-a-larger-size", "The size is not that of the entries.", lambda: note(lines, size=8)),
        ("size-changed", "The size is not what was signed.", lambda: right.replace("\n7\n", "\n6\n")),
        (
            "root-changed",
            "The root is not what was signed.",
            lambda: right.replace(root, note(lines[:6]).split("\n")[2]),
        ),
        (
            "signed-with-another-root",
            "The root is not that of the entries.",
            lambda: sign_checkpoint(Checkpoint(ORIGIN, 7, bytes(32)), COORDINATOR),
        ),
        (
            "signed-with-a-root-of-31-bytes",
            "A root has 32 bytes.",
            lambda: sign_text(f"{origin}\n{size}\n{base64.b64encode(bytes(31)).decode()}\n"),
        ),
        (
            "signed-with-a-root-in-hex",
            "A root is in base64.",
            lambda: sign_text(f"{origin}\n{size}\n{bytes(32).hex()}\n"),
        ),
        ("signed-with-a-leading-zero", "A number is written one way.", lambda: sign_text(f"{origin}\n07\n{root}\n")),
        ("signed-with-a-plus", "A number is written one way.", lambda: sign_text(f"{origin}\n+7\n{root}\n")),
        ("signed-with-a-negative-size", "Sizes are not negative.", lambda: sign_text(f"{origin}\n-7\n{root}\n")),
        ("with-a-line-that-is-no-signature", "One malformed line spoils a note.", lambda: f"{right}garbage\n"),
        (
            "with-a-signature-that-is-no-base64",
            "One malformed line spoils a note.",
            lambda: f"{right}\N{EM DASH} witness a\n",
        ),
        ("with-an-escape", "A note is plain text.", lambda: sign_text(f"{text}\x1b[1m\n")),
        ("with-a-vertical-tab", "A note's lines end with line feeds.", lambda: sign_text(f"{text}more\x0b\n")),
        ("signed-without-a-root", "A checkpoint has three lines.", lambda: sign_text(f"{origin}\n{size}\n")),
        (
            "one-bit-of-the-signature",
            "The signature has one bit changed.",
            lambda: right[:-8] + chr(ord(right[-8]) ^ 1) + right[-7:],
        ),
        (
            "signature-under-another-name",
            "The line's name is not the log's.",
            lambda: f"{text}\n{line.replace('example', 'other')}",
        ),
        ("signature-of-another-key-hash", "The line's key is not the log's.", lambda: f"{text}\n{_other_hash(line)}"),
        ("hyphen-for-a-dash", "A signature line begins with an em dash.", lambda: right.replace("\N{EM DASH}", "-")),
        ("no-blank-line", "A blank line parts text and signatures.", lambda: right.replace("\n\n", "\n")),
        ("no-line-feed-at-the-end", "A note ends with a line feed.", lambda: right[:-1]),
        ("lines-ended-as-on-windows", "Lines end with a line feed alone.", lambda: right.replace("\n", "\r\n")),
        ("empty", "There is no note.", lambda: ""),
    ]
    for name, said, make in makers:
        fail(f"checkpoint-{name}", said, with_note(make()))


def _other_hash(line: str) -> str:
    start, _, blob = line.rstrip("\n").rpartition(" ")
    raw = base64.b64decode(blob)
    return f"{start} {base64.b64encode(bytes(4) + raw[4:]).decode()}\n"


def _consistency(cases: Cases) -> None:
    good, fail = cases.good, cases.fail
    for old, size in ((0, 7), (1, 7), (3, 7), (4, 7), (6, 7), (7, 7), (4, 8), (8, 16), (7, 16)):
        good(f"from-{old}-to-{size}", "The later log extends the earlier one.", Log(size, old).files())
    log = Log(7, 3)
    proof = [part.hex() for part in tree(log.lines).consistency(3)]
    bit = f"{int(proof[0], 16) ^ 1:064x}"

    def with_proof(parts: Any) -> Files:
        return log.files(consistency=text_of(parts))

    forked = [*ENTRIES[:2], entry(2, study="other")]
    for name, said, made in (
        ("one-bit-of-the-proof", "A part is changed.", with_proof([bit, *proof[1:]])),
        ("proof-too-short", "A part is missing.", with_proof(proof[:-1])),
        ("proof-too-long", "There is a part too many.", with_proof([*proof, proof[0]])),
        ("proof-empty", "There is no proof.", with_proof([])),
        ("proof-in-another-order", "Two parts are exchanged.", with_proof([proof[1], proof[0], *proof[2:]])),
        ("proof-that-is-no-hex", "A part is no hash.", with_proof(["x" * 64, *proof[1:]])),
        ("proof-that-is-an-object", "A proof is a list.", with_proof({"proof": proof})),
        (
            "proof-of-another-size",
            "The proof is from 2.",
            with_proof([part.hex() for part in tree(log.lines).consistency(2)]),
        ),
        ("old-log-forked", "The earlier log had another entry.", log.files(old=note(forked).encode())),
        ("old-log-longer", "The log has become shorter.", log.files(old=note(ENTRIES[:8]).encode())),
        (
            "old-log-of-the-same-size-with-another-entry",
            "Two logs of one size.",
            Log(3, 3).files(old=note(forked).encode()),
        ),
        (
            "old-log-of-another-trust",
            "It is another log's.",
            log.files(old=note(ENTRIES[:3], origin=register_origin("other")).encode()),
        ),
        ("old-log-by-a-stranger", "The key is unknown.", log.files(old=note(ENTRIES[:3], signer=STRANGER).encode())),
        (
            "old-log-not-signed",
            "There is no signature.",
            log.files(old=note(ENTRIES[:3]).rpartition("\n\n")[0].encode() + b"\n\n"),
        ),
        (
            "from-0-with-a-proof",
            "From nothing there is nothing to prove.",
            Log(7, 0).files(consistency=text_of(proof[:1])),
        ),
        (
            "from-7-to-7-with-a-proof",
            "From the same there is nothing to prove.",
            Log(7, 7).files(consistency=text_of(proof[:1])),
        ),
        (
            "from-0-with-another-root",
            "The empty log has one root.",
            Log(7, 0).files(old=sign_checkpoint(Checkpoint(ORIGIN, 0, bytes(32)), COORDINATOR).encode()),
        ),
    ):
        fail(f"consistency-{name}", said, made)


def _inclusion(cases: Cases) -> None:
    good, fail = cases.good, cases.fail
    for index, size in ((0, 1), (0, 7), (5, 7), (6, 7), (3, 8)):
        good(f"entry-{index}-of-{size}", "The entry is proved to be in the log.", Log(size, index=index).files())
    log = Log(7, index=5)
    proof = [part.hex() for part in tree(log.lines).inclusion(5)]
    bit = f"{int(proof[-1], 16) ^ 1:064x}"
    for name, said, parts in (
        ("one-bit-of-the-proof", "A part is changed.", {"index": 5, "proof": [*proof[:-1], bit]}),
        ("another-entry", "The proof is of another entry.", {"index": 4, "proof": proof}),
        ("entry-outside-the-log", "The log is not so long.", {"index": 7, "proof": proof}),
        ("proof-too-short", "A part is missing.", {"index": 5, "proof": proof[:-1]}),
        ("proof-too-long", "There is a part too many.", {"index": 5, "proof": [*proof, proof[0]]}),
        ("proof-empty", "There is no proof.", {"index": 5, "proof": []}),
    ):
        fail(f"inclusion-{name}", said, log.files(inclusion=text_of(parts)))
