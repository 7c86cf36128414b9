"""A study that is filed in one process, signed in two others, and carried out in a fourth; and what is left of it."""

from __future__ import annotations

import base64
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import datatrust as dt
from coordinator.study import carry_out as studies
from coordinator.study.conductor import Coordinator, conduct
from datatrust.in_process import local_trust as federation
from datatrust.in_process.folder import TrustFolder
from datatrust.person.passphrase import ENVIRONMENT
from datatrust.research.result import Job, Result
from tests.support.command import Run
from tests.support.example import DATASET, HOSPITALS, small_trust
from tests.support.log_tampering import CHANGES
from tests.support.trust_copies import ASKED, PASSPHRASE, close, copy, key, member, only, opened
from trust.errors import InvalidInput, Refused

HERE = Path(__file__).parents[3]
PROGRAM = Path(sys.executable).with_name("datatrust")
FRESH = """
import json, sys
import datatrust as dt
from tests.support.example import small_trust
trust = small_trust(state=sys.argv[1])
job = trust.job(sys.argv[2])
before = job.state
found = job.result(progress=False)
print(json.dumps([before, job.state, job.done(), found.verify().ok, found.to_dict()]))
"""


def process(*command: object, **environment: str) -> tuple[int, str]:
    """A program of its own: its exit code, and what it printed."""
    kept = {name: value for name, value in os.environ.items() if name != ENVIRONMENT}
    found = subprocess.run(
        [str(part) for part in command],
        cwd=HERE,
        env={**kept, "PYTHONPATH": str(HERE), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert PASSPHRASE not in found.stdout + found.stderr
    return found.returncode, found.stdout + found.stderr


def signed(folder: Path) -> federation.LocalTrust:
    """The trust of a folder whose study two members have signed."""
    trust = opened(folder, passphrase=None)
    mandate = trust.docket.studies()[0].mandate
    for number in (1, 2):
        mandate = mandate.with_signature(member(folder, number))
    trust.docket.sign(only(folder), mandate)
    return trust


@pytest.fixture(scope="module")
def answered(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A folder whose study is answered, and the answer."""
    folder = copy(tmp_path_factory.mktemp("jobs") / "state")
    trust = signed(folder)
    found = trust.job(only(folder)).result().to_dict()
    close(trust)
    return folder, found


@pytest.fixture
def folder(answered: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it."""
    monkeypatch.setenv("DATATRUST_HOME", str(tmp_path / "home"))
    shutil.copytree(answered[0], tmp_path / "state")
    return tmp_path / "state"


@pytest.fixture
def waiting(tmp_path: Path) -> Iterator[tuple[federation.LocalTrust, Job]]:
    """A trust with one study, whose mandate is in force."""
    trust = signed(copy(tmp_path / "state"))
    job = trust.job(only(tmp_path / "state"))
    yield trust, job
    close(trust)


@pytest.mark.slow
def test_filed_here_signed_by_two_commands_and_answered_in_a_fresh_process(tmp_path: Path) -> None:
    folder = copy(tmp_path / "state")
    secret = tmp_path / "secret"
    secret.write_text(PASSPHRASE + "\n")
    secret.chmod(0o600)
    study = only(folder)
    here = opened(folder, passphrase=None)
    job = here.job(study)
    assert (job.state, job.done(), repr(job)) == ("0 of 2 signatures", False, f"<study {study}: 0 of 2 signatures>")
    with pytest.raises(Refused, match="signed by 0 of the 2 members who are needed, 1 of role 'lay' lacking"):
        job.result()
    sign = (PROGRAM, "review", "sign", study, "--state", folder, "--yes", "--key")
    code, out = process(*sign, key(folder, 2), **{ENVIRONMENT: PASSPHRASE})
    assert (code, job.state) == (0, "1 of 2 signatures, one signature of the role “lay” is missing"), out
    code, out = process(*sign, key(folder, 1), "--passphrase-file", secret)
    assert (code, job.state) == (0, "mandate in force"), out
    code, out = process(sys.executable, "-c", FRESH, folder, study)
    assert (code, job.state) == (0, "released"), out
    close(here)
    before, after, done, verified, found = json.loads(out)
    assert (before, after, done, verified) == ("mandate in force", "released", True, True)

    trust = small_trust()
    mine = trust.study("x", purpose="AcademicResearch", cohort="age >= 40", analyses=ASKED).run().to_dict()
    assert found["results"].keys() == mine["results"].keys()

    def numbers(value: Any) -> Iterator[Any]:
        if isinstance(value, dict):
            for name in sorted(value):
                if name != "provenance":
                    yield from numbers(value[name])
        elif isinstance(value, list):
            for part in value:
                yield from numbers(part)
        else:
            yield value

    pairs = list(zip(numbers(found["results"]), numbers(mine["results"]), strict=True))
    assert sum(isinstance(ours, float) for ours, _ in pairs) > 20
    for ours, theirs in pairs:
        assert ours == pytest.approx(theirs, rel=1e-9) if isinstance(ours, float) else ours == theirs


@pytest.mark.slow
def test_three_members_who_sign_at_the_same_moment(tmp_path: Path, run: Run) -> None:
    folder = copy(tmp_path / "state")
    command = [str(part) for part in (PROGRAM, "review", "sign", only(folder), "--state", folder, "--yes", "--key")]
    started = [
        subprocess.Popen(
            [*command, str(key(folder, number))],
            env={**os.environ, ENVIRONMENT: PASSPHRASE},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for number in (1, 2, 3)
    ]
    said = [process.communicate(timeout=60)[0] for process in started]
    codes = [process.returncode for process in started]
    for code, words in zip(codes, said, strict=True):  # who comes third is told that it is in force already
        assert code == 0 or (code == 1 and "is mandated; only one that waits" in words), words
    assert codes.count(0) >= 2
    trust = opened(folder, passphrase=None)
    assert trust.job(only(folder)).state == "mandate in force"
    assert [e.kind for e in trust.docket.register.entries()].count("mandate") == 1
    close(trust)
    assert run("register", "verify", "--state", folder)[0] == 0


def test_who_asks_again_gets_what_was_released(
    answered: tuple[Path, dict[str, Any]], folder: Path, tmp_path: Path
) -> None:
    before = answered[1]
    trust = opened(folder, passphrase=None)
    job = trust.job(only(folder))
    entries = trust.docket.register.head()
    result = job.result()
    assert trust.docket.register.head() == entries  # nobody was asked anything
    again = result.to_dict()
    for name in before["results"]:
        assert {**again["results"][name], "provenance": {}} == {**before["results"][name], "provenance": {}}
    assert (again["study"], again["decisions"]) == (before["study"], before["decisions"])
    assert again["provenance"] == {**before["provenance"], "bytes": {}}  # how much each node sent is not kept
    saved = result.save(tmp_path / "result.json")
    assert saved.read_bytes() == (folder / "results" / f"{job.id}.json").read_bytes()
    assert result.verify(folder / "roots" / "1.json").pinned
    close(trust)


def test_a_result_of_another_study_or_none_is_not_taken_for_it(folder: Path) -> None:
    trust = opened(folder)
    study = only(folder)
    other = trust.study("Other", purpose="AcademicResearch", cohort="age >= 40", analyses=ASKED).run()
    file = TrustFolder(folder).coordinator.result(study)
    file.write_bytes(TrustFolder(folder).coordinator.result(other.study.id).read_bytes())
    with pytest.raises(Refused, match="is the result of another study"):
        trust.job(study).result()
    file.unlink()
    with pytest.raises(InvalidInput, match="cannot be read"):
        trust.job(study).result()
    close(trust)


def test_everything_that_is_left_of_it_holds(folder: Path, run: Run) -> None:
    file = TrustFolder(folder).coordinator.result(only(folder))
    assert run("verify", file)[0] == 0
    assert run("verify", file, "--root", folder / "roots" / "1.json")[1].splitlines()[-1] == "verified"
    assert run("register", "verify", "--state", folder)[1].splitlines()[-1] == "ok"
    assert run("node", "journal", "verify", "--state", folder)[1].splitlines()[-1] == "ok"
    lines = run("register", "show", "--state", folder)[1].splitlines()
    kinds = [line for line in lines if "total read" not in line and "journal checkpoint" not in line]
    assert [line[29:45].strip() for line in kinds] == [
        "trust root", "charter", "study filed", "mandate", "result released",
    ]  # fmt: skip
    for path in folder.rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o644 if path.suffix == ".pub" else 0o600)


def changed(raw: bytes, at: int) -> bytes:
    """The same length, one byte another."""
    return raw[:at] + (b"B" if raw[at : at + 1] == b"A" else b"A") + raw[at + 1 :]


def test_a_result_file_with_one_byte_changed_is_not_verified(folder: Path, run: Run) -> None:
    file = TrustFolder(folder).coordinator.result(only(folder))
    raw = file.read_bytes()
    for at in range(1, len(raw) - 1, len(raw) // 15):
        file.write_bytes(changed(raw, at))
        assert run("verify", file)[0] in (1, 2), at
    file.write_bytes(changed(raw, raw.rindex(b'"sig":"') + 20))
    code, out, _ = run("verify", file)
    assert (code, "the result is signed by 0 of 1 keys" in out) == (1, True)
    document = json.loads(raw)
    payload = base64.b64decode(document["payload"])
    at = payload.index(b'"values":["', payload.index(b'"mean":')) + len('"values":["')
    digit = b"8" if payload[at : at + 1] != b"8" else b"7"
    document["payload"] = base64.b64encode(payload[:at] + digit + payload[at + 1 :]).decode()
    file.write_text(json.dumps(document, sort_keys=True, separators=(",", ":")) + "\n")
    assert run("verify", file)[0] == 1
    trust = opened(folder, passphrase=None)
    with pytest.raises(Refused, match="the result is signed by 0 of 1 keys"):
        trust.job(only(folder)).result()
    close(trust)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_register_with_one_row_changed_is_found_by_everybody(folder: Path, run: Run, change: Any) -> None:
    with sqlite3.connect(folder / "coordinator" / "state.sqlite", isolation_level=None) as db:
        change(db, 2)
    db.close()
    assert run("register", "verify", "--state", folder)[0] == 1
    for command in (("review", "list"), ("review", "show", "2026-0001")):
        code, out, err = run(*command, "--state", folder)
        assert (code, out, "the register was changed" in err) == (1, "", True)
    with pytest.raises(Refused, match="the register was changed"):
        opened(folder)


def test_a_journal_with_one_row_changed_is_found(folder: Path, run: Run) -> None:
    with sqlite3.connect(folder / "nodes" / "north" / "state.sqlite") as db:
        CHANGES["edit the hash"](db, 1)
    db.close()
    code, out, _ = run("node", "journal", "verify", "--state", folder)
    assert (code, [line[:2] for line in out.splitlines()[:3]]) == (1, ["ok", "no", "ok"])
    assert "journal-corrupt" in out


# ---- when it does not go well

Stop = Callable[..., Any]


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), ZeroDivisionError(), MemoryError()], ids=lambda e: type(e).__name__
)
def test_a_study_that_is_broken_off_does_not_run_for_ever(
    waiting: tuple[federation.LocalTrust, Job], monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    trust, job = waiting

    def stop(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(studies, "conduct", stop)
    with pytest.raises(type(error)):
        job.result()
    assert (job.state, job.done()) == ("failed", True)
    with pytest.raises(Refused, match="refused by fault: the study was broken off; to fix it: file a new study"):
        trust.job(job.id).result()


def test_only_one_of_two_processes_runs_it(
    waiting: tuple[federation.LocalTrust, Job], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    trust, job = waiting
    other = opened(tmp_path / "state", passphrase=None)
    refused: list[str] = []

    def meanwhile(coordinator: Coordinator, *arguments: Any, **named: Any) -> Any:
        with pytest.raises(Refused, match="is running already; to fix it: wait for its end") as no:
            other.job(job.id).result()
        refused.append(no.value.rule)
        return conduct(coordinator, *arguments, **named)

    monkeypatch.setattr(studies, "conduct", meanwhile)
    assert isinstance(job.result(), Result)
    assert refused == ["study-state"]
    close(other)
    assert [e.kind for e in trust.docket.register.entries() if e.study == job.id].count("release") == 1


def test_a_study_that_a_rule_refuses_says_so_ever_after(tmp_path: Path) -> None:
    trust = opened(copy(tmp_path / "state"))
    women = {"cohort": "age >= 40 and sex = 'F'", "analyses": {"model": dt.Glm("pressure ~ age")}}
    study = trust.study("Women", purpose="AcademicResearch", **women)  # type: ignore[arg-type]
    with pytest.raises(Refused, match="refused by organisations"):
        study.run()
    close(trust)
    again = opened(tmp_path / "state", passphrase=None)
    job = again.job(study.study.id)
    assert (job.state, job.done()) == ("refused", True)
    with pytest.raises(Refused, match=r"refused by organisations: .* 2 of 3 do"):
        job.result()
    with pytest.raises(InvalidInput, match="no study 'nothing' is on the docket"):
        again.job("nothing")
    close(again)


def test_a_title_cannot_steer_the_terminal() -> None:
    title = "Quiet\x1b[2J \u202e day's"
    study = small_trust().study(title, purpose="AcademicResearch", analyses={"d": dt.Describe(["age"])})
    assert "\x1b" not in repr(study)
    assert "\u202e" not in repr(study)
    result = study.run()
    for shown in (str(result), repr(result), result._repr_html_()):
        assert "\x1b" not in shown
        assert "\u202e" not in shown
        assert "⟨U+001B⟩" in shown


def test_a_partners_policy_and_its_opt_outs_do_not_end_by_being_forgotten(tmp_path: Path) -> None:
    policy = tmp_path / "north"
    policy.mkdir()
    (policy / "partner.toml").write_text('name = "north"\nversion = 1\npublished = true\n[floor]\npersons = 30\n')
    dataset = dt.Dataset.parse(DATASET)
    dt.local(HOSPITALS, dataset, state=tmp_path / "s", policies={"north": policy}).docket.close()
    with pytest.raises(InvalidInput, match="'north' had a policy"):
        dt.local(HOSPITALS, dataset, state=tmp_path / "s")
    dt.local(HOSPITALS, dataset, state=tmp_path / "s", policies={"north": policy}).docket.close()


def test_a_lost_register_is_not_begun_anew_by_who_reads_it(tmp_path: Path) -> None:
    small_trust(state=tmp_path / "s").docket.close()
    for file in (tmp_path / "s" / "coordinator").glob("state.sqlite*"):
        file.unlink()
    with pytest.raises(InvalidInput, match="has lost its register"):
        TrustFolder(tmp_path / "s").docket()
    assert not (tmp_path / "s" / "coordinator" / "state.sqlite").exists()


def test_the_change_that_is_proposed_passes_a_partners_policy_too(tmp_path: Path) -> None:
    policy = tmp_path / "north"
    policy.mkdir()
    (policy / "partner.toml").write_text('name = "north"\nversion = 1\npublished = true\n[floor]\npersons = 30\n')
    trust = small_trust(policies={"north": policy})
    study = trust.study("x", purpose="Marketing", analyses={"d": dt.Describe(["age"])}, protections={"persons": 5})
    (change, *_) = study.explain().changes
    assert change["persons"] == 30
    mended = trust.study(
        "x",
        purpose=change["purpose"],
        analyses={"d": dt.Describe(["age"])},
        protections={"persons": change["persons"]},
    )
    assert mended.check().ok
