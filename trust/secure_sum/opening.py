"""The coordinator's half: check uploads, add them, open the total, record it.

The coordinator holds no key.  What it learns is the total, once everybody of the partner set has uploaded.
docs/protocol.md, 1, Total.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from trust.secure_sum.encoding import Layout
from trust.secure_sum.errors import (
    CheckNumber,
    PartnersInvalid,
    SumConflict,
    TranscriptDiffers,
    UploadMissing,
    UploadSignature,
)
from trust.secure_sum.masks import Words, raw
from trust.secure_sum.messages import Context, Record, Upload, commitment, signature_is_valid
from trust.secure_sum.parameters import Parameters

__all__ = ["Opening", "total_of"]

_PIECE: Final = 1 << 20
"""Bytes of the total that are added at a time: they stay in the cache while every upload streams past."""


class Opening:
    """One sum at the coordinator, or at a node that audits: uploads in, as they arrive, and the total out.

    Raises: PartnersInvalid for a context whose partner set the mandate does not allow.
    """

    def __init__(self, parameters: Parameters, context: Context, layout: Layout) -> None:
        fault = parameters.set_fault(context.partners, among=list(parameters.partners))
        if fault:
            raise PartnersInvalid(fault, expected=f"{parameters.m} partners of the mandate at least")
        self._parameters, self._context, self._layout = parameters, context, layout
        self._vectors: dict[str, Words] = {}
        self._digests: dict[str, bytes] = {}
        self._signatures: dict[str, bytes] = {}
        self._total: Words | None = None

    @property
    def missing(self) -> tuple[str, ...]:
        """Partners whose upload is not in yet, in order of name."""
        return tuple(name for name in self._context.partners if name not in self._vectors)

    @property
    def digests(self) -> Mapping[str, bytes]:
        """SHA-256 of each upload that is in, by partner."""
        return MappingProxyType(self._digests)

    def add(self, upload: Upload) -> None:
        """Check one upload and keep it; the same bytes again are taken once.

        Raises: TranscriptDiffers, UploadShape, UploadSignature, SumConflict for other signed bytes of the same
        partner (a node restored from a backup).  Nothing has changed where it raises.
        """
        context, name = self._context, upload.name
        # 1 of this sum
        if name not in context.partners:
            raise TranscriptDiffers("an upload of a partner outside the set", expected="the partners of this sum")
        if (upload.transcript, upload.r, upload.ctx) != (context.transcript, context.r, context.digest):
            raise TranscriptDiffers(f"an upload of {name} for another sum", expected="this transcript and context")
        # 2 its length and words
        words = self._layout.read(upload.body)
        # 3 its digest, signed by its partner
        sha256 = hashlib.sha256(upload.body).digest()
        if not signature_is_valid(
            self._parameters.partners[name], upload.sig, Upload.message(context.digest, name, sha256)
        ):
            raise UploadSignature(f"the upload of {name}", expected="its signature over these bytes")
        # 4 once
        if self._digests.get(name, sha256) != sha256:
            raise SumConflict(f"a second upload of {name}", expected="the bytes of the first")
        self._vectors[name], self._digests[name], self._signatures[name] = words, sha256, upload.sig

    def total(self) -> Words:
        """The opened vector (rows, columns + 1), canonical, its check number the number of partners.

        `decode_sum` reads it.  Raises: UploadMissing, CheckNumber.
        """
        if self._total is None:
            if self.missing:
                raise UploadMissing(f"no upload of {', '.join(self.missing)}", expected="one of each partner")
            total = total_of([self._vectors[name] for name in self._context.partners], self._layout)
            if int(total[0, -1]) != len(self._context.partners) or total[1:, -1].any():
                raise CheckNumber("masks that did not cancel", expected="the number of partners as check number")
            self._total = total
        return self._total

    def record(self, coordinator: Ed25519PrivateKey, *, salt: bytes | None = None) -> tuple[Record, bytes]:
        """The sum record, signed, and the 32-byte salt of its commitment.

        The record is public; the salt goes with the uploads to nodes that audit, and nowhere else.  It is random
        unless given, for vectors.  Raises: UploadMissing, CheckNumber.
        """
        salt = os.urandom(32) if salt is None else salt
        total, order = self.total(), self._context.partners
        record = Record(
            context=self._context,
            digests=tuple(self._digests[name] for name in order),
            signatures=tuple(self._signatures[name] for name in order),
            total=commitment(salt, raw(total)),
        )
        return record.signed(coordinator), salt


def total_of(vectors: list[Words], layout: Layout) -> Words:
    """The canonical sum of canonical vectors, 1,000 at most, piece by piece, so that the sum stays in the cache."""
    total = np.empty(layout.shape, layout.dtype)
    out, first, *rest = (vector.reshape(-1) for vector in (total, *vectors))
    step = _PIECE // layout.dtype.itemsize
    for low in range(0, out.size, step):
        piece = out[low : low + step]
        piece[:] = first[low : low + step]
        for further_vector in rest:
            np.add(piece, further_vector[low : low + step], out=piece)
    layout.normalise(total)
    return total
