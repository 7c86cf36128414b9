"""Cedar policies as texts: read, held to the schema, and told apart, before anything is asked of them.

Cedar's messages give no place, so each policy is read by itself, and a fault names file and line.  Its parser crashes
the process on deep nesting, so texts are bounded before it sees them.
Language: https://docs.cedarpolicy.com
"""

from __future__ import annotations

import bisect
import functools
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Literal, TypeAlias

import cedarpy

from trust.errors import CharterInvalid, nearest

__all__ = ["Files", "Literals", "PolicyText", "never_fires", "policies_of", "policy_set", "schema"]

Files: TypeAlias = tuple[tuple[str, str], ...]
"""Policies as they were written: `((file name, text), …)`."""
_LONGEST_POLICY, _DEEPEST, _MOST_OPERATORS, _MOST_POLICIES = 10_000, 30, 300, 1_000
_LONGEST_WORDS = 1_000
_TOKEN = re.compile(
    r'//[^\n\r]*|"(?:\\.|[^"\\])*"|(?P<broken>")|::|&&|\|\||[=!<>]=|[A-Za-z_]\w*|\d+|\s+|(?P<one>.)', re.DOTALL
)
_OPERATOR = re.compile(r"&&|\|\||[-+*!.<>=]|[=!<>]=|if|has|like|in|is|contains\w*")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)+")
_NEEDED, _OPTIONAL = ("id", "article", "text", "text_fr"), ("remedy", "remedy_fr")


@dataclass(frozen=True)
class Literals:
    """What a policy's conditions compare with."""

    texts: frozenset[str]
    numbers: frozenset[int]
    durations: frozenset[str]
    times: frozenset[str]
    purposes: frozenset[str]


@dataclass(frozen=True)
class PolicyText:
    """One policy: who wrote it where, its words, and which facts it reads.

    Attributes:
        reads: fields of the request's context, and `principal`, `resource` where it looks at those.
    """

    id: str
    effect: Literal["permit", "forbid"]
    article: str
    words: Mapping[str, str]
    remedies: Mapping[str, str]
    file: str
    line: int
    text: str
    reads: frozenset[str]
    literals: Literals
    tree: str

    @property
    def place(self) -> str:
        """`policies.cedar, line 12`."""
        return f"{self.file}, line {self.line}"


@functools.cache
def schema_text() -> str:
    """The schema that all charters share."""
    return (files("trust") / "charters" / "trust.cedarschema").read_text("utf-8")


@functools.cache
def schema() -> cedarpy.Schema:
    """The same, parsed."""
    return cedarpy.Schema.from_str(schema_text())


@functools.lru_cache(maxsize=64)
def policies_of(texts: Files) -> tuple[PolicyText, ...]:
    """Every policy of these files, in order.  Raises: CharterInvalid with file and line."""
    policies: dict[str, PolicyText] = {}
    for file, text in texts:
        chunks = list(_chunks(file, text))
        for line, chunk in chunks:
            policy = _policy(file, line, chunk)
            if policy.id in policies:
                place = policies[policy.id].place
                raise _invalid(file, line, f"the id {policy.id!r} stands twice", f"another one, since {place} has it")
            policies[policy.id] = policy
        if _number(text) != len(chunks):
            raise CharterInvalid(f"{file} is not read by Cedar as it stands", expected="plain text, lines ended by \\n")
        if not chunks:
            raise CharterInvalid(
                f"{file} holds no policy", expected="policies in Cedar", remedy="write one, or delete it"
            )
    if len(policies) > _MOST_POLICIES:
        raise CharterInvalid(f"{len(policies)} policies", expected=f"at most {_MOST_POLICIES:,}")
    return tuple(policies.values())


def _number(text: str) -> int:
    """How many policies Cedar itself sees in a text; -1 where it reads none of it."""
    try:
        parsed = json.loads(cedarpy.policies_to_json_str(text))
    except ValueError:
        return -1
    return len(parsed["staticPolicies"]) + len(parsed["templates"])


def _invalid(file: str, line: int, got: str, expected: str = "", remedy: str = "") -> CharterInvalid:
    return CharterInvalid(f"{file}, line {line}: {got}", expected=expected, remedy=remedy)


