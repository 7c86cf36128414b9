"""A second reader of the vectors: plain Python integers, hashlib and hmac, nothing of trust.secure_sum.

X25519 is RFC 7748's ladder; AES-256 and the check of Ed25519 signatures are the library's.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

FOLDER = Path(__file__).parents[2] / "vectors"
PROTOCOL, ENCODING, ERRORS = (
    json.loads((FOLDER / f"secure_sum_{part}.json").read_text()) for part in ("protocol", "encoding", "errors")
)
P = 2**255 - 19
LOW = 2**52 - 1
INPUTS = PROTOCOL["inputs"]
NAMES = INPUTS["names"]


def sha(raw: bytes) -> bytes:
    return hashlib.sha256(raw).digest()


def mac(key: bytes, raw: bytes) -> bytes:
    return hmac.new(key, raw, hashlib.sha256).digest()


def frame(label: str, *parts: bytes) -> bytes:
    return b"".join(struct.pack(">I", len(part)) + part for part in (b"dt-sum-1/" + label.encode(), *parts))


def x25519(secret: bytes, u: bytes) -> bytes:
    """RFC 7748, section 5."""
    k = int.from_bytes(secret, "little") & ((1 << 254) - 8) | 1 << 254
    x1 = int.from_bytes(u, "little") % 2**255
    x2, z2, x3, z3 = 1, 0, x1, 1
    for t in reversed(range(255)):
        bit = k >> t & 1
        if bit:
            x2, z2, x3, z3 = x3, z3, x2, z2
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        da, cb, aa, bb = d * a % P, c * b % P, a * a % P, b * b % P
        x3, z3 = (da + cb) ** 2 % P, x1 * (da - cb) ** 2 % P
        x2, z2 = aa * bb % P, (aa - bb) * (aa + 121665 * (aa - bb)) % P
        if bit:
            x2, z2, x3, z3 = x3, z3, x2, z2
    return (x2 * pow(z2, P - 2, P) % P).to_bytes(32, "little")


def prg(seed: bytes, words: int, size: int = 8) -> list[int]:
    raw = Cipher(algorithms.AES(seed), modes.CTR(bytes(16))).encryptor().update(bytes(words * size))
    return [int.from_bytes(raw[i : i + size], "little") for i in range(0, len(raw), size)]


def nearest_even(x: Fraction) -> int:
    floor = x.numerator // x.denominator
    rest = x - floor
    return floor + (rest > Fraction(1, 2) or (rest == Fraction(1, 2) and floor % 2 == 1))


def limbs(number: int, count: int) -> list[int]:
    return [(number % (1 << 52 * count)) >> 52 * i & LOW for i in range(count)]


def rows_to_bytes(numbers: list[int], count: int) -> bytes:
    split = [limbs(number, count) for number in numbers]
    return b"".join(split[j][i].to_bytes(8, "little") for i in range(count) for j in range(len(numbers)))


def signature_is(private: str, message: bytes, signature: str) -> bool:
    """Ed25519 is deterministic, so a signature is compared; the key is a vector's."""
    return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(private)).sign(message).hex() == signature


def setting() -> tuple[bytes, bytes, dict[tuple[str, str], bytes]]:
    """Transcript, context, and each pair's mask seed of sum 1."""
    M, root = sha(INPUTS["mandate"].encode()), sha(INPUTS["root"].encode())
    secret = {name: bytes.fromhex(e) for name, e in zip(NAMES, INPUTS["ephemeral"], strict=True)}
    public = {name: x25519(e, (9).to_bytes(32, "little")) for name, e in secret.items()}
    T = sha(frame("transcript", M, root, *(part for name in NAMES for part in (name.encode(), public[name]))))
    plan = sha(frame("plan", INPUTS["plan"].encode(), sha(INPUTS["state"].encode())))
    ctx = sha(frame("context", T, struct.pack(">I", INPUTS["r"]), plan, *(name.encode() for name in NAMES)))
    seeds = {}
    for i, one in enumerate(NAMES):
        for other in NAMES[i + 1 :]:
            info = frame("pair", one.encode(), other.encode())
            key = mac(mac(T, x25519(secret[one], public[other])), info + b"\x01")
            seeds[one, other] = mac(mac(key, frame("next")), frame("mask", ctx))
            if (one, other) == ("a", "b"):
                assert PROTOCOL["K_ab[0]"] == key.hex()
                assert PROTOCOL["K_ab[1]"] == mac(key, frame("next")).hex()
    assert PROTOCOL["plan_digest"] == plan.hex()
    for name, approval in zip(NAMES, PROTOCOL["approvals"], strict=True):
        assert approval["key"] == public[name].hex()
    return T, ctx, seeds


