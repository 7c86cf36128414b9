"""The trust root: a closed document whose keys, roles and dates fit together, founded by its own quorum."""

from __future__ import annotations

import base64
import copy
import hashlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    SECP384R1,
    EllipticCurve,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from datatrust.in_process.keys import RoleKeys
from trust.canonical import canonical
from trust.charters.charter import Charter
from trust.documents.root import Root, TrustRoot
from trust.errors import InvalidInput, MessageInvalid, Refused
from trust.signing.connection_key import connection_hex, connection_pem
from trust.signing.envelope import Envelope, Signer, distinct, sign
from trust.times import read_time, write_time

KEYS = RoleKeys.make(["a", "b", "c"], Charter.load("research"), read_time("2026-11-24T00:00:00Z"))
DOCUMENT = KEYS.root.root.document()
SECOND = timedelta(seconds=1)
Change = Callable[[dict[str, Any]], object]


def changed(change: Change) -> dict[str, Any]:
    document = copy.deepcopy(DOCUMENT)
    change(document)
    return document


def founded(document: dict[str, Any], *signers: Signer) -> TrustRoot:
    return TrustRoot.founding(sign("root", document, *(signers or KEYS.members)))


def test_a_quorum_of_its_own_root_role_founds_a_root() -> None:
    envelope = sign("root", DOCUMENT, *KEYS.members[1:])
    root = TrustRoot.founding(envelope)
    assert root.root.document() == DOCUMENT
    assert root.payload == envelope.unverified_payload == canonical(DOCUMENT)
    assert root.digest == hashlib.sha256(root.payload).digest()


def test_less_than_its_quorum_founds_nothing() -> None:
    with pytest.raises(Refused, match="signed by 1 of 3 keys; 2 are needed"):
        founded(DOCUMENT, KEYS.members[0])
    with pytest.raises(Refused, match="signed by 1 of 3 keys"):
        founded(DOCUMENT, KEYS.members[0], Signer(), KEYS.coordinator, KEYS.partners["a"].sign)


def test_a_root_signed_as_another_kind_founds_nothing() -> None:
    with pytest.raises(Refused, match="signed by 0 of 3"):
        TrustRoot.founding(sign("mandate", DOCUMENT, *KEYS.members))


def test_a_root_that_is_not_in_canonical_form_is_invalid() -> None:
    with pytest.raises(MessageInvalid, match="canonical"):
        TrustRoot(b" " + canonical(DOCUMENT))


def test_keys_are_found_by_role_and_by_partner() -> None:
    root = KEYS.root.root
    assert root.keys_of("committee") == {member.key_id: member.public for member in KEYS.members}
    assert root.keys_of("coordinator") == {KEYS.coordinator.key_id: KEYS.coordinator.public}
    assert root.verify_keys() == {name: keys.sign.public for name, keys in KEYS.partners.items()}


def twice(document: dict[str, Any], role: str) -> None:
    document["roles"][role]["keys"] = [document["roles"][role]["keys"][0]] * 2


def copy_key(document: dict[str, Any]) -> None:
    document["partners"]["b"]["sign"] = document["partners"]["a"]["sign"]


def join(document: dict[str, Any], keyid: str) -> None:
    """One more member of the committee."""
    document["roles"]["committee"]["keys"].append(keyid)


def misname(document: dict[str, Any]) -> None:
    """A stranger's key under a member's id."""
    document["keys"][KEYS.members[0].key_id] = Signer().public.hex()


