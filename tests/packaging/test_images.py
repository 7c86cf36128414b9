"""The images: what is written is linted, what they run is run, and no image is built from a tag that may move."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.conftest import missing
from tests.support.dockerfile import DOCKERFILES, TOP, Line, read

DIGITS = "0123456789abcdef" * 4
IMAGES = tomllib.loads((TOP / "docker" / "images.toml").read_text("utf-8"))["images"]
VERSION = tomllib.loads((TOP / "pyproject.toml").read_text("utf-8"))["project"]["version"]
OF_A_FILE = pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)


def hadolint(path: Path) -> subprocess.CompletedProcess[str]:
    program = shutil.which("hadolint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if program is None:
        missing("hadolint (make .venv/.dev)")
    command = [str(program), "--config", str(TOP / ".hadolint.yaml"), "--no-color", str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def rest(stage: list[Line], word: str) -> list[str]:
    return [line.rest for line in stage if line.word == word]


def test_there_are_two_images() -> None:
    assert [path.name for path in DOCKERFILES] == ["coordinator.Dockerfile", "node.Dockerfile"]


@OF_A_FILE
def test_hadolint_finds_nothing(path: Path) -> None:
    done = hadolint(path)
    assert (done.returncode, done.stdout) == (0, "")


def test_hadolint_finds_what_is_wrong(tmp_path: Path) -> None:
    bad = tmp_path / "Dockerfile"
    bad.write_text("FROM python:latest\nRUN cd /tmp && apt-get install curl\n")
    assert {"DL3007", "DL3003", "DL3015"} <= set(re.findall(r"DL\d+", hadolint(bad).stdout))


def test_no_rule_is_left_out() -> None:
    settings = (TOP / ".hadolint.yaml").read_text("utf-8")
    assert "ignored" not in settings
    assert not [path for path in DOCKERFILES if "hadolint ignore" in path.read_text("utf-8")]


@OF_A_FILE
def test_an_image_is_pinned_by_digest_and_refuses_to_be_built_without(path: Path) -> None:
    text = path.read_text("utf-8")
    froms = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    assert froms == [f"{IMAGES['PYTHON']}@sha256:${{PYTHON_DIGEST}}"] * 2
    (default,) = re.findall(r"^ARG PYTHON_DIGEST=(\S+)$", text, re.MULTILINE)
    # no engine takes this for a digest: "invalid reference format", and the reference says what to do
    assert not re.fullmatch("[0-9a-f]{64}", default)
    assert default == "run-docker-pin.py-first"


@OF_A_FILE
def test_an_image_is_closed(path: Path) -> None:
    builder, final = read(path)
    (user,) = rest(final, "USER")
    uid, gid = map(int, user.split(":"))
    assert uid > 10000
    assert gid > 10000
    assert rest(final, "VOLUME") == rest(final, "WORKDIR") == ["/var/lib/datatrust"]
    assert rest(final, "STOPSIGNAL") == ["SIGTERM"]
    assert rest(final, "COPY") == ["--from=builder /opt/datatrust /opt/datatrust"]  # the environment, and no more
    assert rest(final, "ENTRYPOINT") == ['["datatrust"]']
    assert len(rest(final, "HEALTHCHECK")) == len(rest(final, "CMD")) == 1
    words = [line.word for line in final]
    assert words.index("USER") < words.index("CMD")
    assert "RUN" not in words[words.index("USER") :]
    assert rest(final, "RUN")[-1].endswith("rm -f /bin/sh /bin/dash /bin/bash /bin/rbash")
    assert not rest(builder, "ADD") + rest(final, "ADD") + rest(final, "EXPOSE")
    (environment,) = [given for given in rest(final, "ENV") if "FLWR" in given]
    assert {"FLWR_TELEMETRY_ENABLED=0", "FLWR_DISABLE_UPDATE_CHECK=1", "PYTHONUNBUFFERED=1"} <= set(environment.split())
    assert f'version="{VERSION}"' in rest(final, "LABEL")[0]


def test_both_images_are_built_alike() -> None:
    assert len({tuple(read(path)[0]) for path in DOCKERFILES}) == 1


@OF_A_FILE
def test_what_is_installed_is_the_lock_with_its_hashes(path: Path) -> None:
    installs = [line for line in rest(read(path)[0], "RUN") if " install " in line]
    assert [line.partition(" install ")[2] for line in installs] == [
        "--only-binary :all: --require-hashes --no-deps -r requirements/run.txt",
        "--no-deps --no-build-isolation .",
    ]


@OF_A_FILE
def test_the_context_lets_in_what_is_copied_and_nothing_else(path: Path) -> None:
    lines = (TOP / ".dockerignore").read_text("utf-8").splitlines()
    allowed = {line[1:] for line in lines if line.startswith("!")}
    copied = {source for given in rest(read(path)[0], "COPY") for source in given.split()[:-1]}
    assert "*" in lines
    assert copied == allowed
    assert all((TOP / name).exists() for name in allowed)


def test_no_file_here_holds_a_secret_or_a_moving_tag() -> None:
    for path in [*(TOP / "docker").rglob("*"), TOP / ".dockerignore"]:
        if path.is_file() and "secrets" not in path.parts and path.suffix != ".pyc":
            text = path.read_text("utf-8")
            assert ":latest" not in text, path
            assert "PRIVATE KEY" not in text, path
            assert not re.search(r"(?i)(password|secret|token)\s*[:=]\s*[\"']?[a-z0-9]{6,}", text), path
            assert not re.search(r"://[^/\s:]+:[^/\s@]+@", text), path


# ---- pin.py


def pin(folder: Path, *words: str, tools: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """It, on a copy, where these programs are on the path and no others."""
    (folder / "bin").mkdir(exist_ok=True)
    for name in ("pin.py", "images.toml"):
        shutil.copy(TOP / "docker" / name, folder)
    for name, script in (tools or {}).items():
        program = folder / "bin" / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    command = [sys.executable, str(folder / "pin.py"), *words]
    return subprocess.run(command, capture_output=True, text=True, env={"PATH": str(folder / "bin")}, timeout=30)


def test_pin_without_a_tool_says_what_to_do(tmp_path: Path) -> None:
    done = pin(tmp_path)
    assert done.returncode == 2
    assert "crane is not installed" in done.stderr
    assert "PYTHON=sha256:" in done.stderr
    assert not (tmp_path / "images.lock").exists()
    assert pin(tmp_path, "--check").returncode == 1


def test_pin_takes_digests_by_hand(tmp_path: Path) -> None:
    done = pin(tmp_path, *(f"{name}=sha256:{DIGITS}" for name in IMAGES))
    assert done.returncode == 0, done.stderr
    lock = (tmp_path / "images.lock").read_text()
    for name, image in IMAGES.items():
        assert f"{name}_IMAGE={image}\n{name}_DIGEST={DIGITS}\n" in lock
    checked = pin(tmp_path, "--check")
    assert checked.returncode == 0
    assert checked.stdout.splitlines() == [f"{image}@sha256:{DIGITS}" for image in IMAGES.values()]


def test_pin_asks_the_first_tool_that_answers(tmp_path: Path) -> None:
    tools = {"docker": "echo 'no buildx' >&2; exit 1", "crane": f'[ "$1" = digest ] && echo sha256:{DIGITS}'}
    assert pin(tmp_path, tools=tools).returncode == 0
    assert pin(tmp_path, "--check").returncode == 0


@pytest.mark.parametrize(
    "answer", ["", "sha256:abc", f"sha512:{DIGITS}", f"sha256:{DIGITS}0", f"sha256:{DIGITS.upper()}"]
)
def test_pin_writes_no_digest_that_is_none(tmp_path: Path, answer: str) -> None:
    done = pin(tmp_path, tools={"crane": f"echo '{answer}'"})
    assert done.returncode == 2
    assert "is not a digest of" in done.stderr
    assert not (tmp_path / "images.lock").exists()


def test_a_lock_of_another_tag_is_refused(tmp_path: Path) -> None:
    assert pin(tmp_path, *(f"{name}=sha256:{DIGITS}" for name in IMAGES)).returncode == 0
    lock = tmp_path / "images.lock"
    lock.write_text(lock.read_text().replace(IMAGES["PYTHON"], "python:3.10-slim"))
    done = pin(tmp_path, "--check")
    assert done.returncode == 1
    assert IMAGES["PYTHON"] in done.stderr


def test_pin_knows_no_other_image(tmp_path: Path) -> None:
    assert pin(tmp_path, f"PYTHN=sha256:{DIGITS}").returncode == 2


def test_a_lock_that_is_here_is_of_these_images() -> None:
    if (TOP / "docker" / "images.lock").exists():
        done = subprocess.run([sys.executable, str(TOP / "docker" / "pin.py"), "--check"], capture_output=True)
        assert done.returncode == 0


# ---- prepare.py


def prepare(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(TOP / "docker" / "prepare.py"), str(folder)]
    return subprocess.run(command, capture_output=True, text=True, timeout=30)


def test_prepare_makes_each_password_once_for_one_user(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    done = prepare(folder)
    if os.geteuid() != 0:
        assert (done.returncode, folder.exists()) == (2, False)
        return
    assert done.returncode == 0, done.stderr
    files = {path: path.read_text() for path in folder.rglob("*") if path.is_file()}
    assert len(files) == 4 * 3
    for path, text in files.items():
        assert stat.S_IMODE(path.stat().st_mode) == 0o400
        assert path.stat().st_uid == (
            (10002 if path.parent.name == "coordinator" else 10001) if path.name == "pgpass" else 999
        )
        assert text not in done.stdout + done.stderr
    assert len(set(files.values())) == len(files)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    again = prepare(folder)
    assert (again.returncode, again.stdout) == (0, "")
    assert {path: path.read_text() for path in files} == files
