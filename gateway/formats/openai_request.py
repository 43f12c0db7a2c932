"""Reads a chat request: what of it decides its price, how much it may cost, who asks.

Field names and meanings: openai-python, `types/chat/completion_create_params.py`. The rest of a request,
unknown fields included, is stepped over.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Final

import msgspec

from gateway.formats import allowances
from gateway.formats.base import Intent
from gateway.formats.bodies import open_body, refuse_control
from gateway.formats.openai_envelope import search_fee
from gateway.formats.openai_splice import places_of

__all__ = ["CAP", "CHOICES", "StreamOptions", "prompt_texts", "read_chat"]

# Members that decide what a call costs or who pays: none may be repeated.
_DECIDING: Final = frozenset(
    (
        "audio",
        "functions",
        "max_completion_tokens",
        "max_tokens",
        "messages",
        "modalities",
        "model",
        "n",
        "prediction",
        "response_format",
        "safety_identifier",
        "service_tier",
        "stream",
        "stream_options",
        "tools",
        "user",
        "web_search_options",
    )
)
# Members by which compatible providers add input that the gateway cannot see: Azure's "On Your Data",
# xAI's live search, OpenRouter's plug-ins.
_UNSEEN: Final = frozenset(("data_sources", "search_parameters", "plugins"))
# Tools that the caller runs; any other is run by the provider, which feeds the model what it finds.
_CALLERS_TOOLS: Final = frozenset(("function", "custom", None))


class _ImageUrl(msgspec.Struct, gc=False):
    url: str
    detail: str | None = None


class _InputAudio(msgspec.Struct, gc=False):
    data: str


class _File(msgspec.Struct, gc=False):
    file_id: str | None = None


class _Audio(msgspec.Struct, gc=False):
    id: str | None = None


class _Part(msgspec.Struct, gc=False):
    type: str
    text: str | None = None
    # Mistral's API takes the bare URL and the bare data as well.
    image_url: _ImageUrl | str | None = None
    input_audio: _InputAudio | str | None = None
    file: _File | None = None
    file_id: str | None = None


class _Message(msgspec.Struct, gc=False):
    role: str
    content: str | list[_Part] | None = None
    # An assistant turn may point to audio that the provider stored.
    audio: _Audio | None = None


class _Prediction(msgspec.Struct, gc=False):
    content: msgspec.Raw = msgspec.Raw()


class StreamOptions(msgspec.Struct, gc=False):
    """Whether the usage is sent at the end of the stream."""

    include_usage: bool | None = None


class _Tool(msgspec.Struct, gc=False):
    type: str | None = None


# No model writes as much; sums of such numbers stay far inside 64 bits.
CAP = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
CHOICES = Annotated[int, msgspec.Meta(ge=1, le=1024)]
_Object = dict[str, msgspec.Raw]


class _Request(msgspec.Struct, gc=False):
    """What of a request is read. A cap of 0 is the provider's to refuse."""

    model: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    messages: Annotated[list[_Message], msgspec.Meta(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_completion_tokens: CAP | None = None
    max_tokens: CAP | None = None
    n: CHOICES | None = None
    tools: list[_Tool] | None = None
    functions: list[_Object] | None = None
    response_format: _Object | None = None
    modalities: list[str] | None = None
    prediction: _Prediction | None = None
    web_search_options: _Object | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    user: str | None = None


class _PlainMessage(msgspec.Struct, gc=False):
    role: str
    content: str


class _PlainRequest(msgspec.Struct, gc=False):
    model: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    messages: Annotated[list[_PlainMessage], msgspec.Meta(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_completion_tokens: CAP | None = None
    max_tokens: CAP | None = None
    n: CHOICES | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    user: str | None = None


_REQUEST: Final = msgspec.json.Decoder(_Request)
_PLAIN_REQUEST: Final = msgspec.json.Decoder(_PlainRequest)
# Every key that decides something, wherever it stands and in whatever letters; those of a plain request.
_KEYS: Final = re.compile(
    rb'"(%b)"[ \t\r\n]*:' % b"|".join(sorted(key.encode() for key in _DECIDING | _UNSEEN)), re.IGNORECASE
)
_PLAIN: Final = frozenset(key.encode() for key in _PlainRequest.__struct_fields__)

# Parts whose text is in the body, under `text` or `refusal`.
_TEXT_PARTS: Final = frozenset(("text", "refusal"))
_NONE_APART: Final[frozenset[str]] = frozenset()


def read_chat(body: bytes) -> Intent:
    """The intent of a chat request. Raises BadRequest for what is none."""
    return _read_plain(body) or _read_any(body)


def _read_plain(body: bytes) -> Intent | None:
    """The intent of a request that is nothing but text, in a third of the time; None for any other.

    What decides is found by one search for its keys at any depth. Where each stands once, and in its own
    letters, none is repeated; a key that could hide one by an escape sends the request the long way. Searches
    go backward: on a long prompt CPython's forward ones cost four times as much.
    """
    keys = _KEYS.findall(body)
    if not _PLAIN.issuperset(keys) or len(set(keys)) != len(keys) or body.rfind(b"\\u") >= 0:
        return None
    if body.rfind(b"stream_options") >= 0 and body.count(b"include_usage") != 1:
        return None
    try:
        if not body.isascii():
            body.decode()
        request = _PLAIN_REQUEST.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None  # the long way says what is wrong
    model, end_user, options = (
        request.model,
        request.safety_identifier or request.user,
        request.stream_options,
    )
    if not (model.isprintable() and (end_user is None or end_user.isprintable())) or search_fee(model, False):
        return None
    allowance = allowances.BASE_TOKENS + len(request.messages) * allowances.MESSAGE_TOKENS
    stream = request.stream is True
    return Intent(
        model=model,
        stream=stream,
        output_cap=_output_cap(request),
        choices=request.n or 1,
        input_bound=len(body) + allowance,
        end_user=end_user or None,
        service_tier=request.service_tier,
        wants_usage=stream and options is not None and options.include_usage is True,
        allowance=allowance,
        places=None,
    )


def _read_any(body: bytes) -> Intent:
    request, members = open_body(body, _REQUEST, _DECIDING)
    refuse_control(request.model, "model")
    end_user = request.safety_identifier or request.user or None
    refuse_control(end_user, "safety_identifier" if request.safety_identifier else "user")
    stream, options = bool(request.stream), request.stream_options
    media = _Media(request)
    fees = search_fee(request.model, request.web_search_options is not None)
    return Intent(
        model=request.model,
        stream=stream,
        output_cap=_output_cap(request),
        choices=request.n or 1,
        input_bound=len(body) - media.body_bytes + media.tokens,
        unseen_input=media.unseen or bool(fees) or any(each.key in _UNSEEN for each in members),
        fees=fees,
        end_user=end_user,
        service_tier=request.service_tier,
        wants_usage=stream and options is not None and options.include_usage is True,
        prices_apart=media.prices_apart,
        allowance=media.tokens,
        output_extra=_predicted_bytes(request),
        places=places_of(body, members),
        stored=tuple(media.stored),
    )


def _output_cap(request: _Request | _PlainRequest) -> int | None:
    """The smaller of both caps where both are given: whichever the provider obeys, it holds."""
    newer, older = request.max_completion_tokens, request.max_tokens
    if newer is None or older is None:
        return older if newer is None else newer
    return min(newer, older)


def _predicted_bytes(request: _Request) -> int:
    """Predicted text that the reply does not use is billed as output, beyond any cap."""
    return memoryview(request.prediction.content).nbytes if request.prediction is not None else 0


class _Media:
    """What of a prompt is no text: what it may cost, how much of the body it takes, what is out of sight.

    `stored` are the ids of what of it is kept at the provider.
    """

    def __init__(self, request: _Request) -> None:
        self._model = request.model
        self.tokens = _hidden_tokens(request)
        self.body_bytes = 0
        self.unseen = any(tool.type not in _CALLERS_TOOLS for tool in request.tools or ())
        self.stored: list[str] = []
        self.prices_apart = _NONE_APART if request.modalities is None else _apart(request.modalities)
        for message in request.messages:
            if message.audio is not None:
                self.unseen = True
                self.stored += [message.audio.id] if message.audio.id else []
            if isinstance(message.content, list):
                for part in message.content:
                    if part.type not in _TEXT_PARTS:
                        self._add(part)

    def _add(self, part: _Part) -> None:
        if part.image_url is not None:
            image = _ImageUrl(part.image_url) if isinstance(part.image_url, str) else part.image_url
            self.tokens += allowances.image_tokens_max(self._model, image.detail)
            if image.url.startswith("data:"):
                self.body_bytes += len(image.url)
        elif part.input_audio is not None:
            data = part.input_audio if isinstance(part.input_audio, str) else part.input_audio.data
            self.tokens += allowances.audio_tokens_max(len(data))
            self.body_bytes += len(data)
            self.prices_apart |= {"audio_input"}
        else:
            # Files (a PDF's pages are rendered as images), and parts nobody has told us of.
            self.unseen = True
            named = part.file_id or (part.file.file_id if part.file is not None else None)
            if named:
                self.stored.append(named)


def _hidden_tokens(request: _Request) -> int:
    hidden = allowances.BASE_TOKENS + len(request.messages) * allowances.MESSAGE_TOKENS
    if request.tools or request.functions:
        tools = len(request.tools or ()) + len(request.functions or ())
        hidden += allowances.TOOLS_TOKENS + tools * allowances.TOOL_TOKENS
    if request.response_format:
        hidden += allowances.SCHEMA_TOKENS
    return hidden


def _apart(modalities: list[str]) -> frozenset[str]:
    return frozenset(("audio_output",)) if "audio" in modalities else _NONE_APART


def prompt_texts(body: bytes) -> list[list[str]]:
    """The texts of each message, and those of the tools and the reply's schema."""
    text = body.decode("utf-8", "replace")
    try:
        return _texts_in(json.loads(text))
    except RecursionError:
        # Read with less room on the stack than when it was first read: its text is the whole body at most.
        return [[text]]


def _texts_in(request: dict[str, Any]) -> list[list[str]]:
    texts = [_message_texts(message) for message in request["messages"]]
    for key in ("tools", "functions", "response_format"):
        if request.get(key):
            texts.append([json.dumps(request[key], separators=(",", ":"), ensure_ascii=False)])
    return texts


def _message_texts(message: dict[str, Any]) -> list[str]:
    content = message.get("content")
    texts = [message.get("role"), message.get("name"), message.get("reasoning_content")]
    for part in content if isinstance(content, list) else [content]:
        texts.append(part if isinstance(part, str) else (part or {}).get("text"))
    for key in ("tool_calls", "function_call"):
        if message.get(key):
            texts.append(json.dumps(message[key], separators=(",", ":"), ensure_ascii=False))
    return [text for text in texts if isinstance(text, str) and text]
