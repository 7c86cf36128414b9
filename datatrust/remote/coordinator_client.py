"""Asking a coordinator over HTTPS: every call signed where a key is given, bounded in time and in size.

What comes back is bytes of somebody who is not trusted: redirects are not followed, nothing is decompressed, a text is
made safe before it is shown, and an error of the coordinator becomes one of ours (RFC 9457).  What the bytes are worth
is judged elsewhere, by signatures.
"""

from __future__ import annotations

import ssl
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from trust import errors
from trust.canonical import canonical
from trust.documents.result import LARGEST_BYTES
from trust.errors import DataTrustError, Fault, InvalidInput, MessageInvalid, Refused, Unreachable
from trust.signing.envelope import Signer
from trust.signing.http_signatures import authority_of, sign_request
from trust.signing.json_text import read_json
from trust.times import now
from trust.words.safe import escaped

if TYPE_CHECKING:
    import httpx

    from nodes.interface import RequestDeadline

__all__ = ["CoordinatorClient", "base_url"]

_CONNECT_SECONDS, _SILENCE_SECONDS, _ANSWER_SECONDS = 10.0, 20.0, 60.0
"""Seconds: for a connection, between two pieces of an answer, and for a whole answer, however small its pieces."""
_TRIES, _FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 3, 0.3, 5.0
"""How often what may be asked twice is asked, and the seconds between."""
_MOST_BYTES: Final = 1 << 23
"""Bytes of an answer, where nothing else is said: 8 MiB.  A result may have `trust.result.LARGEST_BYTES`."""
_PROBLEM = "application/problem+json"
_LONGEST_TEXT = 600
_BY_CODE: Final = {
    kind.code: kind
    for kind in (getattr(errors, name) for name in errors.__all__)
    if isinstance(kind, type) and issubclass(kind, InvalidInput)
}
_AGAIN_LATER = frozenset({429, 503})


def base_url(url: str) -> str:
    """The address of a coordinator, as it is kept: `https://host:port`.

    Raises: InvalidInput for anything else: what is sent must be encrypted, and holds no password.
    """
    text = str(url).strip().rstrip("/")
    try:
        parts = urlsplit(text)
        fits = parts.scheme == "https" and bool(parts.hostname) and not (parts.path or parts.query or parts.fragment)
        authority = authority_of(text) if fits else ""
    except (ValueError, InvalidInput):
        authority = ""
    if not authority:
        raise InvalidInput(
            f"{escaped(text[:100])!r} is not an address of a coordinator",
            expected="https://host:port, as the invitation has it",
        )
    return f"https://{authority}"


class CoordinatorClient:
    """A coordinator's interface.  Threads may share one.

    Attributes:
        url: `https://host:port`.
    """

    def __init__(self, url: str, authority: str = "", signer: Signer | None = None) -> None:
        """Args: authority: PEM of whom its certificate must be from; empty: the system's.  Raises: InvalidInput."""
        self.url, self._signer = base_url(url), signer
        self._client = _client(self.url, authority)

    def close(self) -> None:
        """End its connections."""
        self._client.close()

    # ---- what is asked

    def json(self, path: str, *, most: int = _MOST_BYTES) -> Any:
        """The JSON value at a path.  Raises: Unreachable, Refused, InvalidInput, MessageInvalid, Fault."""
        return _value(self.get(path, most=most), most)

    def text(self, path: str, *, most: int = _MOST_BYTES) -> str:
        """The text at a path.  Raises: as `json`."""
        try:
            return self.get(path, most=most).decode("utf-8")
        except UnicodeDecodeError:
            raise MessageInvalid("the coordinator's answer is not text", expected="UTF-8") from None

    def get(self, path: str, *, most: int = _MOST_BYTES) -> bytes:
        """The bytes at a path.  Raises: as `json`."""
        return self._answer_bytes("GET", path, b"", most)

    def post(self, path: str, document: Any = None, *, most: int = _MOST_BYTES) -> Any:
        """The JSON value that answers a document, or an order without one.  Raises: as `json`.

        What is handed in twice counts once, so that it may be sent again.
        """
        body = b"" if document is None else canonical(document)
        return _value(self._answer_bytes("POST", path, body, most), most)

    def _answer_bytes(self, method: str, path: str, body: bytes, most: int) -> bytes:
        """Sent again, a few times, where the connection fails or the coordinator is busy; each time signed again."""
        pause = _FIRST_PAUSE_SECONDS
        for last in (*(False,) * (_TRIES - 1), True):
            try:
                return self._once(method, path, body, most)
            except Unreachable as away:
                if last or isinstance(away, _TooSlow):
                    raise
            time.sleep(min(pause, _LONGEST_PAUSE_SECONDS))
            pause *= 3
        raise AssertionError("a loop that ends by itself")

    # ---- one request

    def _once(self, method: str, path: str, body: bytes, most: int) -> bytes:
        url = f"{self.url}{path}"
        headers = {"Accept": "application/json, text/plain", "Accept-Encoding": "identity"}
        if body:
            headers["Content-Type"] = "application/json"
        if self._signer is not None:
            headers |= sign_request(self._signer, method, url, body, now())
        from nodes.interface import RequestDeadline

        deadline = RequestDeadline(_ANSWER_SECONDS)
        options: dict[str, Any] = {"content": body or None, "headers": headers, "extensions": {"trace": deadline.trace}}
        with _mapped(self.url, deadline), self._client.stream(method, url, **options) as answer:
            kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
            if answer.status_code >= 400:
                raise _problem(answer.status_code, kind, _body(answer, 1 << 16))
            if answer.status_code >= 300:
                raise _no_coordinator(self.url, "sends on to another address, which is not followed")
            if kind not in ("application/json", "text/plain", "text/yaml", "application/yaml"):
                subject = "a web page" if kind == "text/html" else f"{escaped(kind[:60]) or 'something'!r}"
                raise _no_coordinator(self.url, f"answers with {subject}")
            return _body(answer, most)


