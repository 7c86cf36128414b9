"""A trust that `dt.local(state=…)` has kept, and what a dishonest coordinator could write into its register."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import datatrust as dt
from coordinator.docket.database import open_database
from coordinator.docket.register import Register
from datatrust.in_process.folder import TrustFolder
from datatrust.in_process.keys import RoleKeys
from tests.conftest import DATA
from tests.support.log_tampering import AT
from trust.canonical import parse
from trust.errors import Refused
from trust.logs.checkpoint import Checkpoint, journal_origin, register_origin, sign_checkpoint
from trust.secure_sum.messages import Context, Record
from trust.signing.envelope import Envelope, Signer, sha256, sign

Run = Callable[..., tuple[int, str, str]]
PARTNERS = ("north", "south", "west")
STRANGER = Signer()
CELLS = 80


def people(seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "age": rng.integers(40, 70, CELLS),
            "sex": rng.choice(["F", "M"], CELLS),
            "cp": rng.integers(1, 5, CELLS),
            "trestbps": 120,
            "chol": 200.0,
            "thalach": 150,
            "exang": rng.integers(0, 2, CELLS),
            "oldpeak": 0.5,
            "num": rng.integers(0, 3, CELLS),
        }
    )


def trust_in(folder: Path) -> Any:
    sources = {name: people(seed) for seed, name in enumerate(PARTNERS)}
    return dt.local(sources=sources, dataset=DATA / "heart.yaml", charter="research", state=folder)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kept trust with a study that was released, one that the nodes refused, and heads of all journals."""
    folder = tmp_path_factory.mktemp("trust") / "state"
    trust = trust_in(folder)
    table = {"table": dt.Describe(["age"], by=["sex"])}
    trust.study("Age and sex", purpose="AcademicResearch", analyses=table).run()
    with pytest.raises(Refused):
        trust.study("The few", purpose="AcademicResearch", cohort="age >= 69 and cp = 1", analyses=table).run()
    for store in (trust.docket, *trust._stores.values()):
        store.close()  # a trust that has refused lives on in its error's frames, with write-ahead logs beside its files
    return folder


@pytest.fixture
def state(made: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(made, tmp_path / "state"))


def register_file(state: Path) -> Path:
    return state / "coordinator" / "state.sqlite"


def journal_file(state: Path, partner: str = "north") -> Path:
    return state / "nodes" / partner / "state.sqlite"


def keys_of(state: Path) -> RoleKeys:
    """Those of all roles, as `dt.local` keeps them."""
    return RoleKeys.load(state, PARTNERS, TrustFolder(state).roots[0], 2, None)


def entries(state: Path, kind: str = "") -> list[dict[str, Any]]:
    with closing(sqlite3.connect(register_file(state))) as db:
        found = [json.loads(body) for (body,) in db.execute("SELECT body FROM log ORDER BY seq")]
    return [entry for entry in found if not kind or entry["kind"] == kind]


def write(state: Path, *written: tuple[str, str, dict[str, Any]], signer: Signer | None = None) -> None:
    """What a dishonest coordinator could add, signed with its own key."""
    with closing(open_database(register_file(state).parent, durable=False)) as db:
        register = Register(db, register_origin("local"), signer or keys_of(state).coordinator)
        for kind, study, body in written:
            register.append(kind, study, AT, body)
        register.checkpoint()


@contextmanager
def unchanged(folder: Path) -> Iterator[None]:
    """Nothing in a folder is written, made or deleted."""

    def seen() -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}

    before = seen()
    yield
    assert seen() == before


def envelope(state: Path, kind: str) -> dict[str, Any]:
    """The envelope of the first entry of a kind."""
    found: dict[str, Any] = entries(state, kind)[0]["body"]["envelope"]
    return found


def document(state: Path, kind: str, **changes: Any) -> dict[str, Any]:
    signed = parse(Envelope.read(envelope(state, kind)).unverified_payload)
    return {**signed, **changes}


def studied(state: Path) -> str:
    return str(entries(state, "release")[0]["study"])


def mandated(state: Path) -> str:
    return str(entries(state, "release")[0]["body"]["mandate"])


def revocation(state: Path, signer: Signer, member: Signer | None = None) -> dict[str, Any]:
    of = {"mandate": mandated(state), "member": (member or signer).key_id, "reason": "no longer", "at": AT}
    return {"envelope": sign("revocation", {"schema": "datatrust/revocation/1", **of}, signer).document()}


def vote(state: Path, signer: Signer) -> dict[str, Any]:
    of = {"mandate": mandated(state), "member": signer.key_id, "decision": "refuse", "reasons": ["too wide"], "at": AT}
    return {"envelope": sign("vote", {"schema": "datatrust/vote/1", **of}, signer).document()}


def record(state: Path, signer: Signer) -> dict[str, Any]:
    made = Record(Context(bytes(32), 9, bytes(32), PARTNERS), (bytes(32),) * 3, (bytes(64),) * 3, bytes(32))
    return {"record": made.signed(signer.private).document()}


def head_size(state: Path, partner: str = "north") -> int:
    """Of the last head of a journal in the register."""
    notes = [entry["body"]["note"] for entry in entries(state, "journal-head") if entry["body"]["partner"] == partner]
    return int(notes[-1].splitlines()[1])


def head(state: Path, size: int, signer: Signer | None = None, root: bytes = bytes(32)) -> dict[str, Any]:
    key = signer or keys_of(state).partners["north"].sign
    note = sign_checkpoint(Checkpoint(journal_origin("local", "north"), size, root), key)
    return {"partner": "north", "note": note}


def refusal(**more: Any) -> dict[str, Any]:
    return {"rule": "persons", "text": "fewer than 11", "remedy": "", "partner": "", **more}


def mandate(state: Path, members: int, **changes: Any) -> dict[str, Any]:
    signed = sign("mandate", document(state, "mandate", **changes), *keys_of(state).members[:members])
    return {"envelope": signed.document(), "digest": sha256(signed.unverified_payload)}
