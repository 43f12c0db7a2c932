"""Reads a Messages request: what of it decides its price, how much it may cost, who asks.

Field names and meanings: anthropic-sdk-python, `types/beta/message_create_params.py`. The rest of a
request, unknown fields included, is stepped over.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from gateway.formats.anthropic_content import Block, Content, Message
from gateway.formats.anthropic_splice import Fallback, Thinking, places_of
from gateway.formats.anthropic_tools import ADVISOR_TOKENS, CAP, CacheControl, Tool, Tooling
from gateway.formats.base import Intent
from gateway.formats.bodies import open_body, refuse_control
from gateway.formats.splice import Member

__all__ = ["read_count", "read_messages"]

# Members that decide what a call costs or who pays: none may be repeated.
_DECIDING: Final = frozenset(
    (
        "cache_control",
        "compaction",
        "container",
        "context_management",
        "fallbacks",
        "inference_geo",
        "max_tokens",
        "mcp_servers",
        "messages",
        "metadata",
        "model",
        "output_config",
        "output_format",
        "service_tier",
        "speed",
        "stream",
        "system",
        "thinking",
        "thread",
        "tools",
    )
)
_Object = dict[str, msgspec.Raw]

# The frame of a conversation, and that of a message; thinking adds some instructions of its own.
_BASE_TOKENS: Final = 128
_MESSAGE_TOKENS: Final = 16
_SCHEMA_TOKENS: Final = 512

_PLAIN_GEOS: Final = (None, "", "global")
_NONE_APART: Final[frozenset[str]] = frozenset()
_LONG_APART: Final = frozenset(("cache_write_1h",))


class _Edit(msgspec.Struct, gc=False):
    type: str = ""


class _ContextManagement(msgspec.Struct, gc=False):
    edits: list[_Edit] | None = None


class _OutputConfig(msgspec.Struct, gc=False):
    format: _Object | None = None


class _Metadata(msgspec.Struct, gc=False):
    user_id: str | None = None


class _Skill(msgspec.Struct, gc=False):
    type: str | None = None
    skill_id: str | None = None


class _Container(msgspec.Struct, gc=False):
    id: str | None = None
    skills: list[_Skill] | None = None


class _Thread(msgspec.Struct, gc=False):
    previous_message_id: str | None = None


class _Counted(msgspec.Struct, gc=False):
    """What a request to count tokens has to have."""

    model: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    messages: Annotated[list[Message], msgspec.Meta(min_length=1)]
    metadata: _Metadata | None = None


class _Request(_Counted, gc=False, kw_only=True):
    """What of a request is read. A cap of 0 warms the cache and asks for no answer."""

    max_tokens: CAP
    stream: bool | None = None
    system: str | list[Block] | None = None
    tools: list[Tool] | None = None
    mcp_servers: list[_Object] | None = None
    container: str | _Container | None = None
    thread: _Thread | None = None
    thinking: Thinking | None = None
    output_config: _OutputConfig | None = None
    output_format: _Object | None = None
    context_management: _ContextManagement | None = None
    fallbacks: list[Fallback] | str | None = None
    cache_control: CacheControl | None = None
    service_tier: str | None = None
    speed: str | None = None
    inference_geo: str | None = None


_REQUEST: Final = msgspec.json.Decoder(_Request)
_COUNTED: Final = msgspec.json.Decoder(_Counted)


def read_messages(body: bytes) -> Intent:
    """The intent of a request for a message. Raises BadRequest for what is none."""
    request, members = open_body(body, _REQUEST, _DECIDING)
    return _Reader(request, body, members).intent()


def read_count(body: bytes) -> Intent:
    """The intent of a request to count its tokens: it is free, so it bounds nothing."""
    request, members = open_body(body, _COUNTED, _DECIDING)
    refuse_control(request.model, "model")
    content = Content(request.model)
    for message in request.messages:
        content.add(message.content)
    return Intent(
        model=request.model,
        stream=False,
        output_cap=0,
        choices=1,
        input_bound=0,
        end_user=_end_user(request),
        places=tuple(member for member in members if member.key == "model"),
        stored=tuple(dict.fromkeys(content.stored)),
    )


def _end_user(request: _Counted) -> str | None:
    end_user = (request.metadata.user_id if request.metadata is not None else None) or None
    refuse_control(end_user, "metadata.user_id")
    return end_user


def _pointed_to(request: _Request) -> list[str]:
    """The ids of what Anthropic keeps and the conversation goes on from; its own skills are everybody's."""
    container, thread = request.container, request.thread
    if isinstance(container, str):
        container = _Container(container)
    ids = [container.id, *_own_skills(container)] if container is not None else []
    ids += [thread.previous_message_id] if thread is not None else []
    return [each for each in ids if each]


def _own_skills(container: _Container) -> list[str | None]:
    return [skill.skill_id for skill in container.skills or () if skill.type != "anthropic"]


