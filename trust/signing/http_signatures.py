"""Signed HTTP requests: who asks the coordinator, and that nothing of the question was changed on its way.

One profile of RFC 9421 and no other: Ed25519 (section 3.3.6), the components of `COVERED`, the parameters of section
2.3 in one order, and the body by its digest (RFC 9530, section 2).  A request is read by one pattern that knows what
`sign_request` writes, so that nothing is left to a parser's judgement; what is written otherwise is refused.

What the caller must still do: refuse a nonce that it has seen (until `Signed.until`), compare the authority with its
own, and decide what the key may do.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit

from trust.errors import InvalidInput, Refused
from trust.signing.envelope import Signer, key_id, valid

__all__ = [
    "CLOCK_TOLERANCE_SECONDS",
    "COVERED",
    "LIFETIME_SECONDS",
    "Signed",
    "authority_of",
    "content_digest",
    "normal",
    "sign_request",
    "signature_base",
    "verify_request",
]

COVERED: Final = ("@method", "@authority", "@path", "@query", "content-digest")
"""What a signature is over.  Source: RFC 9421, section 2.2; for the body RFC 9530, section 2."""
LIFETIME_SECONDS: Final = 60
"""Seconds from a request's creation to its expiry."""
CLOCK_TOLERANCE_SECONDS: Final = 60
"""Seconds by which two clocks may differ."""

_LABEL = "datatrust"
_COMPONENTS = " ".join(f'"{name}"' for name in COVERED)
_INPUT = re.compile(
    rf"{_LABEL}=(?P<params>\({re.escape(_COMPONENTS)}\)"
    r";created=(?P<created>[1-9][0-9]{0,14});expires=(?P<expires>[1-9][0-9]{0,14})"
    r';nonce="(?P<nonce>[A-Za-z0-9+/]{22}==)";keyid="(?P<keyid>[0-9a-f]{64})"'
    rf';alg="ed25519";tag="{_LABEL}")'
)
_SIGNATURE = re.compile(rf"{_LABEL}=:(?P<bytes>[A-Za-z0-9+/]{{86}}==):")
_PRINTABLE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
"""A component's value: visible ASCII, no line feed that would begin another line of the signature base."""
_AGAIN = "sign the request again, as the documentation of the interface says"


@dataclass(frozen=True)
class Signed:
    """A request whose signature is good.

    Attributes:
        keyid: SHA-256 of the raw public key, hex.
        nonce: 16 random bytes, base64; to be taken once.
        expires: Unix seconds.
    """

    keyid: str
    nonce: str
    expires: int

    @property
    def created(self) -> int:
        """Unix seconds."""
        return self.expires - LIFETIME_SECONDS

    @property
    def until(self) -> int:
        """Unix seconds after which the request is refused as too old, so that its nonce can be forgotten."""
        return self.expires + CLOCK_TOLERANCE_SECONDS


def content_digest(body: bytes) -> str:
    """The field Content-Digest of a body, which may be empty.  Source: RFC 9530, section 2."""
    return f"sha-256=:{_text(hashlib.sha256(body).digest())}:"


def authority_of(url: str) -> str:
    """Host and port as a signature covers them: small letters, without the port of https.

    Source: RFC 9421, section 2.2.3; RFC 9110, section 4.2.3.  Raises: InvalidInput.
    """
    return normal(_split(url)[0])


def signature_base(components: Sequence[tuple[str, str]], params: str) -> bytes:
    """The bytes that are signed.  Source: RFC 9421, section 2.5.

    Args:
        components: names and values, in the order of the signature; `params`: the signature's parameters, serialized.

    Raises: Refused (`request-signature`) for a value with a control character or a letter beyond ASCII.
    """
    lines = [*components, ("@signature-params", params)]
    if not all(_PRINTABLE.fullmatch(value) for _, value in lines):
        raise _bad("the request has a letter that cannot be signed")
    return "\n".join(f'"{name}": {value}' for name, value in lines).encode("ascii")


def sign_request(signer: Signer, method: str, url: str, body: bytes, now: datetime) -> dict[str, str]:
    """The header fields that make a request a signed one.

    Args:
        url: as it is sent: absolute, percent-encoded, such as `https://trust.example:8443/v1/studies?state=filed`.
        body: its bytes, empty where there is none.

    Source: RFC 9421, section 3.1.  Raises: InvalidInput for a URL that cannot be sent as it is.
    """
    authority, path, query = _split(url)
    created, nonce = int(now.timestamp()), _text(secrets.token_bytes(16))
    params = (
        f"({_COMPONENTS});created={created};expires={created + LIFETIME_SECONDS}"
        f';nonce="{nonce}";keyid="{signer.key_id}";alg="ed25519";tag="{_LABEL}"'
    )
    digest = content_digest(body)
    base = signature_base(_components(method, authority, path, query, digest), params)
    return {
        "Content-Digest": digest,
        "Signature-Input": f"{_LABEL}={params}",
        "Signature": f"{_LABEL}=:{_text(signer.sign(base))}:",
    }


