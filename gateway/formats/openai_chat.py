"""OpenAI's Chat Completions, as OpenAI, Azure OpenAI, DeepSeek and every compatible provider speak it.

Field names and meanings: openai-python, `types/chat/completion_create_params.py`. What of a request
decides its price is read and checked; the rest, unknown fields included, goes up as it came.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

import msgspec

from gateway.domain.errors import BadRequest
from gateway.formats import allowances
from gateway.formats.base import Counter, Dialect, InBandError, Intent, Report, StreamMeter
from gateway.formats.bodies import Body, integer_from, open_body, refuse_repeated
from gateway.formats.openai_meter import OpenAIMeter, read_openai_reply, search_fee
from gateway.formats.splice import Edit, Member, apply, insert_first, locate
from gateway.formats.transcript import reply_texts

__all__ = ["FORMAT", "ChatCompletions"]

_CAPS: Final = ("max_completion_tokens", "max_tokens")
# Members that decide what a call costs or who pays: none may be repeated.
_DECIDING: Final = frozenset(
    (
        *_CAPS,
        "audio",
        "functions",
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
# Reasoning models refuse `max_tokens` ("Use 'max_completion_tokens' instead"): o-series and gpt-5 on.
_REFUSES_MAX_TOKENS: Final = re.compile(r"(?:o\d|gpt-[5-9])")
_MODEL_CHARS_MAX: Final = 256
_ASK_USAGE: Final = b'"include_usage":true'


class _ImageUrl(msgspec.Struct, gc=False):
    url: str
    detail: str | None = None


class _InputAudio(msgspec.Struct, gc=False):
    data: str


class _Part(msgspec.Struct, gc=False):
    type: str
    text: str | None = None
    image_url: _ImageUrl | None = None
    input_audio: _InputAudio | None = None


class _Message(msgspec.Struct, gc=False):
    role: str
    content: str | list[_Part] | None = None
    # An assistant turn may point to audio that the provider stored.
    audio: msgspec.Raw = msgspec.Raw()


class _Prediction(msgspec.Struct, gc=False):
    content: msgspec.Raw = msgspec.Raw()


class _StreamOptions(msgspec.Struct, gc=False):
    include_usage: bool | None = None


_MODEL: Final = msgspec.json.Decoder(str)
_MESSAGES: Final = msgspec.json.Decoder(list[_Message])
_FLAG: Final = msgspec.json.Decoder(bool | None)
_NAME: Final = msgspec.json.Decoder(str | None)
_NAMES: Final = msgspec.json.Decoder(list[str] | None)
_OBJECTS: Final = msgspec.json.Decoder(list[dict[str, msgspec.Raw]] | None)
_OBJECT: Final = msgspec.json.Decoder(dict[str, msgspec.Raw] | None)
_OPTIONS: Final = msgspec.json.Decoder(_StreamOptions | None)
_PREDICTION: Final = msgspec.json.Decoder(_Prediction | None)

# Parts whose text is in the body, under `text` or `refusal`.
_TEXT_PARTS: Final = frozenset(("text", "refusal"))


class ChatCompletions:
    """See `gateway.formats.base.Format`."""

    name = "openai_chat"
    dialect: Dialect = "openai"
    paths = ("/v1/chat/completions",)

    def read(self, path: str, body: bytes) -> Intent:
        opened = open_body(body, _DECIDING)
        model = _model(opened)
        messages = opened.take("messages", _MESSAGES)
        if not messages:
            raise BadRequest(
                "invalid_value",
                "`messages` is missing or empty.",
                param="messages",
                hint='Send at least one message: [{"role": "user", "content": "..."}].',
            )
        media = _Media(model, messages)
        fees = search_fee(model, opened.take("web_search_options", _OBJECT) is not None)
        stream = bool(opened.take("stream", _FLAG))
        options = opened.take("stream_options", _OPTIONS)
        allowance = media.tokens + _hidden_tokens(opened, len(messages))
        return Intent(
            model=model,
            stream=stream,
            output_cap=_output_cap(opened),
            choices=integer_from(opened, "n", 1) or 1,
            input_bound=len(body) - media.body_bytes + allowance,
            unseen_input=media.unseen or bool(fees),
            fees=fees,
            end_user=opened.take("safety_identifier", _NAME) or opened.take("user", _NAME) or None,
            service_tier=opened.take("service_tier", _NAME),
            wants_usage=stream and options is not None and options.include_usage is True,
            prices_apart=_prices_apart(opened, media),
            allowance=allowance,
            output_extra=_predicted_bytes(opened),
            places=tuple(member for member in opened.members if member.key in _DECIDING),
        )

    def upstream_body(
        self, body: bytes, intent: Intent, model: str, cap_field: str, output_cap: int
    ) -> bytes:
        places = {member.key: member for member in intent.places}
        edits: list[Edit] = []
        front: list[bytes] = []
        if model != intent.model:
            edits.append((places["model"].start, places["model"].end, msgspec.json.encode(model)))
        _cap(body, places, model, cap_field, output_cap, edits, front)
        if intent.stream and not intent.wants_usage:
            _ask_usage(body, places.get("stream_options"), edits, front)
        if front:
            edits.append(insert_first(body.index(b"{"), b",".join(front)))
        return apply(body, edits) if edits else body

    def meter(self, intent: Intent) -> StreamMeter:
        return OpenAIMeter(intent)

    def read_reply(
        self, body: bytes, intent: Intent | None = None
    ) -> tuple[Report | None, InBandError | None]:
        return read_openai_reply(body, intent)

    def reply_text(self, body: bytes) -> str:
        return "\n".join(reply_texts(body))

    def prompt_text(self, body: bytes) -> str:
        return "\n".join(text for texts in _prompt_texts(body) for text in texts)

    def prompt_tokens(self, body: bytes, counter: Counter) -> int:
        # OpenAI's cookbook: 3 tokens around each message, 3 that begin the reply.
        return 3 + sum(3 + sum(counter.count(text) for text in texts) for texts in _prompt_texts(body))


FORMAT: Final = ChatCompletions()


def _model(body: Body) -> str:
    model = body.take("model", _MODEL)
    if not model or len(model) > _MODEL_CHARS_MAX or not model.isprintable():
        raise BadRequest(
            "invalid_value",
            "`model` is missing or no name.",
            param="model",
            hint="Name a model, as `gpt-4.1` or `openai/gpt-4.1`.",
        )
    return model


def _output_cap(body: Body) -> int | None:
    """The smaller of both caps where both are given: whichever the provider obeys, it holds."""
    caps = [cap for key in _CAPS if (cap := integer_from(body, key, 0)) is not None]
    return min(caps, default=None)


class _Media:
    """What of the messages is no text: how much of the body it takes and what it may cost."""

    def __init__(self, model: str, messages: list[_Message]) -> None:
        self.body_bytes = 0
        self.tokens = 0
        self.unseen = False
        self.audio = False
        for message in messages:
            if memoryview(message.audio).nbytes and bytes(message.audio) != b"null":
                self.unseen = True
            if isinstance(message.content, list):
                for part in message.content:
                    self._add(model, part)

    def _add(self, model: str, part: _Part) -> None:
        if part.image_url is not None:
            self.tokens += allowances.image_tokens_max(model, part.image_url.detail)
            if part.image_url.url.startswith("data:"):
                self.body_bytes += len(part.image_url.url)
        elif part.input_audio is not None:
            self.audio = True
            self.tokens += allowances.audio_tokens_max(len(part.input_audio.data))
            self.body_bytes += len(part.input_audio.data)
        elif part.type not in _TEXT_PARTS:
            # Files (a PDF's pages are rendered as images), and parts nobody has told us of.
            self.unseen = True


def _hidden_tokens(body: Body, messages: int) -> int:
    hidden = allowances.BASE_TOKENS + messages * allowances.MESSAGE_TOKENS
    for key in ("tools", "functions"):
        if tools := body.take(key, _OBJECTS):
            hidden += allowances.TOOLS_TOKENS + len(tools) * allowances.TOOL_TOKENS
    if body.take("response_format", _OBJECT):
        hidden += allowances.SCHEMA_TOKENS
    return hidden


def _prices_apart(body: Body, media: _Media) -> frozenset[str]:
    apart = {"audio_input"} if media.audio else set()
    if "audio" in (body.take("modalities", _NAMES) or ()):
        apart.add("audio_output")
    return frozenset(apart)


def _predicted_bytes(body: Body) -> int:
    """Predicted text that the reply does not use is billed as output, beyond any cap."""
    prediction = body.take("prediction", _PREDICTION)
    return memoryview(prediction.content).nbytes if prediction is not None else 0


def _cap(
    body: bytes,
    places: dict[str, Member],
    model: str,
    cap_field: str,
    output_cap: int,
    edits: list[Edit],
    front: list[bytes],
) -> None:
    """See that the body names `output_cap`, or less, in a field that the model obeys.

    A field that the client sent keeps its name unless the model refuses or may ignore it: reasoning models
    refuse `max_tokens`, and providers whose field is `max_tokens` may never have heard of the newer one.
    """
    number = b"%d" % output_cap
    given = [places[key] for key in _CAPS if key in places and body[places[key].start :][:4] != b"null"]
    named = False
    for member in given:
        if int(body[member.start : member.end]) > output_cap:
            edits.append((member.start, member.end, number))
        named = named or member.key == cap_field
    if named:
        return
    if given and (cap_field == "max_tokens" or _REFUSES_MAX_TOKENS.match(model.rpartition("/")[2])):
        member = given[0]
        edits.append((member.key_start, member.key_end, b'"%b"' % cap_field.encode()))
    elif not given and cap_field in places:
        edits.append((places[cap_field].start, places[cap_field].end, number))
    elif not given:
        front.append(b'"%b":%b' % (cap_field.encode(), number))


def _ask_usage(body: bytes, options: Member | None, edits: list[Edit], front: list[bytes]) -> None:
    """Have the usage sent at the end of the stream, whatever else the options say."""
    if options is None:
        front.append(b'"stream_options":{' + _ASK_USAGE + b"}")
        return
    text = body[options.start : options.end]
    if not text.startswith(b"{"):
        edits.append((options.start, options.end, b"{" + _ASK_USAGE + b"}"))
        return
    _, members = locate(text)
    refuse_repeated(members, ("include_usage",), "stream_options.")
    for member in members:
        if member.key == "include_usage":
            edits.append((options.start + member.start, options.start + member.end, b"true"))
            return
    edits.append(insert_first(options.start, _ASK_USAGE, empty=not members))


def _prompt_texts(body: bytes) -> list[list[str]]:
    """The texts of each message, and those of the tools and the reply's schema."""
    request = json.loads(body.decode("utf-8", "replace"))
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
