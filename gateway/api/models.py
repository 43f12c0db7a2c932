"""Which models a key may call, in the shape that its SDK expects.

OpenAI's (`/v1/models`, with prices added), Anthropic's (the same path with `anthropic-version`) and Gemini's
(`/v1beta/models`, or the same path with its key header). The last two list what their own format reaches.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from gateway.api.principals import Principals
from gateway.api.self_service import json_response
from gateway.clock import Clock
from gateway.domain.catalogue import ModelEntry
from gateway.domain.errors import BadRequest, NotFound
from gateway.domain.money import format_price
from gateway.domain.scopes import allowed_model
from gateway.gate.directory import Caller
from gateway.gate.gate import Gate

__all__ = ["Models"]

CHAT: Final = "openai_chat"
MESSAGES: Final = "anthropic_messages"
GENERATE: Final = "gemini_generate"
MOST_A_PAGE: Final = 1_000
# Neither provider's dates are in the catalogue; the SDKs' types want one.
UNKNOWN_DATE: Final = "1970-01-01T00:00:00Z"
GEMINI_PREFIX: Final = "models/"
GOOGLE_KEY: Final = "x-goog-api-key"


class Served(NamedTuple):
    """A model by the name that reaches it."""

    name: str
    entry: ModelEntry


class Models:
    """The endpoints."""

    def __init__(self, gate: Gate, clock: Clock, principals: Principals) -> None:
        self._gate = gate
        self._clock = clock
        self._principals = principals

    async def list(self, request: Request) -> Response:
        """`GET /v1/models`."""
        if GOOGLE_KEY in request.headers:
            return await self.gemini_list(request)
        caller = await self._principals.caller(request)
        if "anthropic-version" in request.headers:
            return json_response(self._anthropic_page(request, caller))
        return json_response(
            {"object": "list", "data": [self._openai(each) for each in self._served(caller, None)]}
        )

    async def get(self, request: Request) -> Response:
        """`GET /v1/models/{id}`."""
        if GOOGLE_KEY in request.headers:
            return await self.gemini_get(request)
        caller = await self._principals.caller(request)
        name = request.path_params["model"]
        if "anthropic-version" in request.headers:
            return json_response(self._anthropic(self._named(caller, name, MESSAGES)))
        return json_response(self._openai(self._named(caller, name, None)))

    async def gemini_list(self, request: Request) -> Response:
        """`GET /v1beta/models`: `pageSize` and `pageToken` as Google has them."""
        caller = await self._principals.caller(request)
        found = list(self._served(caller, GENERATE))
        start = _count(request.query_params.get("pageToken"), 0, "pageToken")
        size = _count(request.query_params.get("pageSize"), 50, "pageSize") or 50
        page = found[start : start + size]
        shown: dict[str, Any] = {"models": [self._gemini(each) for each in page]}
        if start + size < len(found):
            shown["nextPageToken"] = str(start + size)
        return json_response(shown)

    async def gemini_get(self, request: Request) -> Response:
        """`GET /v1beta/models/{id}`."""
        caller = await self._principals.caller(request)
        return json_response(self._gemini(self._named(caller, request.path_params["model"], GENERATE)))

    def _served(self, caller: Caller, wire_format: str | None) -> Iterator[Served]:
        """What this key may call in the format: a name that two providers have goes to the first."""
        catalogue = self._gate.directory.catalogue
        seen: set[str] = set()
        for upstream in self._gate.desk.router.upstreams:
            if wire_format is not None and wire_format not in upstream.provider.paths:
                continue
            for entry in catalogue.entries(upstream.prices_of):
                if entry.card.is_priced and allowed_model(caller.key.models, upstream.name, entry.model):
                    name = f"{upstream.name}/{entry.model}" if entry.model in seen else entry.model
                    seen.add(name)
                    yield Served(name, entry)

    def _named(self, caller: Caller, name: str, wire_format: str | None) -> Served:
        """One of them; an alias counts too, and so does a name that only a provider knows."""
        for served in self._served(caller, wire_format):
            if served.name == name:
                return served
        plan = self._gate.desk.plan(caller, name, wire_format or CHAT, self._clock.now_us())
        entry = self._gate.directory.catalogue.resolve(plan.upstream.prices_of, plan.upstream_model)
        if entry is None:
            raise NotFound("model_not_found", "There is no such model.", param="model")
        return Served(entry.model, entry)

    # The shapes.

    def _openai(self, served: Served) -> dict[str, Any]:
        now_us, entry = self._clock.now_us(), served.entry
        limits = entry.limits_at(now_us)
        rows = entry.card.rates(now_us).rows
        return {
            "id": served.name,
            "object": "model",
            "created": 0,
            "owned_by": entry.provider,
            "context_window": entry.context_window(now_us),
            "max_output_tokens": limits.max_output if limits else None,
            "usd_per_million": {
                meter: format_price(row.price_pico)
                for meter, row in sorted(rows.items())
                if row.meter == meter
            },
        }

    def _anthropic(self, served: Served) -> dict[str, Any]:
        now_us, entry = self._clock.now_us(), served.entry
        limits = entry.limits_at(now_us)
        return {
            "type": "model",
            "id": served.name,
            "display_name": served.name,
            "created_at": UNKNOWN_DATE,
            "lifecycle": "active",
            "max_input_tokens": entry.context_window(now_us),
            "max_tokens": limits.max_output if limits else None,
        }

    def _anthropic_page(self, request: Request, caller: Caller) -> dict[str, Any]:
        found = list(self._served(caller, MESSAGES))
        limit = _count(request.query_params.get("limit"), 20, "limit")
        if not 1 <= limit <= MOST_A_PAGE:
            raise _invalid("limit", f"Give 1 to {MOST_A_PAGE}.")
        names = [each.name for each in found]
        start, end = 0, len(found)
        if "after_id" in request.query_params:
            start = _place(names, request.query_params["after_id"], "after_id") + 1
        elif "before_id" in request.query_params:
            end = _place(names, request.query_params["before_id"], "before_id")
            start = max(0, end - limit)
        page = found[start : min(end, start + limit)]
        return {
            "data": [self._anthropic(each) for each in page],
            "has_more": start + len(page) < end or ("before_id" in request.query_params and start > 0),
            "first_id": page[0].name if page else None,
            "last_id": page[-1].name if page else None,
        }

    def _gemini(self, served: Served) -> dict[str, Any]:
        now_us, entry = self._clock.now_us(), served.entry
        limits = entry.limits_at(now_us)
        shown: dict[str, Any] = {
            "name": f"{GEMINI_PREFIX}{served.name}",
            "baseModelId": served.name,
            "version": "1",
            "displayName": served.name,
            "inputTokenLimit": entry.context_window(now_us),
            "supportedGenerationMethods": ["generateContent", "countTokens"],
        }
        if limits is not None:
            shown["outputTokenLimit"] = limits.max_output
        return shown


def _count(text: str | None, default: int, param: str) -> int:
    if text is None or text == "":
        return default
    if not text.isdecimal() or len(text) > 9:
        raise _invalid(param, "Give a whole number.")
    return int(text)


def _place(names: list[str], name: str, param: str) -> int:
    if name not in names:
        raise _invalid(param, "Give an id of the page before.")
    return names.index(name)


def _invalid(param: str, hint: str) -> BadRequest:
    return BadRequest("invalid_value", f"`{param}` cannot be that.", hint=hint, param=param)
