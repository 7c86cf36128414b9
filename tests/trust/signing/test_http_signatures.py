"""Signed requests: the signature base of the RFC's own example, and that nothing can be changed, kept or left out."""

from __future__ import annotations

import base64
import contextlib
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from trust.errors import DataTrustError, InvalidInput, Refused
from trust.signing.envelope import Signer, valid
from trust.signing.http_signatures import (
    CLOCK_TOLERANCE_SECONDS,
    LIFETIME_SECONDS,
    Signed,
    authority_of,
    content_digest,
    sign_request,
    signature_base,
    verify_request,
)

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
SIGNER = Signer()
KEYS = {SIGNER.key_id: SIGNER.public}
BODY = b'{"payload":"e30="}'
URL = "https://trust.example:8443/v1/studies?state=filed"
SENT = {"method": "POST", "authority": "trust.example:8443", "path": "/v1/studies", "query": "state=filed"}


def signed(url: str = URL, body: bytes = BODY, signer: Signer = SIGNER, at: datetime = NOW) -> dict[str, str]:
    return sign_request(signer, "POST", url, body, at)


def check(headers: Any, body: bytes = BODY, now: datetime = NOW, keys: Any = KEYS, **changes: str) -> Signed:
    return verify_request(keys, **{**SENT, **changes}, headers=headers, body=body, now=now)


def refused(rule: str = "request-signature") -> Any:
    return pytest.raises(Refused, match=f"refused by {rule}: ")


def test_the_signature_base_is_that_of_the_rfc() -> None:
    """RFC 9421, appendix B.2.6, with the key of appendix B.1.4; Ed25519 is deterministic, so we sign it too."""
    private = base64.urlsafe_b64decode("n4Ni-HpISpVObnQMW0wOhCKROaIKqKtW_2ZYb2p9KcU=")
    components = [
        ("date", "Tue, 20 Apr 2021 02:07:55 GMT"),
        ("@method", "POST"),
        ("@path", "/foo"),
        ("@authority", "example.com"),
        ("content-type", "application/json"),
        ("content-length", "18"),
    ]
    names = " ".join(f'"{name}"' for name, _ in components)
    base = signature_base(components, f'({names});created=1618884473;keyid="test-key-ed25519"')
    expected = "wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw=="
    signer = Signer(Ed25519PrivateKey.from_private_bytes(private))
    assert base64.b64encode(signer.sign(base)).decode() == expected
    assert valid(signer.public, expected, base)


def test_the_digest_is_that_of_the_rfc() -> None:
    """RFC 9530, appendix D: the body of its first example."""
    assert content_digest(b'{"hello": "world"}\n') == "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:"


def test_a_request_as_it_was_signed_is_believed() -> None:
    found = check(signed())
    assert (found.keyid, found.created) == (SIGNER.key_id, int(NOW.timestamp()))
    assert found.expires == found.created + LIFETIME_SECONDS
    assert len(base64.b64decode(found.nonce)) == 16
    assert check(list(signed().items())).nonce != found.nonce


def test_capitals_and_the_port_of_https_make_no_difference() -> None:
    headers = {name.upper(): value for name, value in signed("https://Trust.example/v1/studies?state=filed").items()}
    assert check(headers, authority="TRUST.example:443")
    assert authority_of("https://Trust.example:443/") == "trust.example"


def test_an_empty_path_and_an_absent_query_are_written_as_the_rfc_says() -> None:
    headers = sign_request(SIGNER, "GET", "https://trust.example", b"", NOW)
    assert check(headers, b"", method="GET", authority="trust.example", path="/", query="")


@given(st.sampled_from(sorted(SENT)), st.text(max_size=12))
def test_any_change_of_where_it_goes_is_refused(part: str, other: str) -> None:
    plain = part == "authority" and other.lower().removesuffix(":443") == SENT[part]
    if other == SENT[part] or plain:
        return
    with refused():
        check(signed(), **{part: other})


@given(st.binary(max_size=40))
def test_any_other_body_is_refused(other: bytes) -> None:
    headers = signed()
    if other == BODY:
        return
    with refused():
        check(headers, other)
    with refused():  # its digest put right, but not signed
        check({**headers, "Content-Digest": content_digest(other)}, other)


@given(st.sampled_from(["Content-Digest", "Signature-Input", "Signature"]), st.data())
def test_any_letter_changed_in_a_field_is_refused(name: str, data: st.DataObject) -> None:
    headers = signed()
    at = data.draw(st.integers(0, len(headers[name]) - 1))
    letter = data.draw(st.characters(codec="latin-1").filter(lambda c: c != headers[name][at]))
    value = headers[name][:at] + letter + headers[name][at + 1 :]
    with pytest.raises(Refused, match="request-"):
        check({**headers, name: value})


@given(st.sampled_from(["Content-Digest", "Signature-Input", "Signature"]), st.text(max_size=200))
def test_any_text_in_a_field_is_refused_and_never_breaks_it(name: str, value: str) -> None:
    with refused():
        check({**signed(), name: value})


