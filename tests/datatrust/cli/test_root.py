"""`datatrust root sign`, and the three commands together: a trust is founded and its keys are rotated."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nodes.keys import NodeKeys
from tests.support.command import Run
from tests.support.founding import FOUNDING, change, ident
from trust.canonical import canonical
from trust.documents.root import Root, TrustRoot
from trust.signing.envelope import sign
from trust.signing.json_text import read_envelopes
from trust.signing.key_files import new_key, write_key

# ---- signing


def test_a_root_is_shown_before_it_is_signed_and_signatures_are_counted(run: Run, here: Path, keys: Path) -> None:
    run("root", "draft", "founding.toml", "--out", "root-1.json")
    code, out, err = run("root", "sign", "root-1.json", "--key", keys / "member-1", "--yes")
    assert (code, out) == (0, "signed by 1 of 3 keys of version 1, 2 are needed\n")
    assert "Trust root of heart, version 1" in err
    assert "Institute, accredited until" in err
    assert "VALID" not in err
    assert (
        run("root", "sign", "root-1.json", "--key", keys / "member-2", "--yes")[1]
        == "signed by 2 of 3 keys of version 1\n"
    )
    root = TrustRoot.founding(read_envelopes(Path("root-1.json").read_bytes())[0])
    assert root.root.trust == "heart"
    assert sorted(p.name for p in here.iterdir() if p.name.startswith(".")) == []


def test_one_key_signs_once(run: Run, signed: Path, keys: Path) -> None:
    before = signed.read_bytes()
    code, out, _ = run("root", "sign", signed, "--key", keys / "member-1", "--yes")
    assert code == 0
    assert out == "this key has signed before; nothing is changed\nsigned by 2 of 3 keys of version 1\n"
    assert signed.read_bytes() == before


@pytest.mark.parametrize("name", ["member-4", "coordinator", "auditor", "lab-1", "north-sign"])
def test_a_key_without_a_part_in_the_root_role_is_refused(run: Run, signed: Path, keys: Path, name: str) -> None:
    before = signed.read_bytes()
    code, out, err = run("root", "sign", signed, "--key", keys / name, "--yes")
    assert (code, out) == (1, "")
    assert "refused by signature" in err
    assert "not a key of the root role of version 1" in err
    assert signed.read_bytes() == before


def test_a_signature_under_a_member_s_id_that_is_not_valid_makes_place(run: Run, signed: Path, keys: Path) -> None:
    """Otherwise whoever passes the file on could keep a member from signing."""
    document = json.loads(signed.read_text())
    document["signatures"] = [{"keyid": ident("member-2", signed.parent), "sig": "AAAA"}]
    signed.write_text(json.dumps(document, indent=1))
    assert run("root", "sign", signed, "--key", keys / "member-2", "--yes")[1].startswith("signed by 1 of 3")
    assert len(read_envelopes(signed.read_bytes())[0].signatures) == 1


def test_an_encrypted_key_is_opened_with_its_passphrase(
    run: Run, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_key(here / "closed", new_key("sign"), "correct horse battery")
    Path("founding.toml").write_text(FOUNDING.replace("member-1", "closed"))
    run("root", "draft", "founding.toml", "--out", "root-1.json")
    for given, code in (("incorrect horse", 2), ("correct horse battery", 0)):
        (here / "secret").write_text(given)
        (here / "secret").chmod(0o600)
        left, out, err = run("root", "sign", "root-1.json", "--key", "closed", "--yes", "--passphrase-file", "secret")
        assert left == code
        assert given not in out + err
    monkeypatch.delenv("DATATRUST_PASSPHRASE", raising=False)
    assert "no terminal to ask at" in run("root", "sign", "root-1.json", "--key", "closed", "--yes")[2]


def test_a_disk_that_is_full_leaves_the_root_as_it_was(
    run: Run, signed: Path, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signed.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("datatrust.cli.root.write_new", full)
    code, out, err = run("root", "sign", signed, "--key", keys / "member-2", "--yes")
    assert (code, out) == (2, "")
    assert "No space left on device" in err
    assert signed.read_bytes() == before


def test_without_a_terminal_nothing_is_signed_unless_yes_is_said(run: Run, signed: Path, keys: Path) -> None:
    before = signed.read_bytes()
    code, out, err = run("root", "sign", signed, "--key", keys / "member-2")
    assert (code, out) == (2, "")
    assert "no terminal to ask at; expected --yes" in err
    assert signed.read_bytes() == before


@pytest.mark.parametrize(("answer", "code", "signers"), [("y\n", 0, 3), ("n\n", 1, 2), ("\n", 1, 2), ("", 130, 2)])
def test_a_member_is_asked(
    run: Run, signed: Path, keys: Path, monkeypatch: pytest.MonkeyPatch, answer: str, code: int, signers: int
) -> None:
    terminal = io.StringIO(answer)
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", terminal)
    left, _, err = run("root", "sign", signed, "--key", keys / "member-2")
    assert left == code
    assert "Do you sign this?" in err
    assert len(read_envelopes(signed.read_bytes())[0].signatures) == signers


def test_an_expired_root_is_signed_by_nobody(run: Run, here: Path, keys: Path) -> None:
    run("root", "draft", "founding.toml", "--out", "root-1.json")
    change(Path("root-1.json"), lambda d: d.update(issued="2020-01-01T00:00:00Z", expires="2021-01-01T00:00:00Z"))
    code, _, err = run("root", "sign", "root-1.json", "--key", keys / "member-1", "--yes")
    assert code == 1
    assert "refused by root-expired" in err


@pytest.mark.parametrize("name", ["root-1.json", "mandate.json", "list.json", "half.json", "empty.json", "twice.json"])
def test_what_is_no_root_is_neither_signed_nor_shown(run: Run, signed: Path, keys: Path, name: str) -> None:
    good = signed.read_text()
    signed.write_text("{}")
    Path("mandate.json").write_bytes(canonical(sign("mandate", {"a": 1}).document()))
    Path("list.json").write_text("[]")
    Path("half.json").write_text(good[: len(good) // 2])
    Path("empty.json").write_text("")
    Path("twice.json").write_text('{"payload":"","payload":"","payloadType":"","signatures":[]}')
    for words in (["show", name], ["sign", name, "--key", str(keys / "member-1"), "--yes"]):
        code, out, err = run("root", *words)
        assert (code, out) == (2, "")
        assert err.startswith(f"datatrust: '{name}': ")
        assert err.count("\n") == 1


def test_a_chain_is_not_signed_as_one(run: Run, signed: Path, keys: Path) -> None:
    Path("all.json").write_text(f"[{signed.read_text()},{signed.read_text()}]")
    assert "holds 2 trust roots" in run("root", "sign", "all.json", "--key", keys / "member-1", "--yes")[2]


# ---- a rotation


CHANGES = '[members]\nadd = ["member-4.pub", "member-5.pub"]\nremove = ["member-1.pub", "member-2.pub"]'


def test_a_rotation_needs_the_old_quorum_and_its_own(
    run: Run, draft_next: Callable[..., Root], signed: Path, keys: Path
) -> None:
    draft_next(CHANGES)
    said = []
    for name in ("member-1", "member-4", "member-2", "member-5"):
        code, out, err = run("root", "sign", "root-2.json", "--key", keys / name, "--from", signed, "--yes")
        assert code == 0
        assert "What changes from version 1" in err
        said.append(out.splitlines())
        left, out, _ = run("root", "show", "root-2.json", signed)
        assert left == (0 if name == "member-5" else 1)
    assert said == [
        ["signed by 0 of 3 keys of version 2, 2 are needed", "signed by 1 of 3 keys of version 1, 2 are needed"],
        ["signed by 1 of 3 keys of version 2, 2 are needed", "signed by 1 of 3 keys of version 1, 2 are needed"],
        ["signed by 1 of 3 keys of version 2, 2 are needed", "signed by 2 of 3 keys of version 1"],
        ["signed by 2 of 3 keys of version 2", "signed by 2 of 3 keys of version 1"],
    ]
    assert out.endswith("\nVALID: it follows version 1.\n")
    chain = [read_envelopes(path.read_bytes())[0] for path in (signed, Path("root-2.json"))]
    assert TrustRoot.chain(chain).root.version == 2


def test_a_later_version_is_not_signed_without_the_one_before_it(
    run: Run, draft_next: Callable[..., Root], signed: Path, keys: Path
) -> None:
    draft_next(CHANGES)
    code, _, err = run("root", "sign", "root-2.json", "--key", keys / "member-3", "--yes")
    assert code == 2
    assert "version 2 without the one before it; expected --from OLD.json" in err


def test_a_key_of_neither_version_is_refused(
    run: Run, draft_next: Callable[..., Root], signed: Path, keys: Path
) -> None:
    draft_next("")
    code, _, err = run("root", "sign", "root-2.json", "--key", keys / "member-4", "--from", signed, "--yes")
    assert code == 1
    assert "not a key of the root role of version 2 or 1" in err


@pytest.mark.parametrize(
    ("edit", "rule"),
    [
        pytest.param(lambda d: d.update(trust="other"), "root-trust", id="of another trust"),
        pytest.param(lambda d: d.update(version=3), "root-version", id="that leaves a version out"),
        pytest.param(lambda d: d.update(version=1), "root-version", id="of the same version"),
        pytest.param(lambda d: d.update(issued="2020-01-01T00:00:00Z"), "root-version", id="issued before it"),
    ],
)
def test_what_does_not_follow_is_not_signed(
    run: Run,
    draft_next: Callable[..., Root],
    signed: Path,
    keys: Path,
    edit: Callable[[dict[str, Any]], object],
    rule: str,
) -> None:
    draft_next("")
    change(Path("root-2.json"), edit)
    code, out, err = run("root", "sign", "root-2.json", "--key", keys / "member-1", "--from", signed, "--yes")
    assert (code, out) == (1, "")
    assert f"refused by {rule}" in err


def test_what_follows_an_unsigned_root_is_not_signed(
    run: Run, draft_next: Callable[..., Root], signed: Path, keys: Path
) -> None:
    draft_next("")
    change(signed, lambda d: d)
    code, _, err = run("root", "sign", "root-2.json", "--key", keys / "member-1", "--from", signed, "--yes")
    assert code == 1
    assert "signed by 0 of 3 keys" in err


# ---- help, a process of its own, the guide


@pytest.mark.parametrize("words", [("root",), ("root", "draft"), ("root", "sign"), ("root", "show")])
def test_help(run: Run, words: tuple[str, ...]) -> None:
    code, out, _ = run(*words, "--help")
    assert code == 0
    assert "Usage: datatrust root" in out
    assert "\\[" not in out


@pytest.mark.slow
def test_in_a_process_of_its_own(here: Path, keys: Path) -> None:
    program = "from datatrust.cli.main import main; main()"
    env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path(__file__).parents[3]), "HOME": str(here)}

    def call(*words: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run([sys.executable, "-c", program, "root", *words], capture_output=True, env=env, input=b"")

    assert call("draft", "founding.toml", "--out", "root-1.json").returncode == 0
    for name in ("member-1", "member-2"):
        assert call("sign", "root-1.json", "--key", str(keys / name), "--yes").returncode == 0
    told = call("show", "root-1.json")
    assert (told.returncode, told.stderr) == (0, b"")
    assert b"VALID as a founding root" in told.stdout
    assert call("show", "founding.toml").returncode == 2


def test_the_founding_file_of_the_guide_is_one(run: Run, here: Path) -> None:
    """What docs/found-a-trust.md shows can be copied."""
    guide = (Path(__file__).parents[3] / "docs" / "found-a-trust.md").read_text("utf-8")
    texts = re.findall(r"```toml\n(.*?)```", guide, re.DOTALL)
    assert len(texts) == 2
    for text in texts:
        tomllib.loads(text)
        for path in re.findall(r'"([^"]+\.pub)"', text):
            Path(path).parent.mkdir(exist_ok=True)
            if not Path(path).exists():
                write_key(Path(path).with_suffix(""), new_key("seal" if "seal" in path else "sign"), None)
        for path in re.findall(r'"([^"]+/partner\.json)"', text):
            Path(path).parent.mkdir()
            Path(path).write_bytes(NodeKeys.make().public(Path(path).parent.name).file())
    Path("trust.toml").write_text(texts[0])
    Path("changes.toml").write_text(texts[1])
    assert run("root", "draft", "trust.toml", "--out", "root-1.json")[0] == 0
    for name in ("member-1", "member-2"):
        assert run("root", "sign", "root-1.json", "--key", Path("keys") / name, "--yes")[0] == 0
    assert run("root", "draft", "changes.toml", "--from", "root-1.json", "--out", "root-2.json")[0] == 0
