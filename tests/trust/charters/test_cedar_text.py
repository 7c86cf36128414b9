"""Policies as texts: a fault is named with its line, none is left unread, none that would crash Cedar reaches it."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import strategies as our
from tests.support.charters import PERMIT, WORDS, forbid, write
from trust.charters.cedar_text import never_fires, policies_of
from trust.charters.charter import Charter
from trust.errors import CharterInvalid


def fault(folder: Path) -> str:
    with pytest.raises(CharterInvalid) as caught:
        Charter.load(folder)
    return str(caught.value)


def faulty(folder: Path, cedar: str) -> str:
    return fault(write(folder, cedar))


HEAD = f'@id("mine/a") {WORDS}\nforbid (principal, action, resource)\n'


@pytest.mark.parametrize(
    ("cedar", "expected"),
    [
        pytest.param(
            HEAD + "when { context.persons <<< 10 };", "line 3: not a Cedar policy: unexpected token `<`", id="a"
        ),
        pytest.param(HEAD + "when { context.persons < 10 }", "line 3: not a Cedar policy: unexpected end", id="no ;"),
        pytest.param(
            PERMIT + "\n// b\n" + HEAD + "when {\n  context.sums < 10\n}\n" + PERMIT,
            "line 9: not a Cedar policy: unexpected token `@`",
            id="a ; forgotten between two policies",
        ),
        pytest.param(HEAD + 'when { context.participation == "all };', "line 3: a text that does not end", id="quote"),
        pytest.param(HEAD + "when { context.persons # 10 };", "line 3: not a Cedar policy: invalid token", id="letter"),
        pytest.param("\n\nallow (principal, action, resource);", "line 3: not a Cedar policy: ", id="no effect"),
        pytest.param(
            HEAD.replace('"9"', '"9") @article("8"') + ";", "line 1: not a Cedar policy: duplicate", id="twice"
        ),
        pytest.param(
            HEAD + "when { context.sums < 99999999999999999999 };", "line 1: not a Cedar policy: integer", id="l"
        ),
        pytest.param(
            HEAD.replace("principal,", "principal == ?principal,") + ";", "line 1: a policy with a slot", id="t"
        ),
        pytest.param(
            HEAD + "when { context.person < 10 };",
            "line 1: policy 'mine/a': attribute `person` in context for Trust::Action::\"compute\" not found",
            id="an unknown attribute",
        ),
        pytest.param(
            HEAD + 'when { context.persons < "x" };',
            "line 1: policy 'mine/a': unexpected type: expected Long but saw String",
            id="a wrong type",
        ),
        pytest.param(
            HEAD + 'when { context.now < datetime("2020-13-01") };', "failed to parse as a datetime", id="a bad date"
        ),
        pytest.param(
            HEAD.replace("action", 'action == Trust::Action::"x"') + ";", "unrecognized action", id="an action"
        ),
        pytest.param(
            HEAD + 'when { context.purpose in Trust::Purposes::"x" };', "unrecognized entity type", id="a type"
        ),
        pytest.param(HEAD.replace('@id("mine/a") ', "") + ";", "line 1: a policy without @id", id="no id"),
        pytest.param(HEAD.replace('@article("9") ', "") + ";", "a policy without @article", id="no article"),
        pytest.param(HEAD.replace('@text("A text.") ', "") + ";", "a policy without @text", id="no text"),
        pytest.param(HEAD.replace('@text_fr("Un texte.")', "") + ";", "a policy without @text_fr", id="no French"),
        pytest.param(HEAD.replace('"A text."', '"  "') + ";", "a policy without @text", id="a blank text"),
        pytest.param(HEAD.replace('("A text.")', "") + ";", "a policy without @text", id="a text without words"),
        pytest.param(
            HEAD.replace("A text.", "A\\ntext.") + ";", "@text is empty, too long or not one line", id="lines"
        ),
        pytest.param(HEAD.replace("A text.", "A" * 1001) + ";", "@text is empty, too long or not one line", id="long"),
        pytest.param('@remedy("x") ' + HEAD + ";", "a remedy in one language only", id="half a remedy"),
        pytest.param('@texte_fr("x") ' + HEAD + ";", "unknown annotation @texte_fr; expected 'text_fr'", id="misspelt"),
        pytest.param(HEAD.replace("mine/a", "other/a") + ";", "expected the charter's name before it", id="prefix"),
        pytest.param(HEAD.replace("mine/a", "mine") + ";", "the id 'mine'", id="one name"),
        pytest.param(HEAD.replace("mine/a", "floor/persons") + ";", "the id 'floor/persons'", id="the id of a floor"),
        pytest.param(HEAD.replace("mine/a", "mine/a b") + ";", "the id 'mine/a b'", id="a blank in the id"),
        pytest.param(
            PERMIT + PERMIT, "line 2: the id 'mine/permit' stands twice; expected another one", id="one id twice"
        ),
        pytest.param("// a\rb\n" + PERMIT, "policies.cedar", id="a lone carriage return"),
    ],
)
def test_a_faulty_policy_is_named_with_file_and_line(tmp_path: Path, cedar: str, expected: str) -> None:
    said = faulty(tmp_path, cedar)
    assert said.startswith("policies.cedar")
    assert expected in said


def test_an_id_that_stands_in_two_files(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "a.cedar").write_text("\n" + PERMIT)
    assert "policies.cedar, line 1: the id 'mine/permit' stands twice; expected another one, since a.cedar, line 2" in (
        fault(tmp_path)
    )


def test_too_many_policies(tmp_path: Path) -> None:
    text = "".join(forbid("false", f"p{n}") for n in range(1001))
    assert faulty(tmp_path, text).startswith("1001 policies; expected at most 1,000")


DEEP = {
    "parentheses": "(" * 5000 + "true" + ")" * 5000,
    "sets": "[" * 40 + "]" * 40,
    "records": '{"a":' * 40 + "1" + "}" * 40,
    "or": " || ".join(["true"] * 5000),
    "fewer or": " || ".join(["true"] * 200),
    "if": "if true then " * 300 + "true" + " else true" * 300,
    "attributes": "context" + ".a" * 4000,
    "plus": "1" + " + 1" * 20000 + " == 2",
    "not": "!" * 200 + "true",
    "minus": "-" * 200 + "1 == 1",
    "long": '"' + "x" * 20_000 + '" == ""',
}


def test_what_would_crash_cedar_is_refused_before(tmp_path: Path) -> None:
    """In a process of its own: a crash would take the tests with it."""
    for name, condition in DEEP.items():
        write(tmp_path / name, PERMIT + forbid(condition))
    code = (
        "import sys\nfrom trust.charters.charter import Charter\nfrom trust.errors import CharterInvalid\n"
        "for folder in sys.argv[1:]:\n"
        "    try: Charter.load(folder)\n    except CharterInvalid as e: print(str(e)[:100])\n"
    )
    folders = [str(tmp_path / name) for name in DEEP]
    done = subprocess.run(
        [sys.executable, "-c", code, *folders], capture_output=True, text=True, check=True, timeout=60
    )
    assert [line.startswith("policies.cedar, line ") for line in done.stdout.splitlines()] == [True] * len(DEEP)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sets", "line 3: brackets nested too deeply; expected at most 30 levels"),
        ("fewer or", "line 2: policy 'mine/rule' is nested too deeply; expected fewer conditions in a row"),
        ("long", "line 2: a policy that is too long; expected at most 10,000 characters and 300 operators"),
        ("plus", "line 2: a policy that is too long"),
    ],
)
def test_what_is_too_deep_or_too_long_is_told(tmp_path: Path, name: str, expected: str) -> None:
    assert expected in faulty(tmp_path, PERMIT + forbid(DEEP[name]))


def test_a_space_that_is_none_to_cedar(tmp_path: Path) -> None:
    said = faulty(tmp_path, "\x1c" + PERMIT)
    assert said.startswith("policies.cedar is not read by Cedar as it stands")


def test_a_file_that_is_too_large(tmp_path: Path) -> None:
    assert faulty(tmp_path, PERMIT + "// x\n" * 300_000).startswith("policies.cedar of 15")


def test_comments_texts_and_line_ends_do_not_hide_a_policy() -> None:
    words = WORDS.replace("A text.", 'A; {text} // \\" here')
    text = (
        f'// a ; comment "\r\n@id("m/a") {words}\r\nforbid (principal, action, resource) when {{ true // ; }}\r\n }};'
    )
    text += f"// end ;\n{PERMIT}// last ;"
    first, second = policies_of((("x.cedar", text),))
    assert (first.line, second.line) == (2, 5)
    assert first.words["en"] == 'A; {text} // " here'
    assert (first.effect, second.effect) == ("forbid", "permit")
    assert first.place == "x.cedar, line 2"


@pytest.mark.parametrize(
    ("condition", "reads"),
    [
        ("context.persons > 3", {"persons"}),
        ('principal.organisation.country == "FR"', {"principal"}),
        ('resource == Trust::Dataset::"x"', {"resource"}),
        ("context has purpose", {"purpose", "persons", "now", "partner"}),
        ("if context.noise then true else context.zero_is_small", {"noise", "zero_is_small"}),
    ],
)
def test_what_a_policy_reads(condition: str, reads: set[str]) -> None:
    (policy,) = policies_of((("x.cedar", forbid(condition)),))
    assert reads <= policy.reads
    assert ("analyses" in policy.reads) == (" has " in condition)


RESEARCH = (Path(__file__).parents[3] / "trust" / "charters" / "research" / "policies.cedar").read_bytes()


@settings(max_examples=150)
@given(our.mutated(st.just(RESEARCH)))
def test_spoilt_policies_are_policies_or_a_fault_of_ours(raw: bytes) -> None:
    text = raw.decode("utf-8", "replace")
    with suppress(CharterInvalid):
        assert all(policy.text in text for policy in policies_of((("x.cedar", text),)))


def test_what_a_policy_compares_with() -> None:
    condition = (
        'context.persons > 3 && context.columns.containsAny(["a", "b"]) && context.purpose in [Trust::Purpose::"P"] && '
        'context.now < datetime("2027-01-01") && context.expires.durationSince(context.now) > duration("3d")'
    )
    (policy,) = policies_of((("x.cedar", forbid(condition)),))
    found = policy.literals
    assert (found.texts, found.numbers, found.purposes) == ({"a", "b"}, {3}, {"P"})
    assert (found.times, found.durations) == ({"2027-01-01"}, {"3d"})


def test_a_policy_on_one_researcher_reads_who_asks() -> None:
    text = f'@id("m/a") {WORDS} forbid (principal == Trust::Researcher::"x", action, resource in Trust::Dataset::"d");'
    (policy,) = policies_of((("x.cedar", text),))
    assert policy.reads == {"principal", "resource"}


@pytest.mark.parametrize(
    ("condition", "never"),
    [("true", False), ("context.persons > 3", False), ("context.persons > 3 && false", True), ("!true", True)],
)
def test_conditions_that_can_never_be_met(condition: str, never: bool) -> None:
    (policy,) = policies_of((("x.cedar", forbid(condition)),))
    assert never_fires(policy) is never