INCONSISTENT: list[tuple[str, Change, str]] = [
    ("an unknown field", lambda d: d.update(note="x"), "unknown field 'note'"),
    ("an unknown field of a role", lambda d: d["roles"]["root"].update(note="x"), "unknown field"),
    ("an unknown field of a partner", lambda d: d["partners"]["a"].update(note="x"), "unknown field"),
    ("another schema", lambda d: d.update(schema="datatrust/root/2"), "schema"),
    ("an end before its beginning", lambda d: d.update(expires="2026-11-23T23:59:59Z"), "expires before it is issued"),
    ("an end at its beginning", lambda d: d.update(expires=d["issued"]), "expires before it is issued"),
    ("a member who coordinates", lambda d: join(d, KEYS.coordinator.key_id), "nobody approves"),
    ("a member who asks", lambda d: join(d, KEYS.researcher.key_id), "nobody approves"),
    ("no charter", lambda d: d.pop("charter"), "no field 'charter'"),
    ("version 0", lambda d: d.update(version=0), "version"),
    ("a time that does not exist", lambda d: d.update(expires="2026-02-30T00:00:00Z"), "does not exist"),
    ("a key id that is not its key's", misname, "not the SHA-256"),
    ("a key of 31 bytes", lambda d: d["partners"]["a"].update(sign="00" * 31), "sign"),
    ("a key in capitals", lambda d: d["partners"]["a"].update(seal="AA" * 32), "seal"),
    ("a partner's name with a space", lambda d: d["partners"].update({"a b": d["partners"]["a"]}), "partners"),
    ("two partners with one key", copy_key, "same key"),
    ("a role that has a key twice", lambda d: twice(d, "committee"), "twice"),
    ("a threshold of 0", lambda d: d["roles"]["committee"].update(threshold=0), "threshold"),
    ("a threshold above its keys", lambda d: d["roles"]["committee"].update(threshold=4), "above the number"),
    ("a role without keys", lambda d: d["roles"]["auditor"].update(keys=[]), "keys"),
    ("a role's key that it does not have", lambda d: d["keys"].pop(KEYS.auditor.key_id), "'auditor' names a key"),
    ("a researcher's key that it does not have", lambda d: d["keys"].pop(KEYS.researcher.key_id), "a researcher's key"),
    *((f"no role {role}", lambda d, role=role: d["roles"].pop(role), f"no role {role!r}")
      for role in ("root", "committee", "coordinator", "auditor")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "said"), [case[1:] for case in INCONSISTENT], ids=[case[0] for case in INCONSISTENT]
)
def test_a_root_does_not_stand_with(change: Change, said: str) -> None:
    """Signed by every member, and still."""
    with pytest.raises(MessageInvalid, match=said):
        founded(changed(change))


def test_a_threshold_of_all_keys_and_further_roles_stand() -> None:
    """The positive control of the cases above."""
    root = founded(changed(lambda d: d["roles"]["committee"].update(threshold=3)))
    assert root.root.roles["committee"].threshold == 3
    assert root.root.roles["lay"].keys == (KEYS.members[0].key_id,)


@pytest.mark.parametrize(
    ("when", "after", "stands"),
    [
        ("issued", -SECOND, False),
        ("issued", 0 * SECOND, True),
        ("issued", SECOND, True),
        ("expires", -SECOND, True),
        ("expires", 0 * SECOND, False),
        ("expires", SECOND, False),
    ],
)
def test_a_root_is_in_force_from_its_first_second_to_the_last_before_its_expiry(
    when: str, after: timedelta, stands: bool
) -> None:
    now = read_time(DOCUMENT[when]) + after
    if stands:
        KEYS.root.require_in_force(now)
        return
    with pytest.raises(Refused) as error:
        KEYS.root.require_in_force(now)
    assert error.value.rule == "root-expired"


def test_a_root_cannot_be_changed_after_it_was_read() -> None:
    with pytest.raises(ValueError, match="frozen"):
        KEYS.root.root.version = 2
    assert Root.model_validate(DOCUMENT) == KEYS.root.root


# ---- the next version (The Update Framework 1.0.33, 5.3)


A, B, C = KEYS.members
NEW = [Signer() for _ in range(3)]


def nothing(document: dict[str, Any]) -> None:
    """The same again."""


def rotate(*members: Signer, threshold: int = 2) -> Change:
    """Other members in the root role and in the committee."""

    def change(document: dict[str, Any]) -> None:
        keys = distinct(members)
        document["keys"] |= {keyid: key.hex() for keyid, key in keys.items()}
        for role in ("root", "committee"):
            document["roles"][role] = {"keys": list(keys), "threshold": threshold}

    return change


def version(number: int, change: Change, *signers: Signer, issued: str = "2026-11-25T00:00:00Z") -> Envelope:
    document = changed(change) | {"version": number, "issued": issued}
    return sign("root", document, *signers)


