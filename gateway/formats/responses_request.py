"""Reads a Responses request: what of it decides its price, how much it may cost, who asks.

Field names and meanings: openai-python, `types/responses/response_create_params.py`. The rest of a request,
unknown fields included, is stepped over.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from gateway.formats import allowances
from gateway.formats.base import Intent
from gateway.formats.bodies import open_body, refuse_control
from gateway.formats.openai_request import CAP
from gateway.formats.responses_input import Input, Item
from gateway.formats.responses_splice import places_of
from gateway.formats.responses_tools import CALLS, Tool, Tooling

__all__ = ["read_responses"]

# Members that decide what a call costs or who pays: none may be repeated.
_DECIDING: Final = frozenset(
    (
        "background",
        "context_management",
        "conversation",
        "input",
        "instructions",
        "max_output_tokens",
        "max_tool_calls",
        "model",
        "previous_response_id",
        "prompt",
        "reasoning",
        "safety_identifier",
        "service_tier",
        "store",
        "stream",
        "text",
        "tools",
        "user",
    )
)
# An image takes up to some 6,200 tokens at the highest quality of the models whose figures are published
# ("Image generation", cost); a prompt and images to work from are read each time.
_IMAGE_OUTPUT_TOKENS: Final = 16_384
_Object = dict[str, msgspec.Raw]


class _Conversation(msgspec.Struct, gc=False):
    id: str = ""


class _Prompt(msgspec.Struct, gc=False):
    """A template that the provider keeps, and what is put into it."""

    id: str = ""
    variables: dict[str, msgspec.Raw] | None = None


class _Reasoning(msgspec.Struct, gc=False):
    mode: str | None = None


class _Text(msgspec.Struct, gc=False):
    format: _Object | None = None


class _Request(msgspec.Struct, gc=False):
    """What of a request is read. A cap of 0 is the provider's to refuse."""

    model: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    input: str | list[Item] | None = None
    instructions: str | None = None
    stream: bool | None = None
    background: bool | None = None
    max_output_tokens: CAP | None = None
    max_tool_calls: CALLS | None = None
    tools: list[Tool] | None = None
    text: _Text | None = None
    reasoning: _Reasoning | None = None
    previous_response_id: str | None = None
    conversation: str | _Conversation | None = None
    prompt: _Prompt | None = None
    context_management: list[_Object] | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    user: str | None = None


_REQUEST: Final = msgspec.json.Decoder(_Request)


def read_responses(body: bytes) -> Intent:
    """The intent of a Responses request. Raises BadRequest for what is none."""
    request, members = open_body(body, _REQUEST, _DECIDING)
    refuse_control(request.model, "model")
    end_user = request.safety_identifier or request.user or None
    refuse_control(end_user, "safety_identifier" if request.safety_identifier else "user")
    given = Input(request.model, request.input)
    for value in (request.prompt.variables or {}).values() if request.prompt is not None else ():
        given.add_value(value)
    tooling = Tooling([*(request.tools or ()), *given.tools], request.max_tool_calls)
    stored = list(dict.fromkeys((*_pointed_to(request), *given.stored, *tooling.stored)))
    hidden = given.tokens + _hidden_tokens(request, given, tooling)
    bound = len(body) - given.body_bytes + hidden
    unseen = given.unseen or tooling.unseen or bool(stored) or _thinks_in_turns(request.reasoning)
    return Intent(
        model=request.model,
        stream=bool(request.stream),
        output_cap=request.max_output_tokens,
        choices=1,
        input_bound=bound,
        unseen_input=unseen,
        # A compaction reads the whole prompt once more.
        loops=tooling.turns + bool(request.context_management),
        fees=tooling.fees,
        end_user=end_user,
        service_tier=request.service_tier,
        wants_usage=bool(request.stream),
        prices_apart=given.apart,
        allowance=hidden,
        places=places_of(body, members, tooling),
        others=tuple(_images(model, bound, unseen, tooling.calls_max) for model in tooling.images),
        stored=tuple(stored),
        background=bool(request.background),
    )


def _thinks_in_turns(reasoning: _Reasoning | None) -> bool:
    """Whether the model reads what it thought as input: a prompt of 20 tokens was billed as 1,568."""
    return reasoning is not None and reasoning.mode not in (None, "standard")


def _pointed_to(request: _Request) -> list[str]:
    """The ids of what the conversation goes on from, or is made of."""
    conversation, prompt = request.conversation, request.prompt
    ids = (
        request.previous_response_id,
        conversation.id if isinstance(conversation, _Conversation) else conversation,
        prompt.id if prompt is not None else None,
    )
    return [each for each in ids if each]


def _hidden_tokens(request: _Request, given: Input, tooling: Tooling) -> int:
    hidden = allowances.BASE_TOKENS + (2 + given.items) * allowances.MESSAGE_TOKENS + tooling.hidden_tokens
    if request.text is not None and request.text.format:
        hidden += allowances.SCHEMA_TOKENS
    return hidden


def _images(model: str, bound: int, unseen: bool, calls: int) -> Intent:
    """The worst case of the images that a model of images is asked for."""
    return Intent(
        model=model,
        stream=False,
        output_cap=_IMAGE_OUTPUT_TOKENS,
        choices=max(calls, 1),
        input_bound=bound,
        unseen_input=unseen,
        loops=max(calls, 1),
        prices_apart=frozenset(("image_input", "image_output")),
    )
