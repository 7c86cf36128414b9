"""The folder that `dt.local(state=DIR)` keeps, so that the command line can act on the same trust.

trust.json          which version of this layout, and the partners' names
own.json            which partners had a policy of their own, and a list of opt-outs; these stay with the partners
dataset.yaml        the shared description          charter/     a copy of the charter's files
roots/1.json …      each signed version of the trust root
keys/               coordinator, auditor, researcher (not encrypted: a trust in one process needs no person)
committee/          members' keys, each under a passphrase; passphrase, where none was given
coordinator/        state.sqlite: docket and register
nodes/NAME/         keys/, state.sqlite (with the journal), uploads/, editions/, revocations/
results/            the signed file of each released study

Folders have mode 0700 and files 0600; but for the *.pub files, which are the public halves of the keys.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from coordinator.docket.docket import Docket
from coordinator.settings import CoordinatorSettings
from datatrust.in_process.keys import RoleKeys
from trust.canonical import Model, canonical, read_model
from trust.charters.charter import Charter
from trust.dataset.dataset import Dataset
from trust.documents.filed_study import TrustDocuments
from trust.documents.root import TrustRoot
from trust.errors import InvalidInput
from trust.files import read_file, write_new
from trust.signing.envelope import Envelope
from trust.signing.read import read_roots
from trust.times import now

__all__ = ["TrustFolder"]


class _About(Model):
    """trust.json."""

    layout: int
    partners: tuple[str, ...]


class TrustFolder:
    """A state folder that exists.  Reads lazily: a command opens only what it needs.

    Attributes:
        coordinator: what in it is the coordinator's.
    """

    LAYOUT = 1

    def __init__(self, folder: str | Path) -> None:
        """Raises: InvalidInput for a folder that `dt.local(state=…)` has not made."""
        self.folder = Path(folder)
        about = self.folder / "trust.json"
        if not about.is_file():
            raise InvalidInput(
                f"{str(folder)!r} is not a state of a trust",
                expected='the folder of dt.local(…, state="DIR")',
                remedy="name that folder",
            )
        about_fields = _json(about)
        layout = about_fields.get("layout") if isinstance(about_fields, dict) else None
        if layout != self.LAYOUT:
            raise InvalidInput(
                f"{str(folder)!r} was written by another version (layout {layout!r})",
                expected=f"layout {self.LAYOUT}",
                remedy="use the version that wrote it",
            )
        self.coordinator = CoordinatorSettings(self.folder)
        self.partners = read_model(_About, about_fields, InvalidInput, str(about)).partners

    @classmethod
    def opened(
        cls, folder: Path, dataset: Dataset, charter: Charter, partners: Sequence[str], passphrase: str | None
    ) -> tuple[TrustFolder, RoleKeys]:
        """The trust that the folder keeps, or a new one where it is empty or not there; and its keys.

        Raises: InvalidInput for other files in the folder, for a trust with other partners, another dataset or another
        charter, and for a wrong passphrase.
        """
        if (folder / "trust.json").exists():
            state = cls(folder)
            state._require_same(dataset, charter, partners)
            keys = RoleKeys.load(folder, partners, state.roots[0], charter.committee.quorum, passphrase)
            keys.serve(state.trust.root.root, charter)
            return state, keys
        try:
            if folder.exists() and any(folder.iterdir()):
                raise InvalidInput(
                    f"the state {str(folder)!r} holds other files, or was left half made",
                    expected="an empty folder, or a new one",
                )
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)
        except OSError as wrong:
            raise _unwritable(folder, wrong) from None
        keys = RoleKeys.make(partners, charter, now())
        keys.save(folder, passphrase)
        return cls._create(folder, dataset, charter, keys.envelope), keys

    @classmethod
    def _create(cls, folder: Path, dataset: Dataset, charter: Charter, founding: Envelope) -> TrustFolder:
        """Write all but keys; `trust.json` comes last, so that half a folder is none."""
        partners = sorted(TrustRoot.founding(founding).root.partners)
        files = {
            "dataset.yaml": dataset.to_yaml().encode(),
            **{f"charter/{name}": raw for name, raw in charter.files.items()},
            "roots/1.json": canonical(founding.document()) + b"\n",
            "trust.json": json.dumps({"layout": cls.LAYOUT, "partners": partners}).encode() + b"\n",
        }
        try:
            for name in ("charter", "roots", "results", *(f"nodes/{partner}/revocations" for partner in partners)):
                (folder / name).mkdir(mode=0o700)
            for name, raw in files.items():
                write_new(folder / name, raw, 0o600)
        except OSError as wrong:
            raise _unwritable(folder, wrong) from None
        return cls(folder)

    def _require_same(self, dataset: Dataset, charter: Charter, partners: Sequence[str]) -> None:
        trust_kept = self.trust
        for subject, is_same in (
            ("other partners", sorted(trust_kept.root.root.partners) == sorted(partners)),
            ("another dataset", trust_kept.dataset.digest() == dataset.digest()),
            ("another charter", trust_kept.charter.folder_digest == charter.folder_digest),
        ):
            if not is_same:
                raise InvalidInput(
                    f"the state {str(self.folder)!r} is of a trust with {subject}",
                    expected="partners, dataset and charter that it was made with",
                    remedy="name another folder for another trust",
                )

    @cached_property
    def roots(self) -> tuple[Envelope, ...]:
        """Every signed version of the trust root, in order."""
        return read_roots(self.folder / "roots")

    @property
    def trust(self) -> TrustDocuments:
        """What a coordinator knows of it."""
        return self.coordinator.trust

    def keep_own(self, partner_settings: Mapping[str, tuple[bool, bool]]) -> None:
        """Remember who has a policy of its own and a list of opt-outs, which the folder does not hold.

        Args:
            own: partner -> whether it has a policy, and a list of opt-outs, now.

        Raises: InvalidInput where one that a partner had before is not given: it must not end by being forgotten.
        """
        file = self.folder / "own.json"
        stored = _json(file) if file.is_file() else {}
        known_settings = stored if isinstance(stored, dict) else {}
        for name, now_has in partner_settings.items():
            for subject, had, has in zip(
                ("policy", "list of opt-outs"), known_settings.get(name, []), now_has, strict=False
            ):
                if had and not has:
                    raise InvalidInput(
                        f"partner {name!r} had a {subject}, and none is given now",
                        expected=f"its {subject} again; an empty one if it has ended",
                    )
        document = {name: list(pair) for name, pair in partner_settings.items()}
        if document == known_settings:
            return
        try:
            file.touch(mode=0o600)
            file.write_bytes(json.dumps(document).encode() + b"\n")
        except OSError as wrong:
            raise _unwritable(self.folder, wrong) from None

    def docket(self) -> Docket:
        """The docket and the register.  Raises: InvalidInput where their file is lost; Fault."""
        if not (self.folder / "coordinator" / "state.sqlite").is_file():
            raise InvalidInput(
                f"{str(self.folder)!r} has lost its register (coordinator/state.sqlite)",
                remedy="put the file back; a new register would deny what was done",
            )
        return self.coordinator.docket()

    def node(self, partner: str) -> Path:
        """The folder of one partner's node."""
        return self.folder / "nodes" / partner


def _unwritable(folder: Path, wrong: OSError) -> InvalidInput:
    return InvalidInput(f"the state {str(folder)!r} cannot be written ({wrong.strerror})", remedy="name another folder")


def _json(path: Path) -> object:
    try:
        return json.loads(read_file(path))
    except (ValueError, RecursionError):
        raise InvalidInput(f"{str(path)!r} is not JSON", remedy="correct the folder") from None
