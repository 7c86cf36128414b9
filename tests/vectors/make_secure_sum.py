"""Makes the secure sum's test vectors: `python -m tests.vectors.make_secure_sum`.  docs/protocol.md, 10.

Three files: the protocol's bytes, the encodings, and inputs that must be refused, each with its code.  All inputs are
fixed.  A second reader, `tests/trust/secure_sum/test_vectors_by_hand.py`, computes them again without our code.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tests.support.secure_sum import COORDINATOR, MANDATE, NOW, ROOT, Block, Federation, federation, identity, vector
from trust.secure_sum.encoding import Layout, counts, encode_sum, layout_of, model_steps, quantised
from trust.secure_sum.errors import SecureSumError
from trust.secure_sum.fixedpoint import STATISTICS, TINY, FixedPoint, decode_reals, encode_reals, fill
from trust.secure_sum.frames import mask_seed, ratchet, state_bytes
from trust.secure_sum.masks import keystream
from trust.secure_sum.messages import Approval, Record, Upload
from trust.secure_sum.parameters import Parameters
from trust.secure_sum.question import AnalysisAsk, Question

FOLDER = Path(__file__).parent
NAMES = ("a", "b", "c")
NUMBERS = {"a": [1, 2, 3], "b": [10, 20, -30], "c": [100, 2**40, 7]}
REALS = {"a": [1.5, -1e-9], "b": [-1e18, 2.0**-104], "c": [0.1, 3 * 2.0**-105]}
SALT = bytes([0x31]) * 32
FILL_KEY = bytes([0x41]) * 32


def asked(layout: Layout) -> Question:
    """The question of the protocol page: plan and state are plain bytes."""
    part = AnalysisAsk("vector", "sum", b"plan bytes")
    return Question(1, b"plan bytes", b"state bytes", (part,), layout)


def made(folder: str, **options: Any) -> Federation:
    return federation(Path(folder), NAMES, fixed=True, **options)


def closed(world: Federation) -> None:
    for store in world.stores.values():
        store.close()


def protocol() -> dict[str, Any]:
    """Section 10 in full: keys, digests, masks, uploads, totals, a record."""
    with tempfile.TemporaryDirectory() as folder:
        world = made(f"{folder}/u64")
        state = world.stores["a"].study("study-1")
        assert state is not None
        first = state.keys["b"]
        small = sums(world, asked(Layout("u64", 3)), {n: vector(NUMBERS[n], Layout("u64", 3)) for n in NAMES})
        ctx = world.context(asked(Layout("u64", 3)))
        seed = mask_seed(ratchet(first), ctx.digest)
        wide_world = made(f"{folder}/wide")
        blocks = [Block("x", (2,))]
        wide = sums(
            wide_world,
            asked(layout_of(blocks)),
            {n: encode_sum(blocks, {"x": np.array(REALS[n])}, n=3, random=None) for n in NAMES},
        )
        closed(world)
        closed(wide_world)
    return {
        "inputs": {
            "names": list(NAMES),
            "ephemeral": [f"{i:02x}" * 32 for i in (1, 2, 3)],
            "identity": [f"{i:02x}" * 32 for i in (0x11, 0x12, 0x13)],
            "coordinator": "f1" * 32,
            "mandate": "mandate",
            "root": "root",
            "plan": "plan bytes",
            "state": "state bytes",
            "r": 1,
            "salt": SALT.hex(),
            "u64": NUMBERS,
            "wide": {name: [repr(x) for x in xs] for name, xs in REALS.items()},
            "limbs": 4,
            "fraction": 104,
        },
        "M": MANDATE.hex(),
        "root": ROOT.hex(),
        "approvals": [{"name": a.name, "key": a.key.hex(), "sig": a.sig.hex()} for a in world.approvals],
        "T": ctx.transcript.hex(),
        "K_ab[0]": first.hex(),
        "K_ab[1]": ratchet(first).hex(),
        "plan_digest": ctx.plan_digest.hex(),
        "ctx": ctx.digest.hex(),
        "s_ab": seed.hex(),
        "PRG(s_ab)": keystream(seed, 8).tobytes().hex(),
        "values": state_bytes({"beta": np.array([[0.5, -0.0]]), "cut": np.array(7)}).hex(),
        "u64": small,
        "wide": wide,
    }


def sums(world: Federation, question: Question, vectors: dict[str, Any]) -> dict[str, Any]:
    """Uploads, total and record of one sum."""
    opening = world.opening(question)
    uploads = {name: world.contribute(name, question, compute=lambda name=name: vectors[name]) for name in NAMES}
    for upload in uploads.values():
        opening.add(upload)
    total = opening.total()
    wide = question.layout.word == "wide"
    shown = decode_reals(total[:, :-1]).tolist() if wide else total.view(np.int64)[0, :-1].tolist()
    return {
        "y": {name: bytes(upload.body).hex() for name, upload in uploads.items()},
        "sha256": {name: hashlib.sha256(upload.body).hexdigest() for name, upload in uploads.items()},
        "header": {name: upload.header() for name, upload in uploads.items()},
        "total": [repr(x) for x in shown] if wide else shown,
        "total_words": total.tobytes().hex(),
        "check": int(total[0, -1]),
        "record": opening.record(COORDINATOR, salt=SALT)[0].document(),
    }


def encoding() -> dict[str, Any]:
    """Encodings of fixed numbers: reals to limbs, limbs to reals, fill for a fixed key, counts and models."""
    return {
        "reals": [reals(STATISTICS), reals(TINY)],
        "decode": [decoded(STATISTICS), decoded(TINY), decoded(FixedPoint(2, 0))],
        "fill": filled(),
        "counts": {
            "n": 3,
            "x": [0, 7, -7, 2**40],
            "words": encode_sum([Block("n", (4,), "count")], {"n": np.array([0, 7, -7, 2**40])}, n=3).tobytes().hex(),
        },
        "models": [model(np.float64, 3, 1.0), model(np.float32, 1000, 0.1)],
    }


def reals(fixed: FixedPoint) -> dict[str, Any]:
    top = float(np.nextafter(fixed.limit, 0))
    x = [0.0, -0.0, 1.5, -1e-9, 0.1, -1e18, 2.0**-104, 3 * 2.0**-105, -5 * 2.0**-183, 5e-324, top, -top, 1 / 3]
    out = np.empty((fixed.limbs, len(x)), np.uint64)
    encode_reals(np.array(x), out, fixed, name="x", key=None)
    limbs, fraction = fixed.limbs, fixed.fraction
    return {"limbs": limbs, "fraction": fraction, "x": [repr(v) for v in x], "words": out.tobytes().hex()}


def decoded(fixed: FixedPoint) -> dict[str, Any]:
    half, small = 1 << (fixed.bits - 1), 1 << 53
    numbers = [0, 1, -1, half - 1, -half, small + 1, small + 2, small + 3, -(small + 1), (small + 1 << 45) + 1, 3 << 90]
    rows = [[(v % (2 * half)) >> 52 * i & (1 << 52) - 1 for v in numbers] for i in range(fixed.limbs)]
    return {
        "limbs": fixed.limbs,
        "fraction": fixed.fraction,
        "totals": [str(v) for v in numbers],
        "x": [repr(v) for v in decode_reals(np.array(rows, np.uint64), fixed).tolist()],
    }


def filled() -> dict[str, Any]:
    x = [1.0, -0.1, 0.0, 1e18, -(2.0**92), 2.0**-51, 2.0**-52, 123456.789]
    out = np.empty((4, len(x)), np.uint64)
    encode_reals(np.array(x), out, name="x", key=FILL_KEY)
    rows = fill(np.array(x), FILL_KEY)
    numbers = [sum(int(row[j]) << 52 * i for i, row in enumerate(rows)) for j in range(len(x))]
    return {
        "key": FILL_KEY.hex(),
        "limbs": 4,
        "fraction": 104,
        "x": [repr(v) for v in x],
        "integers": [str(v) for v in numbers],
        "words": out.tobytes().hex(),
    }


def model(dtype: Any, n: int, clip: float) -> dict[str, Any]:
    x = np.array([0.0, clip, -clip, clip / 3, 2 * clip, -clip / 7], dtype)
    block = [Block("w", (len(x),), "model")]
    q, clipped = quantised(x, clip=clip, steps=model_steps(n), name="w")
    return {
        "n": n,
        "clip": repr(clip),
        "K": model_steps(n),
        "x": [repr(float(v)) for v in x],
        "q": q.tolist(),
        "clipped": clipped,
        "words": encode_sum(block, {"w": x}, n=n, clip=clip).tobytes().hex(),
    }


def errors() -> dict[str, Any]:
    """Inputs and what they must be refused with; code null where they must be taken."""
    with tempfile.TemporaryDirectory() as folder:
        return {
            "parameters": [
                {"n": n, "m": m, "c": c, "code": code(lambda n=n, m=m, c=c: sizes(n, m, c))}
                for n in range(2, 8)
                for c in range(4)
                for m in range(1, n + 1)
            ],
            "approvals": approvals(folder),
            "sums": steps(folder),
            "values": values(),
            "uploads": uploads(folder),
            "records": records(folder),
        }


def code(call: Callable[[], object]) -> str | None:
    try:
        call()
    except SecureSumError as refused:
        return refused.code
    return None


def sizes(n: int, m: int, c: int) -> Parameters:
    keys = {f"p{i}": identity(i).public_key() for i in range(n)}
    return Parameters(study="s", mandate=MANDATE, root=ROOT, partners=keys, m=m, c=c, sums=1)


def approvals(folder: str) -> list[dict[str, Any]]:
    """Sets of approvals as partner a gets them."""
    world = made(f"{folder}/approvals", start=False)
    a, b, c = world.approvals
    sets: dict[str, list[Approval]] = {
        "missing": [a, b],
        "duplicate": [a, b, b, c],
        "out of order": [b, a, c],
        "another partner's signature": [a, Approval("b", b.key, c.sig), c],
        "another mandate": [a, world.signed("b", b.key, mandate=bytes(32)), c],
        "another root": [a, world.signed("b", b.key, root=bytes(32)), c],
        "not my key": [world.signed("a", b.key), b, c],
        "low order": [a, world.signed("b", bytes(32)), c],
        "31 bytes": [a, world.signed("b", b.key[:31]), c],
        "copied key": [a, world.signed("b", a.key), c],
    }
    cases = []
    for name, some in sets.items():
        got = code(lambda some=some: world.parties["a"].start(some, now=NOW))
        shown = [{"name": p.name, "key": p.key.hex(), "sig": p.sig.hex()} for p in some]
        cases.append({"case": name, "approvals": shown, "code": got})
    got = code(lambda: world.parties["a"].start(world.approvals, now=NOW))
    cases.append({"case": "a second start", "approvals": [], "code": got})
    closed(world)
    return cases


def steps(folder: str) -> list[dict[str, Any]]:
    """Requests to partner a, one after another, of one study with 4 sums."""
    world = made(f"{folder}/steps", sums=4)
    script: list[tuple[int, str, Sequence[str]]] = [
        (1, "one", NAMES),
        (1, "one", NAMES),
        (1, "two", NAMES),
        (1, "one", ("a", "b")),
        (0, "two", NAMES),
        (4, "two", NAMES),
        (2, "two", ("a", "c", "b")),
        (2, "two", ("b", "c")),
        (2, "one", NAMES),
        (3, "two", NAMES),
        (2, "three", NAMES),
    ]
    cases = []
    for r, plan, partners in script:
        question = Question.of(r, [AnalysisAsk("risk", "step", plan.encode())], Layout("u64", 3))
        got = code(lambda question=question, partners=partners: world.contribute("a", question, partners=partners))
        cases.append({"r": r, "plan": plan, "partners": list(partners), "code": got})
    derived = Question.of(3, [AnalysisAsk("risk", "step", b"", "derived", {"b": np.array([1.0])})], Layout("u64", 3))
    again = replace(derived, r=0)
    cases.append({"case": "values not of the replay", "code": code(lambda: fresh(folder, again))})
    world.parties["a"].close("expired", now=NOW)
    question = Question.of(3, [AnalysisAsk("risk", "step", b"four")], Layout("u64", 3))
    cases.append({"case": "after the close", "code": code(lambda: world.contribute("a", question))})
    closed(world)
    return cases


def fresh(folder: str, question: Question) -> None:
    world = made(f"{folder}/fresh")
    try:
        world.contribute("a", question, replay=lambda: {"risk": {"b": np.array([2.0])}})
    finally:
        closed(world)


def values() -> list[dict[str, Any]]:
    """Numbers of one block, n partners."""
    cases: list[tuple[Literal["count", "real", "model"], int, str]] = [
        ("real", 3, "nan"),
        ("real", 3, "-inf"),
        ("real", 1000, repr(2.0**93)),
        ("real", 1000, repr(float(np.nextafter(2.0**93, 0)))),
        ("real", 1001, "1.0"),
        ("count", 3, "nan"),
        ("count", 3, "1.5"),
        ("count", 3, str((2**63 - 1) // 3)),
        ("count", 3, str((2**63 - 1) // 3 + 1)),
        ("count", 1001, "1"),
        ("model", 1000, "1.0"),
        ("model", 1001, "1.0"),
        ("model", 3, "inf"),
    ]
    return [
        {"encoding": kind, "n": n, "x": x, "code": code(lambda kind=kind, n=n, x=x: encoded(kind, n, x))}
        for kind, n, x in cases
    ]


def encoded(kind: Literal["count", "real", "model"], n: int, x: str) -> None:
    if kind == "count" and x.isdigit():
        counts(np.array([int(x)]), n=n, name="x")
    else:
        encode_sum([Block("x", (1,), kind)], {"x": np.array([float(x)])}, n=n)


def uploads(folder: str) -> list[dict[str, Any]]:
    """Uploads of partner b, as the coordinator gets them for the u64 sum of the protocol's vectors."""
    world, layout = made(f"{folder}/uploads"), Layout("u64", 3)
    question = asked(layout)
    sent = {name: world.contribute(name, question, NUMBERS[name]) for name in NAMES}
    good = sent["b"]
    body = bytes(good.body)
    wrong = (np.frombuffer(body, np.uint64) + np.uint64(1)).tobytes()
    sig = world.identities["b"].sign(Upload.message(good.ctx, "b", hashlib.sha256(wrong).digest()))
    variants: dict[str, tuple[dict[str, Any], bytes]] = {
        "as sent": (good.header(), body),
        "one bit": (good.header(), bytes([body[0] ^ 1]) + body[1:]),
        "one word less": (good.header(), body[:-8]),
        "an unknown field": ({**good.header(), "x": 1}, body),
        "another version": ({**good.header(), "v": 2}, body),
        "another sum": ({**good.header(), "r": 2}, body),
        "another transcript": ({**good.header(), "T": "00" * 32}, body),
        "another's signature": ({**good.header(), "sig": sent["c"].sig.hex()}, body),
        "wrong masks, signed": ({**good.header(), "sig": sig.hex()}, wrong),
    }

    def opened(header: dict[str, Any], raw: bytes) -> None:
        opening = world.opening(question)
        opening.add(sent["a"])
        opening.add(Upload.parse(header, raw, layout))
        opening.add(sent["c"])
        opening.total()

    cases = [
        {"case": name, "header": header, "body": raw.hex(), "code": code(lambda h=header, r=raw: opened(h, r))}
        for name, (header, raw) in variants.items()
    ]
    opening = world.opening(question)
    opening.add(sent["a"])
    cases.append({"case": "not all there", "code": code(opening.total)})
    closed(world)
    return cases


