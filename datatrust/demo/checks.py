"""Comparisons that the demo makes, each counted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

__all__ = ["Checks", "FigureCheck"]

TOLERANCE = 1e-9
"""Relative; exact results equal the pooled computation at least this closely."""


@dataclass(frozen=True)
class FigureCheck:
    """One comparison: its group, what was compared, whether it held, and by how much the two differ."""

    group: str
    name: str
    ok: bool
    difference: float | None = None


@dataclass
class Checks:
    """What was compared so far."""

    made: list[FigureCheck] = field(default_factory=list)

    def near(self, group: str, name: str, got: float, expected: float, tolerance: float = TOLERANCE) -> None:
        """Compare two numbers; the difference is relative to the expected one where that is above 1."""
        difference = abs(got - expected) / max(1.0, abs(expected))
        self.made.append(FigureCheck(group, name, bool(difference <= tolerance), float(difference)))

    def holds(self, group: str, name: str, ok: bool) -> None:
        """Note whether something held."""
        self.made.append(FigureCheck(group, name, bool(ok)))

    def passed(self, group: str = "") -> int:
        """How many held, of a group or of all."""
        return sum(check.ok for check in self._of_groups(group))

    def total(self, group: str = "") -> int:
        """How many were made, of a group or in all."""
        return len(list(self._of_groups(group)))

    def largest(self, *groups: str) -> float | None:
        """The largest difference in these groups; None where nothing was measured."""
        differences = [c.difference for group in groups for c in self._of_groups(group) if c.difference is not None]
        return max(differences, default=None)

    @property
    def failed(self) -> list[FigureCheck]:
        """Those that did not hold."""
        return [check for check in self.made if not check.ok]

    @property
    def groups(self) -> list[str]:
        """In the order in which they began."""
        return list(dict.fromkeys(check.group for check in self.made))

    def _of_groups(self, group: str) -> Iterable[FigureCheck]:
        return (check for check in self.made if group in ("", check.group))
