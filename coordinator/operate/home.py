"""A coordinator's home: checked before it is made, made beside its place, and there whole or not at all."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from coordinator.operate.certificates import HERE, Authority, names_of, new_server_key, private_pem, write_secrets
from coordinator.settings import CoordinatorSettings, File, is_wildcard
from trust.canonical import canonical, read_model
from trust.charters.charter import Charter
from trust.dataset.dataset import Dataset
from trust.documents.root import TrustRoot
from trust.documents.verification import check_roots
from trust.errors import DataTrustError, InvalidInput, MessageInvalid, Refused
from trust.files import data_folder, read_file, replace_whole, toml_value, write_new, writing
from trust.signing.envelope import Envelope, Signer, sha256
from trust.signing.json_text import read_envelopes
from trust.signing.key_files import Passphrase, read_signer, write_key
from trust.signing.read import read_curve

__all__ = [
    "HomeRequest",
    "NewHome",
    "default_home",
    "make_home",
    "new_folder",
    "open_home",
    "renew_certificate",
    "replace_file",
    "root_fingerprint",
    "settings_toml",
    "write_invitation",
]

_TOML = """\
# A coordinator.  An unknown name is an error; restart `datatrust coordinator run` after a change.

# Where the interface listens, for partners, members and researchers, and the SuperLink, for partners' nodes.
api = {api}
superlink = {superlink}

# How others reach them.  After a change: datatrust coordinator invitation, and hand it out again.
url = {url}
nodes = {nodes}

# Where studies and the register are kept.  Empty: SQLite, in coordinator/state.sqlite.  Else
# "postgresql://user:password@host/name"; or, so that no password stands here, "env:NAME" (a variable of the
# environment) or "file:PATH" (a file with mode 0600) with such an address in it.
database = {database}

# Seconds for which a partner may be away in the middle of a study, before the study ends with this as its reason.
patience = {patience}