def records(folder: str) -> list[dict[str, Any]]:
    """Records as partner a gets them, of the u64 sum of the protocol's vectors."""
    world, layout = made(f"{folder}/records"), Layout("u64", 3)
    opening = world.opening(asked(layout))
    for name in NAMES:
        opening.add(world.contribute(name, asked(layout), NUMBERS[name]))
    good, _ = opening.record(COORDINATOR, salt=SALT)
    variants = {
        "one field less": {k: v for k, v in good.document().items() if k != "total"},
        "another's signature": good.signed(identity(0)).document(),
        "another question": replace(good, context=replace(good.context, plan_digest=bytes(32)))
        .signed(COORDINATOR)
        .document(),
        "another upload of mine": replace(good, digests=(bytes(32), *good.digests[1:])).signed(COORDINATOR).document(),
        "as published": good.document(),
    }
    cases = [
        {
            "case": name,
            "record": record,
            "code": code(
                lambda d=record: world.parties["a"].settle(Record.parse(d), COORDINATOR.public_key(), now=NOW)
            ),
        }
        for name, record in variants.items()
    ]
    cases.append({"case": "a resend after it", "code": code(lambda: world.contribute("a", asked(layout)))})
    closed(world)
    return cases


FILES: dict[str, Callable[[], dict[str, Any]]] = {
    "secure_sum_protocol.json": protocol,
    "secure_sum_encoding.json": encoding,
    "secure_sum_errors.json": errors,
}


def main() -> None:
    for name, maker in FILES.items():
        (FOLDER / name).write_text(json.dumps(maker(), indent=1) + "\n", encoding="ascii")


if __name__ == "__main__":
    main()