T, CTX, SEEDS = setting()


def test_the_rfc_7748_ladder_is_right() -> None:
    scalar = bytes.fromhex("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4")
    u = bytes.fromhex("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c")
    assert x25519(scalar, u).hex() == "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"


def test_transcript_context_seed_and_stream() -> None:
    assert (PROTOCOL["T"], PROTOCOL["ctx"], PROTOCOL["s_ab"]) == (T.hex(), CTX.hex(), SEEDS["a", "b"].hex())
    assert PROTOCOL["PRG(s_ab)"] == b"".join(w.to_bytes(8, "little") for w in prg(SEEDS["a", "b"], 8)).hex()


def test_approvals_are_signed_over_mandate_root_name_and_key() -> None:
    M, root = sha(INPUTS["mandate"].encode()), sha(INPUTS["root"].encode())
    for private, approval in zip(INPUTS["identity"], PROTOCOL["approvals"], strict=True):
        message = frame("approve", M, root, approval["name"].encode(), bytes.fromhex(approval["key"]))
        assert signature_is(private, message, approval["sig"])


def masked(words: list[int], me: str, mask: int) -> list[int]:
    """Words and masks as unbounded integers."""
    out = list(words)
    for (one, other), seed in SEEDS.items():
        if me in (one, other):
            sign = 1 if me == one else -1
            out = [w + sign * (s & mask) for w, s in zip(out, prg(seed, len(out)), strict=True)]
    return out


def upload_bodies(kind: str) -> dict[str, bytes]:
    bodies = {}
    for name in NAMES:
        if kind == "u64":
            words = masked([*INPUTS["u64"][name], 1], name, 2**64 - 1)
            bodies[name] = b"".join((w % 2**64).to_bytes(8, "little") for w in words)
            continue
        numbers = [nearest_even(Fraction(float(x)) * 2**104) for x in INPUTS["wide"][name]]
        split = [*(limbs(number, 4) for number in numbers), [1, 0, 0, 0]]
        words = masked([column[i] for i in range(4) for column in split], name, LOW)
        columns = [sum(words[3 * i + j] << 52 * i for i in range(4)) for j in range(3)]
        bodies[name] = rows_to_bytes(columns, 4)
    return bodies


def test_uploads_digests_and_signatures() -> None:
    for kind in ("u64", "wide"):
        for private, (name, body) in zip(INPUTS["identity"], upload_bodies(kind).items(), strict=True):
            vector = PROTOCOL[kind]
            assert vector["y"][name] == body.hex()
            assert vector["sha256"][name] == sha(body).hex()
            header = vector["header"][name]
            assert header == {
                "kind": "upload",
                "v": 1,
                "T": T.hex(),
                "r": 1,
                "ctx": CTX.hex(),
                "name": name,
                "sig": header["sig"],
            }
            assert signature_is(private, frame("upload", CTX, name.encode(), sha(body)), header["sig"])


def total_words(kind: str) -> list[int]:
    bodies = upload_bodies(kind).values()
    read = [[int.from_bytes(body[i : i + 8], "little") for i in range(0, len(body), 8)] for body in bodies]
    added = [sum(column) for column in zip(*read, strict=True)]
    if kind == "u64":
        return [w % 2**64 for w in added]
    columns = [sum(added[3 * i + j] << 52 * i for i in range(4)) for j in range(3)]
    split = [limbs(column, 4) for column in columns]
    return [split[j][i] for i in range(4) for j in range(3)]


def test_totals_and_records() -> None:
    for kind in ("u64", "wide"):
        vector, words = PROTOCOL[kind], total_words(kind)
        raw = b"".join(w.to_bytes(8, "little") for w in words)
        assert vector["total_words"] == raw.hex()
        if kind == "u64":
            assert vector["total"] == [w - (w >> 63 << 64) for w in words[:3]]
            assert words[3] == vector["check"] == 3
        else:
            numbers = [sum(words[3 * i + j] << 52 * i for i in range(4)) for j in range(3)]
            signed = [v - (v >> 207 << 208) for v in numbers]
            assert vector["total"] == [repr(v / 2**104) for v in signed[:2]]
            assert signed[2] == vector["check"] == 3
        record = vector["record"]
        unsigned = {
            "schema": "datatrust/sum-record/1",
            "T": T.hex(),
            "r": 1,
            "plan_digest": PROTOCOL["plan_digest"],
            "U": NAMES,
            "digests": [vector["sha256"][name] for name in NAMES],
            "signatures": [vector["header"][name]["sig"] for name in NAMES],
            "total": mac(bytes.fromhex(INPUTS["salt"]), raw).hex(),
        }
        assert record == {**unsigned, "sig": record["sig"]}
        canonical = json.dumps(unsigned, sort_keys=True, separators=(",", ":")).encode()
        assert signature_is(INPUTS["coordinator"], frame("record", sha(canonical)), record["sig"])


