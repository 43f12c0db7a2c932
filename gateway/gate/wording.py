"""A call in the words of its upstream: the client's own where its provider speaks them, translated elsewhere.

A call whose provider speaks its format is passed on as it came, and nothing here costs it anything.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from gateway.domain.errors import NotFound
from gateway.formats.base import Intent
from gateway.formats.translation.base import Occasion, Translations, Translator
from gateway.gate.inbound import InboundCall
from gateway.gate.plans import Plan

__all__ = ["Sent", "check_served", "sent_as", "told_headers"]

# What of a client's headers means the same to every provider.
_COMMON: Final = (b"content-type", b"accept", b"traceparent", b"tracestate")
_REQUEST_IDS: Final = (b"x-request-id", b"request-id")
_JSON: Final = (b"content-type", b"application/json")


class Sent(NamedTuple):
    """What goes upstream, what it asks for there, and the way back of its answer."""

    call: InboundCall
    intent: Intent
    translator: Translator | None = None


def check_served(translations: Translations, plan: Plan, format_name: str) -> None:
    """Raise NotFound for a model that can be had in this format neither as it is nor translated."""
    spoken = plan.upstream.provider.paths
    if format_name in spoken or translations.between(format_name, spoken) is not None:
        return
    raise NotFound(
        "unsupported_endpoint",
        f"{plan.provider}/{plan.model} is not served at this endpoint.",
        hint=f"{plan.provider} is served in these formats: {', '.join(sorted(spoken))}.",
    )


def sent_as(
    translations: Translations, inbound: InboundCall, intent: Intent, plan: Plan, now_us: int
) -> Sent:
    """The call as its upstream is to read it. Raises BadRequest for what cannot be said there."""
    spoken = plan.upstream.provider.paths
    if inbound.format.name in spoken:
        return Sent(inbound, intent)
    translation = translations.between(inbound.format.name, spoken)
    assert translation is not None, "a plan is only made for what is served"
    made = translation.translate(inbound.body, Occasion(intent, plan.upstream_model, now_us))
    wire_format = translations.format(made.format)
    headers = [pair for pair in inbound.headers if pair[0] in _COMMON]
    # Who asks and whether a cap was named is the client's own word; the rest is what the upstream reads.
    read = msgspec.structs.replace(
        wire_format.read(made.path, made.body),
        output_cap=intent.output_cap,
        end_user=intent.end_user,
        wants_usage=intent.wants_usage,
    )
    return Sent(InboundCall(wire_format, made.path, headers, made.body), read, made.translator)


def told_headers(
    translator: Translator, status: int, headers: list[tuple[bytes, bytes]], *, is_stream: bool
) -> list[tuple[bytes, bytes]]:
    """A provider's headers as the client's SDK looks for them."""
    own = _REQUEST_IDS[1] if translator.dialect == "anthropic" else _REQUEST_IDS[0]
    told = [(own if name in _REQUEST_IDS else name, value) for name, value in headers]
    if is_stream and status < 400:
        return told
    return [_JSON, *(pair for pair in told if pair[0] != b"content-type")]
