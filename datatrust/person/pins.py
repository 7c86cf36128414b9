"""Trust roots that this person has pinned: one file a trust, in the person's own folder.

A pin is the exact bytes that were signed, so that a later root must follow from them.  A file that cannot be read is an
error: it never counts as no pin.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from trust.documents.root import TrustRoot
from trust.documents.verification import check_roots
from trust.errors import InvalidInput, MessageInvalid, Refused
from trust.files import data_folder
from trust.signing.json_text import read_envelopes

__all__ = ["folder", "keep", "pin", "pinned", "read_pin_file", "read_root"]


def folder(home: Path | None = None) -> Path:
    """Where pins are kept: `pins` in `home`, else in the person's data folder."""
    return (data_folder() if home is None else home) / "pins"


def pinned(trust: str, *, home: Path | None = None) -> TrustRoot | None:
    """The root that is pinned for a trust; None where none is.

    Args:
        home: the person's folder, where it is another than `folder` says.

    Raises: InvalidInput for a pin that cannot be read, MessageInvalid for one that is not a trust root, Refused
        (`root-trust`) for one of another trust.
    """
    path = _path(trust, home)
    if not path.exists():
        return None
    root = TrustRoot(read_pin_file(path))
    if root.root.trust != trust:
        text = f"the root pinned in {path} is of the trust {root.root.trust!r}"
        raise Refused("root-trust", text, remedy="delete the file, and pin the right one")
    return root


def pin(root: TrustRoot, *, replace: bool = False, home: Path | None = None) -> Path:
    """Pin a root whose origin the caller has made sure of; the file.

    Args:
        replace: put it in place of another one, which only who has verified that it follows from that one may say.
        home: the person's folder, where it is another than `folder` says.

    Raises: Refused (`root-pinned`) where another root of this trust is pinned, InvalidInput where the file cannot be
        written.
    """
    path = _path(root.root.trust, home)
    pinned_before = pinned(root.root.trust, home=home)
    if pinned_before is not None and pinned_before.payload != root.payload and not replace:
        text = f"another trust root of {root.root.trust!r} is pinned, version {pinned_before.root.version}"
        raise Refused("root-pinned", text, remedy=f"ask who runs the trust; if that one is wrong, delete {path}")
    try:
        keep(path, root.payload)
    except OSError as wrong:
        remedy = "make the folder writable, or name another one in DATATRUST_HOME"
        raise InvalidInput(f"{path} cannot be written ({wrong.strerror})", remedy=remedy) from None
    return path


def keep(path: Path, raw: bytes) -> None:
    """Write a file whole, in place of what was there before; folders that are made have mode 0700.  Raises: OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as temporary:
        temporary.write(raw)
    Path(temporary.name).replace(path)


def read_root(path: Path) -> TrustRoot:
    """The trust root of a file: an envelope, or a list of all versions in their order, of which the last is meant.

    Its first version is taken on its own quorum's word: who names the file trusts it.

    Raises: InvalidInput, MessageInvalid, Refused.
    """
    try:
        return check_roots(read_envelopes(read_pin_file(path)), None)
    except MessageInvalid as wrong:
        remedy = wrong.remedy or "name the file that `datatrust root sign` wrote"
        raise MessageInvalid(f"{path}: {wrong.text}", expected=wrong.expected, remedy=remedy) from None


def read_pin_file(path: Path) -> bytes:
    """Raises: InvalidInput."""
    try:
        return path.read_bytes()
    except OSError as wrong:
        raise InvalidInput(f"{path} cannot be read ({wrong.strerror})", remedy="name a file that exists") from None


def _path(trust: str, home: Path | None) -> Path:
    return folder(home) / f"{trust}.json"
