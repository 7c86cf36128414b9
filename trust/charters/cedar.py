"""Cedar's answer to a request: whether something permits it, and what forbids it.

Cedar skips a forbid that it cannot evaluate: here an error is a no.  Its words on an error print values of the
request: none of them goes further.  Nothing is asked without the schema.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import cedarpy

from trust.charters.cedar_text import Files, PolicyText, policies_of, policy_set, schema

__all__ = ["PolicyAnswer", "PolicyEngine", "Request", "engine"]

_ACTION = {"type": "Trust::Action", "id": "compute"}


@dataclass(frozen=True)
class Request:
    """What is asked of the policies: `principal` and `dataset` are entities, `context` the schema's record."""

    entities: str
    principal: str
    dataset: str
    context: Mapping[str, Any]

    def document(self) -> dict[str, Any]:
        """As Cedar takes it."""
        return {
            "principal": {"type": "Trust::Researcher", "id": self.principal},
            "action": _ACTION,
            "resource": {"type": "Trust::Dataset", "id": self.dataset},
            "context": self.context,
        }


@dataclass(frozen=True)
class PolicyAnswer:
    """What the policies said.  `yes` only when one permits, none forbids, and each could be evaluated.

    Attributes:
        failed: ids of policies that could not be evaluated; `""` where the request itself could not be.
    """

    permitted: bool
    fired: tuple[PolicyText, ...] = ()
    failed: tuple[str, ...] = ()

    @property
    def yes(self) -> bool:
        return self.permitted and not self.fired and not self.failed


class PolicyEngine:
    """Policies and purposes, parsed once; only what varies is built for each request."""

    def __init__(self, policies: tuple[PolicyText, ...], purposes: Mapping[str, tuple[str, ...]]) -> None:
        self.policies = {policy.id: policy for policy in policies}
        self._policies_handle = _handle(policies)
        self._permits = _handle(p for p in policies if p.effect == "permit")
        purpose_entities = [_entity("Purpose", name, [_uid("Purpose", p) for p in up]) for name, up in purposes.items()]
        self._purposes = cedarpy.Entities.from_json_str(json.dumps(purpose_entities))
        self._entities = functools.lru_cache(maxsize=256)(self._with)

    def _with(self, extra: str) -> cedarpy.Entities:
        return self._purposes.with_added_json_str(extra, schema())

    def ask(self, request: Request) -> PolicyAnswer:
        """Never raises: what cannot be evaluated is a no."""
        return self.ask_all([request])[0]

    def ask_all(self, requests: list[Request]) -> list[PolicyAnswer]:
        """An answer each; the requests have the same researcher and dataset."""
        try:
            entities = self._entities(requests[0].entities)
            documents = [request.document() for request in requests]
            results = cedarpy.is_authorized_batch(documents, self._policies_handle, entities, schema())
            return [self._answer(r, d, entities) for r, d in zip(results, documents, strict=True)]
        except BaseException as wrong:
            _only_failures(wrong)
            return [PolicyAnswer(False, (), ("",)) for _ in requests]

    def _answer(
        self, result: cedarpy.AuthzResult, document: dict[str, Any], entities: cedarpy.Entities
    ) -> PolicyAnswer:
        errors, reasons = result.diagnostics.errors, set(result.diagnostics.reasons)
        if result.allowed and not errors:
            return PolicyAnswer(True)
        failed = [name for name in self.policies if any(f"`{name}`" in error for error in errors)]
        if errors and not failed:
            failed = [""]
        fired = tuple(p for name, p in self.policies.items() if name in reasons and p.effect == "forbid")
        permitted = result.allowed
        if fired:  # a forbid hides whether something permits
            permitted = cedarpy.is_authorized(document, self._permits, entities, schema()).allowed
        return PolicyAnswer(permitted, fired, tuple(failed))

    def permits(self, request: Request, changes: Iterable[Mapping[str, Any]]) -> list[bool]:
        """For each change of the context, whether a policy would then permit; forbids left aside.  Never raises."""
        try:
            documents = [{**request.document(), "context": {**request.context, **change}} for change in changes]
            entities = self._entities(request.entities)
            results = cedarpy.is_authorized_batch(documents, self._permits, entities, schema())
            return [r.allowed and not r.diagnostics.errors for r in results]
        except BaseException as wrong:
            _only_failures(wrong)
            return []


def _only_failures(wrong: BaseException) -> None:
    """Lets through what stops the process on purpose; a crash inside Cedar is no `Exception`, and is a failure."""
    if not isinstance(wrong, Exception) and type(wrong).__name__ != "PanicException":
        raise wrong


def _handle(policies: Iterable[PolicyText]) -> cedarpy.PolicySet:
    return cedarpy.PolicySet.from_json_str(policy_set({p.id: json.loads(p.tree) for p in policies}))


def _uid(kind: str, name: str) -> dict[str, str]:
    return {"type": f"Trust::{kind}", "id": name}


def _entity(kind: str, name: str, parents: list[dict[str, str]], **attrs: Any) -> dict[str, Any]:
    return {"uid": _uid(kind, name), "attrs": attrs, "parents": parents}


@functools.lru_cache(maxsize=64)
def engine(texts: Files, purposes: tuple[tuple[str, tuple[str, ...]], ...]) -> PolicyEngine:
    """The engine of these policies and purposes, made once.  Raises: CharterInvalid where an id stands twice."""
    return PolicyEngine(policies_of(texts), dict(purposes))
