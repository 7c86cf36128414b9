"""The coordinator's half and the audit: integrity of uploads, totals and records."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from tests.support.secure_sum import COORDINATOR, Block, Federation, identity, question
from trust.secure_sum.audit import Evidence, audit, check_record
from trust.secure_sum.encoding import decode_sum, encode_sum, layout_of
from trust.secure_sum.errors import (
    CheckNumber,
    NotOpened,
    RecordInvalid,
    SumConflict,
    TranscriptDiffers,
    UploadMissing,
    UploadShape,
    UploadSignature,
)
from trust.secure_sum.fixedpoint import TINY
from trust.secure_sum.messages import Context, Record, Upload, commitment
from trust.secure_sum.question import AnalysisAsk, Question

PUBLIC = COORDINATOR.public_key()


@dataclass
class Opened:
    """A sum of three partners, opened."""

    made: Federation
    asked: Question
    uploads: dict[str, Upload]
    record: Record
    salt: bytes

    def evidence(self, **change: Any) -> Evidence:
        bodies = [self.uploads[name].body for name in self.made.names]
        return Evidence(**{"record": self.record, "salt": self.salt, "bodies": bodies, **change})

    def audit(self, evidence: Evidence) -> Any:
        kept = self.made.stores["p000"].contribution("study-1", self.asked.r)
        assert kept is not None
        return audit(self.made.parameters, kept, evidence, name="p000", layout=self.asked.layout, coordinator=PUBLIC)


@pytest.fixture
def opened(make: Any) -> Opened:
    made, asked = make(3), question()
    uploads = {name: made.contribute(name, asked, [i, 10, -20]) for i, name in enumerate(made.names)}
    opening = made.opening(asked)
    for upload in uploads.values():
        opening.add(upload)
    record, salt = opening.record(COORDINATOR)
    return Opened(made, asked, uploads, record, salt)


def flipped(raw: bytes | memoryview, bit: int) -> bytes:
    changed = bytearray(raw)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def signed_again(upload: Upload, body: bytes, key: Any) -> Upload:
    sig = key.sign(Upload.message(upload.ctx, upload.name, hashlib.sha256(body).digest()))
    return replace(upload, body=body, sig=sig)


def test_uploads_in_any_order_and_twice_give_the_total_once(opened: Opened) -> None:
    opening = opened.made.opening(opened.asked)
    for name in ("p002", "p000", "p002", "p001"):
        assert name in opening.missing or name == "p002"
        opening.add(opened.uploads[name])
    assert opening.missing == ()
    assert opening.total().view(np.int64).tolist() == [[3, 30, -60, 3]]
    assert opening.total() is opening.total()


def test_uploads_are_not_changed_by_adding(opened: Opened) -> None:
    before = {name: bytes(upload.body) for name, upload in opened.uploads.items()}
    opening = opened.made.opening(opened.asked)
    for upload in opened.uploads.values():
        opening.add(upload)
    opening.total()
    assert before == {name: bytes(upload.body) for name, upload in opened.uploads.items()}


@pytest.mark.parametrize("bit", [0, 63, 64, 200, 255])
def test_one_bit_of_an_upload_is_noticed(opened: Opened, bit: int) -> None:
    upload = opened.uploads["p001"]
    opening = opened.made.opening(opened.asked)
    with pytest.raises(UploadSignature):
        opening.add(replace(upload, body=flipped(upload.body, bit)))
    assert "p001" in opening.missing
    opening.add(upload)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda u, o: replace(u, sig=o.uploads["p002"].sig), UploadSignature),
        (lambda u, o: replace(u, body=o.uploads["p002"].body), UploadSignature),
        (lambda u, o: replace(o.uploads["p002"], name="p001"), UploadSignature),
        (lambda u, o: signed_again(u, bytes(u.body), identity(2)), UploadSignature),
        (lambda u, o: replace(u, sig=b""), UploadSignature),
        (lambda u, o: replace(u, name="p003"), TranscriptDiffers),
        (lambda u, o: replace(u, transcript=bytes(32)), TranscriptDiffers),
        (lambda u, o: replace(u, r=1), TranscriptDiffers),
        (lambda u, o: replace(u, ctx=bytes(32)), TranscriptDiffers),
        (lambda u, o: replace(u, body=bytes(u.body)[:-8]), UploadShape),
        (lambda u, o: replace(u, body=bytes(u.body) + bytes(8)), UploadShape),
        (lambda u, o: replace(u, body=b""), UploadShape),
    ],
)
def test_an_upload_that_is_not_what_its_partner_signed_for_this_sum_is_refused(
    opened: Opened, change: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        opened.made.opening(opened.asked).add(change(opened.uploads["p001"], opened))


def test_other_signed_bytes_of_the_same_partner_are_a_conflict(opened: Opened) -> None:
    opening = opened.made.opening(opened.asked)
    upload = opened.uploads["p001"]
    opening.add(upload)
    with pytest.raises(SumConflict):
        opening.add(signed_again(upload, flipped(upload.body, 5), identity(1)))


def test_a_missing_upload_is_named_and_nothing_opens(opened: Opened) -> None:
    opening = opened.made.opening(opened.asked)
    opening.add(opened.uploads["p001"])
    for call in (opening.total, lambda: opening.record(COORDINATOR)):
        with pytest.raises(UploadMissing, match="p000, p002"):
            call()


def test_a_partner_that_masks_wrongly_spoils_the_check_number(opened: Opened) -> None:
    opening = opened.made.opening(opened.asked)
    for name in ("p000", "p001"):
        opening.add(opened.uploads[name])
    bad = opened.uploads["p002"]
    words = np.frombuffer(bad.body, np.uint64) + np.uint64(1)
    opening.add(signed_again(bad, words.tobytes(), identity(2)))
    with pytest.raises(CheckNumber):
        opening.total()


def test_a_wide_sum_opens_to_the_pooled_numbers_and_checks_every_limb(make: Any) -> None:
    blocks = [Block("xtx", (2, 2)), Block("n", (), "count")]
    layout = layout_of(blocks, TINY)
    asked = Question.of(0, [AnalysisAsk("risk", "step", b"1")], layout)
    made = make(4)
    rng = np.random.default_rng(7)
    parts = {
        name: {"xtx": rng.standard_normal((2, 2)) * 10.0 ** rng.uniform(-20, 20, (2, 2)), "n": np.array(i)}
        for i, name in enumerate(made.names)
    }
    opening = made.opening(asked)
    uploads = {}
    for name, part in parts.items():
        uploads[name] = made.contribute(
            name, asked, compute=lambda part=part: encode_sum(blocks, part, n=4, fixed=TINY)
        )
        assert int(np.frombuffer(uploads[name].body, np.uint64).max()) < 1 << 52
        opening.add(uploads[name])
    got = decode_sum(blocks, opening.total(), n=4, fixed=TINY)
    assert got["n"] == 6
    scale = sum(np.abs(part["xtx"]) for part in parts.values())
    assert np.abs(got["xtx"] - sum(part["xtx"] for part in parts.values())).max() <= 1e-15 * scale.max()
    spoiled = np.frombuffer(uploads["p003"].body, np.uint64).copy().reshape(layout.shape)
    spoiled[3, -1] ^= 1
    again = made.opening(asked)
    for name in made.names[:3]:
        again.add(uploads[name])
    again.add(signed_again(uploads["p003"], spoiled.tobytes(), identity(3)))
    with pytest.raises(CheckNumber):
        again.total()
    above = signed_again(uploads["p003"], (spoiled | np.uint64(1 << 52)).tobytes(), identity(3))
    with pytest.raises(UploadShape):
        made.opening(asked).add(above)


def test_a_node_audits_the_total_that_it_contributed_to(opened: Opened) -> None:
    assert opened.audit(opened.evidence()).view(np.int64).tolist() == [[3, 30, -60, 3]]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda o: {"salt": bytes(32)}, RecordInvalid),
        (lambda o: {"record": replace(o.record, sig=bytes(64))}, RecordInvalid),
        (lambda o: {"record": replace(o.record, sig=b"")}, RecordInvalid),
        (lambda o: {"record": replace(o.record, total=flipped(o.record.total, 3))}, RecordInvalid),
        (lambda o: {"record": replace(o.record, total=flipped(o.record.total, 3)).signed(COORDINATOR)}, RecordInvalid),
        (lambda o: {"record": o.record.signed(identity(0))}, RecordInvalid),
        (lambda o: {"record": _record(o, context=replace(o.record.context, r=1))}, RecordInvalid),
        (lambda o: {"record": _record(o, context=replace(o.record.context, plan_digest=bytes(32)))}, RecordInvalid),
        (lambda o: {"record": _record(o, context=_fewer(o.record.context))}, RecordInvalid),
        (lambda o: {"record": _record(o, digests=(bytes(32), *o.record.digests[1:]))}, RecordInvalid),
        (lambda o: {"record": _record(o, digests=(*o.record.digests[:2], bytes(32)))}, RecordInvalid),
        (lambda o: {"record": _record(o, signatures=(*o.record.signatures[:2], bytes(64)))}, UploadSignature),
        (lambda o: {"bodies": [o.uploads[n].body for n in ("p000", "p002", "p001")]}, UploadSignature),
        (lambda o: {"bodies": [o.uploads[n].body for n in ("p000", "p001")]}, UploadMissing),
        (lambda o: {"bodies": []}, UploadMissing),
        (lambda o: {"bodies": [flipped(u.body, 77) for u in o.uploads.values()]}, UploadSignature),
    ],
)
def test_an_audit_refuses_a_record_or_uploads_that_do_not_belong_together(
    opened: Opened, change: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        opened.audit(opened.evidence(**change(opened)))


def _record(opened: Opened, **change: Any) -> Record:
    """A lying coordinator's record, signed."""
    return replace(opened.record, **change).signed(COORDINATOR)