# How many studies run at once.
studies = {studies}
"""


@dataclass(frozen=True)
class HomeRequest:
    """What a home is to be made of, as it was typed: nothing is checked yet.

    Attributes:
        roots: files of the signed trust root, every version, in one file or in several.
        charter: a ready charter's name, or its folder.
        key: the coordinator's private key, and its passphrase where it has one.
        hosts: names and addresses under which others reach the machine; the first stands in the invitation.
        api, superlink: where they listen, `address:port`; empty: the usual place.
        url: how others reach the interface; empty: by the first host.
    """

    roots: tuple[Path, ...]
    dataset: Path
    charter: str
    key: Path
    hosts: tuple[str, ...]
    passphrase: Passphrase = None
    api: str = ""
    superlink: str = ""
    url: str = ""
    database: str = ""


@dataclass(frozen=True)
class NewHome:
    """A new home and the root that it serves."""

    settings: CoordinatorSettings
    root: TrustRoot
    encrypted: bool


@dataclass(frozen=True, kw_only=True)
class _CheckedRequest:
    root: TrustRoot
    roots: tuple[Envelope, ...]
    dataset: bytes
    charter: Charter
    signer: Signer
    file: File


def default_home() -> Path:
    """`coordinator` in DATATRUST_HOME, else in `datatrust` under XDG_DATA_HOME, else ~/.local/share."""
    return data_folder() / "coordinator"


def open_home(home: Path | None) -> CoordinatorSettings:
    """A home that exists.  Raises: InvalidInput."""
    folder = (default_home() if home is None else home).absolute()
    if not (folder / "coordinator.toml").is_file():
        raise InvalidInput(
            f"{str(folder)!r} is not a coordinator's home (no coordinator.toml)",
            expected="--home DIR, as `datatrust coordinator init` has made it",
        )
    return CoordinatorSettings(folder)


def make_home(home: Path, request: HomeRequest, now: datetime) -> NewHome:
    """Make a home.  Everything is checked first; the folder appears when all of it is there.

    Raises: InvalidInput, also for a folder that is not empty; Refused for a root that is not signed by its quorum or
    not in force, and for another charter than the root's; Fault where the database cannot be reached.
    """
    checked = _check(request, now)
    with new_folder(home) as beside:
        settings = CoordinatorSettings(beside)
        _write(beside, checked, request.hosts, now)
        write_invitation(settings)  # the register begins with it: the root's versions, the charter
    return NewHome(CoordinatorSettings(home), checked.root, b"ENCRYPTED" in read_file(request.key))


@contextmanager
def new_folder(home: Path) -> Iterator[Path]:
    """A folder beside `home` that takes its place at the end; after a failure nothing is left.

    Raises: InvalidInput where `home` is not empty, or cannot be written.
    """
    beside = home.with_name(f".{home.name}.{secrets.token_hex(4)}")
    with writing(home, "name another folder with --home"):
        if home.is_symlink() or (home.exists() and (not home.is_dir() or any(home.iterdir()))):
            raise InvalidInput(
                f"{str(home)!r} is not empty", expected="a new folder, or an empty one", remedy="nothing was changed"
            )
        home.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        beside.mkdir(mode=0o700)
        try:
            yield beside
            beside.rename(home)
        finally:
            shutil.rmtree(beside, ignore_errors=True)


# ---- what must hold before anything is written


def _check(request: HomeRequest, now: datetime) -> _CheckedRequest:
    roots = _roots(request.roots)
    root = check_roots(roots, None)
    root.require_in_force(now)
    charter, dataset = Charter.load(request.charter), read_file(request.dataset)
    Dataset.load(request.dataset)
    if charter.folder_digest != root.root.charter:
        raise Refused(
            "charter",
            f"the charter {request.charter!r} is not the one that the trust root names",
            remedy=f"name the one whose digest is {root.root.charter}; `datatrust root show` says so",
        )
    file = _file(request)
    hosts = [host for host in request.hosts if host not in HERE]
    Authority.make(now).server(new_server_key(), hosts, now)  # raises for a host that is none
    signer = read_signer(request.key, request.passphrase)
    if signer.key_id not in root.root.roles["coordinator"].keys:
        raise InvalidInput(
            f"{str(request.key)!r} is not the coordinator's key in this trust root (its id is {signer.key_id})",
            expected="the key with the id " + ", ".join(root.root.roles["coordinator"].keys),
        )
    return _CheckedRequest(root=root, roots=roots, dataset=dataset, charter=charter, signer=signer, file=file)


def _roots(files: Sequence[Path]) -> tuple[Envelope, ...]:
    """All versions in their order, from the first on."""
    envelopes_found: list[Envelope] = []
    for path in files:
        try:
            envelopes_found += read_envelopes(read_file(path))
        except MessageInvalid as wrong:
            raise MessageInvalid(f"{str(path)!r}: {wrong.text}", expected="a signed trust root") from None
    versions = sorted(envelopes_found, key=lambda envelope: TrustRoot(envelope.unverified_payload).root.version)
    if versions and TrustRoot(versions[0].unverified_payload).root.version != 1:
        raise InvalidInput(
            "the first version of the trust root is missing",
            expected="every version: --root root-1.json --root root-2.json …",
            remedy="nodes begin with the founding root and follow each version after it",
        )
    return tuple(versions)


def _file(request: HomeRequest) -> File:
    """coordinator.toml's fields.  Raises: InvalidInput."""
    if not request.hosts:
        raise InvalidInput("no --host", expected="the names and addresses under which others reach this machine")
    file_model = File()
    api, superlink = request.api or file_model.api, request.superlink or file_model.superlink
    ports = [listen.rpartition(":")[2] for listen in (api, superlink)]
    if ports[0] == ports[1]:
        raise InvalidInput(f"--api and --superlink have the same port, {ports[0]}", expected="a port each")
    host = f"[{request.hosts[0]}]" if ":" in request.hosts[0] else request.hosts[0]
    fields = {
        "api": api,
        "superlink": superlink,
        "url": request.url or f"https://{host}:{ports[0]}",
        "nodes": f"{host}:{ports[1]}",
        "database": _from_anywhere(request.database),
    }
    return read_model(File, fields, InvalidInput, "what was given")


