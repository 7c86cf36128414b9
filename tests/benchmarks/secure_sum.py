"""The secure sum against its limits and against Flower's SecAgg+.

CPU milliseconds of one process, one thread, medians; the two numbers of a line are of one run.  Flower's side uses
the functions of flwr.common.secure_aggregation in the order of its SecAgg+ mod and workflow: complete graph, nobody
drops out.  Client: quantise, own mask, key agreement and mask with each neighbour (anew each round), modulus,
serialise.  Server: read, add, rebuild each partner's seed from its shares, take its mask off, modulus, dequantise.
Its secret sharing, transport and messages are left out; so is our key agreement, which is once a study.  Ours
includes encoding, mask seeds, SHA-256 of the upload and its signature; the coordinator's lines say what they count.
"""

from __future__ import annotations

import hashlib
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from flwr.common import bytes_to_ndarray, ndarray_to_bytes
from flwr.common.secure_aggregation.crypto.shamir import combine_shares, create_shares
from flwr.common.secure_aggregation.crypto.symmetric_encryption import generate_shared_key
from flwr.common.secure_aggregation.ndarrays_arithmetic import (
    factor_combine,
    factor_extract,
    get_parameters_shape,
    parameters_addition,
    parameters_mod,
    parameters_multiply,
    parameters_subtraction,
)
from flwr.common.secure_aggregation.quantization import dequantize, quantize
from flwr.common.secure_aggregation.secaggplus_utils import pseudo_rand_gen
from flwr.supercore.primitives.asymmetric import (
    bytes_to_private_key,
    bytes_to_public_key,
    generate_key_pairs,
    private_key_to_bytes,
    public_key_to_bytes,
)

from tests.benchmarks.study import line
from trust.secure_sum.encoding import encode_sum, layout_of
from trust.secure_sum.masks import CHUNK, add_masks, raw, seeds
from trust.secure_sum.messages import Context, Upload
from trust.secure_sum.opening import Opening, total_of
from trust.secure_sum.parameters import Parameters, smallest_m

CLIP, TARGET, MODULUS = 8.0, 4194304, 4294967296


@dataclass(frozen=True)
class Block:
    name: str
    shape: tuple[int, ...]
    encoding: Literal["count", "real", "model"] = "count"


def cpu(call: Callable[[], Any], times: int) -> float:
    """Median CPU milliseconds of a call; the first one warms up and is not counted."""
    took = []
    for _ in range(times + 1):
        start = time.process_time()
        call()
        took.append((time.process_time() - start) * 1e3)
    return statistics.median(took[1:])


def compared(name: str, ours: float, rival: float, *, limit: bool = False) -> str:
    """A line; the ratio is rival / ours, or ours / rival where the rival is a limit that cannot be beaten."""
    ratio = ours / rival if limit else rival / ours
    return line(name, f"{ours:.1f} ms", f"{rival:.1f} ms", f"{ratio:.1f} x")


def check(right: bool) -> None:
    """A benchmark of wrong sums would say nothing."""
    if not right:
        raise SystemExit("a sum is wrong: nothing was measured")


class BenchmarkPartners:
    """n partners and their pair keys, without the start: what is measured is one sum."""

    def __init__(self, n: int, d: int) -> None:
        self.names = tuple(f"p{i:03d}" for i in range(n))
        self.identities = {name: Ed25519PrivateKey.generate() for name in self.names}
        self.parameters = Parameters(
            study="bench",
            mandate=bytes(32),
            root=bytes(32),
            partners={name: key.public_key() for name, key in self.identities.items()},
            m=smallest_m(n, 1),
            c=1,
            sums=1,
        )
        pairs = {(a, b): os.urandom(32) for a in self.names for b in self.names if a < b}
        self.keys = {me: {o: pairs[min(me, o), max(me, o)] for o in self.names if o != me} for me in self.names}
        self.blocks = [Block("x", (d,))]
        self.layout = layout_of(self.blocks)
        self.context = Context(bytes(32), 0, bytes(32), self.names)
        self.x = np.random.default_rng(1).integers(-(1 << 40), 1 << 40, d)

    def upload(self, me: str, threads: int = 1) -> Upload:
        """A client's whole work for a sum: encode, mask seeds, masks, SHA-256, signature."""
        vector = encode_sum(self.blocks, {"x": self.x}, n=len(self.names))
        plus, minus = seeds(self.keys[me], self.context.digest, me)
        add_masks(vector, plus, minus, threads=threads)
        body = raw(vector)
        message = Upload.message(self.context.digest, me, hashlib.sha256(body).digest())
        sig = self.identities[me].sign(message)
        return Upload(self.context.transcript, 0, self.context.digest, me, sig, body)

    def prg(self) -> None:
        """The limit: the bytes of a client's masks, made and thrown away."""
        zero, out = np.zeros(CHUNK, np.uint8), np.empty(CHUNK, np.uint8)
        counter = modes.CTR(bytes(16))
        streams = [Cipher(algorithms.AES256(key), counter).encryptor() for key in self.keys[self.names[0]].values()]
        for low in range(0, self.layout.nbytes, CHUNK):
            size = min(CHUNK, self.layout.nbytes - low)
            for stream in streams:
                stream.update_into(zero[:size], out[:size])

    def open(self, uploads: Sequence[Upload]) -> Any:
        """The coordinator's whole work: lengths, SHA-256, signatures, adds, check number."""
        opening = Opening(self.parameters, self.context, self.layout)
        for upload in uploads:
            opening.add(upload)
        return opening.total()


