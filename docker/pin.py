"""Write docker/images.lock: the digests of the images that docker/images.toml names.

    python3 docker/pin.py                        asks a registry, through docker buildx, crane or skopeo
    python3 docker/pin.py PYTHON=sha256:…        takes a digest that you looked up yourself; any number of them
    python3 docker/pin.py --check                says whether the lock has a digest of every image, and asks nobody

A tag may be another image tomorrow, a digest never.  Commit the lock: then everybody builds from the same bytes.  Exit
code 1 for a lock that is missing or of other images, 2 for what cannot be used or found out.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["locked", "main"]

HERE = Path(__file__).parent
TOOLS = {
    "docker": ("docker", "buildx", "imagetools", "inspect", "--format", "{{.Manifest.Digest}}", "{}"),
    "crane": ("crane", "digest", "{}"),
    "skopeo": ("skopeo", "inspect", "--format", "{{.Digest}}", "docker://{}"),
}
"""Each prints the digest of the list of all platforms' images."""
PATIENCE = 120
"""Seconds that a registry may take."""


class Stop(Exception):
    """What a person has to fix."""


def locked(text: str, images: Mapping[str, str]) -> dict[str, str]:
    """Name -> 64 hexadecimal digits, of a lock's text.  Raises: Stop where it is not the lock of these images."""
    found = dict(re.findall(r"^(\w+)=(\S+)$", text, re.MULTILINE))
    for name, image in images.items():
        if found.get(f"{name}_IMAGE") != image or not re.fullmatch("[0-9a-f]{64}", found.get(f"{name}_DIGEST", "")):
            raise Stop(f"images.lock has no digest of {image}; write it again: python3 docker/pin.py")
    return {name: found[f"{name}_DIGEST"] for name in images}


def ask(image: str) -> str:
    """The image's digest, from the first tool that answers.  Raises: Stop."""
    heard = []
    for tool, words in TOOLS.items():
        if shutil.which(tool) is None:
            heard.append(f"{tool} is not installed")
            continue
        try:
            done = subprocess.run(  # noqa: S603 - the words of TOOLS and a name of images.toml
                [word.replace("{}", image) if word == words[-1] else word for word in words],
                capture_output=True,
                text=True,
                timeout=PATIENCE,
            )
        except subprocess.TimeoutExpired:
            heard.append(f"{tool} had no answer after {PATIENCE} s")
            continue
        if done.returncode == 0:
            return hexadecimal(done.stdout.strip(), image)
        heard.append(f"{tool}: {(done.stderr.strip() or 'failed').splitlines()[0]}")
    raise Stop(
        f"nobody says which digest {image} has: {'; '.join(heard)}.\nTo fix it, look it up where one of them works "
        "and give it by hand, as: python3 docker/pin.py PYTHON=sha256:… POSTGRES=sha256:…"
    )


def hexadecimal(digest: str, image: str) -> str:
    """The 64 digits.  Raises: Stop."""
    if not re.fullmatch("sha256:[0-9a-f]{64}", digest):
        raise Stop(f"{digest[:80]!r} is not a digest of {image}; expected sha256: and 64 hexadecimal digits")
    return digest.removeprefix("sha256:")


def main(arguments: Sequence[str]) -> int:
    """The exit code."""
    images: dict[str, str] = tomllib.loads((HERE / "images.toml").read_text("utf-8"))["images"]
    lock = HERE / "images.lock"
    try:
        if list(arguments) == ["--check"]:
            for name, digest in locked(lock.read_text("utf-8") if lock.exists() else "", images).items():
                print(f"{images[name]}@sha256:{digest}")
            return 0
        given = dict(argument.partition("=")[::2] for argument in arguments)
        if unknown := sorted(set(given) - set(images)):
            print(
                f"{unknown[0]!r} is not an image of images.toml; expected one of {', '.join(images)}", file=sys.stderr
            )
            return 2
        digests = {n: hexadecimal(given[n], image) if n in given else ask(image) for n, image in images.items()}
    except Stop as wrong:
        print(f"pin: {wrong}", file=sys.stderr)
        return 1 if "--check" in arguments else 2
    lines = [f"{name}_IMAGE={image}\n{name}_DIGEST={digests[name]}\n" for name, image in images.items()]
    lock.write_text("# by docker/pin.py\n" + "".join(lines), "utf-8")
    print(f"written: {lock}; commit it")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