def verify_request(
    keys: Mapping[str, bytes],
    method: str,
    authority: str,
    path: str,
    query: str,
    headers: Iterable[tuple[str, str]] | Mapping[str, str],
    body: bytes,
    now: datetime,
) -> Signed:
    """Who signed the request, when all of it is as it was signed, and lately.

    Args:
        keys: key id -> raw public key, of everybody who may be known.
        authority, path, query: as they came: the field Host, the percent-encoded path, and what follows the `?`.
        headers: names and values, each line of the request for itself, so that a field that stands twice is seen.

    Source: RFC 9421, section 3.2.
    Raises: Refused: `request-signature` where it is not signed, otherwise signed or changed; `request-key` for a key
    that is not among `keys`; `request-expired` where it is too old, or of a time to come.
    """
    fields = _fields(headers)
    read, signature = _INPUT.fullmatch(fields["signature-input"]), _SIGNATURE.fullmatch(fields["signature"])
    if read is None or signature is None:
        raise _bad("the request's signature is written otherwise than the interface asks for")
    created, expires = int(read["created"]), int(read["expires"])
    if expires - created != LIFETIME_SECONDS:
        raise _bad(f"the request's signature is not for {LIFETIME_SECONDS} seconds")
    if fields["content-digest"] != content_digest(body):
        raise _bad("the request's body is not the one that was signed")
    key = keys.get(read["keyid"])
    if key is None or key_id(key) != read["keyid"]:
        text = "the request is signed with a key that the trust root does not know"
        raise Refused("request-key", text, remedy="sign with the key that was registered")
    components = _components(method, normal(authority), path, query, fields["content-digest"])
    if not valid(key, _raw(signature["bytes"]), signature_base(components, read["params"])):
        raise _bad("the request is not as it was signed")
    _timely(created, expires, now)
    return Signed(read["keyid"], read["nonce"], expires)


def _timely(created: int, expires: int, now: datetime) -> None:
    """RFC 9421, section 2.3: `created` and `expires`."""
    seconds = now.timestamp()
    if seconds > expires + CLOCK_TOLERANCE_SECONDS:
        raise Refused("request-expired", "the request was signed too long ago", remedy="sign it again; check the clock")
    if created > seconds + CLOCK_TOLERANCE_SECONDS:
        raise Refused("request-expired", "the request was signed in a time to come", remedy="check the clock")


def _fields(headers: Iterable[tuple[str, str]] | Mapping[str, str]) -> dict[str, str]:
    """The three fields of a signed request, each of which stands there once."""
    lines = list(headers.items() if isinstance(headers, Mapping) else headers)
    fields = {}
    for name in ("content-digest", "signature-input", "signature"):
        values = [value for field, value in lines if field.lower() == name]
        if len(values) != 1:
            raise _bad(f"the request has {'no' if not values else 'more than one'} field {name!r}")
        fields[name] = values[0]
    return fields


def _components(method: str, authority: str, path: str, query: str, digest: str) -> list[tuple[str, str]]:
    """RFC 9421, sections 2.2.1, 2.2.3, 2.2.6 and 2.2.7: an empty path is `/`, an absent query is `?`."""
    return list(zip(COVERED, (method, authority, path or "/", f"?{query}", digest), strict=True))


def normal(authority: str) -> str:
    """A field Host as a signature covers it.  Source: RFC 9421, section 2.2.3."""
    return authority.lower().removesuffix(":443")


def _split(url: str) -> tuple[str, str, str]:
    """Authority, path and query.  Raises: InvalidInput."""
    try:
        parts = urlsplit(url)
        fits = parts.scheme in ("https", "http") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fits = False
    if not fits or not _PRINTABLE.fullmatch(url) or re.search(r'[ "<>\\^`{|}#]|%(?![0-9A-Fa-f]{2})', url):
        raise InvalidInput("an address that cannot be asked as it is", expected="https://host:port/path, encoded")
    if "@" in parts.netloc:
        raise InvalidInput("an address with a name or a password in it", expected="https://host:port/path")
    return normal(parts.netloc), parts.path or "/", parts.query


def _bad(text: str) -> Refused:
    return Refused("request-signature", text, remedy=_AGAIN)


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


def _raw(text: str) -> bytes:
    """The signature's bytes; empty, which no signature is, where they are written in a second way."""
    raw = base64.b64decode(text, validate=True)
    return raw if _text(raw) == text else b""
