"""What an image, a unit or an offline machine runs, in environments made as they are made there."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.conftest import missing
from tests.support.dockerfile import DOCKERFILES, TOP, build, exported, read

PLAIN = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "LANG": "C.UTF-8", "PIP_NO_COMPILE": "1"}
"""Of an environment: nothing of the one that the tests run in, no index; bytecode is made when it is needed."""
BASE = str(Path(sys.base_prefix) / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}")
"""The Python that this environment was made from."""
NO_SHELL = ("sh", "dash", "bash", "rbash")


def run(*command: str | Path, folder: Path, seconds: float = 120) -> subprocess.CompletedProcess[str]:
    environment = {**PLAIN, "HOME": str(folder), "TMPDIR": str(folder)}
    return subprocess.run(command, capture_output=True, text=True, timeout=seconds, cwd=folder, env=environment)


def without(*options: str) -> list[str]:
    """A command before another, in namespaces of its own."""
    if shutil.which("unshare") is None:
        missing("unshare (apt-get install util-linux)")
    return ["unshare", *([] if os.geteuid() == 0 else ["--map-root-user"]), *options]


def commands() -> Iterator[tuple[str, list[str]]]:
    """Each command of datatrust that an image, a service or a unit runs, with where it stands."""
    for path in DOCKERFILES:
        for line in read(path)[-1]:
            if line.word == "CMD":
                yield f"{path.stem}: CMD", yaml.safe_load(line.rest)
            elif line.word == "HEALTHCHECK":
                program, *words = yaml.safe_load(line.rest.partition(" CMD ")[2])
                if program == "datatrust":
                    yield f"{path.stem}: HEALTHCHECK", words
    services = yaml.safe_load((TOP / "docker" / "compose.yaml").read_text("utf-8"))["services"]
    for name, service in services.items():
        if service.get("command"):
            yield f"compose: {name}", service["command"]
        if service["healthcheck"]["test"][1] == "datatrust":
            yield f"compose: {name}, health", service["healthcheck"]["test"][2:]
    documented = (TOP / "docs" / "deploy.md").read_text("utf-8").replace("\\\n", " ")
    typed = r"^\$ .*(?:bin/datatrust| api| node-north) ((?:node|coordinator|demo)\b.*)$"
    for line in re.findall(typed, documented, re.MULTILINE):
        yield "docs/deploy.md", line.split()
    for unit in sorted((TOP / "docker" / "systemd").glob("*.service")):
        (line,) = re.findall(r"^ExecStart=\S+/datatrust (.*)$", unit.read_text("utf-8"), re.MULTILINE)
        yield unit.name, line.split()


COMMANDS = [list(words) for words in dict.fromkeys(tuple(words) for _, words in commands())]


THERE = """
import json, sys
from typer.testing import CliRunner
from datatrust.cli.main import application
for words in json.loads(sys.argv[1]):
    at = next((i for i, word in enumerate(words) if word.startswith("--")), len(words))
    at = min(at, 2)
    shown = CliRunner().invoke(application(words), [*words[:at], "--help"])
    if shown.exit_code:
        print("no command", *words[:at])
    for word in words[at:]:
        if "--" in word and word not in shown.output:
            print(*words[:at], "has no", word)
"""
"""A program that prints which of these commands, or of their options, do not exist."""


def assert_there(python: str | Path, folder: Path) -> None:
    done = run(python, "-c", THERE, json.dumps(COMMANDS), folder=folder)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stdout + done.stderr


def test_the_commands_of_images_and_units_exist(tmp_path: Path) -> None:
    """Here, from the tree; below, in the image's environment."""
    assert len(COMMANDS) >= 8
    assert_there(sys.executable, tmp_path)


def test_a_command_that_does_not_exist_is_noticed(tmp_path: Path) -> None:
    wrong = json.dumps([["node", "rum"], ["node", "run", "--hame", "x"]])
    done = run(sys.executable, "-c", THERE, wrong, folder=tmp_path)
    assert done.stdout.split("\n")[0] == "no command node rum"
    assert "node run has no --hame" in done.stdout


# ---- the images' commands


@pytest.fixture
def place() -> Iterator[Path]:
    """Not below pytest's own folder, which it closes to other users whenever a session begins."""
    with tempfile.TemporaryDirectory(prefix="datatrust-images-") as made:
        Path(made).chmod(0o755)
        yield Path(made)


@pytest.mark.slow
def test_what_the_images_run_works_in_the_environment_that_they_make(place: Path) -> None:
    """The lines of the builder, which both images share; then what their final stage starts."""
    if shutil.which("git") is None or not (TOP / ".git").exists():
        missing("a clone of git")
    built = build(read(DOCKERFILES[0])[0], exported(place / "context"), place / "image")
    holds_the_lock_and_no_more(built, place)
    assert_there(built / "bin" / "python", place)
    empty_homes_are_unhealthy(built, place)
    if os.geteuid() == 0:  # mounts
        works_as_the_images_user(built, place)


