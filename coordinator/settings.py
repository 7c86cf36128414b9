"""A coordinator from its folder: what is public, and what is its own.

DIR/dataset.yaml, charter/, roots/     shared, public
DIR/coordinator.toml                   where it listens, how it is reached, its database; absent in a demo's folder
DIR/keys/coordinator.pem               signs messages, the register and results
DIR/keys/authority.pem                 renews the server's certificate; absent in a demo's folder
DIR/coordinator/                       state.sqlite: docket and register, where they are not in another database
DIR/coordinator/engine/                ca.pem, the secrets `control` and `executor`; server.pem and server.key, the
                                       certificate of the SuperLink and the interface; nodes/NAME.pem: public keys by
                                       which nodes are let in whose key is not in the trust root
DIR/results/                           the signed file of each released study
DIR/invitation.json                    how others find the trust
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

from cryptography import x509
from pydantic import AfterValidator, Field, StrictInt

from coordinator.docket.docket import Docket
from trust.canonical import Model, read_model
from trust.charters.charter import Charter
from trust.dataset.dataset import Dataset
from trust.documents.filed_study import TrustDocuments
from trust.documents.invitation import Invitation
from trust.errors import Fault, InvalidInput
from trust.files import check_closed_to_others, parse_toml, read_file, read_secret, write_new
from trust.signing.connection_key import connection_pem
from trust.signing.envelope import Envelope, Signer
from trust.signing.read import read_roots, read_signing
from trust.times import now

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

    from coordinator.flower.grid import Secrets

__all__ = ["CoordinatorSettings", "File", "Listen", "is_wildcard"]

_POSTGRESQL = ("postgresql", "postgresql+psycopg")
_WILDCARDS = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104 - what is looked for, not where we listen
_LOOPBACK = ("127.0.0.1", "[::1]", "localhost")


def _listen(text: str) -> str:
    match = re.fullmatch(r"([A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]):([1-9][0-9]{0,4})", text)
    if not match or int(match[2]) > 65535:
        raise ValueError("no place to listen of the form address:port, such as 0.0.0.0:8443")
    return text


def _superlink(text: str) -> str:
    if _listen(text).rpartition(":")[0] not in (*_WILDCARDS, *_LOOPBACK):
        raise ValueError("0.0.0.0, [::], 127.0.0.1 or [::1] is needed: the worker reaches it from this machine only")
    return text


Listen: TypeAlias = Annotated[str, AfterValidator(_listen)]


class File(Model):
    """coordinator.toml.  What it does not say is as here.

    Attributes:
        api, superlink: where the interface and the SuperLink listen, `address:port`.
        url, nodes: how others reach them, `https://host:port` and `host:port`.
        database: empty for a file of SQLite in the folder; `postgresql://…`; `env:NAME` or `file:PATH`, which say it.
        patience: seconds for which a partner may be away in the middle of a study.
        studies: at once, at most.
    """

    api: Listen = "0.0.0.0:8443"
    superlink: Annotated[str, AfterValidator(_superlink)] = "0.0.0.0:9443"
    url: str = ""
    nodes: str = ""
    database: str = Field(default="", repr=False)
    patience: StrictInt = Field(default=600, ge=1, le=86_400)
    studies: StrictInt = Field(default=4, ge=1, le=16)


def is_wildcard(listen: str) -> bool:
    """Whether it listens at every address of the machine."""
    return listen.rpartition(":")[0] in _WILDCARDS


def _from_here(listen: str) -> str:
    """How this machine itself reaches what listens there."""
    host, _, port = listen.rpartition(":")
    return f"{_WILDCARDS.get(host, host)}:{port}"


@dataclass(frozen=True)
class CoordinatorSettings:
    """Where the coordinator has its files.  Raises, in whatever is read: InvalidInput."""

    folder: Path

    # ---- what is public

    @cached_property
    def trust(self) -> TrustDocuments:
        """Every signed version of the root, the dataset, the charter."""
        dataset, charter = Dataset.load(self.folder / "dataset.yaml"), Charter.load(self.folder / "charter")
        return TrustDocuments(read_roots(self.folder / "roots"), dataset, charter)

    def invitation(self, roots: Sequence[Envelope] = ()) -> Invitation:
        """How others find the trust, with these versions of its root; without any, those in the folder."""
        root = self.trust.root.root
        if not self.url or not self.address:
            raise InvalidInput(f"{self.file} does not say how the trust is reached", expected="url and nodes in it")
        document = {
            "schema": "datatrust/invitation/1",
            "trust": root.trust,
            "url": self.url,
            "nodes": self.address,
            "authority": read_file(self.engine / "ca.pem").decode("ascii", "replace"),
            "roots": [envelope.document() for envelope in roots or self.trust.roots],
        }
        return read_model(Invitation, document, InvalidInput, str(self.file))

    # ---- coordinator.toml

    @property
    def file(self) -> Path:
        """coordinator.toml."""
        return self.folder / "coordinator.toml"

    @cached_property
    def said(self) -> File:
        """What it says; the defaults in a folder that has none."""
        if not self.file.exists():
            return File()
        name = repr(str(self.file))
        return read_model(File, parse_toml(read_file(self.file), name), InvalidInput, name)

    @property
    def api(self) -> str:
        """Where the interface listens, `address:port`."""
        return self.said.api

    @property
    def superlink(self) -> str:
        """Where the SuperLink listens, `address:port`."""
        return self.said.superlink

    @property
    def api_here(self) -> str:
        """How this machine reaches the interface, `address:port`."""
        return _from_here(self.api)

    @property
    def superlink_here(self) -> str:
        """How this machine reaches the SuperLink, `address:port`."""
        return _from_here(self.superlink)

    @property
    def url(self) -> str:
        """How others reach the interface, `https://host:port`; empty in a demo's folder."""
        return self.said.url

    @property
    def address(self) -> str:
        """How nodes reach the SuperLink, `host:port`; empty in a demo's folder."""
        return self.said.nodes

    # ---- the database

    @property
    def place(self) -> Path | str:
        """Where docket and register are: a folder for SQLite, or the URL of a PostgreSQL database, which is a secret.

        Raises: InvalidInput, which never says the URL.
        """
        url = self._url()
        return self.folder / "coordinator" if url is None else url.render_as_string(hide_password=False)

    @property
    def database(self) -> str:
        """Of which kind it is and where, without user and password."""
        url = self._url()
        if url is None:
            return "SQLite"
        return f"PostgreSQL, {url.database or ''} at {url.host or 'this machine'}:{url.port or 5432}"

    def _url(self) -> URL | None:
        database_url = self.said.database
        if not database_url:
            return None
        kind, _, rest = database_url.partition(":")
        if kind == "env":
            text = os.environ.get(rest, "")
            place = f"the environment's variable {rest!r}"
        elif kind == "file":
            text = read_secret(self.folder / rest).decode("utf-8", "replace").strip()
            place = f"the file {rest!r}"
        else:
            check_closed_to_others(self.file, self.file.stat().st_mode)  # a password may stand in it
            text, place = database_url, f"database in {str(self.file)!r}"
        from sqlalchemy.engine import make_url  # here, since only this needs it of what many commands load
        from sqlalchemy.exc import ArgumentError

        try:
            url = make_url(text)
        except (ArgumentError, ValueError):
            url = None
        if url is None or url.drivername not in _POSTGRESQL:
            raise InvalidInput(
                f"{place} is not an address of a database",
                expected="postgresql://user:password@host/name; for SQLite, database is empty",
            )
        return url

    # ---- what is its own

    @cached_property
    def identity(self) -> Signer:
        """The coordinator's key."""
        return Signer(read_signing(self.folder / "keys" / "coordinator.pem"))

    @property
    def engine(self) -> Path:
        """What belongs to the SuperLink."""
        return self.folder / "coordinator" / "engine"

    @property
    def certificate(self) -> x509.Certificate:
        """The server's, of the SuperLink and the interface."""
        file = self.engine / "server.pem"
        try:
            return x509.load_pem_x509_certificate(read_file(file))
        except ValueError:
            raise InvalidInput(f"{str(file)!r} is not a certificate in PEM", remedy=self.renew) from None

    @property
    def renew(self) -> str:
        """How its certificate is renewed, in words."""
        return f"datatrust coordinator certify --home {self.folder}"

    def days_left(self, moment: datetime) -> int:
        """Whole days that the server's certificate has left.  Raises: InvalidInput once it has expired."""
        ends = self.certificate.not_valid_after_utc
        if moment >= ends:
            raise InvalidInput(f"the server's certificate has expired ({ends:%Y-%m-%d})", remedy=self.renew)
        return (ends - moment).days

    def secrets(self) -> Secrets:
        """What the SuperLink knows the coordinator by."""
        from coordinator.flower.grid import Secrets  # here, since loading Flower takes a second

        return Secrets(
            read_file(self.engine / "ca.pem"),
            read_secret(self.engine / "control"),
            read_secret(self.engine / "executor"),
        )

    def nodes(self, trust: TrustDocuments | None = None) -> dict[str, bytes]:
        """Partner of the root -> the public key of its node's connection, in PEM.

        Args:
            trust: as a docket has it, with roots that were accepted since; the files' if not said.

        From the trust root; where that has none, from `engine/nodes`.  A partner without either cannot be let in: in a
        demo's folder that is an error, and elsewhere the others go on without it.
        """
        nodes_by_name = {}
        for name, partner in (trust or self.trust).root.root.partners.items():
            file = self.engine / "nodes" / f"{name}.pem"
            if partner.flower:
                nodes_by_name[name] = connection_pem(partner.flower)
            elif file.exists() or not self.file.exists():
                nodes_by_name[name] = read_file(file)
        return nodes_by_name

    def docket(self) -> Docket:
        """The docket and the register; one object a thread."""
        return Docket(self.place, self.trust, self.identity, now)

    def result(self, study: str) -> Path:
        """The signed file of a released study."""
        return self.folder / "results" / f"{study}.json"

    def keep_result(self, study: str, raw: bytes) -> None:
        """Write that file, whole or not at all; once more with the same bytes changes nothing.  Raises: Fault."""
        path = self.result(study)
        try:
            if path.exists() and path.read_bytes() == raw:
                return
            write_new(path, raw, 0o600)
        except OSError as wrong:
            raise Fault(
                f"the result cannot be written to {str(path)!r} ({wrong.strerror})", remedy="correct disk or rights"
            ) from None