FOLLOWS: list[tuple[str, Change, list[Signer]]] = [
    ("2 of 3 of unchanged members", nothing, [A, B]),
    ("3 of 3 of unchanged members", nothing, [A, B, C]),
    ("all members change, signed by 2 old and 2 new", rotate(*NEW), [A, C, NEW[0], NEW[2]]),
    ("one member changes, signed by the two who stay", rotate(A, B, NEW[0]), [A, B]),
    ("one member changes, signed by her, who leaves, and by two who will be", rotate(A, B, NEW[0]), [C, A, NEW[0]]),
    ("the quorum rises to 3, signed by all", rotate(A, B, C, threshold=3), [A, B, C]),
    ("the quorum falls to 1, signed by 2", rotate(A, B, C, threshold=1), [A, B]),
    ("a stranger signs beside the quorum", nothing, [Signer(), A, B]),
]

DOES_NOT_FOLLOW: list[tuple[str, Change, list[Signer], str]] = [
    ("nobody", nothing, [], "signed by 0 of 3 keys; 2 are needed"),
    ("1 of 3", nothing, [A], "signed by 1 of 3"),
    ("one member twice", nothing, [A, A], "signed by 1 of 3"),
    ("the coordinator and a partner", nothing, [KEYS.coordinator, KEYS.partners["a"].sign], "signed by 0 of 3"),
    ("1 old and 3 new, not enough old", rotate(*NEW), [A, *NEW], "signed by 1 of 3"),
    ("only the new ones", rotate(*NEW), NEW, "signed by 0 of 3"),
    ("3 old and 1 new, not enough new", rotate(*NEW), [A, B, C, NEW[0]], "signed by 1 of 3"),
    ("only the old ones", rotate(*NEW), [A, B, C], "signed by 0 of 3"),
    ("the quorum rises to 3, signed by 2", rotate(A, B, C, threshold=3), [A, B], "signed by 2 of 3 keys; 3 are needed"),
    ("the quorum falls to 1, signed by 1", rotate(A, B, C, threshold=1), [A], "signed by 1 of 3 keys; 2 are needed"),
    ("the one who leaves and the one who comes", rotate(A, B, NEW[0]), [C, NEW[0]], "signed by 1 of 3"),
]


@pytest.mark.parametrize(("change", "signers"), [case[1:] for case in FOLLOWS], ids=[case[0] for case in FOLLOWS])
def test_a_version_follows_that_both_quorums_have_signed(change: Change, signers: list[Signer]) -> None:
    envelope = version(2, change, *signers)
    root = KEYS.root.next(envelope)
    assert root.root.version == 2
    assert root.payload == envelope.unverified_payload


@pytest.mark.parametrize(
    ("change", "signers", "said"), [case[1:] for case in DOES_NOT_FOLLOW], ids=[case[0] for case in DOES_NOT_FOLLOW]
)
def test_a_version_does_not_follow_that_is_signed_by(change: Change, signers: list[Signer], said: str) -> None:
    with pytest.raises(Refused, match=said) as error:
        KEYS.root.next(version(2, change, *signers))
    assert error.value.rule == "signature"


def test_a_version_signed_as_another_kind_does_not_follow() -> None:
    document = changed(nothing) | {"version": 2}
    with pytest.raises(Refused, match="signed by 0 of 3"):
        KEYS.root.next(sign("mandate", document, A, B, C))


def test_a_version_changed_after_it_was_signed_does_not_follow() -> None:
    good, other = version(2, nothing, A, B), version(2, rotate(*NEW), A, B)
    with pytest.raises(Refused, match="signed by 0 of 3"):
        KEYS.root.next(good.model_copy(update={"payload": other.payload}))


@pytest.mark.parametrize("number", [1, 3, 4, 1000])
def test_only_the_version_just_behind_follows(number: int) -> None:
    """Rollback, a version again, and a version left out."""
    with pytest.raises(Refused, match="version 1 is version 2") as error:
        KEYS.root.next(version(number, nothing, A, B, C))
    assert error.value.rule == "root-version"


def test_an_old_root_does_not_come_back_whoever_signed_it() -> None:
    second = KEYS.root.next(version(2, rotate(*NEW), A, B, *NEW))
    for old in (KEYS.envelope, version(2, nothing, A, B, C), version(1, nothing, *NEW)):
        with pytest.raises(Refused) as error:
            second.next(old)
        assert error.value.rule == "root-version"


