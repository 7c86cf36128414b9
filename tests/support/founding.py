"""A trust to be founded: a file, everybody's keys, and what tests do to a root on the disk."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from trust.canonical import canonical
from trust.documents.root import Root
from trust.signing.envelope import Signer, sign
from trust.signing.json_text import read_envelopes
from trust.signing.key_files import read_public

NOW = datetime.now(UTC).replace(microsecond=0)
NEXT_YEAR = (NOW + timedelta(days=300)).date().isoformat()
SIGNERS = [*(f"member-{n}" for n in range(1, 6)), "coordinator", "auditor", "lab-1", "lab-2"]
PARTNERS = ["north", "south", "east", "west"]
FOUNDING = f"""
trust = "heart"
charter = "research"
members = ["member-1.pub", "member-2.pub", "member-3.pub"]
coordinator = "coordinator.pub"
auditor = "auditor.pub"
roles.lay = ["member-3.pub"]
partners.north = {{sign = "north-sign.pub", seal = "north-seal.pub"}}
partners.south = {{sign = "south-sign.pub", seal = "south-seal.pub"}}
partners.east = {{sign = "east-sign.pub", seal = "east-seal.pub"}}

[researchers.lab-1]
key = "lab-1.pub"
organisation = "Institute"
accredited_until = {NEXT_YEAR}
"""


def ident(name: str, here: Path) -> str:
    return read_public(here / f"{name}.pub").id


def opened(path: Path) -> Root:
    return Root.read(read_envelopes(path.read_bytes())[0].unverified_payload)


def change(path: Path, edit: Callable[[dict[str, Any]], object], *signers: Signer) -> None:
    """Another payload under the same name, signed anew."""
    document = opened(path).document()
    edit(document)
    path.write_bytes(canonical(sign("root", document, *signers).document()))
