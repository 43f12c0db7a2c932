"""A call as it came in, and where its answer goes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from gateway.domain.errors import GatewayError, Unauthenticated
from gateway.domain.keys import fingerprint, parse
from gateway.formats.base import Dialect, Format
from gateway.formats.refusals import render

__all__ = [
    "Downstream",
    "Headers",
    "InboundCall",
    "asked_of_gateway",
    "credential_of",
    "fingerprint_of",
    "header",
    "reply_refusal",
]

Headers = Sequence[tuple[bytes, bytes]]

# In the order of the SDKs that send them: OpenAI, Anthropic, Gemini, Azure OpenAI.
KEY_HEADERS = (b"authorization", b"x-api-key", b"x-goog-api-key", b"api-key")


class InboundCall(msgspec.Struct, frozen=True, gc=False):
    """One request of the data plane: nothing decided yet. Header names are lower-case."""

    format: Format
    path: str
    headers: Headers
    body: bytes


class Downstream(Protocol):
    """The way back to the client. One answer, begun once and ended once.

    `reply` sends a whole answer. `start`, any number of `write` and one `end` send a stream; `abort`
    breaks a stream off so that the client cannot take it for complete.
    """

    def reply(self, status: int, headers: Headers, body: bytes) -> None: ...

    def start(self, status: int, headers: Headers) -> None: ...

    def write(self, data: bytes) -> None: ...

    def end(self, data: bytes) -> None: ...

    def abort(self) -> None: ...


def asked_of_gateway(headers: Headers) -> dict[bytes, bytes]:
    """The headers that speak to the gateway itself, `x-tollgate-*`, the first of each name."""
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        if name.startswith(b"x-tollgate-"):
            found.setdefault(name, value)
    return found


def header(headers: Headers, name: bytes) -> bytes | None:
    """The first header of that name."""
    for key, value in headers:
        if key == name:
            return value
    return None


def credential_of(headers: Headers) -> str:
    """The virtual key a request carries; raise Unauthenticated when it carries none."""
    for name in KEY_HEADERS:
        value = header(headers, name)
        if value is None:
            continue
        text = value.decode("latin-1").strip()
        if name == b"authorization":
            scheme, _, text = text.partition(" ")
            if scheme.lower() != "bearer":
                continue
        return text.strip()
    raise Unauthenticated(
        "invalid_api_key",
        "No API key was sent.",
        hint="Send a Tollgate key as `Authorization: Bearer sk-tg-...`, or in the header your SDK uses.",
    )


def fingerprint_of(text: str) -> bytes:
    """The fingerprint a key is known by; raise Unauthenticated for text that cannot be one of our keys."""
    if parse(text) is None:
        raise Unauthenticated(
            "invalid_api_key",
            "The API key is not one of this gateway: its checksum does not match.",
            hint="Keys begin with sk-tg- and are shown once, when made; look for a cut or changed character.",
        )
    return fingerprint(text)


def reply_refusal(downstream: Downstream, error: GatewayError, dialect: Dialect, extra: Headers = ()) -> None:
    """Answer with an error in the caller's dialect."""
    refusal = render(error, dialect)
    headers = [(name.encode(), value.encode("latin-1")) for name, value in refusal.headers]
    downstream.reply(refusal.status, [*headers, *extra], refusal.body)
