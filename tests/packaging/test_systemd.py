"""The units: hardened, well formed, and datatrust works under what they forbid."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import missing

TOP = Path(__file__).parents[2]
UNITS = sorted((TOP / "docker" / "systemd").glob("*.service"))
HIGHEST = 2.0
"""Of systemd's measure of exposure, from 0 to 10."""


def analyze(*words: str | Path) -> subprocess.CompletedProcess[str]:
    if shutil.which("systemd-analyze") is None:
        missing("systemd-analyze (apt-get install systemd)")
    return subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, timeout=60)


def score(unit: Path) -> float:
    done = analyze("security", "--offline=true", "--no-pager", unit)
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert found, done.stdout + done.stderr
    return float(found[1])


def setting(unit: Path, name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", unit.read_text("utf-8"), re.MULTILINE)


def test_there_are_two_units() -> None:
    assert [unit.name for unit in UNITS] == ["datatrust-coordinator.service", "datatrust-node.service"]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_exposes_little(unit: Path, tmp_path: Path) -> None:
    alone = tmp_path / unit.name  # without the drop-in that lies beside it
    shutil.copy(unit, alone)
    assert score(unit) <= HIGHEST
    assert score(alone) <= HIGHEST


def test_a_unit_without_hardening_is_seen_to_be_exposed(tmp_path: Path) -> None:
    bare = tmp_path / "bare.service"
    bare.write_text("[Service]\nExecStart=/bin/true\n")
    assert score(bare) > 9


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_is_well_formed(unit: Path, tmp_path: Path) -> None:
    """Its command is replaced by one that is here; unknown settings and values are what systemd complains of."""
    copy = tmp_path / unit.name
    text = unit.read_text("utf-8")
    copy.write_text(text.replace("/opt/datatrust/bin/datatrust", "/usr/bin/env"))
    for dropped in sorted((unit.parent / f"{unit.name}.d").glob("*.conf")):
        (tmp_path / f"{unit.name}.d").mkdir(exist_ok=True)
        shutil.copy(dropped, tmp_path / f"{unit.name}.d")
    done = analyze("verify", copy)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    copy.write_text(copy.read_text().replace("ProtectSystem=strict", "ProtectSystem=strickt"))
    assert "strickt" in analyze("verify", copy).stderr


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_says_what_is_promised(unit: Path) -> None:
    (home,) = re.findall(r"--home (\S+)", *setting(unit, "ExecStart"))
    (state,) = setting(unit, "StateDirectory")
    assert home == f"/var/lib/{state}" == setting(unit, "WorkingDirectory")[0]
    assert setting(unit, "StateDirectoryMode") == ["0700"]
    assert setting(unit, "Type") == ["notify"]
    assert int(setting(unit, "WatchdogSec")[0]) >= 60
    assert setting(unit, "Restart") == ["on-failure"]
    assert setting(unit, "User") == ["datatrust"]
    if "coordinator" in unit.stem:  # else a study without memory would end all of it
        assert setting(unit, "OOMPolicy") == ["continue"]
    assert setting(unit, "MemoryDenyWriteExecute") == ["yes"]
    assert setting(unit, "RestrictAddressFamilies") == ["AF_INET AF_INET6 AF_UNIX"]
    assert setting(unit, "SystemCallFilter")[0] == "@system-service"
    (environment,) = setting(unit, "Environment")
    assert {"FLWR_TELEMETRY_ENABLED=0", "FLWR_DISABLE_UPDATE_CHECK=1"} <= set(environment.split())


def test_a_node_reaches_nothing_but_what_the_drop_in_says() -> None:
    (node,) = (unit for unit in UNITS if "node" in unit.name)
    assert setting(node, "IPAddressDeny") == ["any"]
    assert setting(node, "IPAddressAllow") == ["localhost"]
    drop_in = node.parent / f"{node.name}.d" / "addresses.conf"
    assert all(re.fullmatch(r"(192\.0\.2|198\.51\.100)\.\d+", given) for given in setting(drop_in, "IPAddressAllow"))


# ---- under what the units forbid


def calls(*sets: str) -> set[str]:
    """The system calls of systemd's sets."""
    found: set[str] = set()
    for line in analyze("syscall-filter", *sets).stdout.splitlines():
        word = line.strip()
        if word.startswith("@") and line.startswith(" "):
            found |= calls(word)
        elif word and not word.startswith(("@", "#")):
            found.add(word)
    return found


def numbers(names: set[str]) -> str:
    """This machine's, as its C headers have them."""
    headers = sorted(Path("/usr/include").glob("*-linux-gnu/asm/unistd_64.h"))
    if platform.machine() != "x86_64" or not headers:
        missing("the numbers of system calls (x86_64; apt-get install linux-libc-dev)")
    known = dict(re.findall(r"#define __NR_(\w+) (\d+)", headers[0].read_text()))
    return ",".join(known[name] for name in sorted(names) if name in known)


def confined(*arguments: str, folder: Path, allowed: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(TOP), "HOME": str(folder), "TMPDIR": str(folder)}
    command = [sys.executable, str(TOP / "tests" / "support" / "confined.py"), allowed, *arguments]
    if os.geteuid() == 0:  # /proc as under ProcSubset=pid
        hidden = 'mount -t proc -o subset=pid proc /proc && exec "$@"'
        command = ["unshare", "--mount", "--pid", "--fork", "sh", "-c", hidden, "sh", *command]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=folder, env=environment)
    if done.returncode == 90:
        missing(f"a kernel that can refuse memory to be written and executed ({done.stderr.strip()})")
    return done


@pytest.mark.slow
def test_a_whole_trust_works_under_the_filters_of_the_units(tmp_path: Path) -> None:
    """numpy, pandas, duckdb, cryptography, uvicorn, TLS, and every process of a demo over a real SuperLink."""
    filters = [setting(unit, "SystemCallFilter") for unit in UNITS]
    only, *without = filters[0]
    assert filters[1] == filters[0]
    removed = {name for line in without for word in line.removeprefix("~").split() for name in calls(word)}
    allowed = numbers(calls(only) - removed)
    done = confined("demo", "--engine", "flower", "--out", str(tmp_path / "demo"), folder=tmp_path, allowed=allowed)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def test_a_filter_that_lets_too_little_through_is_noticed(tmp_path: Path) -> None:
    allowed = numbers(calls("@system-service") - calls("@privileged", "@resources") - {"openat"})
    assert confined("--version", folder=tmp_path, allowed=allowed).returncode not in (0, 90, 91)
