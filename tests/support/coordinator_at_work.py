"""A coordinator's folder with people of every role, and requests that they sign."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from fastapi import FastAPI

from coordinator.api import Limits, create_app
from coordinator.docket.docket import Docket
from coordinator.operate.certificates import certify
from coordinator.settings import CoordinatorSettings
from datatrust.in_process.keys import RoleKeys
from tests.support.committee import CHARTER, study
from tests.support.example import DATASET
from trust.documents.filed_study import write_text
from trust.documents.root import Root
from trust.documents.votes import Refusal, Revocation
from trust.signing.envelope import Envelope, Signer, sign
from trust.signing.http_signatures import sign_request
from trust.times import now, write_time

URL = "https://trust.example:8443"
PARTNERS = ("east", "north", "south")
ROLES = (
    "public",
    "researcher",
    "other researcher",
    "member",
    "partner",
    "operator",
    "auditor",
    "revoked",
    "expired",
)
PLENTY = Limits(address_burst=10**6, key_burst=10**6)


@dataclass
class CoordinatorAtWork:
    """The folder, the keys, and an application over them.

    Attributes:
        began: when its people were made; requests are signed at the time that the clock shows.
    """

    folder: Path
    limits: Limits = PLENTY
    url: str = URL
    began: datetime = field(default_factory=lambda: now() - timedelta(hours=1))
    shift: timedelta = timedelta()

    def __post_init__(self) -> None:
        self.keys = RoleKeys.make(PARTNERS, CHARTER, self.began)
        self.other, self.late, self.auditor = Signer(), Signer(), Signer()
        self.versions = [self._version(1, self._people)]
        self.versions.append(self._version(2, self._new_auditor))
        self._count = 0
        self._write()

    def _people(self, root: dict[str, Any]) -> None:
        """Two more researchers, one of whom is accredited no more."""
        for name, signer, until in (
            ("other", self.other, self.began + timedelta(days=300)),
            ("late", self.late, self.began + timedelta(minutes=1)),
        ):
            root["keys"][signer.key_id] = signer.public.hex()
            root["researchers"][name] = {
                "key": signer.key_id,
                "organisation": "elsewhere",
                "accredited_until": write_time(until),
            }

    def _new_auditor(self, root: dict[str, Any]) -> None:
        """Another key in the place of the auditor's, which is revoked by that."""
        root["keys"][self.auditor.key_id] = self.auditor.public.hex()
        root["roles"]["auditor"]["keys"] = [self.auditor.key_id]
        del root["keys"][self.keys.auditor.key_id]

    def _version(self, number: int, change: Callable[[dict[str, Any]], None]) -> Envelope:
        last = self.keys.envelope if number == 1 else self.versions[-1]
        document = copy.deepcopy(Root.read(last.unverified_payload).document())
        document["version"] = number
        change(document)
        return sign("root", document, *self.keys.members)

    def next_root(self, without: str = "") -> Envelope:
        """The version after the newest one; another key in the place of this partner's, or nothing changed."""

        def change(root: dict[str, Any]) -> None:
            if without:
                root["partners"][without]["sign"] = Signer().public.hex()

        self.versions.append(self._version(len(self.versions) + 1, change))
        return self.versions[-1]

    def _write(self) -> None:
        for name in ("charter", "roots", "keys", "results"):
            (self.folder / name).mkdir(mode=0o700, parents=True)
        (self.folder / "dataset.yaml").write_text(DATASET)
        for name, raw in CHARTER.files.items():
            (self.folder / "charter" / name).write_bytes(raw)
        for number, envelope in enumerate(self.versions, 1):
            (self.folder / "roots" / f"{number}.json").write_text(write_text(envelope))
        pem = self.keys.coordinator.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        key = self.folder / "keys" / "coordinator.pem"
        key.touch(mode=0o600)
        key.write_bytes(pem)
        toml = f'api = "127.0.0.1:8443"\nurl = "{self.url}"\nnodes = "trust.example:9443"\n'
        (self.folder / "coordinator.toml").write_text(toml)
        for name in PARTNERS:
            (self.folder / "nodes" / name).mkdir(parents=True)
        certify(self.folder, PARTNERS)

    # ---- the application

    @cached_property
    def settings(self) -> CoordinatorSettings:
        return CoordinatorSettings(self.folder)

    def clock(self) -> datetime:
        return now() + self.shift

    @cached_property
    def app(self) -> FastAPI:
        return create_app(self.settings, limits=self.limits, clock=self.clock)

    @cached_property
    def _loop(self) -> asyncio.Runner:
        return asyncio.Runner()

    def send(
        self, method: str, path: str, content: Any = b"", headers: Any = None, client: str = "192.0.2.1"
    ) -> httpx.Response:
        """In process, as it is; what the application does not map is raised here."""
        return self._loop.run(self._send(method, path, content, headers, client))

    async def _send(self, method: str, path: str, content: Any, headers: Any, client: str) -> httpx.Response:
        transport = httpx.ASGITransport(self.app, client=(client, 50_000))
        async with httpx.AsyncClient(transport=transport, base_url=self.url) as one:
            return await one.request(method, path, content=content, headers=headers)

    @cached_property
    def docket(self) -> Docket:
        """As the worker has it."""
        return self.settings.docket()

    def signer(self, role: str) -> Signer | None:
        return {
            "public": None,
            "researcher": self.keys.researcher,
            "other researcher": self.other,
            "member": self.keys.members[0],
            "partner": self.keys.partners["east"].sign,
            "operator": self.keys.coordinator,
            "auditor": self.auditor,
            "revoked": self.keys.auditor,
            "expired": self.late,
        }[role]

    def ask(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        *,
        by: Signer | str | None = "public",
        at: datetime | None = None,
        **changes: str,
    ) -> httpx.Response:
        """One request of a role or a key; `changes` are header fields that are put over those that were signed."""
        headers = {"Content-Type": "application/json"} if body else {}
        if signer := self.signer(by) if isinstance(by, str) else by:
            headers |= self.signed(method, path, body, by=signer, at=at)
        headers |= {name.replace("_", "-"): value for name, value in changes.items()}
        return self.send(method, path, body, headers)

    def signed(
        self, method: str, path: str, body: bytes = b"", *, by: Signer | None = None, at: datetime | None = None
    ) -> dict[str, str]:
        """The fields of a signed request; of the researcher's, where nobody is named."""
        assert self.app  # it runs by now: what was signed before is refused
        return sign_request(by or self.keys.researcher, method, self.url + path, body, at or self.clock())

    # ---- what is handed in

    def study(
        self, *, researcher: str = "local", signer: Signer | None = None, name: str = "", **changes: Any
    ) -> Envelope:
        """A study that is signed and not yet filed."""
        self._count += 1
        fields = {
            "researcher": researcher,
            "not_before": write_time(now()),
            "expires": write_time(now() + timedelta(days=30)),
        }
        document = study(name or f"age-{self._count:05d}", **(fields | changes)).document()
        return sign("study", document, signer or self.keys.researcher)

    def filed(self, state: str = "filed") -> str:
        """A new study of the researcher's on the docket, in that state; its id."""
        envelope = self.study()
        name = str(json.loads(envelope.unverified_payload)["id"])
        self.docket.file(envelope)
        if state != "filed":
            for member in self.keys.members:
                self.docket.sign(name, self.docket.find(name).mandate.with_signature(member))
                if self.docket.find(name).state == "mandated":
                    break
        if state in ("running", "released"):
            self.docket.move(name, "running")
        if state == "released":
            self.docket.released(name, {})
            self.settings.keep_result(name, b'{"signed":"file"}')
        return name

    def signature(self, name: str, member: Signer | None = None) -> Envelope:
        """The mandate of a filed study with one member's signature."""
        mandate = self.docket.find(name).mandate.model_copy(update={"signatures": ()})
        return mandate.with_signature(member or self.keys.members[0])

    def vote(self, name: str, member: Signer | None = None) -> Envelope:
        who = member or self.keys.members[0]
        digest = self.docket.find(name).mandate_digest
        made = Refusal(mandate=digest, member=who.key_id, reasons=("no benefit",), at=write_time(now()))
        return sign("vote", made.document(), who)

    def revocation(self, name: str, member: Signer | None = None) -> Envelope:
        who = member or self.keys.members[0]
        digest = self.docket.find(name).mandate_digest
        made = Revocation(mandate=digest, member=who.key_id, reason="a mistake", at=write_time(now()))
        return sign("revocation", made.document(), who)

    def close(self) -> None:
        if "app" in self.__dict__:
            self.app.state.context.dockets.close()
        if "docket" in self.__dict__:
            self.docket.close()
        if "_loop" in self.__dict__:
            self._loop.close()
        for name in ("app", "docket", "_loop", "settings"):
            self.__dict__.pop(name, None)


def raw(envelope: Envelope) -> bytes:
    """As a body."""
    return write_text(envelope).encode()


@contextmanager
def opened(folder: Path, **options: Any) -> Iterator[CoordinatorAtWork]:
    world = CoordinatorAtWork(folder, **options)
    try:
        yield world
    finally:
        world.close()


def problem(answer: httpx.Response, status: int, rule: str = "") -> dict[str, Any]:
    """The problem that an answer must be."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert document["status"] == status
    assert {"type", "title", "detail"} <= set(document)
    if rule:
        assert document["rule"] == rule, document
    return document
