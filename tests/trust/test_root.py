"""The trust root: a closed document whose keys, roles and dates fit together, founded by its own quorum."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from datatrust.keys import Keys
from trust.canonical import canonical
from trust.charter import Charter
from trust.errors import MessageInvalid, Refused
from trust.root import Root, TrustRoot
from trust.signing import Signer, sign
from trust.times import read_time

KEYS = Keys(["a", "b", "c"], Charter.load("research"), read_time("2026-11-24T00:00:00Z"))
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


def misname(document: dict[str, Any]) -> None:
    """A stranger's key under a member's id."""
    document["keys"][KEYS.members[0].key_id] = Signer().public.hex()


INCONSISTENT: list[tuple[str, Change, str]] = [
    ("an unknown field", lambda d: d.update(note="x"), "unknown field 'note'"),
    ("an unknown field of a role", lambda d: d["roles"]["root"].update(note="x"), "unknown field"),
    ("an unknown field of a partner", lambda d: d["partners"]["a"].update(note="x"), "unknown field"),
    ("another schema", lambda d: d.update(schema="datatrust/root/2"), "schema"),
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
        KEYS.root.in_force(now)
        return
    with pytest.raises(Refused) as error:
        KEYS.root.in_force(now)
    assert error.value.rule == "root-expired"


def test_a_root_cannot_be_changed_after_it_was_read() -> None:
    with pytest.raises(ValueError, match="frozen"):
        KEYS.root.root.version = 2
    assert Root.model_validate(DOCUMENT) == KEYS.root.root