def test_values_are_frames() -> None:
    beta = frame("values", b"beta", b"float64", struct.pack(">II", 1, 2), struct.pack("<dd", 0.5, -0.0))
    cut = frame("values", b"cut", b"int64", b"", struct.pack("<q", 7))
    assert PROTOCOL["values"] == (beta + cut).hex()


def test_reals_to_limbs() -> None:
    for case in ENCODING["reals"]:
        numbers = [nearest_even(Fraction(float(x)) * 2 ** case["fraction"]) for x in case["x"]]
        assert case["words"] == rows_to_bytes(numbers, case["limbs"]).hex()


def test_limbs_to_reals_are_int_over_int() -> None:
    for case in ENCODING["decode"]:
        half = 1 << 52 * case["limbs"] - 1
        numbers = [(int(total) + half) % (2 * half) - half for total in case["totals"]]
        assert [float(x) for x in case["x"]] == [v / 2 ** case["fraction"] for v in numbers]


def last_place(x: float, fraction: int) -> int:
    """t: the last place of x is 2^t units; 0 or less, no fill."""
    biased = struct.unpack("<Q", struct.pack("<d", x))[0] >> 52 & 0x7FF
    return biased - 1075 + fraction


def test_fill_for_a_fixed_key() -> None:
    case = ENCODING["fill"]
    x, fraction = [float(v) for v in case["x"]], case["fraction"]
    places = [last_place(v, fraction) for v in x]
    rows = -(-max(places) // 52)
    words = prg(bytes.fromhex(case["key"]), rows * len(x))
    numbers, drawn = [], []
    for j, (value, t) in enumerate(zip(x, places, strict=True)):
        bits = sum((words[i * len(x) + j] & LOW) << 52 * i for i in range(rows))
        low = bits % (1 << t) - (1 << t - 1) if t > 0 else 0
        drawn.append(str(low))
        numbers.append(nearest_even(Fraction(value) * 2**fraction) + low)
    assert case["integers"] == drawn
    assert case["words"] == rows_to_bytes(numbers, case["limbs"]).hex()


def test_counts_and_models() -> None:
    case = ENCODING["counts"]
    assert case["words"] == b"".join((x % 2**64).to_bytes(8, "little") for x in [*case["x"], 1]).hex()
    for case in ENCODING["models"]:
        clip, K = float(case["clip"]), (2**31 - 1) // case["n"]
        x = [float(v) for v in case["x"]]
        q = [max(-K, min(K, round(max(-clip, min(clip, v)) * (K / clip)))) for v in x]
        clipped = sum(abs(v) > clip for v in x)
        assert (case["K"], case["q"], case["clipped"]) == (K, q, clipped)
        assert case["words"] == b"".join((w % 2**32).to_bytes(4, "little") for w in [*q, clipped, 1]).hex()


def test_sizes_that_must_be_refused() -> None:
    for case in ERRORS["parameters"]:
        n, m, c = case["n"], case["m"], case["c"]
        fine = n >= 3 and c >= 1 and m >= c + 2 and 2 * m > n + c
        assert case["code"] == (None if fine else "parameters-unsafe"), case


def test_uploads_that_must_be_refused() -> None:
    """Which of them a reader without our code would refuse, and that it takes the others."""
    good: Any = next(case for case in ERRORS["uploads"] if case["case"] == "as sent")
    for case in ERRORS["uploads"]:
        if "header" not in case:
            continue
        header, body = case["header"], bytes.fromhex(case["body"])
        shape = set(header) == set(good["header"]) and header["v"] == 1 and len(body) == 32
        same = all(header.get(field) == good["header"][field] for field in ("T", "r", "ctx", "name"))
        message = frame("upload", CTX, b"b", sha(body))
        signed = signature_is(INPUTS["identity"][1], message, header["sig"])
        cancels = case["body"] == good["body"]
        expected = None if cancels else "check-number"
        expected = expected if signed else "upload-signature"
        expected = expected if same else "transcript-differs"
        expected = expected if shape else "upload-shape"
        assert case["code"] == expected, case["case"]
