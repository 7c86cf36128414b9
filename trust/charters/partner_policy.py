"""A partner's own policy: floors and forbids beside the charter's.  It can refuse more, never allow more.

Format: docs/formats.md, 13.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, StrictBool, StrictInt

from trust.canonical import Model, read_model
from trust.charters.cedar_text import PolicyText, policies_of
from trust.charters.charter import LOOSEST, Charter, Floor, cedar_files, digest_of, read, strictest, texts, toml
from trust.errors import CharterInvalid

__all__ = ["PartnerPolicy", "floor_of"]


class PartnerPolicy(Model):
    """partner.toml and the policies beside it, with the digest of the folder.

    Attributes:
        published: whether others may read it; if not, a check outside the node cannot know it.
        floor: complete; what partner.toml does not mention demands nothing.
        policies: `((file name, text), …)` of the *.cedar files, by name; each policy a forbid.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    version: StrictInt = Field(ge=1)
    published: StrictBool
    floor: Floor
    policies: tuple[tuple[str, str], ...] = ()
    folder_digest: str

    @classmethod
    def load(cls, folder: str | Path) -> PartnerPolicy:
        """From a folder.  Raises: CharterInvalid, naming file and line."""
        folder_path, owner = Path(folder), f"partner policy {str(folder)!r}"
        raw = {"partner.toml": read(folder_path, "partner.toml", owner)}
        fields = toml(raw["partner.toml"], "partner.toml")
        raw |= cedar_files(folder_path, owner)
        floor_fields = fields.get("floor", {})
        floor = {**LOOSEST, **floor_fields} if isinstance(floor_fields, dict) else floor_fields
        extra = {"policies": texts(raw), "folder_digest": digest_of(raw)}
        for name in extra:
            if name in fields:
                raise CharterInvalid(f"partner.toml has an unknown field {name!r}", expected="only the documented ones")
        policy = read_model(cls, {**fields, "floor": floor, **extra}, CharterInvalid, "partner.toml")
        for rule in policy.rules:
            if rule.effect == "permit":
                raise CharterInvalid(
                    f"{rule.place}: policy {rule.id!r} is a permit",
                    expected="forbid: a partner's policy can refuse more than the charter, never allow more",
                    remedy="turn it round: forbid unless",
                )
        return policy

    @property
    def rules(self) -> tuple[PolicyText, ...]:
        """The policies, in order."""
        return policies_of(self.policies)

    def check_fits(self, charter: Charter) -> None:
        """Raises: CharterInvalid where an id of the charter's stands here too."""
        charter.engine(*self.policies)


def floor_of(charter: Charter, policy: PartnerPolicy | None) -> Floor:
    """The strictest of charter and partner's policy."""
    return strictest([charter.floor, *([policy.floor] if policy else [])])