@pytest.mark.parametrize("name", ["Content-Digest", "Signature-Input", "Signature"])
def test_a_field_that_is_missing_or_stands_twice_is_refused(name: str) -> None:
    headers = signed()
    with refused():
        check({k: v for k, v in headers.items() if k != name})
    with refused():
        check([*headers.items(), (name.lower(), headers[name])])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (' "content-digest")', ")"),
        ('"@method" "@authority"', '"@authority" "@method"'),
        ('"@query"', '"@query";req'),
        ('alg="ed25519"', 'alg="hmac-sha256"'),
        (';alg="ed25519"', ""),
        ('tag="datatrust"', 'tag="other"'),
        ("datatrust=", "sig1="),
        (";created=", "; created="),
        (";expires=", ";expires=0"),
        ('tag="datatrust"', 'tag="datatrust", sig2=()'),
        (";nonce=", ";more=1;nonce="),
    ],
)
def test_what_we_do_not_write_is_not_read(old: str, new: str) -> None:
    headers = signed()
    assert old in headers["Signature-Input"]
    with refused():
        check({**headers, "Signature-Input": headers["Signature-Input"].replace(old, new)})


def test_other_components_are_refused_even_when_their_signature_is_good() -> None:
    """The same key, another list: a body that is not covered."""
    headers = signed()
    params = headers["Signature-Input"].removeprefix("datatrust=").replace(' "content-digest"', "")
    base = signature_base([("@method", "POST"), ("@authority", SENT["authority"]), ("@path", SENT["path"])], params)
    made = base64.b64encode(SIGNER.sign(base)).decode()
    with refused():
        check({**headers, "Signature-Input": f"datatrust={params}", "Signature": f"datatrust=:{made}:"})


def test_a_signature_for_longer_than_a_minute_is_refused_even_when_it_is_good() -> None:
    headers = signed()
    created = int(NOW.timestamp())
    params = headers["Signature-Input"].removeprefix("datatrust=")
    params = params.replace(f"expires={created + LIFETIME_SECONDS}", f"expires={created + 10**6}")
    values = ("POST", SENT["authority"], SENT["path"], f"?{SENT['query']}", headers["Content-Digest"])
    names = ("@method", "@authority", "@path", "@query", "content-digest")
    made = base64.b64encode(SIGNER.sign(signature_base(list(zip(names, values, strict=True)), params))).decode()
    with refused():
        check({**headers, "Signature-Input": f"datatrust={params}", "Signature": f"datatrust=:{made}:"})


@pytest.mark.parametrize(
    ("seconds", "good"),
    [
        (0, True),
        (LIFETIME_SECONDS + CLOCK_TOLERANCE_SECONDS, True),
        (LIFETIME_SECONDS + CLOCK_TOLERANCE_SECONDS + 1, False),
        (10**6, False),
        (-CLOCK_TOLERANCE_SECONDS, True),
        (-CLOCK_TOLERANCE_SECONDS - 1, False),
        (-(10**6), False),
    ],
)
def test_a_request_is_good_for_a_short_time(seconds: int, good: bool) -> None:
    now = NOW + timedelta(seconds=seconds)
    if good:
        assert check(signed(), now=now).until >= now.timestamp()
    else:
        with refused("request-expired"):
            check(signed(), now=now)


def test_another_key_is_unknown_or_has_not_signed() -> None:
    other = Signer()
    with refused("request-key"):
        check(signed(signer=other))
    claimed = {**signed(signer=other), "Signature-Input": signed()["Signature-Input"]}
    with refused():
        check(claimed)
    with refused("request-key"):  # a table of keys that is wrong
        check(signed(), keys={SIGNER.key_id: other.public})


def test_a_signature_written_in_a_second_way_is_refused() -> None:
    headers = signed()
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    last = re.fullmatch(r"datatrust=:.{85}(.)==:", headers["Signature"])
    assert last is not None
    second = alphabet[alphabet.index(last[1]) + 1]  # the bits that base64 leaves unused
    with refused():
        check({**headers, "Signature": headers["Signature"].replace(f"{last[1]}==:", f"{second}==:")})


@pytest.mark.parametrize(
    "url",
    [
        "",
        "trust.example/v1",
        "ftp://trust.example/",
        "https:///v1",
        "https://me:s3cret@trust.example/",
        "https://trust.example/v1#part",
        "https://trust.example/a b",
        "https://trust.example/é",
        "https://trust.example/%zz",
        "https://trust.example:port/",
        "https://trust.example/\n",
    ],
)
def test_an_address_that_cannot_be_sent_as_it_is_is_not_signed(url: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        signed(url)
    assert "s3cret" not in str(raised.value)


@given(st.text(max_size=60))
def test_no_address_breaks_the_signer(text: str) -> None:
    with contextlib.suppress(DataTrustError):
        signed(f"https://{text}")