def _fewer(context: Context) -> Context:
    return replace(context, partners=context.partners[:2])


def test_a_record_goes_through_json_unchanged_and_says_no_total(opened: Opened) -> None:
    document = opened.record.document()
    assert Record.parse(document) == opened.record
    assert check_record(opened.record, opened.made.stores["p000"].contribution("study-1", 0), "p000", PUBLIC) is None
    total = opened.audit(opened.evidence()).tobytes()
    assert hashlib.sha256(total).hexdigest() not in str(document)
    assert document["total"] == commitment(opened.salt, total).hex()


def test_two_records_of_one_total_do_not_show_that_it_is_one(opened: Opened) -> None:
    """A digest of small counts without a salt would be found again by trying them all."""
    opening = opened.made.opening(opened.asked)
    for upload in opened.uploads.values():
        opening.add(upload)
    assert opening.record(COORDINATOR)[0].total != opening.record(COORDINATOR)[0].total


@pytest.mark.parametrize(
    "change",
    [
        {"extra": 1},
        {"schema": "datatrust/sum-record/2"},
        {"T": "AB" * 32},
        {"T": "ab" * 31},
        {"T": 7},
        {"r": -1},
        {"r": True},
        {"r": "0"},
        {"r": 2**32},
        {"U": "p000"},
        {"U": ["p000", "p001"]},
        {"U": ["p000", "p001", "P002"]},
        {"U": ["p000", "p001", 2]},
        {"digests": ["00"] * 3},
        {"signatures": {}},
        {"sig": ""},
        {"total": "zz" * 32},
    ],
)
def test_a_malformed_record_is_refused(opened: Opened, change: dict[str, Any]) -> None:
    with pytest.raises(RecordInvalid):
        Record.parse({**opened.record.document(), **change})
    with pytest.raises(RecordInvalid):
        Record.parse({k: v for k, v in opened.record.document().items() if k not in change} | {"extra": 1})