def _chunks(file: str, text: str) -> Iterable[tuple[int, str]]:
    """`(first line, text)` of each policy: what lies between two semicolons.  In Cedar one ends each policy, and
    stands nowhere else but in texts and comments."""
    begin, depth, operators = 0, 0, 0
    blank = True
    for token in _TOKEN.finditer(text):
        word = token.group()
        if blank and (word.isspace() or word.startswith("//")):
            begin = token.end()
            continue
        blank = False
        if token.group("broken"):
            raise _invalid(file, _line(text, token.start()), "a text that does not end", 'a closing "')
        depth += (word in "([{") - (word in ")]}")
        operators += _OPERATOR.fullmatch(word) is not None
        if depth > _DEEPEST:
            line_number = _line(text, token.start())
            raise _invalid(file, line_number, "brackets nested too deeply", f"at most {_DEEPEST} levels")
        if word == ";" or token.end() == len(text):
            start = _line(text, begin)
            if operators > _MOST_OPERATORS or token.end() - begin > _LONGEST_POLICY:
                most = f"at most {_LONGEST_POLICY:,} characters and {_MOST_OPERATORS} operators"
                raise _invalid(file, start, "a policy that is too long", most, "write two policies")
            yield start, text[begin : token.end()]
            begin, depth, operators, blank = token.end(), 0, 0, True


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def _policy(file: str, line: int, chunk: str) -> PolicyText:
    try:
        parsed = json.loads(cedarpy.policies_to_json_str(chunk))
    except ValueError as wrong:
        fault_line = line + _fault(chunk, str(wrong))
        raise _invalid(file, fault_line, f"not a Cedar policy: {wrong}", "permit or forbid (…) when {…};") from None
    if len(parsed["staticPolicies"]) != 1:
        raise _invalid(file, line, "a policy with a slot", "principal and resource without ?principal, ?resource")
    (tree,) = parsed["staticPolicies"].values()
    words = tree.pop("annotations", {})
    _check_words(file, line, words)
    result = cedarpy.validate_policies(chunk, schema())
    if not result.validation_passed:
        fault = _without_place(result.errors[0].error)
        raise _invalid(file, line, f"policy {words['id']!r}: {fault}", "what trust.cedarschema declares")
    try:
        cedarpy.PolicySet.from_json_str(policy_set({words["id"]: tree}))
    except ValueError:
        raise _invalid(
            file, line, f"policy {words['id']!r} is nested too deeply", "fewer conditions in a row"
        ) from None
    reads, literals = _facts(tree)
    return PolicyText(
        id=words["id"],
        effect=tree["effect"],
        article=words["article"],
        words={"en": words["text"], "fr": words["text_fr"]},
        remedies={"en": words.get("remedy", ""), "fr": words.get("remedy_fr", "")},
        file=file,
        line=line,
        text=chunk,
        reads=reads,
        literals=literals,
        tree=json.dumps(tree),
    )


def _fault(chunk: str, message: str) -> int:
    """In which line of the policy the parser stopped: what comes before that token is only unfinished."""
    ends = [t.end() for t in _TOKEN.finditer(chunk) if not t.group().isspace() and not t.group().startswith("//")]

    def broken(end: int) -> bool:
        try:
            cedarpy.policies_to_json_str(chunk[:end])
        except ValueError as wrong:
            return "unexpected end of input" not in str(wrong)
        return False

    if not message.startswith(("unexpected", "invalid token")):
        return 0
    index = bisect.bisect_left(ends, True, key=broken)
    return chunk.count("\n", 0, ends[min(index, len(ends) - 1)])


def _check_words(file: str, line: int, words: Mapping[str, str | None]) -> None:
    for name in words:
        if name not in _NEEDED + _OPTIONAL:
            suggestion = nearest(name, _NEEDED + _OPTIONAL)
            raise _invalid(file, line, f"an unknown annotation @{name}", suggestion, "correct the name")
    for name in _NEEDED:
        if not (words.get(name) or "").strip():
            raise _invalid(file, line, f"a policy without @{name}", f'@{name}("…") before permit or forbid')
    for name, text in words.items():
        if text is None or len(text) > _LONGEST_WORDS or not text.isprintable():
            got = f"@{name} is empty, too long or not one line"
            raise _invalid(file, line, got, f"at most {_LONGEST_WORDS:,} characters in one line")
    if ("remedy" in words) != ("remedy_fr" in words):
        raise _invalid(file, line, "a remedy in one language only", "@remedy and @remedy_fr, or neither")
    if not _ID.fullmatch(str(words["id"])) or str(words["id"]).startswith("floor/"):
        raise _invalid(file, line, f"the id {words['id']!r}", "a name and a name, such as research/columns")


def _without_place(error: str) -> str:
    """Cedar's words on a policy against the schema, which print no value of a request."""
    return re.sub(r"^for policy `[^`]*`, ", "", error)


def _facts(tree: Any) -> tuple[frozenset[str], Literals]:
    """Which facts a policy reads, and what it compares them with."""
    reads: set[str] = set()
    literals: dict[str, set[Any]] = {name: set() for name in ("texts", "numbers", "durations", "times", "purposes")}
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting += node
            continue
        if not isinstance(node, dict):
            continue
        match node:
            case {"type": "Trust::Purpose", "id": str(purpose)}:
                literals["purposes"].add(purpose)
            case {".": {"left": {"Var": "context"}, "attr": attr}}:
                reads.add(attr)
                continue
            case {"Var": "context"}:
                reads |= _context_fields()
            case {"Var": var}:
                reads.add(var)
            case {"op": "==" | "in" | "is", "entity": {"type": "Trust::Researcher" | "Trust::Dataset" as kind}}:
                reads.add("principal" if kind == "Trust::Researcher" else "resource")
            case {"duration": [{"Value": text}]}:
                literals["durations"].add(text)
                continue
            case {"datetime": [{"Value": text}]}:
                literals["times"].add(text)
                continue
            case {"Value": str(text)}:
                literals["texts"].add(text)
            case {"Value": int(number)} if not isinstance(number, bool):
                literals["numbers"].add(number)
        waiting += node.values()
    return frozenset(reads), Literals(**{name: frozenset(values) for name, values in literals.items()})


@functools.cache
def _context_fields() -> frozenset[str]:
    return frozenset(re.findall(r"(\w+): ", schema_text().partition("context: {")[2]))


def policy_set(trees: Mapping[str, Any]) -> str:
    """Cedar's JSON of policies under these ids."""
    return json.dumps({"templates": {}, "templateLinks": [], "staticPolicies": dict(trees)})


def never_fires(policy: PolicyText) -> bool:
    """Whether no request can meet the policy's conditions, as far as Cedar's types tell.

    Cedar checks no further than a condition that is never met, so that a fault behind it goes unseen.
    """
    faulty = policy.text.rstrip().removesuffix(";") + ' when { 1 < "" };'
    return bool(cedarpy.validate_policies(faulty, schema()).validation_passed)
