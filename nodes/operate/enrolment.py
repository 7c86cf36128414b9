"""How a home begins: `init` makes keys and files, `enrol` takes an invitation.  No secret leaves the machine.

What is taken is verified before anything is written: the invitation's root by its fingerprint, or as following from the
root that is pinned; that it names this node's keys; the charter by the root's digest.
"""

from __future__ import annotations

import re
import shutil
import ssl
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from nodes.interface import CoordinatorReader
from nodes.keys import NodeKeys, PartnerFile, named, next_keys, take_next
from nodes.settings import NodeSettings, NodeToml
from nodes.state.restored import FILE, Restored
from trust.canonical import canonical
from trust.charters.charter import Charter
from trust.dataset.dataset import Dataset
from trust.documents.invitation import Invitation
from trust.documents.root import Root, TrustRoot
from trust.errors import InvalidInput, Refused
from trust.files import replace_whole, toml_value, write_new, writing
from trust.secure_sum.frames import is_name
from trust.signing.envelope import Envelope, sha256
from trust.signing.read import read_envelope, read_roots
from trust.times import now, write_time

__all__ = [
    "Enrolled",
    "Shared",
    "enrol",
    "fetched",
    "fingerprint",
    "given",
    "init",
    "keep_roots",
    "newer_of",
    "node_toml",
]

_SOURCE = """\
# Where this partner's rows are.  Private to this machine: it may hold a password, so keep it readable by you alone.
# `datatrust node check` holds it to the dataset.

# A PostgreSQL table, with an account that may only read (docs: `datatrust node doctor` proves that it cannot write):
# url = "postgresql://reader:PASSWORD@localhost:5432/hospital#patients"
# or a file; a relative path is beside this file:
# url = "patients.csv"            # CSV, TSV or Parquet
# url = "sqlite:////srv/data.sqlite#patients"
url = ""

# Who has opted out: a text with one id a line, or a table.  Read again before each study.
# opt_out = "opted-out.txt"

# What stands for a missing value, besides an empty field:
# missing = ["NA", "?"]

# The table's names, where they differ from the dataset's:
# [columns]
# pressure = "bp_systolic"

# The table's values, where they differ from the dataset's levels:
# [levels.sex]
# "0" = "F"
# "1" = "M"
"""


def init(home: Path, name: str) -> PartnerFile:
    """Make a home: keys, partner.json, node.toml, a source.toml to fill in.

    Raises: InvalidInput where there is one already, or the folder cannot be written.
    """
    if not is_name(name):
        raise InvalidInput(f"the name {name!r}", expected="small letters, digits and -, such as north")
    for name_in_use in ("node.toml", "keys", "partner.json", "state.sqlite"):
        if (home / name_in_use).exists():
            raise InvalidInput(
                f"{str(home)!r} has a node already ({name_in_use})",
                remedy="name another folder with --home; nothing was changed",
            )
    with writing(home, "name another folder"):
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        home.chmod(0o700)
        keys = NodeKeys.make()
        keys.write(home)
        public = keys.public(name)
        write_new(home / "partner.json", public.file(), 0o644)
        if not (home / "source.toml").exists():
            write_new(home / "source.toml", _SOURCE.encode(), 0o600)
        write_new(home / "node.toml", node_toml(NodeToml(name=name)), 0o600)
    return public


def node_toml(toml: NodeToml) -> bytes:
    """node.toml with what each field means."""
    lines = [
        "# A partner's node.  `datatrust node check` reads it; an unknown name is an error.",
        f"name = {toml_value(toml.name)}",
        "# How it reaches the trust; `datatrust node enrol` writes both.",
        f"coordinator = {toml_value(toml.coordinator)}",
        f"superlink = {toml_value(toml.superlink)}",
        '# A proxy for both, "http://host:port"; empty: none.',
        f"proxy = {toml_value(toml.proxy)}",
        "# Where this machine alone can ask how the node is (/livez, /readyz); empty: nowhere.",
        f"health = {toml_value(toml.health)}",
        "# Whether figures are given there too (/metrics).",
        f"metrics = {toml_value(toml.metrics)}",
    ]
    return ("\n".join(lines) + "\n").encode()


# ---- enrol