class _TooSlow(Unreachable):
    """An answer that goes on for too long; asked for again, it would again."""


def _client(url: str, authority: str) -> httpx.Client:
    import httpx

    try:
        trusted = ssl.create_default_context(cadata=authority or None)
    except ssl.SSLError:
        raise InvalidInput("the invitation's authority is not a certificate", remedy="ask for the invitation") from None
    host = urlsplit(url).hostname or ""
    proxy = None if urllib.request.proxy_bypass(host) else urllib.request.getproxies().get("https")
    return httpx.Client(
        verify=trusted,
        proxy=proxy or None,
        trust_env=False,  # no password of a .netrc is sent
        follow_redirects=False,
        timeout=httpx.Timeout(_SILENCE_SECONDS, connect=_CONNECT_SECONDS),
        limits=httpx.Limits(max_keepalive_connections=0),  # none that has gone stale is used for a POST
        headers={"User-Agent": "datatrust"},
    )


@contextmanager
def _mapped(url: str, deadline: RequestDeadline) -> Iterator[None]:
    """What the network says becomes one of our errors."""
    import httpx

    try:
        with deadline:
            yield
    except httpx.TimeoutException:
        raise Unreachable(f"{url} does not answer in time", remedy="try again later, or compare the address") from None
    except httpx.ConnectError as wrong:
        raise _unreachable(url, wrong) from None
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as wrong:
        if deadline.is_over:
            raise _TooSlow(
                f"the answer of {url} takes longer than {_ANSWER_SECONDS:.0f} s; nothing of it is used"
            ) from None
        raise Unreachable(f"the connection to {url} broke ({type(wrong).__name__})", remedy="try again") from None


def _unreachable(url: str, wrong: BaseException) -> Unreachable:
    """Why there is no connection: the cause below, in words that name no secret."""
    text, remedy = "nobody listens there, or the name is unknown", "compare the address; check this machine's network"
    cause: BaseException | None = wrong
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            text, remedy = f"its certificate is refused: {cause.verify_message}", "ask for the invitation of today"
            break
        if isinstance(cause, ssl.SSLError):
            text, remedy = "no TLS is spoken there", "compare the address with the invitation's"
            break
        cause = cause.__cause__ or cause.__context__
    return Unreachable(f"{url} cannot be reached ({text})", remedy=remedy)


def _body(answer: httpx.Response, most: int) -> bytes:
    """The answer's bytes.  Raises: Fault where they are more."""
    chunks, size = [], 0
    if answer.headers.get("content-encoding", "identity").lower() != "identity":
        raise Fault("the coordinator's answer is compressed, which was not asked for")
    for part in answer.iter_raw():
        size += len(part)
        if size > most:
            raise Fault(f"the coordinator's answer has more than {most} bytes; nothing of it is used")
        chunks.append(part)
    return b"".join(chunks)


def _value(raw: bytes, most: int) -> Any:
    try:
        return read_json(raw, largest=min(most, LARGEST_BYTES))
    except MessageInvalid as wrong:
        got = wrong.text.replace("a file", "an answer")
        raise MessageInvalid(f"the coordinator sends {got}", expected=wrong.expected) from None


# ---- what the coordinator says went wrong


def _problem(status: int, kind: str, raw: bytes) -> DataTrustError:
    """Its error as one of ours: a rule that said no, what cannot be used, or a fault there."""
    fields: Any = None
    if kind == _PROBLEM:
        try:
            fields = read_json(raw, largest=1 << 16)
        except MessageInvalid:
            fields = None
    if not isinstance(fields, dict):
        if status in _AGAIN_LATER:
            return Unreachable(f"the coordinator is busy (HTTP {status})", remedy="try again later")
        return Fault(f"the coordinator answers with HTTP {status}, and does not say why")
    code = str(fields.get("type", "")).rpartition("/")[2]
    rule, got = _problem_text(fields, "rule"), _problem_text(fields, "got")
    expected, remedy = _problem_text(fields, "expected"), _problem_text(fields, "remedy")
    detail = _problem_text(fields, "text") or got or _problem_text(fields, "detail") or _problem_text(fields, "title")
    if status in _AGAIN_LATER and not rule:
        return Unreachable(detail or f"the coordinator is busy (HTTP {status})", remedy=remedy or "try again later")
    if rule:
        return Refused(rule, detail, expected=expected, remedy=remedy)
    if code in _BY_CODE:
        return _BY_CODE[code](got or detail, expected=expected, remedy=remedy)
    if status < 500:
        return InvalidInput(detail or f"HTTP {status}", expected=expected, remedy=remedy)
    return Fault(f"the coordinator has a fault: {detail or f'HTTP {status}'}", expected=expected, remedy=remedy)


def _problem_text(problem: dict[str, Any], name: str) -> str:
    """A text of it, safe to show and not too long."""
    value = problem.get(name)
    return escaped(value[:_LONGEST_TEXT], quotes=False) if isinstance(value, str) else ""


def _no_coordinator(url: str, does: str) -> Fault:
    remedy = "compare the address with the invitation's"
    return Fault(f"{url} {does}: no coordinator of a trust is there", remedy=remedy)