def ours(world: BenchmarkPartners, times: int) -> tuple[list[str], tuple[float, float, float]]:
    """Lines, and CPU ms of a client, of the adds, and of adds with SHA-256 and signatures."""
    n, d = len(world.names), world.layout.columns
    size = f"n = {n}, d = {d:.0e}".replace("e+0", "e")
    client, limit = cpu(lambda: world.upload(world.names[0]), times), cpu(world.prg, times)
    uploads = [world.upload(name) for name in world.names]
    vectors = [world.layout.read(upload.body) for upload in uploads]
    check(np.array_equal(total_of(vectors, world.layout)[0, :-1].view(np.int64), n * world.x))
    adds = cpu(lambda: total_of(vectors, world.layout), times)
    stacked = np.stack([vector[0] for vector in vectors])
    plain = cpu(lambda: np.sum(stacked, axis=0), times)
    hashed = cpu(lambda: world.open(uploads), times)
    lines = [
        compared(f"secure sum client / PRG, {size}", client, limit, limit=True),
        compared(f"secure sum coordinator adds / np.sum, {size}", adds, plain, limit=True),
        line(f"secure sum coordinator with SHA-256, {size}", f"{hashed:.1f} ms"),
    ]
    return lines, (client, adds, hashed)


class Flower:
    """SecAgg+ of flwr, n clients of one vector of d float64."""

    def __init__(self, n: int, d: int) -> None:
        self.n, self.threshold = n, n // 2 + 1
        self.x = [np.random.default_rng(1).uniform(-1, 1, d)]
        self.own = [os.urandom(32) for _ in range(n)]
        keys = [generate_key_pairs() for _ in range(n)]
        self.private = [private_key_to_bytes(private) for private, _ in keys]
        self.public = [public_key_to_bytes(public) for _, public in keys]
        self.shares = [create_shares(seed, self.threshold, n) for seed in self.own]

    def client(self, me: int) -> list[bytes]:
        ratio = round(1.0 * TARGET)
        vector = quantize(parameters_multiply(self.x, ratio / TARGET), CLIP, TARGET)
        vector = factor_combine(ratio, vector)
        shapes = [a.shape for a in vector]
        vector = parameters_addition(vector, pseudo_rand_gen(self.own[me], MODULUS, shapes))
        for other in range(self.n):
            if other == me:
                continue
            key = generate_shared_key(bytes_to_private_key(self.private[me]), bytes_to_public_key(self.public[other]))
            mask = pseudo_rand_gen(key, MODULUS, shapes)
            vector = parameters_addition(vector, mask) if me > other else parameters_subtraction(vector, mask)
        return [ndarray_to_bytes(a) for a in parameters_mod(vector, MODULUS)]

    def server(self, uploads: Sequence[list[bytes]]) -> Any:
        total: Any = None
        for upload in uploads:
            vector = [bytes_to_ndarray(b) for b in upload]
            total = vector if total is None else parameters_addition(total, vector)
        total = parameters_mod(total, MODULUS)
        for shares in self.shares:
            mask = pseudo_rand_gen(combine_shares(shares), MODULUS, get_parameters_shape(total))
            total = parameters_subtraction(total, mask)
        q_ratio, vectors = factor_extract(parameters_mod(total, MODULUS))
        averaged = dequantize(vectors, CLIP, TARGET)
        for vector in averaged:
            vector += -(self.n - 1) * CLIP
            vector *= TARGET / q_ratio
        return averaged


def against_flower(n: int, d: int, times: int) -> Iterator[str]:
    """Ours and Flower's, in one run."""
    lines, (client, adds, hashed) = ours(BenchmarkPartners(n, d), 9)
    yield from lines
    flower = Flower(n, d)
    uploads = [flower.client(i) for i in range(n)]
    check(np.abs(flower.server(uploads)[0] - flower.x[0]).max() < 1e-5)
    server = cpu(lambda: flower.server(uploads), times)
    yield compared("secure sum client / Flower SecAgg+", client, cpu(lambda: flower.client(0), times))
    yield compared("secure sum coordinator adds / Flower SecAgg+", adds, server)
    yield compared("secure sum coordinator with SHA-256 / Flower SecAgg+", hashed, server)


def secure_sum(*, full: bool) -> Iterator[str]:
    """CPU ms at n = 20, d = 1e6 and n = 4, d = 1e7; with `full` also n = 100, d = 1e5."""
    yield from against_flower(20, 1_000_000, 3)
    lines, _ = ours(BenchmarkPartners(4, 10_000_000), 3)
    yield from lines
    if full:
        yield from against_flower(100, 100_000, 1)
