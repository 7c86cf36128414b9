"""Who asks: the key that has signed the request, and what the trust root in force says of it.

1 signature   the request is signed, lately, for this coordinator, with a key that some version of the root has named
2 bursts      the key does not ask too often
3 replay      its nonce is taken once; what was signed before this process started is refused, since it knows no nonces
4 roles       what the key is in the root in force; one that only an earlier root has named is revoked
5 allowed     one of the roles that the address is for
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, TypeAlias

from starlette.requests import Request

from coordinator.api.limits import Limits, TokenBuckets, too_many
from coordinator.api.problems import Http
from trust.documents.filed_study import TrustDocuments
from trust.documents.root import Root
from trust.errors import Refused
from trust.signing.envelope import Envelope, key_id
from trust.signing.http_signatures import CLOCK_TOLERANCE_SECONDS, Signed, normal, verify_request
from trust.times import read_time

__all__ = ["EVERYBODY", "Directory", "Door", "Nonces", "Requester", "Role", "require_json", "require_role"]

Role: TypeAlias = Literal["researcher", "member", "partner", "operator", "auditor"]
EVERYBODY: Final[tuple[Role, ...]] = ("researcher", "member", "partner", "operator", "auditor")

_MOST_NONCES = 200_000


@dataclass(frozen=True)
class Requester:
    """Who asks.

    Attributes:
        keyid: of the key.
        roles: what it is in the root in force.
        researchers, partners: the names that it has there.
    """

    keyid: str
    roles: frozenset[Role]
    researchers: frozenset[str] = frozenset()
    partners: frozenset[str] = frozenset()

    @property
    def sees_all(self) -> bool:
        """Whether every study may be read, not only one's own."""
        return bool(self.roles - {"researcher"})


class Directory:
    """The keys of every version of a trust's root."""

    def __init__(self, roots: tuple[Envelope, ...]) -> None:
        versions = [Root.read(envelope.unverified_payload) for envelope in roots]
        self.keys: dict[str, bytes] = {}
        for root in versions:
            self.keys |= {keyid: bytes.fromhex(key) for keyid, key in root.keys.items()}
            self.keys |= {key_id(key): key for key in root.verify_keys().values()}
        self._root = versions[-1]

    def asker(self, keyid: str, now: datetime) -> Requester:
        """What a key is today.  Raises: Refused (`request-role`) for one that is nothing any more."""
        root = self._root
        researchers = {name: person for name, person in root.researchers.items() if person.key == keyid}
        accredited = frozenset(
            name for name, researcher in researchers.items() if now < read_time(researcher.accredited_until)
        )
        partners = frozenset(name for name, key in root.verify_keys().items() if key_id(key) == keyid)
        roles_held: dict[Role, bool] = {
            "researcher": bool(accredited),
            "member": keyid in root.roles["committee"].keys,
            "partner": bool(partners),
            "operator": keyid in root.roles["coordinator"].keys,
            "auditor": keyid in root.roles["auditor"].keys,
        }
        roles = frozenset(role for role, holds in roles_held.items() if holds)
        if not roles and researchers:
            raise Refused(
                "request-role", "the researcher's accreditation is over", remedy="have the accreditation renewed"
            )
        if not roles:
            text = "the key has no role in the trust root in force"
            raise Refused("request-role", text, remedy="sign with the key that the newest trust root names")
        return Requester(keyid, roles, accredited, partners)


class Nonces:
    """Nonces already used, each until its request would be refused as too old.  Of one process."""

    def __init__(self, most: int = _MOST_NONCES) -> None:
        self._expiries: dict[tuple[str, str], int] = {}
        self._most, self._lock, self._next = most, threading.Lock(), 0.0

    def take(self, request: Signed, now: datetime) -> None:
        """Remember the request.

        Raises: Refused (`request-replayed`); Http (`too-many`) where no more can be remembered.
        """
        name, seconds = (request.keyid, request.nonce), now.timestamp()
        with self._lock:
            if name in self._expiries:
                raise Refused("request-replayed", "the request was received before", remedy="sign it again")
            if seconds >= self._next or len(self._expiries) >= self._most:
                self._expiries = {key: expires for key, expires in self._expiries.items() if expires >= seconds}
                self._next = seconds + CLOCK_TOLERANCE_SECONDS
            if len(self._expiries) >= self._most:
                raise too_many(CLOCK_TOLERANCE_SECONDS)
            self._expiries[name] = request.until


class Door:
    """The five steps, with what they remember.  `authority` is the coordinator's own, such as `trust.example:8443`."""

    def __init__(self, authority: str, limits: Limits, started_at: datetime) -> None:
        self._authority, self._started_at = authority, int(started_at.timestamp())
        self._buckets = TokenBuckets(limits.key_burst, limits.key_per_second)
        self._nonces = Nonces()
        self._directories: dict[bytes, Directory] = {}

    def let_in(self, request: Request, body: bytes, trust: TrustDocuments, now: datetime) -> Requester:
        """Raises: Refused (`request-signature`, `request-expired`, `request-replayed`, `request-key`,
        `request-role`), Http (`too-many`).
        """
        directory = self._directories.get(trust.root.digest)
        if directory is None:
            directory = Directory(trust.roots)
            self._directories = {trust.root.digest: directory}
        signed_request = self._verify(directory.keys, request, body, now)
        if seconds := self._buckets.take(signed_request.keyid):
            raise too_many(seconds)
        self._nonces.take(signed_request, now)
        return directory.asker(signed_request.keyid, now)

    def _verify(self, keys: Mapping[str, bytes], request: Request, body: bytes, now: datetime) -> Signed:
        scope = request.scope
        lines = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
        hosts = [value for name, value in lines if name == "host"]
        if len(hosts) != 1 or normal(hosts[0]) != self._authority:
            text = "the request was signed for another address than this coordinator's"
            raise Refused("request-signature", text, remedy=f"ask https://{self._authority}")
        path = (scope.get("raw_path") or b"").partition(b"?")[0].decode("latin-1")
        query = scope["query_string"].decode("latin-1")
        signed_request = verify_request(keys, scope["method"], hosts[0], path, query, lines, body, now)
        if signed_request.created < self._started_at:
            text = "the request was signed before the coordinator started"
            raise Refused("request-expired", text, remedy="sign it again; check the clock")
        return signed_request


def require_role(asker: Requester, *roles_allowed: Role) -> Requester:
    """Raises: Refused (`request-role`) where the asker is none of these."""
    if not asker.roles & set(roles_allowed):
        text = f"this is for {', '.join(roles_allowed)}; the key is {', '.join(sorted(asker.roles))}"
        raise Refused("request-role", text, remedy="sign with a key of such a role")
    return asker


def require_json(request: Request) -> None:
    """Raises: Http (`media-type`) for a body that says that it is something else than JSON."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/json":
        raise Http("media-type", "the body is not said to be JSON", expected="Content-Type: application/json")
