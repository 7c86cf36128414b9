"""`datatrust node run`: one process a home, from the lock to the last message.

It says `ready` when it is: connected, and every check of /readyz holds.  Until then it says which check does not, and
goes on trying.  It follows the trust root by itself, takes the next keys once a root names them, and ends within ten
seconds of SIGTERM: what is written is whole at any moment, so a sum that takes longer is given up.
"""

from __future__ import annotations

import os
import resource
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from nodes.events import Connected, JoiningAgain, NodeEvent, NotAdmitted
from nodes.keys import NodeKeys, named, next_keys, take_next
from nodes.operate.check_network import interface
from nodes.operate.enrolment import keep_roots
from nodes.operate.findings import Finding
from nodes.serve.flower import FleetNode
from nodes.serve.health import Health, Watch
from nodes.serve.logs import Log, node_log
from nodes.serve.loop import serve
from nodes.serve.metrics import Metrics
from nodes.serve.systemd import notify
from nodes.settings import NodeSettings
from nodes.state.lock import locked
from nodes.state.restored import require_caught_up
from nodes.study.sessions import Sessions
from trust.canonical import parse
from trust.documents.root import TrustRoot
from trust.errors import DataTrustError, Fault, MessageInvalid, Refused, sentence
from trust.protocol.messages import DOWN, UP, unpack
from trust.signing.envelope import Envelope, sha256

__all__ = ["follow_roots", "run_node"]

_END_SECONDS = 9.0
"""Seconds from SIGTERM to the end, whatever is being computed."""
_RETRY_SECONDS = 5.0
_CONNECTING_SECONDS = 5.0
"""Seconds in which not to be connected yet is nothing to say."""
_FOLLOW_SECONDS = 60.0
"""Seconds between two looks for a newer trust root while all is well."""
_NOT_ADMITTED_SECONDS = 60.0
"""Between two lines that say that the SuperLink does not let this node in."""
_PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY")


