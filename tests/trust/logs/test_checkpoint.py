"""Checkpoints: C2SP's signed note to the byte, and whatever is not quite one is refused."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.vectors.make_log import DASH, FOLDER, KEY, ORIGIN, OTHER, ROOT, note
from trust.errors import DataTrustError, MessageInvalid, Refused
from trust.logs import checkpoint as module
from trust.logs.checkpoint import Checkpoint, journal_origin, read_checkpoint, register_origin, sign_checkpoint
from trust.signing.envelope import valid

GOOD = Checkpoint(ORIGIN, 7, ROOT)
NOTE = sign_checkpoint(GOOD, KEY)
VECTORS = json.loads((FOLDER / "checkpoint.json").read_text(encoding="ascii"))

EXPECTED = {
    "as signed": "",
    "of an empty log": "",
    "with lines that later versions may add": "",
    "a witness has signed first": "",
    "a witness has signed last": "",
    "a signature of another type under our name": "",
    "signed by a witness only": "checkpoint-signature",
    "another key under our name": "checkpoint-signature",
    "our key under another name": "checkpoint-signature",
    "our key's hash over another's signature": "checkpoint-signature",
    "a signature over another size": "checkpoint-signature",
    "a signature over another root": "checkpoint-signature",
    "a signature of 63 bytes": "checkpoint-signature",
    "a hyphen for the dash": "message-invalid",
    "text after the signatures": "message-invalid",
    "no signature": "message-invalid",
    "another trust's register": "checkpoint-origin",
    "a journal of the same trust": "checkpoint-origin",
    "an origin with a space after it": "checkpoint-origin",
    "a size with a leading zero": "message-invalid",
    "a size with a sign": "message-invalid",
    "a negative size": "message-invalid",
    "a size with a space": "message-invalid",
    "a size in other digits": "message-invalid",
    "a size of 17 digits": "message-invalid",
    "no size": "message-invalid",
    "a root of 31 bytes": "message-invalid",
    "a root of 33 bytes": "message-invalid",
    "a root in the other base64": "message-invalid",
    "a root without its padding": "message-invalid",
    "line ends of another system": "message-invalid",
    "no line end at the end": "message-invalid",
    "no blank line": "message-invalid",
    "two lines": "message-invalid",
    "nothing": "message-invalid",
}


@pytest.mark.parametrize("case", VECTORS["notes"], ids=lambda case: case["case"])
def test_a_note_is_read_or_refused_as_the_specification_says(case: dict[str, Any]) -> None:
    assert case["code"] == EXPECTED[case["case"]]
    if case["code"]:
        with pytest.raises(DataTrustError) as refused:
            read_checkpoint(case["note"], ORIGIN, [KEY.public])
        wrong = refused.value
        assert (wrong.rule if isinstance(wrong, Refused) else wrong.code) == case["code"]
    else:
        assert read_checkpoint(case["note"], ORIGIN, [KEY.public]).origin == ORIGIN


def test_every_case_is_in_the_file() -> None:
    assert [case["case"] for case in VECTORS["notes"]] != []
    assert {case["case"] for case in VECTORS["notes"]} == set(EXPECTED)


def test_a_note_is_the_specifications_bytes() -> None:
    """Computed here from the words of C2SP tlog-checkpoint and signed-note."""
    text = f"datatrust/heart/register\n7\n{base64.b64encode(ROOT).decode()}\n"
    key_hash = hashlib.sha256(b"datatrust/heart/register\n\x01" + KEY.public).digest()[:4]
    assert NOTE.startswith(f"{text}\n{DASH} datatrust/heart/register ")
    assert NOTE.endswith("\n")
    assert NOTE.count("\n") == 5
    blob = base64.b64decode(NOTE.split()[-1])
    assert (len(blob), blob[:4]) == (68, key_hash)
    assert valid(KEY.public, blob[4:], text.encode())


@pytest.mark.parametrize(
    "published",
    [
        # golang.org/x/mod/sumdb/note, the example of its documentation; and the key of sum.golang.org
        "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8",
    ],
)
def test_the_key_hashes_of_published_keys(published: str) -> None:
    name, key_hash, key = published.split("+", 2)
    raw = base64.b64decode(key)
    assert raw[:1] == b"\x01"
    assert module._key_hash(name, raw[1:]).hex() == key_hash


def test_a_published_signature() -> None:
    """The example of golang.org/x/mod/sumdb/note."""
    text = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
    line = (
        "\N{EM DASH} PeterNeumann "
        "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
    )
    key = base64.b64decode("ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")[1:]
    assert module._signature_holds(line, "PeterNeumann", [key], text.encode())
    assert not module._signature_holds(line, "PeterNeumann", [key], text.encode() + b"\n")


def test_a_checkpoint_comes_back() -> None:
    assert read_checkpoint(NOTE, ORIGIN, [KEY.public]) == GOOD
    assert read_checkpoint(NOTE, ORIGIN, [OTHER.public, KEY.public]) == GOOD
    assert read_checkpoint(note(), ORIGIN, [KEY.public]) == GOOD


def test_no_key_signs_nothing() -> None:
    with pytest.raises(Refused, match="not signed by its log's key"):
        read_checkpoint(NOTE, ORIGIN, [])
    with pytest.raises(Refused, match="not signed"):
        read_checkpoint(NOTE, ORIGIN, [b""])


def test_a_long_text_is_refused_before_it_is_read() -> None:
    with pytest.raises(MessageInvalid, match="too long"):
        read_checkpoint(note(more="x\n" * 10_000), ORIGIN, [KEY.public])


def test_a_journal_and_a_register_of_one_trust_have_different_origins() -> None:
    assert register_origin("heart") == "datatrust/heart/register"
    assert journal_origin("heart", "a") == "datatrust/heart/journal/a"


@given(st.integers(0, len(NOTE) - 1), st.characters(), st.sampled_from(["set", "insert", "delete"]))
@settings(max_examples=500)
def test_a_changed_character_never_gives_another_checkpoint(at: int, character: str, how: str) -> None:
    changed = {
        "set": NOTE[:at] + character + NOTE[at + 1 :],
        "insert": NOTE[:at] + character + NOTE[at:],
        "delete": NOTE[:at] + NOTE[at + 1 :],
    }[how]
    try:
        found = read_checkpoint(changed, ORIGIN, [KEY.public])
    except (Refused, MessageInvalid):
        return
    assert found == GOOD


@given(st.text(max_size=300))
@settings(max_examples=1000)
def test_no_other_error_than_ours(text: str) -> None:
    for whole in (text, f"{ORIGIN}\n7\n{text}", NOTE + text, NOTE.replace("\n\n", f"\n{text}\n\n")):
        try:
            assert read_checkpoint(whole, ORIGIN, [KEY.public]).size == 7
        except (Refused, MessageInvalid):
            continue