def _from_anywhere(database: str) -> str:
    """`file:` with a whole path: it is named from here, and read from the home."""
    kind, _, rest = database.partition(":")
    return f"file:{Path(rest).absolute()}" if kind == "file" else database


# ---- what is written


def _write(folder: Path, checked: _CheckedRequest, hosts: Sequence[str], now: datetime) -> None:
    """Write the home's files.  Raises: OSError, InvalidInput."""
    engine = folder / "coordinator" / "engine"
    for folder_ in (folder / "charter", folder / "roots", folder / "results", folder / "keys", engine.parent, engine):
        folder_.mkdir(mode=0o700)
    write_new(folder / "dataset.yaml", checked.dataset, 0o600)
    for name, raw in checked.charter.files.items():
        write_new(folder / "charter" / name, raw, 0o600)
    for number, envelope in enumerate(checked.roots, 1):
        write_new(folder / "roots" / f"{number}.json", canonical(envelope.document()) + b"\n", 0o600)
    write_key(folder / "keys" / "coordinator.pem", checked.signer, None)
    authority, server = Authority.make(now), new_server_key()
    listens = [address.rpartition(":")[0].strip("[]") for address in (checked.file.api,) if not is_wildcard(address)]
    write_new(folder / "keys" / "authority.pem", private_pem(authority.key), 0o600)
    write_new(engine / "ca.pem", authority.pem, 0o600)
    write_new(engine / "server.key", private_pem(server), 0o600)
    write_new(engine / "server.pem", authority.server(server, [*hosts, *listens], now), 0o600)
    write_secrets(engine)
    write_new(folder / "coordinator.toml", settings_toml(checked.file), 0o600)


def settings_toml(file: File) -> bytes:
    """coordinator.toml, with what each field means."""
    return _TOML.format(**{name: toml_value(value) for name, value in file.model_dump().items()}).encode()


def write_invitation(settings: CoordinatorSettings) -> bytes:
    """Write invitation.json with today's versions of the root and today's addresses; its bytes.

    Raises: InvalidInput, Refused, Fault.
    """
    with closing(settings.docket()) as docket:
        raw = settings.invitation(docket.trust.roots).file()
    path = settings.folder / "invitation.json"
    if not path.exists() or path.read_bytes() != raw:
        replace_file(path, raw, 0o644)
    return raw


def replace_file(path: Path, raw: bytes, mode: int) -> None:
    """The new bytes under the name, or the old ones: never half.  Raises: InvalidInput."""
    with writing(path, "free disk space, or correct its permissions"):
        replace_whole(path, raw, mode)


def renew_certificate(settings: CoordinatorSettings, hosts: Sequence[str], now: datetime) -> list[str]:
    """A new certificate for the server, of the same authority; the names and addresses that it is for.

    Args:
        hosts: other ones; none: those of the certificate that there is.

    Raises: InvalidInput.
    """
    authority = Authority.read(
        read_curve(settings.folder / "keys" / "authority.pem"), read_file(settings.engine / "ca.pem")
    )
    try:
        names = list(hosts) or names_of(settings.certificate)
    except DataTrustError:
        raise InvalidInput(
            "the certificate that there was cannot be read", expected="--host, as when the home was made"
        ) from None
    replace_file(
        settings.engine / "server.pem", authority.server(read_curve(settings.engine / "server.key"), names, now), 0o600
    )
    return names


def root_fingerprint(root: TrustRoot) -> str:
    """What people compare: `sha256:<hex>` of the root's signed bytes."""
    return sha256(root.payload)
