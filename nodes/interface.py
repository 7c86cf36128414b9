"""What a node asks the coordinator's public interface for, over HTTPS: roots, dataset, charter, register.

It sends nothing of its own, follows no redirect, reads bounded answers, and believes none: whatever comes is held to
the trust root by the caller.
"""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from trust.errors import Fault, InvalidInput, MessageInvalid
from trust.signing.json_text import read_json

__all__ = ["CoordinatorReader", "RequestDeadline", "tls_context", "why"]

_SILENCE_SECONDS = 10.0
_ANSWER_SECONDS = 30.0
"""For a whole answer, however small its pieces: the process that asks must not be held up, nor taken for dead."""
_ANSWER_BYTES = 1 << 24
_REGISTER_PAGES = 10_000
_REGISTER_BYTES = 1 << 28


def tls_context(authority: bytes) -> ssl.SSLContext:
    """TLS 1.2 or later, to a server whose certificate this authority has signed; without one, one of the system's.

    Raises: InvalidInput for an authority that is not a certificate.
    """
    try:
        context = ssl.create_default_context(cadata=authority.decode("ascii") or None)
    except (ValueError, ssl.SSLError):
        raise InvalidInput("an authority that is not a certificate", expected="connection/ca.pem in PEM") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


@dataclass(frozen=True)
class CoordinatorReader:
    """The public interface at `url`.

    Attributes:
        authority: PEM of whom its certificate is from; empty: one of the system's authorities.
        proxy: `http://host:port`; empty: none.  What the environment says is not asked.
        patience: seconds without an answer.
    """

    url: str
    authority: bytes
    proxy: str = ""
    patience: float = _SILENCE_SECONDS

    def roots(self) -> list[Any]:
        """Envelopes of every version, as JSON values.  Raises: Fault, MessageInvalid."""
        envelopes = self._json("/v1/roots")
        if not isinstance(envelopes, list):
            raise MessageInvalid("an answer that is not a list of trust roots", expected="GET /v1/roots")
        return envelopes

    def dataset(self) -> str:
        """The dataset's YAML.  Raises: Fault, MessageInvalid."""
        return _utf8(self.get("/v1/dataset")[0])

    def charter(self) -> dict[str, str]:
        """The charter's files: name -> text.  Raises: Fault, MessageInvalid."""
        document = self._json("/v1/charter")
        files = document.get("files") if isinstance(document, dict) else None
        if not isinstance(files, dict) or not all(isinstance(text, str) for text in files.values()):
            raise MessageInvalid("an answer that is not a charter", expected="GET /v1/charter")
        return files

    def entries(self) -> list[dict[str, Any]]:
        """Every entry of the register, in order.  Raises: Fault, MessageInvalid."""
        entries_read: list[dict[str, Any]] = []
        bytes_left = _REGISTER_BYTES
        for _ in range(_REGISTER_PAGES):
            raw = self.get(f"/v1/register/entries?start={len(entries_read)}&limit=100")[0]
            page = read_json(raw, largest=_ANSWER_BYTES)
            entries, size = (page.get("entries"), page.get("size")) if isinstance(page, dict) else (None, None)
            whole = isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries)
            if not isinstance(entries, list) or not whole or type(size) is not int:
                raise MessageInvalid(
                    "an answer that is not a part of the register", expected="GET /v1/register/entries"
                )
            entries_read += entries
            bytes_left -= len(raw)
            if bytes_left < 0:
                raise MessageInvalid(f"a register of more than {_REGISTER_BYTES} bytes", expected="less")
            if not entries or len(entries_read) >= size:
                break
        return entries_read

    def date(self) -> datetime:
        """The coordinator's time, as its answer is dated.  Raises: Fault, MessageInvalid."""
        stamp = self.get("/livez")[1].get("date", "")
        try:
            return parsedate_to_datetime(stamp).astimezone(UTC)
        except (TypeError, ValueError):
            raise MessageInvalid("an answer without a date", expected="HTTP's Date") from None

    def get(self, path: str) -> tuple[bytes, httpx.Headers]:
        """Body and headers.  Raises: Fault, which says what to look at; never what was sent."""
        deadline = RequestDeadline(_ANSWER_SECONDS)
        try:
            with (
                deadline,
                httpx.Client(
                    verify=tls_context(self.authority),
                    timeout=self.patience,
                    trust_env=False,
                    proxy=self.proxy or None,
                ) as client,
                client.stream(
                    "GET",
                    self.url + path,
                    headers={"accept-encoding": "identity"},
                    extensions={"trace": deadline.trace},
                ) as answer,
            ):
                if answer.status_code != 200:
                    raise Fault(f"{self.url}{path} answers {answer.status_code}", remedy="ask who runs the coordinator")
                body = bytearray()
                for piece in answer.iter_raw():
                    body += piece
                    if len(body) > _ANSWER_BYTES:
                        raise MessageInvalid(f"an answer of more than {_ANSWER_BYTES} bytes", expected="less")
                if deadline.is_over:  # an answer without a length ends wherever it is cut off
                    raise httpx.ReadTimeout("over")
                return bytes(body), answer.headers
        except httpx.HTTPError as wrong:
            text = f"an answer that takes longer than {_ANSWER_SECONDS:.0f} s" if deadline.is_over else why(wrong)
            raise Fault(
                f"{self.url} cannot be reached ({text})",
                remedy="ask who runs the coordinator, and look at the firewall for outgoing connections",
            ) from None

    def _json(self, path: str) -> Any:
        return read_json(self.get(path)[0], largest=_ANSWER_BYTES)


class RequestDeadline:
    """The seconds that a whole request may take, however small the pieces of its answer: as a context manager around
    the request, it ends the connection when they are over, wherever it has got to.

    Attributes:
        is_over: whether they are; what came is then not to be used.
    """

    def __init__(self, seconds: float) -> None:
        self.is_over = False
        self._stream: Any = None
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True

    def trace(self, event: str, info: dict[str, Any]) -> None:
        """For httpx's extension `trace`: the newest connection, plain or in TLS, is the one in use."""
        connection = info.get("return_value")
        if event.endswith(".complete") and hasattr(connection, "get_extra_info"):
            self._stream = connection

    def _end(self) -> None:
        self.is_over = True
        with suppress(OSError, AttributeError):
            self._stream.get_extra_info("socket").shutdown(socket.SHUT_RDWR)  # wakes who waits in a read

    def __enter__(self) -> RequestDeadline:
        self._timer.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._timer.cancel()


def why(wrong: BaseException) -> str:
    """What failed, in few words: TLS, a name, a refusal, a time-out."""
    text = str(wrong).lower()
    if "certificate" in text:
        reason = "expired" if "expired" in text else "of another name" if "match" in text else "of another authority"
        return f"its certificate is {reason}"
    if isinstance(wrong, httpx.TimeoutException | TimeoutError):
        return "no answer in time"
    if "name or service" in text or "getaddrinfo" in text or "name resolution" in text:
        return "its name is not known here"
    return "refused" if "refused" in text else type(wrong).__name__


def _utf8(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise MessageInvalid("an answer that is not UTF-8 text", expected="the dataset") from None
