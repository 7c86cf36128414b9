"""Figures of a node, in Prometheus' text format: opt-in, on the loopback, without anything about rows."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

__all__ = ["Metrics"]


class Metrics:
    """Counts what was asked and answered.  Names of rules and kinds only, of a closed list each."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        registry = self._registry
        self._messages = Counter(
            "datatrust_node_messages", "Messages answered, by kind and answer", ["kind", "answer"], registry=registry
        )
        self._refusals = Counter("datatrust_node_refusals", "Refusals, by rule", ["rule"], registry=registry)
        self._seconds = Counter("datatrust_node_compute_seconds", "Seconds spent answering", registry=registry)
        self._open = Gauge("datatrust_node_studies_open", "Studies that this process takes part in", registry=registry)
        self._ready = Gauge("datatrust_node_ready", "1 where every check of /readyz holds", registry=registry)
        self._days = Gauge("datatrust_node_days_left", "Days that root and certificate last", ["of"], registry=registry)

    def message(self, kind: str, answer: str, rule: str, seconds: float) -> None:
        """One message was answered; `rule` is empty where none refused."""
        self._messages.labels(kind, answer).inc()
        self._seconds.inc(seconds)
        if rule:
            self._refusals.labels(rule).inc()

    def open_studies(self, count: Callable[[], int]) -> None:
        """Whom to ask how many there are."""
        self._open.set_function(count)

    def watched(self, *, ready: bool, days: dict[str, int]) -> None:
        """What the last round of checks has found."""
        self._ready.set(ready)
        for purpose, days_left in days.items():
            self._days.labels(purpose).set(days_left)

    def text(self) -> bytes:
        """For GET /metrics."""
        return generate_latest(self._registry)