def test_an_upload_goes_through_its_header_unchanged(opened: Opened) -> None:
    upload = opened.uploads["p001"]
    assert Upload.parse(upload.header(), upload.body, opened.asked.layout) == upload
    assert set(upload.header()) == {"kind", "v", "T", "r", "ctx", "name", "sig"}


@pytest.mark.parametrize(
    "change",
    [
        {"extra": 1},
        {"kind": "approval"},
        {"v": 2},
        {"v": True},
        {"v": "1"},
        {"T": "ab" * 33},
        {"T": None},
        {"ctx": "AB" * 32},
        {"ctx": " " + "ab" * 31 + " "},
        {"r": 1.0},
        {"r": -1},
        {"name": "P001"},
        {"name": ["p001"]},
        {"sig": "ab" * 63},
    ],
)
def test_a_malformed_header_is_refused(opened: Opened, change: dict[str, Any]) -> None:
    upload = opened.uploads["p001"]
    with pytest.raises(UploadShape):
        Upload.parse({**upload.header(), **change}, upload.body, opened.asked.layout)
    with pytest.raises(UploadShape):
        Upload.parse(upload.header(), bytes(upload.body)[:-1], opened.asked.layout)
    for header in (None, [], list(upload.header()), "upload"):
        with pytest.raises(UploadShape):
            Upload.parse(header, upload.body, opened.asked.layout)


def test_every_fault_of_an_opening_is_a_not_opened_with_a_code(opened: Opened) -> None:
    for error in (CheckNumber, TranscriptDiffers, UploadMissing, UploadShape, UploadSignature):
        assert issubclass(error, NotOpened)
