"""docs/research.md: its Python runs in its order, against a coordinator that answers."""

from __future__ import annotations

import re
import shutil
import threading
from pathlib import Path

import pytest

import datatrust as dt
from datatrust.in_process.folder import TrustFolder
from tests.support.served_coordinator import Served, served

GUIDE = Path(__file__).parents[3] / "docs" / "research.md"
ADDRESS = "https://trust.example:8443"


def committee(here: Served, filed: threading.Event) -> None:
    """Sign and carry out what is filed, as members and a worker would."""
    assert filed.wait(60)
    docket = TrustFolder(here.folder).docket()
    study = docket.studies()[-1].id
    docket.close()
    here.sign(study, 1, 2)
    here.carry_out(study)


def test_the_guides_python_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATATRUST_HOME", str(tmp_path / "mine"))
    monkeypatch.delenv("DATATRUST_KEY", raising=False)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    text = GUIDE.read_text("utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 9
    with served(tmp_path) as here:
        shutil.copy(here.researcher, "lab-1")
        shutil.copy(here.invitation, "invitation.json")
        filed = threading.Event()
        members = threading.Thread(target=committee, args=(here, filed))
        members.start()
        names: dict[str, object] = {}
        for block in blocks:
            exec(compile(block.replace(ADDRESS, here.url), str(GUIDE), "exec"), names)  # noqa: S102 - our own page
            if "job" in names:
                filed.set()
        filed.set()
        members.join()
    assert isinstance(names["result"], dt.Result)
    assert Path("result.json").is_file()
    assert Path("study.json").is_file()
    said = capsys.readouterr()
    assert said.err.startswith("pinned: the trust root of local, version 1, fingerprint sha256:")
    for line in (
        "  no-permit: the charter “research” does not permit the purpose “Marketing”",
        "  persons = 11; purpose = ResearchAndDevelopment",
        "    mean        63.988764  127.467416",
    ):
        assert line in text
        assert line in said.out
