"""The sizes of a study's secure sums, and who may be in one.  docs/protocol.md, 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from trust.secure_sum.errors import NotAvailable, ParametersUnsafe
from trust.secure_sum.frames import is_name

__all__ = ["LARGEST_N", "Parameters", "Participation", "smallest_m"]

Participation: TypeAlias = Literal["all", "joined", "any"]

LARGEST_N = 1000


def smallest_m(n: int, c: int) -> int:
    """The least number of partners in a sum, of `n` named of whom `c` may collude.

    `m >= c + 2`: a total is over two honest partners at least.  `2m > n + c`: two sets of m share more than c
    partners, so an honest one, who contributes once.
    """
    return max(c + 2, (n + c) // 2 + 1)


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """What the mandate fixes for a study's sums; made from it by node and coordinator alike.

    `mandate` is SHA-256 of the mandate's DSSE payload, `root` of the trust root's signed bytes, both as received.
    `partners` maps each named partner to its pinned identity key.  Raises: ParametersUnsafe, NotAvailable.
    """

    study: str
    mandate: bytes
    root: bytes
    partners: Mapping[str, Ed25519PublicKey]
    m: int
    c: int
    sums: int
    participation: Participation = "joined"

    def __post_init__(self) -> None:
        n, m, c = len(self.partners), self.m, self.c
        if not 3 <= n <= LARGEST_N:
            raise ParametersUnsafe(f"{n} partners", expected=f"3 to {LARGEST_N}")
        if not all(map(is_name, self.partners)):
            raise ParametersUnsafe("a partner's name out of form", expected="1 to 63 of a-z, 0-9 and -")
        if len({key.public_bytes_raw() for key in self.partners.values()}) != n:
            raise ParametersUnsafe("one identity key for two partners", expected="a key each")
        if len(self.mandate) != 32 or len(self.root) != 32:
            raise ParametersUnsafe("a digest of the wrong length", expected="32 bytes of mandate and of trust root")
        if c < 1:
            raise ParametersUnsafe(f"c = {c} colluding partners", expected="1 at least")
        if not smallest_m(n, c) <= m <= n:
            raise ParametersUnsafe(f"m = {m} with n = {n}, c = {c}", expected=f"m from {smallest_m(n, c)} to {n}")
        if not 1 <= self.sums < 2**32:
            raise ParametersUnsafe(f"{self.sums} sums", expected="1 to 2^32 - 1")
        if self.participation not in get_args(Participation):
            raise ParametersUnsafe("an unknown participation", expected="all or joined")
        if self.participation == "any":
            # Totals over changing sets can be differenced; they need noise under the mask.
            raise NotAvailable("participation any", expected="all or joined")

    def set_fault(self, names: Sequence[str], *, among: Sequence[str], me: str | None = None) -> str:
        """Why `names` may not be a partner set, in public words; empty when it may.

        Sorted, each once, all of `among`, at least m, `me` among them where given.
        """
        if not all(map(is_name, names)) or list(names) != sorted(set(names)):
            return "names out of order, twice or out of form"
        if not set(names) <= set(among):
            return "a name that does not take part"
        if me is not None and me not in names:
            return "a set without this partner"
        if len(names) < self.m:
            return f"{len(names)} partners, fewer than m = {self.m}"
        return ""