@dataclass(frozen=True)
class Shared:
    """Dataset and charter, verified against a root."""

    yaml: bytes
    dataset: Dataset
    files: Mapping[str, bytes]
    charter: Charter


@dataclass(frozen=True)
class Enrolled:
    """What `enrol` did: the root in force at this home, and what was changed, in words (nothing: no words)."""

    root: TrustRoot
    shared: Shared
    changed: tuple[str, ...]


def newer_of(home: Path, invitation: Invitation) -> tuple[TrustRoot, bool]:
    """The invitation's root, verified, and whether a pin vouches for it; else its fingerprint must be compared.

    Raises: Refused (`root-pinned`, `root-version`, `root-trust`, `signature`), MessageInvalid, InvalidInput.
    """
    root = invitation.root()
    if Root.read(invitation.roots[0].unverified_payload).version != 1:
        raise InvalidInput(
            "an invitation without the founding root", expected="every version of the root, from the first"
        )
    pinned = read_roots(home / "roots")
    if not pinned:
        return root, False
    chain = TrustRoot.chain(pinned)
    if chain.root.trust != root.root.trust:
        text = f"this node belongs to the trust {chain.root.trust!r}, and the invitation is of {root.root.trust!r}"
        raise Refused("root-trust", text, remedy="make another home for another trust")
    if root.root.version < chain.root.version:
        text = f"version {root.root.version} of the trust root is older than version {chain.root.version}, pinned here"
        raise Refused("root-version", text, remedy="ask for an invitation of today")
    return TrustRoot.chain(invitation.roots, chain), True


def fetched(interface: CoordinatorReader, root: TrustRoot) -> Shared:
    """Dataset and charter from the coordinator, the charter held to the root.

    Raises: Fault, MessageInvalid, DatasetInvalid, CharterInvalid, Refused (`charter`).
    """
    files = {name: text.encode() for name, text in interface.charter().items()}
    return shared_of(interface.dataset().encode(), files, root)


def given(dataset: Path, charter: str | Path, root: TrustRoot) -> Shared:
    """The same from files, without a network.  Raises: InvalidInput, Refused (`charter`)."""
    try:
        yaml = dataset.read_bytes()
    except OSError as wrong:
        raise InvalidInput(f"{str(dataset)!r} cannot be read ({wrong.strerror})", expected="the dataset") from None
    return shared_of(yaml, Charter.load(charter).files, root)


def shared_of(yaml: bytes, files: Mapping[str, bytes], root: TrustRoot) -> Shared:
    """Raises: InvalidInput; Refused (`charter`) where the charter is not the root's."""
    for name in files:
        if not re.fullmatch(r"[a-z0-9][A-Za-z0-9_-]{0,62}\.(toml|cedar)", name):
            raise InvalidInput(f"a charter's file named {name[:80]!r}", expected="charter.toml, purposes.toml, *.cedar")
    with tempfile.TemporaryDirectory(prefix="datatrust-") as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        (Path(folder) / "dataset.yaml").write_bytes(yaml)
        charter = Charter.load(folder)
        dataset = Dataset.load(Path(folder) / "dataset.yaml")
    if charter.folder_digest != root.root.charter:
        raise Refused(
            "charter",
            f"the charter is not the one that version {root.root.version} of the trust root names",
            remedy="ask the coordinator's operator for the charter of this root",
        )
    return Shared(yaml, dataset, dict(charter.files), charter)


def enrol(home: Path, invitation: Invitation, shared: Callable[[TrustRoot], Shared]) -> Enrolled:
    """Take an invitation whose root the caller has made sure of (`newer_of`, the fingerprint).

    The same invitation again changes nothing.

    Args:
        shared: where dataset and charter come from, once the root is known.

    Raises: Refused (`root-…`, `partner`, `charter`), InvalidInput, MessageInvalid, Fault.
    """
    settings = NodeSettings.at(home)
    root, _ = newer_of(home, invitation)
    _check_names_node(home, settings.name, root)
    shared_files = shared(root)
    toml = settings.toml or NodeToml(name=settings.name)
    new_settings = toml.model_copy(update={"coordinator": invitation.url, "superlink": invitation.nodes})
    changed = []
    with writing(home, "check the disk and the folder's rights"):
        (home / "connection").mkdir(mode=0o700, exist_ok=True)
        authority = invitation.authority or _system_authorities()
        changed += _write_shared(home / "connection" / "ca.pem", authority.encode("ascii"), "the authority")
        changed += _write_shared(home / "dataset.yaml", shared_files.yaml, "the dataset")
        changed += _charter(home / "charter", shared_files)
        if new_settings != toml:
            replace_whole(home / "node.toml", node_toml(new_settings), 0o600)
            changed.append("the addresses")
        changed += _new_history(home, settings.name, invitation, root)
        changed += keep_roots(home, invitation.roots)  # last: what it names is there
        if take_next(home, settings.name, root):
            changed.append("the keys: those that the root names are in use from the next start on")
    return Enrolled(root, shared_files, tuple(changed))