def run_node(settings: NodeSettings, tell: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        tell: is told `ready`, or which check fails, a line each; the log goes to standard error.

    Raises: DataTrustError of what cannot be used, Fault where another process serves this home, Refused
        (`state-rolled-back`) for a restored home.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would hold rows and keys
    _set_proxy(settings)
    with locked(settings.own):
        _NodeProcess(settings, tell).run()


def follow_roots(settings: NodeSettings) -> int:
    """Take newer versions of the root from the coordinator, each verified by the one before; the newest one's number.

    Raises: Fault where it cannot be asked; MessageInvalid and Refused for what does not follow.
    """
    pinned = settings.root()
    envelopes = tuple(Envelope.read(value) for value in interface(settings).roots())
    newest = TrustRoot.chain(envelopes, pinned)
    if newest.root.version > pinned.root.version:
        keep_roots(settings.own, envelopes)
    return newest.root.version


class _NodeProcess:
    """One process' life."""

    def __init__(self, settings: NodeSettings, tell: Callable[[str], None]) -> None:
        self._settings, self._tell = settings, tell
        self._log: Log = node_log(settings.name)
        toml = settings.toml
        self._figures = Metrics() if toml and toml.metrics else None
        self._watch = Watch(settings, self._watched)
        self._stop = threading.Event()
        self._fleet: FleetNode | None = None
        self._failing_told: tuple[str, ...] | None = None
        self._followed_at, self._not_admitted, self._begun_at = 0.0, 0.0, time.monotonic()
        self._studies: dict[str, str] = {}

    def run(self) -> None:
        """Until the end.  Raises: DataTrustError."""
        self._follow()
        self._take_keys()
        require_caught_up(self._settings.own, self._settings.name, self._settings.root())
        address = self._settings.superlink
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._told_to_stop)
        health = self._health()
        self._log("starting", pid=os.getpid(), version=self._settings.root().root.version)
        self._watch.begin()
        try:
            while not self._stop.is_set():
                self._take_keys()
                try:
                    serve(self._settings, address, self._heard, self._on_begin)
                except Fault as wrong:  # the SuperLink's certificate: somebody else may fix it
                    self._log("failure", level="error", code=wrong.code)
                    self._tell(f"not ready: {wrong}")
                    self._stop.wait(_RETRY_SECONDS)
                self._watch.connected = False
        finally:
            self._watch.end()
            if health is not None:
                health.end()
        notify("STOPPING=1")
        self._log("stopped")

    def _health(self) -> Health | None:
        toml = self._settings.toml
        return Health(toml.health, self._watch, self._figures) if toml and toml.health else None

    def _on_begin(self, fleet: FleetNode, sessions: Sessions) -> Callable[[bytes], bytes]:
        self._fleet = fleet
        if self._figures:
            self._figures.open_studies(sessions.__len__)
        if self._stop.is_set():
            fleet.stop.set()
        return lambda raw: self._answer(raw, sessions.handle)

    # ---- what happens

    def _told_to_stop(self, number: int, _: Any) -> None:
        self._log("stopping", signal=signal.Signals(number).name)
        self._stop.set()
        if self._fleet is not None:
            self._fleet.stop.set()
        late = threading.Timer(_END_SECONDS, self._late)
        late.daemon = True
        late.start()

    def _late(self) -> None:
        self._log("late", level="warning")
        os._exit(0)

    def _heard(self, event: NodeEvent) -> None:
        """What fleet and sessions tell, in their threads: logged, and taken up where it is about the connection."""
        match event:
            case NotAdmitted() if time.monotonic() - self._not_admitted < _NOT_ADMITTED_SECONDS:
                return
            case NotAdmitted():
                self._not_admitted = time.monotonic()
        if event.name:
            self._log(event.name, level=event.level, **event.fields)
        if isinstance(event, Connected | NotAdmitted | JoiningAgain):
            self._watch.connected = isinstance(event, Connected)
            self._watch.hurry()

    def _answer(self, raw: bytes, handle: Callable[[bytes], bytes]) -> bytes:
        """One message: timed, logged by its names, counted."""
        started_at = time.monotonic()
        kind, mandate, study = _heading(raw)
        reply = handle(raw)
        seconds = time.monotonic() - started_at
        message = unpack(reply, UP)
        answer, rule = message.kind, str(message.header.get("rule", ""))
        if study and answer == "approval":
            self._studies[mandate] = study
        study = self._studies.get(mandate, study)
        if kind == "close" or answer == "refusal":
            self._studies.pop(mandate, None)
        fields = {"kind": kind, "mandate": mandate[:8], "study": study, "answer": answer, "rule": rule}
        level = "warning" if rule else "info"
        self._log("message", level=level, seconds=round(seconds, 3), **{k: v for k, v in fields.items() if v})
        if self._figures:
            self._figures.message(kind or "none", answer, rule, seconds)
        return reply

    # ---- checks, in the thread of the watch

    def _watched(self, watch: Watch) -> None:
        findings = watch.findings()
        failing = tuple(name for name, finding in findings.items() if finding.state == "failure")
        starting = failing == ("connected",) and time.monotonic() - self._begun_at < _CONNECTING_SECONDS
        if failing != self._failing_told and not starting:
            self._failing_told = failing
            self._say(findings, failing)
        if self._figures:
            self._figures.watched(ready=not failing, days=watch.days)
        notify(*([] if failing else ["READY=1"]), "WATCHDOG=1")
        self._keep_accepted(watch)
        if failing or time.monotonic() - self._followed_at > _FOLLOW_SECONDS:
            self._follow()
        if self._keys_are_due() and self._fleet is not None:
            self._log("restarting")
            self._fleet.stop.set()

    def _say(self, findings: dict[str, Finding], failing: tuple[str, ...]) -> None:
        if not failing:
            self._log("ready")
            self._tell("ready")
        for name in failing:
            finding = findings[name]
            self._log("not-ready", level="warning", check=name, state=finding.state)
            self._tell(f"not ready: {name}: {sentence(finding.text, remedy=finding.remedy)}")

    def _follow(self) -> None:
        self._followed_at = time.monotonic()
        try:
            version_before = self._settings.root().root.version
            version = follow_roots(self._settings)
            if version > version_before:
                self._log("root-accepted", version=version)
        except (DataTrustError, OSError) as wrong:
            if not isinstance(wrong, Fault):  # an interface that is away is not an event; one that answers wrongly is
                code = wrong.rule if isinstance(wrong, Refused) else type(wrong).__name__
                self._log(
                    "roots-not-fetched",
                    level="warning",
                    code=code,
                )

    def _keep_accepted(self, watch: Watch) -> None:
        """A root that came with a message stands beside those that were enrolled, too."""
        with suppress(DataTrustError, OSError):  # a store or a disk that fails is found by its own check
            pinned = self._settings.root()
            newer = tuple(Envelope.read(parse(raw)) for raw in watch.roots_after(pinned.root.version))
            if newer:
                version = TrustRoot.chain(newer, pinned).root.version
                keep_roots(self._settings.own, newer)
                self._log("root-accepted", version=version)

    def _keys_are_due(self) -> bool:
        try:
            root, coming = self._settings.root(), next_keys(self._settings.own)
            keys = NodeKeys.read(self._settings.own)
            return (
                coming is not None
                and bool(named(root, self._settings.name, keys))
                and not named(root, self._settings.name, coming)
            )
        except DataTrustError:
            return False

    def _take_keys(self) -> None:
        try:
            if take_next(self._settings.own, self._settings.name, self._settings.root()):
                self._log("keys-switched")
        except OSError as wrong:
            text = f"the next keys cannot be put in place ({wrong.strerror})"
            raise Fault(text, remedy="correct disk or rights") from None


def _heading(raw: bytes) -> tuple[str, str, str]:
    """Kind, the mandate's digest in hex and the study's id, as an unverified message says; empty where it says none."""
    try:
        message = unpack(raw, DOWN)
        mandate_named = message.header.get("mandate")
        if message.kind != "mandate":
            return message.kind, mandate_named if isinstance(mandate_named, str) else "", ""
        mandate = sha256(Envelope.read(mandate_named).unverified_payload).removeprefix("sha256:")
        study = Envelope.read(message.header.get("study")).unverified_payload
        return "mandate", mandate, _id_of(study)
    except DataTrustError:
        return "", "", ""


def _id_of(study: bytes) -> str:
    """The id in a study's bytes.  Raises: MessageInvalid."""
    value = parse(study)
    if not isinstance(value, dict) or not isinstance(value.get("id"), str):
        raise MessageInvalid("a study without an id", expected="its id")
    return str(value["id"])


def _set_proxy(settings: NodeSettings) -> None:
    """What node.toml says, for Flower's client too, which asks the environment."""
    for name in _PROXIES:
        os.environ.pop(name, None)
        os.environ.pop(name.lower(), None)
    if settings.toml and settings.toml.proxy:
        os.environ["HTTPS_PROXY"] = settings.toml.proxy