class _Reader:
    """One request, added up."""

    def __init__(self, request: _Request, body: bytes, members: list[Member]) -> None:
        refuse_control(request.model, "model")
        self._request = request
        self._body = body
        self._members = members
        self._fallbacks = request.fallbacks if isinstance(request.fallbacks, list) else []
        self._content = self._read_content()
        self._tooling = Tooling(request.tools or [], bool(request.mcp_servers))
        self._allowance = self._content.tokens + self._hidden_tokens()
        self._unseen = self._tooling.unseen or self._content.unseen or self._points_elsewhere()

    def intent(self) -> Intent:
        """What the request asks for.

        A compaction reads the whole prompt once more, and so does a fallback that Anthropic chooses: its
        model is not known, and is taken for the one that was asked for.
        """
        request, tooling = self._request, self._tooling
        turns = tooling.turns + self._compacts()
        attempts = 1 + len(self._fallbacks)
        loops = turns * (2 if isinstance(request.fallbacks, str) else 1)
        return Intent(
            model=request.model,
            stream=bool(request.stream),
            output_cap=request.max_tokens,
            choices=max(loops, turns * attempts),
            # Each turn reads more than the one before; this is the mean, which `loops` multiplies.
            input_bound=self._seen() + -(-(turns - 1) * self._said(turns) // 2),
            unseen_input=self._unseen,
            loops=loops,
            fees={"web_search": tooling.searches} if tooling.searches else {},
            end_user=_end_user(request),
            service_tier=self._tier(request.speed),
            wants_usage=bool(request.stream),
            prices_apart=self._apart(self._content.has_long_cache),
            allowance=self._allowance,
            places=places_of(self._body, self._members, request.thinking),
            others=(*self._advised(turns), *self._fallen_back(turns)),
            stored=tuple(dict.fromkeys((*_pointed_to(request), *self._content.stored))),
        )

    def _read_content(self) -> Content:
        request, content = self._request, Content(self._request.model)
        content.cache(request.cache_control)
        content.add(request.system)
        for message in request.messages:
            content.add(message.content)
        for tool in request.tools or ():
            content.cache(tool.cache_control)
        return content

    def _hidden_tokens(self) -> int:
        request = self._request
        hidden = _BASE_TOKENS + len(request.messages) * _MESSAGE_TOKENS + self._tooling.hidden_tokens
        if request.output_format or (request.output_config is not None and request.output_config.format):
            hidden += _SCHEMA_TOKENS
        return hidden

    def _points_elsewhere(self) -> bool:
        """Whether the conversation goes on from what Anthropic keeps: a container's files, a thread."""
        request = self._request
        return bool(request.container) or (
            request.thread is not None and request.thread.previous_message_id is not None
        )

    def _compacts(self) -> int:
        management = self._request.context_management
        edits = (management.edits if management is not None else None) or ()
        return int(any(edit.type.startswith("compact") for edit in edits))

    def _seen(self) -> int:
        return len(self._body) - self._content.body_bytes + self._allowance

    def _said(self, turns: int) -> int:
        """What one more turn may read beyond the one before: what that wrote, and what it was advised.

        Nothing where the input cannot be seen anyway: the context window bounds all of it.
        """
        return 0 if self._unseen or turns == 1 else self._request.max_tokens + self._tooling.told_tokens

    def _tier(self, speed: str | None) -> str | None:
        """What of the request decides its prices; see `anthropic_usage` for what the reply says of it."""
        if speed not in (None, "", "standard"):
            return speed
        geo = self._request.inference_geo
        return self._request.service_tier if geo in _PLAIN_GEOS else f"inference_geo:{geo}"

    def _apart(self, has_long_cache: bool) -> frozenset[str]:
        return _LONG_APART if has_long_cache else _NONE_APART

    def _advised(self, turns: int) -> list[Intent]:
        """Each advisor reads the whole conversation whenever it is asked."""
        return [
            Intent(
                model=tool.model or "",
                stream=False,
                output_cap=tool.max_tokens,
                choices=uses,
                input_bound=self._seen() + turns * self._said(turns) + ADVISOR_TOKENS,
                unseen_input=self._unseen,
                loops=uses,
                prices_apart=self._apart(self._tooling.has_long_cache),
            )
            for tool in self._tooling.advisors
            if (uses := turns if tool.max_uses is None else min(turns, tool.max_uses))
        ]

    def _fallen_back(self, turns: int) -> list[Intent]:
        """Each fallback may be the one that serves the call, after others have tried."""
        return [
            Intent(
                model=fallback.model,
                stream=False,
                output_cap=self._request.max_tokens if fallback.max_tokens is None else fallback.max_tokens,
                choices=turns,
                input_bound=self._seen() + turns * self._said(turns) + place * self._request.max_tokens,
                unseen_input=self._unseen,
                loops=turns,
                service_tier=self._tier(self._request.speed if fallback.speed is None else fallback.speed),
                prices_apart=self._apart(self._content.has_long_cache),
            )
            for place, fallback in enumerate(self._fallbacks, 1)
        ]
