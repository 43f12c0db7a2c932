"""Reads Gemini's requests: what of them decides their price, and how much they may cost.

Field names and meanings: python-genai, `types.GenerateContentConfig` and `_live_converters`, and the API
reference (ai.google.dev/api/generate-content, /api/embeddings, /api/tokens). The rest of a request, unknown
fields included, is stepped over. No request says who asks.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from gateway.formats import allowances
from gateway.formats.base import Intent
from gateway.formats.bodies import open_body
from gateway.formats.gemini_media import ANY_MEDIA, Content, Media
from gateway.formats.gemini_paths import model_of, resource_of
from gateway.formats.gemini_spelling import Spelling
from gateway.formats.gemini_splice import CAP, CONFIG, MODEL, config_of, items_of, number_at
from gateway.formats.gemini_tools import Tool, Tooling
from gateway.formats.splice import Member, locate

__all__ = ["read_batch_embed", "read_count", "read_embed", "read_generate"]

_GENERATE: Final = Spelling(
    MODEL, "contents", "systemInstruction", "tools", CONFIG, "cachedContent", "serviceTier"
)
_EMBED: Final = Spelling(MODEL, "content", "requests")
_WHOLE: Final = "generateContentRequest"
_COUNT: Final = Spelling(MODEL, _WHOLE)

_Contents = Annotated[list[Content], msgspec.Meta(min_length=1)] | Content
# What a reply may hold where the request does not say: image and speech models need not be asked.
_ANY_OUTPUT: Final = frozenset(("audio_output", "image_output", "video_output"))
_SCHEMAS: Final = ("Schema", "_schema")


class _Named(msgspec.Struct, gc=False):
    model: str | None = None


class _Generate(_Named, gc=False, rename="camel", kw_only=True):
    """What of a request to generate is read; the rest of its members by their places."""

    contents: _Contents
    system_instruction: Content | None = None
    system_instruction_snake: Content | None = msgspec.field(default=None, name="system_instruction")
    tools: list[Tool] | Tool | None = None
    cached_content: str | None = None
    cached_content_snake: str | None = msgspec.field(default=None, name="cached_content")
    service_tier: str | None = None
    service_tier_snake: str | None = msgspec.field(default=None, name="service_tier")
    generation_config: dict[str, msgspec.Raw] | None = None
    generation_config_snake: dict[str, msgspec.Raw] | None = msgspec.field(
        default=None, name="generation_config"
    )


class _Embed(_Named, gc=False, kw_only=True):
    content: Content


class _Counted(msgspec.Struct, gc=False, rename="camel"):
    contents: list[Content] | Content | None = None
    cached_content: str | None = None
    cached_content_snake: str | None = msgspec.field(default=None, name="cached_content")


class _Count(_Named, gc=False, rename="camel", kw_only=True):
    contents: list[Content] | Content | None = None
    generate_content_request: _Counted | None = None
    generate_content_request_snake: _Counted | None = msgspec.field(
        default=None, name="generate_content_request"
    )

    def stored(self) -> tuple[str, ...]:
        """The names of what is kept at the provider."""
        media, caches = Media(), []
        for part in (self, self.generate_content_request, self.generate_content_request_snake):
            contents = part.contents if part is not None else None
            for content in contents if isinstance(contents, list) else [contents]:
                media.add(content.parts if content is not None else None)
            if isinstance(part, _Counted):
                caches += [each for each in (part.cached_content, part.cached_content_snake) if each]
        return (*caches, *media.stored)


class _BatchEmbed(_Named, gc=False, kw_only=True):
    requests: Annotated[list[_Embed], msgspec.Meta(min_length=1)]


_GENERATE_SHAPE: Final = msgspec.json.Decoder(_Generate)
_EMBED_SHAPE: Final = msgspec.json.Decoder(_Embed)
_BATCH_SHAPE: Final = msgspec.json.Decoder(_BatchEmbed)
_COUNT_SHAPE: Final = msgspec.json.Decoder(_Count)
_MODALITIES: Final = msgspec.json.Decoder(list[str] | str | None)


def read_generate(path: str, body: bytes, *, stream: bool) -> Intent:
    """The intent of a request to generate. Raises BadRequest for what is none.

    Tools that run within the call read the prompt again in every round, and what they bring is quoted at
    the context window once: rounds that read more than both in all would cost more than their quote.
    """
    request, members = open_body(body, _GENERATE_SHAPE, _GENERATE.known)
    found = _GENERATE.located(members)
    model = model_of(path, request.model)
    config = config_of(body, found.get(CONFIG))
    media, tooling = _media(request), Tooling(model, request.tools)
    caches = [each for each in (request.cached_content, request.cached_content_snake) if each]
    has_cache = bool(caches)
    unseen = media.unseen or tooling.unseen or has_cache
    hidden = _hidden_tokens(request) + tooling.hidden_tokens + media.tokens
    return Intent(
        model=model,
        stream=stream,
        output_cap=number_at(body, config.get(CAP)),
        choices=number_at(body, config.get("candidateCount")) or 1,
        input_bound=(len(body) - media.body_bytes + hidden) * tooling.rounds,
        unseen_input=unseen,
        fees=tooling.fees,
        service_tier=_tier(request.service_tier or request.service_tier_snake),
        wants_usage=stream,
        prices_apart=(media.apart | ANY_MEDIA if tooling.unseen or has_cache else media.apart)
        | _outputs(body, config.get("responseModalities")),
        allowance=hidden,
        places=_places((MODEL, found.get(MODEL)), (CONFIG, found.get(CONFIG)), (CAP, config.get(CAP))),
        stored=(*caches, *media.stored, *tooling.stored),
    )


def _media(request: _Generate) -> Media:
    media = Media()
    contents = request.contents if isinstance(request.contents, list) else [request.contents]
    for content in (*contents, request.system_instruction, request.system_instruction_snake):
        if content is not None:
            media.add(content.parts)
    return media


def _hidden_tokens(request: _Generate) -> int:
    turns = len(request.contents) if isinstance(request.contents, list) else 1
    hidden = allowances.BASE_TOKENS + turns * allowances.MESSAGE_TOKENS
    for config in (request.generation_config, request.generation_config_snake):
        if any(key.endswith(_SCHEMAS) for key in config or ()):
            hidden += allowances.SCHEMA_TOKENS
    return hidden


def _tier(asked: str | None) -> str | None:
    tier = (asked or "").lower().removeprefix("service_tier_")
    return None if tier in ("", "unspecified") else tier


def _outputs(body: bytes, place: Member | None) -> frozenset[str]:
    """The meters beyond text that the reply may be billed in."""
    try:
        asked = _MODALITIES.decode(body[place.start : place.end]) if place is not None else None
    except msgspec.ValidationError:
        asked = None
    if not asked:
        return _ANY_OUTPUT
    modalities = [asked] if isinstance(asked, str) else asked
    return frozenset(meter for each in modalities if (meter := f"{each.lower()}_output") in _ANY_OUTPUT)


def _places(*found: tuple[str, Member | None]) -> tuple[Member, ...]:
    """The places under their names in camel case, however they are spelled in the body."""
    return tuple(place._replace(key=name) for name, place in found if place is not None)


def read_embed(path: str, body: bytes) -> Intent:
    """The intent of a request to embed one content."""
    request, members = open_body(body, _EMBED_SHAPE, _EMBED.known)
    place = _EMBED.located(members).get(MODEL)
    return _embedding(path, body, [request], request.model, _places((MODEL, place)))


def read_batch_embed(path: str, body: bytes) -> Intent:
    """The intent of a request to embed several contents, each of which names the model again."""
    request, members = open_body(body, _BATCH_SHAPE, _EMBED.known)
    found = _EMBED.located(members)
    places = [(MODEL, found.get(MODEL))]
    for start, end in items_of(body, found["requests"]):
        inner = _EMBED.located((each.moved(start) for each in locate(body[start:end])), "requests[].")
        places.append((MODEL, inner.get(MODEL)))
    return _embedding(path, body, request.requests, request.model, _places(*places))


def _embedding(
    path: str, body: bytes, requests: list[_Embed], named: str | None, places: tuple[Member, ...]
) -> Intent:
    media = Media()
    for request in requests:
        media.add(request.content.parts)
    names = [name for name in (named, *(request.model for request in requests)) if name is not None]
    model = model_of(path, names[0] if names else None)
    for name in names:
        model_of(f"/v1beta/{resource_of(model)}:embedContent", name)
    hidden = len(requests) * allowances.MESSAGE_TOKENS + media.tokens
    return Intent(
        model=model,
        stream=False,
        output_cap=0,
        choices=1,
        input_bound=len(body) - media.body_bytes + hidden,
        unseen_input=media.unseen,
        prices_apart=media.apart,
        allowance=hidden,
        places=places,
        stored=tuple(media.stored),
    )


def read_count(path: str, body: bytes) -> Intent:
    """The intent of a request to count its tokens: it is free, so it bounds nothing."""
    request, members = open_body(body, _COUNT_SHAPE, _COUNT.known)
    found = _COUNT.located(members)
    whole, inner = found.get(_WHOLE), {}
    if whole is not None and body.startswith(b"{", whole.start):
        within = (each.moved(whole.start) for each in locate(body[whole.start : whole.end]))
        inner = _GENERATE.located(within, f"{_WHOLE}.")
    return Intent(
        model=model_of(path, request.model),
        stream=False,
        output_cap=0,
        choices=1,
        input_bound=0,
        places=_places((MODEL, found.get(MODEL)), (MODEL, inner.get(MODEL))),
        stored=request.stored(),
    )