def _new_history(home: Path, name: str, invitation: Invitation, root: TrustRoot) -> list[str]:
    """A home without a state, for a partner that had another before: what that one has answered is not known here.

    The root in force names this home's keys, so the quorum has consented to a new history.  Raises: OSError.
    """
    if (home / "state.sqlite").exists() or (home / "roots").exists() or (home / FILE).exists():
        return []
    earlier = [Root.read(envelope.unverified_payload) for envelope in invitation.roots]
    had = [r for r in earlier if name in r.partners and r.partners[name].sign != root.root.partners[name].sign]
    if not had:
        return []
    keys = tuple(dict.fromkeys(r.partners[name].sign for r in had))
    mark = Restored(at=write_time(now()), keys=keys, root=had[-1].version, size=0)
    write_new(home / FILE, mark.canonical(), 0o600)
    return [f"a new history: what {name} has answered under its keys before is not known here"]


def _check_names_node(home: Path, name: str, root: TrustRoot) -> None:
    """Raises: Refused (`partner`) where the root names neither the keys in use nor the next ones."""
    wrong = named(root, name, NodeKeys.read(home))
    coming = next_keys(home) if wrong else None
    if wrong and (coming is None or named(root, name, coming)):
        remedy = "hand partner.json to who drafts the trust root, and enrol once the next version is signed"
        raise Refused("partner", "; ".join(wrong), remedy=remedy)


def keep_roots(home: Path, roots: tuple[Envelope, ...]) -> list[str]:
    """Write the versions that are not there yet, which the caller has verified; what is new, in words.

    Raises: OSError, Refused (`root-pinned`).
    """
    (home / "roots").mkdir(mode=0o700, exist_ok=True)
    new = []
    for envelope in roots:
        version = Root.read(envelope.unverified_payload).version
        file = home / "roots" / f"{version}.json"
        if not file.exists():
            write_new(file, canonical(envelope.document()), 0o644)
            new.append(f"version {version} of the trust root")
        elif read_envelope(file).unverified_payload != envelope.unverified_payload:
            raise Refused(
                "root-pinned", f"another trust root of version {version} is pinned here", remedy="ask who runs it"
            )
    return new


def _write_shared(file: Path, content: bytes, subject: str) -> list[str]:
    if file.exists() and file.read_bytes() == content:
        return []
    replace_whole(file, content, 0o644)
    return [subject]


def _charter(folder: Path, shared_files: Shared) -> list[str]:
    """Raises: OSError."""
    if folder.is_dir() and {f.name: f.read_bytes() for f in folder.iterdir()} == dict(shared_files.files):
        return []
    beside = folder.with_name(".charter.new")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(mode=0o700)
    for name, content in shared_files.files.items():
        write_new(beside / name, content, 0o644)
    shutil.rmtree(folder, ignore_errors=True)
    beside.replace(folder)
    return ["the charter"]


def _system_authorities() -> str:
    """What this machine takes for authorities, in PEM; pinned from now on.  Raises: InvalidInput where it has none."""
    places = ssl.get_default_verify_paths()
    file = Path(places.cafile or places.openssl_cafile)
    if not file.is_file():
        raise InvalidInput("an invitation without an authority, and this machine has none", expected="ca-certificates")
    return file.read_text("ascii", errors="ignore")


def fingerprint(root: TrustRoot) -> str:
    """What members compare by telephone: `sha256:<hex>` of the signed bytes."""
    return sha256(root.payload)