def test_members_who_have_left_make_no_version() -> None:
    second = KEYS.root.next(version(2, rotate(*NEW), A, B, *NEW))
    with pytest.raises(Refused, match="signed by 0 of 3"):
        second.next(version(3, rotate(A, B, C), A, B, C))
    assert second.next(version(3, rotate(*NEW), *NEW)).root.version == 3


def test_another_trust_s_root_does_not_follow() -> None:
    with pytest.raises(Refused) as error:
        KEYS.root.next(version(2, lambda d: d.update(trust="other"), A, B, C))
    assert error.value.rule == "root-trust"


@pytest.mark.parametrize(("after", "follows"), [(-1, False), (0, True), (1, True)])
def test_a_version_is_not_issued_before_the_one_it_follows(after: int, follows: bool) -> None:
    at = read_time(DOCUMENT["issued"]) + after * SECOND
    envelope = version(2, nothing, A, B, issued=write_time(at))
    if follows:
        assert KEYS.root.next(envelope).root.version == 2
        return
    with pytest.raises(Refused, match="not issued before") as error:
        KEYS.root.next(envelope)
    assert error.value.rule == "root-version"


def test_an_expired_root_can_be_followed_and_compute_nothing() -> None:
    """Freeze: a node that is shown no new version stops; one that was away long catches up."""
    late = read_time(DOCUMENT["expires"]) + timedelta(days=30)
    with pytest.raises(Refused, match="expired"):
        KEYS.root.require_in_force(late)
    new = changed(nothing) | {"version": 2, "issued": write_time(late), "expires": write_time(late + timedelta(days=9))}
    KEYS.root.next(sign("root", new, A, B)).require_in_force(late)


@pytest.mark.parametrize("payload", [b"", b"{}", b"[]", b"\xff", canonical({**DOCUMENT, "version": 2}) + b" "])
def test_what_is_no_root_does_not_follow(payload: bytes) -> None:
    envelope = version(2, nothing, A, B)
    with pytest.raises(MessageInvalid):
        KEYS.root.next(envelope.model_copy(update={"payload": base64.b64encode(payload).decode()}))


# ---- chains


FIRST = KEYS.envelope
SECOND_VERSION = version(2, rotate(*NEW), A, B, NEW[0], NEW[1])
THIRD_VERSION = version(3, rotate(A, *NEW[:2]), NEW[0], NEW[1])
CHAIN = [FIRST, SECOND_VERSION, THIRD_VERSION]


def test_a_chain_gives_its_last_version() -> None:
    for length in (1, 2, 3):
        root = TrustRoot.chain(CHAIN[:length])
        assert root.root.version == length
        assert root.payload == CHAIN[length - 1].unverified_payload


@pytest.mark.parametrize("pinned", [1, 2, 3])
@pytest.mark.parametrize("begins", [1, 2, 3])
def test_a_chain_from_what_is_pinned(pinned: int, begins: int) -> None:
    """Versions up to the pinned one may be there or not; what comes after it must all be."""
    root = TrustRoot.chain(CHAIN[:pinned])
    if begins > pinned + 1:
        with pytest.raises(Refused) as error:
            TrustRoot.chain(CHAIN[begins - 1 :], root)
        assert error.value.rule == "root-version"
        return
    assert TrustRoot.chain(CHAIN[begins - 1 :], root).root.version == 3


def test_a_chain_that_ends_before_what_is_pinned_leaves_it() -> None:
    """Rollback by an old chain: the pinned root stays."""
    third = TrustRoot.chain(CHAIN)
    assert TrustRoot.chain(CHAIN[:2], third) is third


BROKEN: list[tuple[str, list[Envelope], str]] = [
    ("a version left out", [FIRST, THIRD_VERSION], "root-version"),
    ("backwards", [SECOND_VERSION, FIRST], "root-version"),
    ("a version twice", [FIRST, SECOND_VERSION, SECOND_VERSION], "root-version"),
    ("a second version that only the new ones signed", [FIRST, version(2, rotate(*NEW), *NEW)], "signature"),
    ("a third version signed by the first's members", [*CHAIN[:2], version(3, nothing, A, B, C)], "signature"),
    ("a founding root that nobody signed", [version(1, nothing), SECOND_VERSION], "signature"),
    ("another trust's in between", [FIRST, version(2, lambda d: d.update(trust="x"), A, B, C)], "root-trust"),
]


