"""OpenAI: responses, at once or in the background, and what is stored of them.

A background response is queued when it is asked for and done by the time it is looked up, unless it holds:
then it is done once its hold is released, and billed for its output when it is next looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.simulators.delivery import Call
from gateway.simulators.dialects.chat_checks import read_document
from gateway.simulators.dialects.openai_chat import answer_headers, check_key, served_tier
from gateway.simulators.dialects.openai_errors import invalid, openai_error, told_status
from gateway.simulators.dialects.responses_answers import ResponsesReply
from gateway.simulators.dialects.responses_checks import read_ask, read_model
from gateway.simulators.events import Body, Stream
from gateway.simulators.exchange import Request, accept
from gateway.simulators.json_bytes import readable

__all__ = ["Shelf"]

_SEARCH_INPUT: Final = 2_000


@dataclass(slots=True)
class _Stored:
    """A response that can be looked up. `status` is that of a background response."""

    reply: ResponsesReply
    status: str
    hold: str | None

    @property
    def tokens(self) -> int:
        """What the conversation so far costs as input."""
        billed = self.reply.call.billed
        return billed.input_total + billed.output_total


@dataclass(slots=True)
class Shelf:
    """The responses endpoints, and the responses they have stored."""

    _stored: dict[str, _Stored] = field(default_factory=dict)

    def create(self, request: Request, call: Call) -> Body | Stream:
        """``POST /v1/responses``."""
        check_key(request, call)
        document = read_document(request.body)
        model = read_model(document)
        ask = read_ask(document, model, self._earlier(document))
        [answer] = accept(call, ask, model.served, told_status)
        billed = call.billed
        billed.input += billed.web_search * _SEARCH_INPUT
        billed.response_id = f"resp_sim{billed.id:030x}"
        billed.stream = bool(document.get("stream"))
        billed.tier = served_tier(document, call)
        reply = ResponsesReply(call, document, answer, answer_headers(call))
        if document.get("store") is not False or reply.background:
            status = "queued" if reply.background and not billed.stream else "completed"
            self._stored[billed.response_id] = _Stored(reply, status, call.behaviour.hold)
        if reply.background and not billed.stream:
            return self._queue(self._stored[billed.response_id])
        return reply.stream() if billed.stream else reply.body()

    def _queue(self, stored: _Stored) -> Body:
        reply = stored.reply
        queued = Body(readable(reply.response("queued")), headers=reply.headers)
        self._advance(stored)
        # The hold is the background's, not that of the answer that only says it is queued.
        reply.call.behaviour = reply.call.behaviour.with_values({"hold": None})
        return queued

    def _advance(self, stored: _Stored) -> None:
        """Let a background response end, if nothing holds it, and bill what it took."""
        reply = stored.reply
        hold = stored.hold
        if stored.status != "queued" or (hold is not None and not reply.call.stage.holds.gate(hold).is_set()):
            return
        stored.status = "completed"
        reply.call.charge(reply.answer.output, len(reply.answer.thoughts))

    def _earlier(self, document: Mapping[str, Any]) -> int:
        name = document.get("previous_response_id")
        if name is None:
            return 0
        if name not in self._stored:
            message = f"Previous response with id '{name}' not found."
            raise invalid(message, "previous_response_id", "previous_response_not_found")
        return self._stored[name].tokens

    def show(self, request: Request, call: Call) -> Body | Stream:
        """``GET /v1/responses/{id}``; with ``stream=true`` the events after ``starting_after``."""
        stored = self._find(request, call)
        self._advance(stored)
        if request.query.get("stream") == "true":
            return stored.reply.stream(int(request.query.get("starting_after", -1)), billed=False)
        return Body(readable(_state(stored)))

    def cancel(self, request: Request, call: Call) -> Body:
        """``POST /v1/responses/{id}/cancel``: ends a background response that is not done."""
        stored = self._find(request, call)
        if not stored.reply.background:
            raise invalid("Cannot cancel a synchronous response.", None)
        self._advance(stored)
        if stored.status == "queued":
            stored.status = "cancelled"
        return Body(readable(_state(stored)))

    def items(self, request: Request, call: Call) -> Body:
        """``GET /v1/responses/{id}/input_items``: what the request said."""
        given = self._find(request, call).reply.document.get("input") or []
        items = [{"role": "user", "content": given}] if isinstance(given, str) else list(given)
        return Body(readable({"object": "list", "data": items, "has_more": False}))

    def delete(self, request: Request, call: Call) -> Body:
        """``DELETE /v1/responses/{id}``."""
        stored = self._find(request, call)
        name = str(stored.reply.call.billed.response_id)
        del self._stored[name]
        return Body(readable({"id": name, "object": "response", "deleted": True}))

    def count(self, request: Request, call: Call) -> Body:
        """``POST /v1/responses/input_tokens``: billed at nothing."""
        check_key(request, call)
        document = read_document(request.body)
        ask = read_ask(document, read_model(document), self._earlier(document))
        return Body(readable({"object": "response.input_tokens", "input_tokens": ask.input_tokens}))

    def _find(self, request: Request, call: Call) -> _Stored:
        check_key(request, call)
        name = request.params["id"]
        if name not in self._stored:
            raise openai_error(404, f"Response with id '{name}' not found.")
        return self._stored[name]


def _state(stored: _Stored) -> dict[str, Any]:
    return stored.reply.finished() if stored.status == "completed" else stored.reply.response(stored.status)