def holds_the_lock_and_no_more(built: Path, folder: Path) -> None:
    listing = "import importlib.metadata as m; print(*sorted(d.metadata['Name'] for d in m.distributions()))"
    done = run(built / "bin" / "python", "-c", listing, folder=folder)
    found = {name.lower().replace("_", "-") for name in done.stdout.split()}
    lock = (TOP / "requirements" / "run.txt").read_text("utf-8")
    assert found <= {*re.findall(r"^([a-z0-9-]+)==", lock, re.MULTILINE), "datatrust-federation"}
    assert {"datatrust-federation", "flwr", "psycopg"} <= found
    assert "pip" not in found


def empty_homes_are_unhealthy(built: Path, folder: Path) -> None:
    home = folder / "empty"
    home.mkdir(mode=0o700)
    checks = [words for words in COMMANDS if "--quick" in words]
    assert checks
    for words in checks:
        given = [str(home) if word == "/var/lib/datatrust" else word for word in words]
        done = run(built / "bin" / "datatrust", *given, folder=folder)
        assert done.returncode in (1, 2), done
        assert "Traceback" not in done.stdout + done.stderr
        assert done.stdout + done.stderr


def works_as_the_images_user(built: Path, folder: Path) -> None:
    """A whole trust is demonstrated without a shell or a network, where only one folder can be written."""
    for above in (built, *built.parents):
        if above.is_relative_to(folder.parents[1]):
            above.chmod(above.stat().st_mode | 0o055)
    home, nothing = folder / "home", folder / "nothing"
    home.mkdir(mode=0o700)
    os.chown(home, 10001, 10001)
    nothing.write_text("")
    shells = " ".join(f"/bin/{name}" for name in NO_SHELL if Path("/bin", name).exists())
    script = f"""set -e
        mount --bind {home} {home}
        mount -o remount,bind,ro /
        for shell in {shells}; do mount --bind {nothing} $(readlink -f $shell); done
        exec setpriv --reuid 10001 --regid 10001 --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all "$@"
    """
    command = [*without("--mount", "--net"), "sh", "-c", script, "sh", str(built / "bin" / "python"), "-c"]
    control = "import os\ntry: open('/var/tmp/probe', 'w'); print('written')\nexcept OSError: print('read-only')\n"
    control += (
        "try: os.posix_spawn('/bin/sh', ['sh', '-c', ':'], {}); print('shell')\nexcept OSError: print('no shell')"
    )
    assert run(*command, control, folder=home).stdout.split("\n")[:2] == ["read-only", "no shell"]
    start = "import sys; from datatrust.cli.main import main; sys.argv[0] = 'datatrust'; main()"
    done = run(*command, start, "demo", "--json", folder=home)
    assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-1500:]


# ---- without a network


def make_wheelhouse(folder: Path) -> None:
    if shutil.which("make") is None:
        missing("make")
    words = ["make", "-o", ".venv/.run", "wheelhouse", f"PY={sys.executable}", f"WHEELHOUSE={folder}"]
    made = subprocess.run(words, capture_output=True, text=True, timeout=600, cwd=TOP)
    assert made.returncode == 0, made.stdout[-1500:] + made.stderr[-1500:]
    wheels = {path.name.partition("-")[0].lower() for path in folder.glob("*.whl")}
    assert {"datatrust_federation", "hatchling", "editables"} <= wheels


@pytest.mark.slow
def test_the_wheelhouse_installs_builds_and_runs_without_a_network(tmp_path: Path) -> None:
    """By the words that `make wheelhouse` prints."""
    make_wheelhouse(tmp_path / "wheelhouse")
    offline = without("--net")
    reach = "import socket; socket.create_connection(('192.0.2.1', 443), 2)"
    assert "Network is unreachable" in run(*offline, sys.executable, "-c", reach, folder=tmp_path).stderr
    environment = tmp_path / "datatrust-env"
    install = "install --no-index --find-links wheelhouse --require-hashes --no-deps -r wheelhouse/requirements.txt"
    for document in ("CONTRIBUTING.md", "Makefile", "docs/deploy.md"):
        assert install in (TOP / document).read_text("utf-8")
    build_it = "wheel --no-index --find-links wheelhouse --no-deps --no-build-isolation -w built"
    for command in (
        [BASE, "-m", "venv", environment],
        [environment / "bin" / "pip", *install.split()],
        [environment / "bin" / "datatrust", "demo", "--json", "--out", tmp_path / "demo"],
        [environment / "bin" / "pip", *build_it.split(), exported(tmp_path / "source")],
    ):
        done = run(*offline, *map(str, command), folder=tmp_path, seconds=400)
        assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-1500:]
    assert list((tmp_path / "built").glob("datatrust_federation-*.whl"))
    exchanged_is_refused(tmp_path, environment / "bin" / "pip", install)


def exchanged_is_refused(folder: Path, pip: Path, install: str) -> None:
    """One wheel of the folder is changed by a byte."""
    (ours,) = (folder / "wheelhouse").glob("datatrust_federation-*.whl")
    ours.write_bytes(ours.read_bytes() + b"\0")
    listed = folder / "wheelhouse" / "requirements.txt"
    listed.write_text(listed.read_text("utf-8").splitlines()[-1] + "\n")
    done = run(pip, *install.split(), "--dry-run", "--ignore-installed", folder=folder)
    assert done.returncode != 0
    assert "DO NOT MATCH THE HASHES" in done.stderr