@pytest.mark.parametrize(("chain", "rule"), [case[1:] for case in BROKEN], ids=[case[0] for case in BROKEN])
def test_a_chain_breaks_at(chain: list[Envelope], rule: str) -> None:
    with pytest.raises(Refused) as error:
        TrustRoot.chain(chain)
    assert error.value.rule == rule


def test_a_forged_history_is_not_what_was_pinned() -> None:
    """A whole chain that is valid in itself, of the same name, with keys of the attacker's own."""
    forged = sign("root", changed(rotate(*NEW)), *NEW)
    assert TrustRoot.chain([forged]).root.version == 1
    with pytest.raises(Refused, match="not the one that was pinned") as error:
        TrustRoot.chain([forged, version(2, rotate(*NEW), *NEW)], KEYS.root)
    assert error.value.rule == "root-pinned"
    with pytest.raises(Refused, match="signed by 0 of 3"):
        TrustRoot.chain([version(2, rotate(*NEW), *NEW)], KEYS.root)


def test_a_second_version_beside_the_pinned_one_is_refused() -> None:
    """Two versions 2, both signed by the old quorum: a node keeps the one that it has."""
    mine = TrustRoot.chain(CHAIN[:2])
    with pytest.raises(Refused) as error:
        TrustRoot.chain([FIRST, version(2, nothing, A, B), THIRD_VERSION], mine)
    assert error.value.rule == "root-pinned"


def test_no_chain_at_all() -> None:
    for pinned in (None, KEYS.root):
        with pytest.raises(MessageInvalid, match="a chain without a trust root"):
            TrustRoot.chain([], pinned)


def test_the_signatures_of_the_pinned_version_are_not_asked_for_again() -> None:
    bare = sign("root", DOCUMENT)
    assert TrustRoot.chain([bare, SECOND_VERSION], KEYS.root).root.version == 2


# ---- the key of a partner's connection


def connection(curve: EllipticCurve, encoding: Encoding = Encoding.DER) -> bytes:
    key = generate_private_key(curve).public_key()
    return key.public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo)


def test_partners_may_have_keys_for_their_connections() -> None:
    pem = connection(SECP256R1(), Encoding.PEM)
    document = changed(lambda d: d["partners"]["a"].update(flower=connection_hex(pem)))
    assert connection_pem(founded(document).root.partners["a"].flower) == pem
    assert founded(document).root.document() == document


def compressed() -> str:
    point = generate_private_key(SECP256R1()).public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    return "3039301306072a8648ce3d020106082a8648ce3d030107032200" + point.hex()


NO_KEYS: list[tuple[str, str]] = [
    ("a key of another curve", connection(SECP384R1()).hex()),
    ("an Ed25519 key", Ed25519PrivateKey.generate().public_key().public_bytes_raw().hex()),
    ("capitals", connection(SECP256R1()).hex().upper()),
    ("a byte more", connection(SECP256R1()).hex() + "00"),
    ("a point that is not on the curve", connection(SECP256R1()).hex()[:-128] + "01" * 64),
    ("the same key in its short spelling", compressed()),
    ("PEM", connection(SECP256R1(), Encoding.PEM).decode()),
    ("a space", " "),
]


@pytest.mark.parametrize("given", [case[1] for case in NO_KEYS], ids=[case[0] for case in NO_KEYS])
def test_a_connection_s_key_is_a_key_of_p256_in_one_spelling(given: str) -> None:
    with pytest.raises(MessageInvalid):
        founded(changed(lambda d: d["partners"]["a"].update(flower=given)))
    with pytest.raises(InvalidInput, match="not a key of P-256"):
        connection_pem(given)


def test_two_partners_do_not_connect_with_one_key() -> None:
    one = connection(SECP256R1()).hex()
    with pytest.raises(MessageInvalid, match="two partners have the same connection's key"):
        founded(changed(lambda d: [d["partners"][name].update(flower=one) for name in "ab"]))


@pytest.mark.parametrize("pem", [b"", b"no pem", connection(SECP384R1(), Encoding.PEM)])
def test_no_other_pem_is_taken_for_one(pem: bytes) -> None:
    with pytest.raises(InvalidInput, match="not a key of P-256"):
        connection_hex(pem)
