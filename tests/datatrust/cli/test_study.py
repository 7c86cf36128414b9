"""`datatrust study`: a study in a file is checked, filed, followed, answered and withdrawn at a coordinator."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import datatrust as dt
from coordinator.api import create_app
from tests.support.command import Run
from tests.support.served_coordinator import WIDE, Liar, Served, free_port, invite, served
from tests.support.trust_copies import ASKED, only
from trust.canonical import canonical

Study = Callable[..., tuple[int, str, str]]


@pytest.fixture
def liar() -> list[Liar]:
    return []


@pytest.fixture
def here(tmp_path: Path, liar: list[Liar], monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setenv("DATATRUST_HOME", str(tmp_path / "mine"))
    monkeypatch.delenv("DATATRUST_KEY", raising=False)

    def make(settings: Any) -> Liar:
        liar.append(Liar(create_app(settings, limits=WIDE)))
        return liar[0]

    with served(tmp_path, make) as listens:
        yield listens


@pytest.fixture
def study(run: Run, here: Served) -> Study:
    """`study("submit", file)`: the command at the address, with the researcher's key."""
    with_key = dt.connect(here.url, key=here.researcher, invitation=here.invitation)
    with_key.close()

    def call(command: str, *arguments: object) -> tuple[int, str, str]:
        return run("study", command, *arguments, "--url", here.url, "--key", here.researcher)

    return call


@pytest.fixture
def file(study: Study, here: Served, tmp_path: Path) -> Path:
    """A study that she wrote in Python."""
    return write(here, tmp_path / "study.json")


def write(here: Served, file: Path, title: str = "Age", **more: Any) -> Path:
    trust = dt.connect(here.url, key=here.researcher)
    fields: dict[str, Any] = {"purpose": "AcademicResearch", "cohort": "age >= 40", "analyses": ASKED} | more
    trust.study(title, **fields).save(file)
    trust.close()
    return file


def test_from_the_file_to_the_result(study: Study, run: Run, here: Served, file: Path, tmp_path: Path) -> None:
    code, out, err = study("check", file)
    assert (code, err) == (0, "")
    assert all(line.startswith("yes  ") for line in out.splitlines())
    code, out, err = study("submit", file)
    name = json.loads(file.read_bytes())["id"]
    assert (code, out, err) == (0, f"{name}  0 of 2 signatures\n", "")
    assert study("submit", file) == (0, out, "")  # twice is once
    assert study("status", name)[1] == out
    assert [line.split()[0] for line in study("status")[1].splitlines()] == [only(here.folder), name]
    told = json.loads(study("status", name, "--json")[1])
    assert told == {"study": name, "state": "filed", "words": "0 of 2 signatures", "done": False}
    code, out, err = study("result", name)
    assert (code, out) == (3, "")
    assert f"the study {name!r} still waits: 0 of 2 signatures" in err
    here.sign(name, 1, 2)
    here.carry_out(name)
    code, out, err = study("result", name, "--out", tmp_path / "result.json", "--wait", 20)
    assert (code, err) == (0, f"written: {tmp_path / 'result.json'}\n")
    assert out.startswith("Age: 2 analyses over east, north, south\n")
    assert "\ntable\n" in out
    assert re.search(r"mean +[0-9.]+ +[0-9.]+", out)
    assert run("verify", tmp_path / "result.json")[1].splitlines()[-1] == "verified"
    found = json.loads(study("result", name, "--json")[1])
    assert set(found["results"]) == {"table", "model"}
    assert study("status", name)[1] == f"{name}  released\n"
    code, _, err = study("result", name, "--out", tmp_path / "result.json")
    assert (code, "exists; to fix it: name another file" in err) == (2, True)
    code, _, err = study("cancel", name)
    assert (code, "cannot be cancelled any more: released" in err) == (1, True)


def test_what_the_charter_refuses_is_said_with_what_would_pass(
    study: Study, here: Served, tmp_path: Path, liar: list[Liar]
) -> None:
    file = write(here, tmp_path / "ad.json", purpose="Marketing", protections={"persons": 5})
    code, out, err = study("check", file)
    assert (code, err) == (1, "")
    assert "no   floor/persons: " in out
    assert "to fix it: set persons to 11" in out
    assert "persons" in out.rpartition("\n\n")[2]
    liar[0].asked.clear()
    code, out, err = study("submit", file)
    assert (code, out, "refused by" in err) == (1, "", True)
    assert "/v1/studies" not in liar[0].asked


def test_cancelled(study: Study, file: Path) -> None:
    name = study("submit", file)[1].split()[0]
    assert study("cancel", name) == (0, f"{name}  withdrawn\n", "")
    assert study("cancel", name)[0] == 0
    code, out, err = study("result", name)
    assert (code, out) == (1, "")
    assert "was cancelled" in err


def test_bad_input_is_said_in_words(study: Study, run: Run, here: Served, file: Path, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    document = json.loads(file.read_bytes())
    (tmp_path / "other.json").write_bytes(canonical(document | {"researcher": "somebody"}))
    (tmp_path / "loose.json").write_text(json.dumps(document, indent=2))
    for arguments, expected, words in (
        (("submit", tmp_path / "none"), 2, "cannot be read"),
        (("submit", tmp_path / "text"), 2, "JSON"),
        (("submit", tmp_path / "other.json"), 2, "a study in the name of 'somebody'; expected 'local'"),
        (("submit", tmp_path / "loose.json"), 2, "canonical"),
        (("status", "nothing"), 2, "no such study is on the docket"),
        (("result", "nothing"), 2, "no such study is on the docket"),
        (("result", only(here.folder), "--wait", "-1"), 2, "a wait always has a limit"),
        (("result", only(here.folder), "--wait", "inf"), 2, "a wait always has a limit"),
    ):
        code, out, err = study(*arguments)
        assert (code, out, words in err) == (expected, "", True), err
    code, _, err = run("study", "status", "--url", here.url)
    assert (code, "no key; expected --key FILE, or DATATRUST_KEY" in err) == (2, True)
    code, _, err = run("study", "status", "--url", here.url, "--key", here.folder / "keys" / "auditor.pem")
    assert (code, "is not a researcher's in version 1" in err) == (1, True)
    code, _, err = run("study", "status", "--url", "https://127.0.0.1:1", "--key", here.researcher)
    assert (code, "no invitation to https://127.0.0.1:1 is known here" in err) == (2, True)


def test_a_coordinator_that_is_down_is_exit_code_3(study: Study, run: Run, here: Served, tmp_path: Path) -> None:
    url = f"https://127.0.0.1:{free_port()}"
    invitation = invite(tmp_path / "down.json", url, here.folder)
    begun = time.monotonic()
    where = ("--url", url, "--invitation", invitation, "--key", here.researcher)
    code, out, err = run("study", "status", *where)
    assert (code, out, "cannot be reached" in err) == (3, "", True)
    assert time.monotonic() - begun < 10
