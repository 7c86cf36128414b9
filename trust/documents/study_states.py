"""What may happen to a study, as one table: each state and the states that may follow it."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from trust.errors import Refused

__all__ = ["ENDED", "FOLLOWS", "State", "check_move", "no_such_move"]

State: TypeAlias = Literal["filed", "mandated", "running", "released", "refused", "revoked", "failed", "cancelled"]

FOLLOWS: Final[dict[State, frozenset[State]]] = {
    "filed": frozenset({"mandated", "refused", "revoked", "cancelled"}),
    "mandated": frozenset({"running", "revoked", "cancelled"}),
    "running": frozenset({"released", "refused", "revoked", "failed", "cancelled"}),
    "released": frozenset({"revoked"}),
    "refused": frozenset(),
    "revoked": frozenset(),
    "failed": frozenset({"revoked"}),
    "cancelled": frozenset({"revoked"}),
}
"""filed: waits for the committee; mandated: signed by a quorum; running: nodes are asked; released: its result is
signed and in the register; refused: by the charter, the committee or a rule; revoked: its mandate was ended by a
member; failed: a machine or a partner fell out, and the study must be filed again; cancelled:
withdrawn by its researcher or the operator (its mandate can still be revoked, which nodes are told)."""

ENDED: Final[frozenset[State]] = frozenset({"released", "refused", "revoked", "failed", "cancelled"})
"""Nodes are asked nothing more in these states."""

_REMEDIES: Final[dict[State, str]] = {
    "filed": "wait for the committee's signatures",
    "mandated": "let it run",
    "running": "wait for its end",
    "released": "read its result",
}


def check_move(study: str, now: State, next_state: State) -> None:
    """Raises: Refused (`study-state`) for a move that the table does not have."""
    if next_state not in FOLLOWS[now]:
        raise no_such_move(study, now, "" if now == next_state else f" and cannot become {next_state}")


def no_such_move(study: str, now: State, detail: str = "") -> Refused:
    """`study-state`: where the study stands, and what can be done about it."""
    already = "" if detail else " already"
    return Refused(
        "study-state", f"the study {study!r} is {now}{already}{detail}", remedy=_REMEDIES.get(now, "file a new study")
    )
