"""The catalogues: all languages say the same, each text is used, and French has its own spaces and apostrophes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from trust.errors import InvalidInput
from trust.words.language import LANGUAGES, catalogue, check_language, french
from trust.words.speech import Speech, phrase, speech

TOP = Path(__file__).parents[3]
PACKAGES = ("trust.words", "datatrust.demo")
ONLY_FRENCH = re.compile(r"verification\.step_")
"""In English a step of the verification is said in the decision's own words."""
BUILT = re.compile(
    r"(policy\.(says_|show_(permit|forbid)|size_|(true|false)$)|root\.(change_|invalid_|partner_)|register\.(kind|line)_|study\.(\w+_yes|\w+_no|unchecked_\d)|verification\.step_"
    r"|mandate\.)|demo\."
)
"""Keys that the code puts together; of the page of a mandate `test_every_text_is_said_somewhere` sees each."""


def texts(package: str, lang: str) -> dict[str, str]:
    """Every text by its section and key, those of tables too."""
    found: dict[str, str] = {}
    for section, entries in catalogue(lang, package).items():
        for key, entry in entries.items():
            for name, text in entry.items() if isinstance(entry, dict) else [("", entry)]:
                found[f"{section}.{key}.{name}".rstrip(".")] = text
    return found


ALL = [
    (package, lang, key, text)
    for package in PACKAGES
    for lang in LANGUAGES
    for key, text in texts(package, lang).items()
]


@pytest.mark.parametrize("package", PACKAGES)
def test_all_languages_have_the_same_keys_and_names(package: str) -> None:
    english = texts(package, "en")
    for lang in LANGUAGES:
        others = {key: text for key, text in texts(package, lang).items() if not ONLY_FRENCH.match(key)}
        assert others.keys() == english.keys()
        for key, text in others.items():
            assert text, key
            if not key.endswith("_is"):
                assert set(re.findall(r"\{(\w+)", text)) == set(re.findall(r"\{(\w+)", english[key])), key


def test_each_text_is_used() -> None:
    folders = ("trust", "nodes", "coordinator", "datatrust")
    code = "".join(path.read_text("utf-8") for name in folders for path in sorted((TOP / name).rglob("*.py")))
    templates = "".join(path.read_text("utf-8") for path in (TOP / "datatrust").rglob("*.j2"))
    for _, _, key, _ in ALL:
        name = key.partition(".")[2].removesuffix("_one")
        assert BUILT.match(key) or re.search(rf"""["']{re.escape(name)}["']""", code + templates), key


def test_french_has_the_spaces_that_end_no_line_and_its_own_apostrophe() -> None:
    for _, lang, key, text in ALL:
        if lang == "fr":
            assert not re.search(r"« | [»:%;!?]|n° |\w'\w", text), (key, text)


def test_the_marks_of_french() -> None:
    assert french("n° 1 : « l'eau » ; 5 % !") == "n°\xa01\xa0: «\xa0l’eau\xa0»\u202f; 5\xa0%\u202f!"


def test_a_language_that_has_no_catalogue() -> None:
    with pytest.raises(InvalidInput, match=r"the language 'de'.*one of: en, fr"):
        check_language("de")
    with pytest.raises(InvalidInput, match="the language 'FR'"):
        Speech("FR", "mandate")
    with pytest.raises(InvalidInput):
        phrase("or", "")


@pytest.mark.parametrize(("lang", "words"), [("en", "“a⟨U+201D⟩b⟨U+001B⟩”"), ("fr", "«\xa0a⟨U+201D⟩b⟨U+001B⟩\xa0»")])
def test_words_of_others_stand_in_quotation_marks_and_are_safe(lang: str, words: str) -> None:
    assert words in phrase("permits", lang, charter="a”b\x1b", purpose="x")


def test_one_and_more() -> None:
    assert speech("policy", "fr")("explain_refused", count=1) == "Refusée par une règle\xa0:"
    assert speech("policy", "fr")("explain_refused", count=1200) == "Refusée par 1\u202f200 règles\xa0:"
